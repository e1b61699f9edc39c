"""The tools for existing calls: list them, end one. Those that make or transfer calls are in `outbound`.

comms_list_calls ─▶ journal
comms_end_call ──┬▶ the call's session: its line is up, and last words can be said
                 └▶ carrier: it rings, is being passed on, or has lost its line
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import attrs
import mcp_types as types
import trio
from pydantic import Field

from actors.call_record import CallState
from actors.calls import Calls
from actors.errors import UnknownCall
from actors.phases import Phase
from relay.agent import Agent
from relay.errors import OutboundRefused
from relay.mcp.tools.arguments import Arguments, CallSid
from relay.mcp.tools.results import Result
from relay.mcp.tools.toolbox import Tool
from relay.speech.hygiene import clean
from relay.store.call_journal import CallJournal
from relay.store.call_record import record_as_json
from relay.twilio.rest import CarrierCalls
from relay.twilio.rest_errors import CarrierRefused

# More than a daemon carries at once by default, so that no live call is missing from a list of them.
MOST_LISTED = 1000
USUALLY_LISTED = 50
# Why last words are not spoken; which of these it is the relay may not know.
UNSAID = (
    "The call was ended at once, without your last sentence: it has no line here that it could be spoken on. It rings, "
    "is being passed on, moves, has lost its line, or another node of the relay has it."
)
# Records that are encoded before yielding to other tasks: a millisecond or two.
AT_A_TIME = 100


class ListCalls(Arguments):
    """Arguments of `comms_list_calls`."""

    state: Literal["live", "ended", "all"] = Field(
        default="all", description="live for calls going on now, ended for past ones, all for both."
    )
    limit: int | None = Field(
        default=None,
        ge=1,
        le=MOST_LISTED,
        description=f"How many calls to list, the newest ones. Left out: {USUALLY_LISTED}, or with state live all.",
    )


class EndCall(Arguments):
    """Arguments of `comms_end_call`."""

    call_sid: CallSid = Field(min_length=1, description="The live call, as comms_list_calls names it.")
    say: str = Field(
        default="", max_length=2000, description="A last sentence for the caller, spoken before the call ends."
    )


class Transfer(Result):
    """The last transfer of a call."""

    to: str | None = Field(description="The number it was to be passed on to.")
    outcome: str | None = Field(
        description="dialling (not known yet), answered, busy, no_answer, declined (the key was not pressed), failed, "
        "caller_gone (hung up before anybody answered) or lost (could not be handed over)."
    )


class Call(Result, json_schema_extra={"required": ["callSid", "state"]}):
    """A call's record, as the store writes it."""

    call_sid: str = Field(description="Names the call to the other tools.")
    agent_id: str = Field(description="The agent whose call it is: you.")
    kind: str = Field(description="call for a conversation, voice_message for audio that was played.")
    direction: str = Field(description="Who dialled: inbound (somebody called you) or outbound (you called).")
    from_: str = Field(description="The number that dialled; numbers can be forged. Empty when withheld.")
    to: str = Field(description="The number that was dialled.")
    state: str = Field(description="live or ended.")
    started_at: str = Field(description="When it was first heard of, in UTC (ISO 8601).")
    ended_at: str | None = Field(description="When it ended, in UTC (ISO 8601).")
    duration_seconds: float | None = Field(description="How long the line was connected.")
    outcome: str | None = Field(
        description="How it ended: completed (the other party hung up, or a voice message was played), ended (you or "
        "the answering machine did), transferred (passed on to a person), moved (between two lines of the relay, or "
        "ended there), voicemail (a machine picked up), busy, no_answer, canceled (before it was answered), farewell "
        "(a limit or the relay's stop), unavailable, failed, not_connected or relay_restarted."
    )
    picked_up_by: str | None = Field(
        description="Who picked up a call that you made, as far as can be told: human, machine or unknown."
    )
    transfer: Transfer | None = Field(description="The last attempt to pass the call on; null when there was none.")
    carrier_status: str | None = Field(
        description="The carrier's own word for the call: queued, initiated, ringing, in-progress, completed, busy, "
        "failed, no-answer or canceled."
    )
    carrier_error: str | None = Field(description="The carrier's error code, where it reported one; for the operator.")
    answered_by: dict[str, int] = Field(
        description="How many turns were answered by the client (you), by the machine (the answering machine) and by a "
        "human (a person who runs the relay)."
    )
    answering_now: str | None = Field(
        default=None,
        description="Who answers the caller now: client (you), machine, or human (a person has taken the call over). "
        "Only of a call that goes on at the node of the relay that you ask; null while none of them does.",
    )


class ListedCalls(Result):
    """Result of `comms_list_calls`."""

    calls: list[Annotated[Call, Field(description="One call. Fields that are not known yet are null.")]] = Field(
        description="The calls, newest first."
    )


class CallEnding(Result):
    """Result of `comms_end_call`."""

    call_sid: str = Field(description="The call.")
    status: str = Field(description="ending: the last words are spoken, then it ends.")
    unsaid: str | None = Field(
        default=None, description="Present when your last sentence is not spoken: why. The call ends all the same."
    )


@attrs.frozen(kw_only=True)
class AgentCalls:
    """The calls of an agent: their records, and the end of one that is not over.

    `carrier` is None where the relay has no access to its REST API.
    """

    live: Calls
    journal: CallJournal
    carrier: CarrierCalls | None = None

    async def list_calls(self, agent_id: str, state: CallState | None, limit: int) -> list[Call]:
        """Return up to `limit` of an agent's call records, newest first. Raises the store's errors."""
        shown = []
        for number, record in enumerate(await self.journal.list_calls(agent_id, state, limit)):
            if number % AT_A_TIME == 0:  # a thousand of them at once would block every call
                await trio.lowlevel.checkpoint()
            shown.append(Call.model_validate(record_as_json(record) | self._now(agent_id, record.call_sid)))
        return shown

    def _now(self, agent_id: str, call_sid: str) -> dict[str, str | None]:
        session = self.live.find_session(call_sid, agent_id)
        return {} if session is None else {"answeringNow": session.answering}

    async def end_call(self, agent_id: str, call_sid: str, say: str) -> bool:
        """End a call of this agent: by its session, after saying `say`, or by the carrier where it has none.

        Returns whether `say` is said. The call has no session here while it rings, is being passed on, moves, has lost
        its line, or another node has it. Raises `UnknownCall`, `OutboundRefused` if the carrier refuses to end it, and
        the store's errors.
        """
        live = self.live.find_session(call_sid, agent_id)
        if live is not None and live.phase is not Phase.MOVING:
            self.live.hang_up(agent_id, call_sid, clean(say, live.info.language))
            return True
        record = await self.journal.get(call_sid)
        if record is None or record.agent_id != agent_id or record.state is CallState.ENDED or self.carrier is None:
            raise UnknownCall(call_sid)
        try:
            await self.carrier.hang_up(call_sid)
        except CarrierRefused as refusal:
            raise OutboundRefused(refusal.code, f"The carrier did not end the call. {refusal}") from refusal
        return False


def call_tools(calls: AgentCalls) -> list[Tool[Any]]:
    """Return the tools over the calls."""

    async def list_calls(agent: Agent, arguments: ListCalls) -> ListedCalls:
        state = None if arguments.state == "all" else CallState(arguments.state)
        limit = arguments.limit or (MOST_LISTED if state is CallState.LIVE else USUALLY_LISTED)
        return ListedCalls(calls=await calls.list_calls(agent.agent_id, state, limit))

    async def end_call(agent: Agent, arguments: EndCall) -> CallEnding:
        is_said = await calls.end_call(agent.agent_id, arguments.call_sid, arguments.say)
        if is_said or not arguments.say:
            return CallEnding(call_sid=arguments.call_sid, status="ending")
        return CallEnding(call_sid=arguments.call_sid, status="ending", unsaid=UNSAID)

    return [
        Tool(
            name="comms_list_calls",
            title="List calls",
            description=(
                "List your telephone calls, newest first: those going on now, past ones, or both. Tells what became of "
                "a call that you made, a voice message or a transfer. What was said is not in it."
            ),
            arguments=ListCalls,
            results=(ListedCalls,),
            annotations=types.ToolAnnotations(read_only_hint=True, open_world_hint=False),
            run=list_calls,
            lists=True,
        ),
        Tool(
            name="comms_end_call",
            title="End a call",
            description=(
                "End a call that is going on, after saying a last sentence if you give one. The other party is hung up "
                "on: use it when the conversation is over; to pass a call on, use comms_transfer_call. It also ends a "
                "call of yours that still rings, or that is being passed on; then nothing is said."
            ),
            arguments=EndCall,
            results=(CallEnding,),
            annotations=types.ToolAnnotations(
                read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=True
            ),
            run=end_call,
        ),
    ]
