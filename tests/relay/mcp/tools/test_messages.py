"""The message tools hand out and confirm what was left for their agent, and for no other."""

from __future__ import annotations

from typing import Any

import jsonschema  # type: ignore[import-untyped]

from relay.agent import Agent
from relay.mcp.tools.messages import message_tools
from relay.mcp.tools.toolbox import Toolbox
from tests.relay.mcp.mcp_relay import NOW, MemoryMessages, called

ANNA = Agent(agent_id="anna", created_at=NOW)


async def call(messages: MemoryMessages, name: str, **arguments: Any) -> Any:
    tools = Toolbox(message_tools(messages))
    result = await called(tools, ANNA, name, arguments)
    assert not result.is_error
    schema = next(each.output_schema for each in tools.definitions if each.name == name)
    assert schema is not None
    jsonschema.validate(result.structured_content, schema)
    return result.structured_content


async def test_messages_come_oldest_first_with_what_remains() -> None:
    """A fetch is bounded by its limit and says how many more there are."""
    messages = MemoryMessages()
    first, second = messages.leave("anna", "first"), messages.leave("anna", "second")
    messages.leave("anna", "third")
    batch = await call(messages, "comms_get_waiting_messages", limit=2)
    assert batch == {"messages": [first.as_json(), second.as_json()], "remaining": 1}


async def test_another_agents_messages_are_not_seen() -> None:
    """What was left for somebody else does not exist for this agent."""
    messages = MemoryMessages()
    messages.leave("bert")
    assert await call(messages, "comms_get_waiting_messages") == {"messages": [], "remaining": 0}


async def test_fetching_confirms_what_it_is_told_to() -> None:
    """A client can confirm the last batch and get the next one in one call."""
    messages = MemoryMessages()
    first, second = messages.leave("anna"), messages.leave("anna")
    batch = await call(messages, "comms_get_waiting_messages", acknowledge=[first.id])
    assert [each["id"] for each in batch["messages"]] == [second.id]


async def test_confirming_tells_known_from_unknown() -> None:
    """Ids of another agent are unknown, and confirming twice is harmless."""
    messages = MemoryMessages()
    mine, theirs = messages.leave("anna"), messages.leave("bert")
    expected = {"acknowledged": [mine.id], "unknown": [theirs.id]}
    for _ in range(2):
        assert await call(messages, "comms_acknowledge_messages", ids=[mine.id, theirs.id]) == expected
    assert messages.confirmed == {mine.id}
