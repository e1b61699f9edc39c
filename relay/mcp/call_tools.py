"""The tools for calls that are there: list them, end one."""

from __future__ import annotations

from typing import Any, Literal

import mcp_types as types
from pydantic import Field

from relay.agents import Agent
from relay.mcp.ports import Calls
from relay.mcp.tools import Arguments, Schema, Tool


class ListCalls(Arguments):
    """Arguments of `comms_list_calls`."""

    state: Literal["live", "ended", "all"] = Field(
        default="all", description="live for calls going on now, ended for past ones, all for both."
    )


class EndCall(Arguments):
    """Arguments of `comms_end_call`."""

    call_sid: str = Field(min_length=1, max_length=64, description="The live call, as comms_list_calls names it.")
    say: str = Field(
        default="", max_length=2000, description="A last sentence for the caller, spoken before the call ends."
    )


def _text(description: str, *, may_be_null: bool = False) -> Schema:
    return {"type": ["string", "null"] if may_be_null else "string", "description": description}


CALL: Schema = {
    "type": "object",
    "description": "One call. Fields that are not known yet are null.",
    "properties": {
        "callSid": _text("Names the call to the other tools."),
        "agentId": _text("The agent whose call it is: you."),
        "direction": _text("Who dialled: inbound or outbound."),
        "from": _text("The number that dialled; numbers can be forged. Empty when withheld."),
        "to": _text("The number that was dialled."),
        "state": _text("live or ended."),
        "startedAt": _text("When it was first heard of, in UTC (ISO 8601)."),
        "endedAt": _text("When it ended, in UTC (ISO 8601).", may_be_null=True),
        "durationSeconds": {"type": ["number", "null"], "description": "How long the line was connected."},
        "outcome": _text(
            "How it ended: completed (the caller hung up), ended (you or the answering machine did), farewell (a limit "
            "or the relay's stop), unavailable, failed, not_connected or relay_restarted.",
            may_be_null=True,
        ),
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
        return {"calls": await calls.list_calls(agent.agent_id, state)}

    async def end_call(agent: Agent, arguments: EndCall) -> dict[str, Any]:
        await calls.end_call(agent.agent_id, arguments.call_sid, arguments.say)
        return {"callSid": arguments.call_sid, "status": "ending"}

    return [
        Tool(
            name="comms_list_calls",
            title="List calls",
            description="List your telephone calls, newest first: those going on now, past ones, or both.",
            arguments=ListCalls,
            result={
                "properties": {"calls": {"type": "array", "items": CALL, "description": "The calls, newest first."}},
                "required": ["calls"],
            },
            annotations=types.ToolAnnotations(read_only_hint=True, open_world_hint=False),
            run=list_calls,
        ),
        Tool(
            name="comms_end_call",
            title="End a call",
            description=(
                "End a call that is going on, after saying a last sentence if you give one. Ends it for the caller: "
                "use it when the conversation is over, not to pass it on."
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
