"""The call tools list and end the calls of their agent, and of no other."""

from __future__ import annotations

from typing import Any

import mcp_types as types

from relay.agents import Agent
from relay.mcp.call_tools import call_tools
from relay.mcp.tools import Toolbox
from tests.relay.mcp.mcp_relay import NOW, MemoryCalls

ANNA = Agent(agent_id="anna", created_at=NOW)


async def call(calls: MemoryCalls, name: str, **arguments: Any) -> types.CallToolResult:
    return await Toolbox(call_tools(calls)).call(ANNA, name, arguments)


async def test_calls_of_the_agent_are_listed() -> None:
    """An agent sees its own calls in the state it asks for."""
    calls = MemoryCalls(live={("anna", "CA1"), ("bert", "CA2")})
    listed = await call(calls, "comms_list_calls", state="live")
    assert listed.structured_content == {"calls": [{"callSid": "CA1", "state": "live"}]}
    assert (await call(calls, "comms_list_calls", state="ended")).structured_content == {"calls": []}


async def test_call_is_ended_with_last_words() -> None:
    """Ending a call passes the last sentence on and says that it is ending."""
    calls = MemoryCalls(live={("anna", "CA1")})
    ended = await call(calls, "comms_end_call", callSid="CA1", say="Goodbye.")
    assert ended.structured_content == {"callSid": "CA1", "status": "ending"}
    assert calls.ended == [("anna", "CA1", "Goodbye.")]


async def test_call_of_another_agent_is_unknown() -> None:
    """Whether somebody else has such a call is not told."""
    calls = MemoryCalls(live={("bert", "CA2")})
    refused = await call(calls, "comms_end_call", callSid="CA2")
    assert refused.structured_content["error"]["code"] == "unknown_call"
    assert calls.ended == []
