"""The message tools hand out and confirm what was left for their agent, and for no other."""

from __future__ import annotations

import json
from typing import Any

import jsonschema  # type: ignore[import-untyped]

from relay.agent import Agent
from relay.mcp.tools.messages import AgentMessages, message_tools
from relay.mcp.tools.toolbox import Toolbox
from tests.relay.mcp.mcp_relay import NOW, RunningRelay, as_fetched, called, raw_client
from tests.relay.mcp.tool_client import EACH_WAY, staffing, tool_client
from tests.sids import sid

ANNA = Agent(agent_id="anna", created_at=NOW)


async def call(relay: RunningRelay, name: str, **arguments: Any) -> Any:
    tools = Toolbox(message_tools(AgentMessages(relay.messages, relay.calls)))
    result = await called(tools, ANNA, name, arguments)
    assert not result.is_error
    schema = next(each.output_schema for each in tools.definitions if each.name == name)
    assert schema is not None
    jsonschema.validate(result.structured_content, schema)
    return result.structured_content


async def test_messages_come_oldest_first_with_what_remains(relay: RunningRelay) -> None:
    """A fetch is bounded by its limit and says how many more there are."""
    first, second = await relay.leave("anna", "first"), await relay.leave("anna", "second")
    await relay.leave("anna", "third")
    batch = await call(relay, "comms_get_waiting_messages", limit=2)
    assert batch == {"messages": [as_fetched(first), as_fetched(second)], "remaining": 1}


async def test_another_agents_messages_are_not_seen(relay: RunningRelay) -> None:
    """What was left for somebody else does not exist for this agent."""
    await relay.leave("bert")
    assert await call(relay, "comms_get_waiting_messages") == {"messages": [], "remaining": 0}


async def test_fetching_confirms_the_given_messages(relay: RunningRelay) -> None:
    """A client can confirm the last batch and get the next one in one call."""
    first, second = await relay.leave("anna"), await relay.leave("anna")
    batch = await call(relay, "comms_get_waiting_messages", acknowledge=[first.id])
    assert [each["id"] for each in batch["messages"]] == [second.id]


async def test_confirming_tells_known_from_unknown(relay: RunningRelay) -> None:
    """Ids of another agent are unknown, and confirming twice is harmless."""
    mine, theirs = await relay.leave("anna"), await relay.leave("bert")
    expected = {"acknowledged": [mine.id], "unknown": [theirs.id]}
    for _ in range(2):
        assert await call(relay, "comms_acknowledge_messages", ids=[mine.id, theirs.id]) == expected
    assert relay.file.confirmed() == {mine.id}


async def test_message_of_a_live_call_is_marked_in_every_way(relay: RunningRelay) -> None:
    """By the tool, the resource and the notification; one of a call that is over is not."""
    await relay.begin("anna", sid())
    live, over = await relay.leave("anna", call_sid=sid()), await relay.leave("anna", call_sid=sid(2))
    async with raw_client(relay) as client, staffing(relay) as tools:
        await client.shake_hands()
        notices = [await client.next_message("notifications/message") for _ in range(2)]
        read = await client.request("resources/read", uri="comms://waiting-messages")
        fetched = (await tools.tool("comms_get_waiting_messages"))["messages"]
    expected = [{**live.as_json(), "live": True}, over.as_json()]
    assert [each["params"]["data"] for each in notices] == expected
    assert json.loads(read["result"]["contents"][0]["text"]) == {"messages": expected}
    assert fetched == [as_fetched(live, live=True), as_fetched(over)]


@EACH_WAY
async def test_who_had_a_message_is_kept(relay: RunningRelay, way: str) -> None:
    """The operator sees which client a message was handed to, and which one has confirmed it."""
    message = await relay.leave("anna")
    async with tool_client(relay.origin, "token-anna", way, name="desktop") as client:
        await client.tool("comms_get_waiting_messages")
        held = await relay.messages.get(message.id)
    async with tool_client(relay.origin, "token-anna", way, name="phone") as client:
        await client.tool("comms_acknowledge_messages", ids=[message.id])
        await client.tool("comms_get_waiting_messages", acknowledge=[message.id])
    confirmed = await relay.messages.get(message.id)
    assert held is not None
    assert confirmed is not None
    assert (held.held_by, held.acknowledged_by) == ("desktop", None)
    assert (confirmed.held_by, confirmed.acknowledged_by) == ("desktop", "phone")
