"""The call tools list and end the calls of their agent, and of no other."""

from __future__ import annotations

from typing import Any

import jsonschema  # type: ignore[import-untyped]
import mcp_types as types

from relay.agent import Agent
from relay.mcp.tools.live_calls import call_tools
from relay.mcp.tools.toolbox import Toolbox
from tests.relay.mcp.mcp_relay import NOW, MemoryCalls, called
from tests.sids import sid

ANNA = Agent(agent_id="anna", created_at=NOW)


async def call(calls: MemoryCalls, name: str, **arguments: Any) -> types.CallToolResult:
    return await called(Toolbox(call_tools(calls)), ANNA, name, arguments)


async def test_calls_of_the_agent_are_listed() -> None:
    """An agent sees its own calls in the state it asks for."""
    calls = MemoryCalls(live={("anna", sid()), ("bert", sid(2))})
    listed = await call(calls, "comms_list_calls", state="live")
    assert listed.structured_content == {"calls": [{"callSid": sid(), "state": "live"}]}
    assert (await call(calls, "comms_list_calls", state="ended")).structured_content == {"calls": []}


async def test_no_more_calls_are_listed_than_wanted() -> None:
    """The list is cut after its newest calls, at 50 unless told otherwise; that of the live ones is whole."""
    calls = MemoryCalls(live={("anna", sid(number)) for number in range(60)})
    everything = await calls.list_calls("anna", None, 100)
    for state, limit, listed in (
        ("all", None, 50),
        ("all", 3, 3),
        ("all", 1000, 60),
        ("live", None, 60),
        ("live", 3, 3),
    ):
        answer = await call(calls, "comms_list_calls", state=state, limit=limit)
        assert answer.structured_content == {"calls": everything[:listed]}


def test_records_of_all_kinds_keep_to_the_schema() -> None:
    """A live call, and a voice message to a machine that failed, are what the tool says it returns."""
    live: dict[str, Any] = {
        "callSid": sid(),
        "agentId": "anna",
        "kind": "call",
        "direction": "inbound",
        "from": "",
        "to": "+15550002222",
        "state": "live",
        "startedAt": "2026-11-22T12:00:00Z",
        "endedAt": None,
        "durationSeconds": None,
        "outcome": None,
        "answeredBy": {"client": 2},
        "pickedUpBy": None,
        "transfer": None,
        "carrierStatus": None,
        "carrierError": None,
    }
    over = {
        **live,
        "kind": "voice_message",
        "direction": "outbound",
        "state": "ended",
        "endedAt": "2026-11-22T12:01:00Z",
        "durationSeconds": 60.0,
        "outcome": "failed",
        "pickedUpBy": "machine",
        "transfer": {"to": "+15550003333", "outcome": "no_answer"},
        "carrierStatus": "failed",
        "carrierError": "sip_486",
    }
    (definition,) = (each for each in Toolbox(call_tools(MemoryCalls())).definitions if each.name == "comms_list_calls")
    assert definition.output_schema is not None
    jsonschema.validate({"calls": [live, over]}, definition.output_schema)
    assert definition.output_schema["properties"]["calls"]["items"]["properties"].keys() == live.keys()


async def test_call_is_ended_with_last_words() -> None:
    """Ending a call passes the last sentence on and says that it is ending."""
    calls = MemoryCalls(live={("anna", sid())})
    ended = await call(calls, "comms_end_call", callSid=sid(), say="Goodbye.")
    assert ended.structured_content == {"callSid": sid(), "status": "ending"}
    assert calls.ended == [("anna", sid(), "Goodbye.")]


async def test_call_of_another_agent_is_unknown() -> None:
    """Whether somebody else has such a call is not told."""
    calls = MemoryCalls(live={("bert", sid(2))})
    refused = await call(calls, "comms_end_call", callSid=sid(2))
    assert refused.structured_content["error"]["code"] == "unknown_call"
    assert calls.ended == []
