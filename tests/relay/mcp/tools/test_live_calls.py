"""The call tools list and end the calls of their agent, and of no other."""

from __future__ import annotations

from typing import Any, cast

import attrs
import jsonschema  # type: ignore[import-untyped]
import mcp_types as types
import pytest
import trio

from actors.call_record import CallKind, CallProgress
from actors.call_values import Callee, Direction
from actors.events import MoveDue
from actors.phases import Phase
from actors.transfer import TransferOutcome
from relay.agent import Agent
from relay.mcp.tools.live_calls import AgentCalls, call_tools
from relay.mcp.tools.toolbox import Toolbox
from relay.store.call_record import record_as_json
from relay.twilio.rest import CarrierCalls
from tests.limits import HANGING
from tests.relay.mcp.mcp_relay import NOW, RunningRelay, called, eventually
from tests.sids import sid

ANNA = Agent(agent_id="anna", created_at=NOW)


@attrs.frozen
class HangingUp:
    """What of the carrier's REST API ends calls."""

    hung_up: list[str] = attrs.field(factory=list)

    async def hang_up(self, call_sid: str) -> None:
        await trio.lowlevel.checkpoint()
        self.hung_up.append(call_sid)


async def call(
    relay: RunningRelay, name: str, carrier: HangingUp | None = None, **arguments: Any
) -> types.CallToolResult:
    """Call a tool, and check its result, good or bad, as the TypeScript clients do."""
    calls = AgentCalls(live=relay.calls, journal=relay.journal, carrier=cast("CarrierCalls | None", carrier))
    tools = Toolbox(call_tools(calls))
    result = await called(tools, ANNA, name, arguments)
    (definition,) = (each for each in tools.definitions if each.name == name)
    assert definition.output_schema is not None
    jsonschema.validate(result.structured_content, definition.output_schema)
    return result


async def announce(relay: RunningRelay, call_sid: str, agent_id: str = "anna", kind: CallKind = CallKind.CALL) -> None:
    """Have a call recorded that is on its way."""
    await relay.journal.announce_call(call_sid, agent_id, Direction.OUTBOUND, "+15550002222", "+15550001111", kind=kind)


async def listed(relay: RunningRelay, **arguments: Any) -> list[dict[str, Any]]:
    result = await call(relay, "comms_list_calls", **arguments)
    return list(result.structured_content["calls"])


async def test_calls_of_the_agent_are_listed(relay: RunningRelay) -> None:
    """An agent sees its own calls in the state it asks for, as their records are written."""
    await announce(relay, sid())
    await announce(relay, sid(2), "bert")
    record = await relay.journal.get(sid())
    assert record is not None
    assert await listed(relay, state="live") == [record_as_json(record)]
    assert await listed(relay, state="ended") == []


async def test_no_more_calls_are_listed_than_wanted(relay: RunningRelay) -> None:
    """The list is cut after its newest calls, at 50 unless told otherwise; that of the live ones is whole."""
    for number in range(60):
        await announce(relay, sid(number))
    everything = await listed(relay, limit=100)
    assert len(everything) == 60
    for state, limit, wanted in (
        ("all", None, 50),
        ("all", 3, 3),
        ("all", 1000, 60),
        ("live", None, 60),
        ("live", 3, 3),
    ):
        assert await listed(relay, state=state, limit=limit) == everything[:wanted]


async def test_records_of_all_kinds_keep_to_the_schema(relay: RunningRelay) -> None:
    """A live call, and a voice message whose transfer and call failed, are what the tool says it returns."""
    await relay.begin("anna", sid())
    await announce(relay, sid(2), kind=CallKind.VOICE_MESSAGE)
    await relay.journal.note_picked_up("anna", sid(2), Callee.VOICEMAIL)
    await relay.journal.note_transfer("anna", sid(2), "+15550003333", TransferOutcome.NO_ANSWER)
    progress = CallProgress(call_sid=sid(2), status="failed", error="sip_486")
    await relay.journal.note_progress("anna", progress)
    await eventually(lambda: bool(relay.file.execute("SELECT 1 FROM calls WHERE connected_at IS NOT NULL")))
    ended = (await listed(relay, state="ended"))[0]
    live = (await listed(relay, state="live"))[0]
    assert (live["callSid"], live["endedAt"], live["transfer"], live["carrierStatus"]) == (sid(), None, None, None)
    assert (ended["callSid"], ended["kind"], ended["carrierError"]) == (sid(2), "voice_message", "sip_486")
    assert ended["transfer"] == {"to": "+15550003333", "outcome": "no_answer"}
    assert ended["pickedUpBy"] == "machine"


async def test_call_is_ended_with_last_words(relay: RunningRelay) -> None:
    """Ending a call passes the last sentence on and says that it is ending."""
    line = await relay.begin("anna", sid())
    ended = await call(relay, "comms_end_call", callSid=sid(), say="Goodbye.")
    assert ended.structured_content == {"callSid": sid(), "status": "ending"}
    with trio.fail_after(HANGING):
        assert await line.hear() == "Goodbye."


async def test_call_that_moves_is_ended_at_the_carrier(relay: RunningRelay) -> None:
    """Its session is being ended so that it goes on in another one: a request to this session would do nothing."""
    await relay.begin("anna", sid())
    (session,) = relay.calls.live()
    session.inbox.post(MoveDue("{}"))
    await eventually(lambda: session.phase is Phase.MOVING)
    carrier = HangingUp()
    calls = AgentCalls(live=relay.calls, journal=relay.journal, carrier=cast("CarrierCalls", carrier))
    await calls.end_call("anna", sid(), "Goodbye.")
    assert carrier.hung_up == [sid()]


@pytest.mark.parametrize("say", ["Goodbye.", ""])
async def test_words_that_cannot_be_spoken_are_named(relay: RunningRelay, say: str) -> None:
    """A call whose line is not here, but at another node for instance, ends at once, and the client learns it."""
    await announce(relay, sid())
    carrier = HangingUp()
    ended = await call(relay, "comms_end_call", carrier, callSid=sid(), say=say)
    assert ("unsaid" in ended.structured_content, carrier.hung_up) == (bool(say), [sid()])


async def test_call_of_another_agent_is_unknown(relay: RunningRelay) -> None:
    """Whether somebody else has such a call is not told."""
    line = await relay.begin("bert", sid(2))
    refused = await call(relay, "comms_end_call", callSid=sid(2))
    assert refused.structured_content["error"]["code"] == "unknown_call"
    assert not line.ended
