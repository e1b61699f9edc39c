"""The tools for calls that are there: list them, end one. Those that make or pass on calls are `outbound_tools`."""

from __future__ import annotations

from typing import Any, Literal

import mcp_types as types
from pydantic import Field

from relay.agent import Agent
from relay.mcp.ports import Calls
from relay.mcp.tools.arguments import Arguments, CallSid
from relay.mcp.tools.toolbox import Schema, Tool, nullable

# More than a daemon carries at once by default, so that no live call is missing from a list of them.
MOST_LISTED = 1000
USUALLY_LISTED = 50


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


def _text(description: str, *, may_be_null: bool = False) -> Schema:
    schema = {"type": "string", "description": description}
    return nullable(schema) if may_be_null else schema


CALL: Schema = {
    "type": "object",
    "description": "One call. Fields that are not known yet are null.",
    "properties": {
        "callSid": _text("Names the call to the other tools."),
        "agentId": _text("The agent whose call it is: you."),
        "kind": _text("call for a conversation, voice_message for audio that was played."),
        "direction": _text("Who dialled: inbound (somebody called you) or outbound (you called)."),
        "from": _text("The number that dialled; numbers can be forged. Empty when withheld."),
        "to": _text("The number that was dialled."),
        "state": _text("live or ended."),
        "startedAt": _text("When it was first heard of, in UTC (ISO 8601)."),
        "endedAt": _text("When it ended, in UTC (ISO 8601).", may_be_null=True),
        "durationSeconds": nullable({"type": "number", "description": "How long the line was connected."}),
        "outcome": _text(
            "How it ended: completed (the other party hung up, or a voice message was played), ended (you or the "
            "answering machine did), transferred (passed on to a person), voicemail (a machine picked up), busy, "
            "no_answer, canceled (before it was answered), farewell (a limit or the relay's stop), unavailable, "
            "failed, not_connected or relay_restarted.",
            may_be_null=True,
        ),
        "pickedUpBy": _text(
            "Who picked up a call that you made, as far as can be told: human, machine or unknown.", may_be_null=True
        ),
        "transfer": nullable(
            {
                "type": "object",
                "description": "The last attempt to pass the call on; null when there was none.",
                "properties": {
                    "to": _text("The number it was to be passed on to.", may_be_null=True),
                    "outcome": _text(
                        "dialling (not known yet), answered, busy, no_answer, declined (the key was not pressed), "
                        "failed, caller_gone (hung up before anybody answered) or lost (could not be handed over).",
                        may_be_null=True,
                    ),
                },
                "required": ["to", "outcome"],
            }
        ),
        "carrierStatus": _text(
            "The carrier's own word for the call: queued, initiated, ringing, in-progress, completed, busy, failed, "
            "no-answer or canceled.",
            may_be_null=True,
        ),
        "carrierError": _text("The carrier's error code, where it reported one; for the operator.", may_be_null=True),
        "answeredBy": {
            "type": "object",
            "additionalProperties": {"type": "integer"},
            "description": "How many turns were answered by the client (you) and by the answering machine.",
        },
    },
    "required": ["callSid", "state"],
}


def call_tools(calls: Calls) -> list[Tool[Any]]:
    """Make the tools over the calls."""

    async def list_calls(agent: Agent, arguments: ListCalls) -> dict[str, Any]:
        state = None if arguments.state == "all" else arguments.state
        limit = arguments.limit or (MOST_LISTED if state == "live" else USUALLY_LISTED)
        return {"calls": await calls.list_calls(agent.agent_id, state, limit)}

    async def end_call(agent: Agent, arguments: EndCall) -> dict[str, Any]:
        await calls.end_call(agent.agent_id, arguments.call_sid, arguments.say)
        return {"callSid": arguments.call_sid, "status": "ending"}

    return [
        Tool(
            name="comms_list_calls",
            title="List calls",
            description=(
                "List your telephone calls, newest first: those going on now, past ones, or both. Tells what became of "
                "a call that you made, a voice message or a transfer. What was said is not in it."
            ),
            arguments=ListCalls,
            result={
                "properties": {"calls": {"type": "array", "items": CALL, "description": "The calls, newest first."}},
                "required": ["calls"],
            },
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
            result={
                "properties": {
                    "callSid": {"type": "string", "description": "The call."},
                    "status": {"type": "string", "description": "ending: the last words are spoken, then it ends."},
                },
                "required": ["callSid", "status"],
            },
            annotations=types.ToolAnnotations(
                read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=True
            ),
            run=end_call,
        ),
    ]
