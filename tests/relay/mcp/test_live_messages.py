"""A message whose call is still going on is marked, wherever it is shown."""

from __future__ import annotations

import json
from typing import cast

from relay.mcp.live_messages import LiveMessages
from relay.mcp.ports import LiveCalls
from tests.relay.mcp.mcp_relay import MemoryLiveCalls, MemoryMessages, RunningRelay, raw_client
from tests.relay.mcp.tool_client import staffing
from tests.sids import sid


async def test_message_of_a_live_call_is_marked() -> None:
    """Of an agent's own call; one that is over, or another agent's, is not."""
    messages, calls = MemoryMessages(), MemoryLiveCalls()
    live = messages.leave("anna", call_sid=sid())
    over = messages.leave("anna", call_sid=sid(2))
    calls.begin("anna", sid())
    calls.begin("bert", sid(2))
    marked = LiveMessages(messages, cast("LiveCalls", calls))
    for records in (await marked.peek("anna", 10), (await marked.fetch("anna", 10)).messages):
        assert [each.id for each in records] == [live.id, over.id]
        assert [each.as_json() for each in records] == [{**live.as_json(), "live": True}, over.as_json()]


async def test_everything_else_is_passed_on() -> None:
    """Limits, what remains, and confirmations are the store's."""
    messages = MemoryMessages()
    first, second = messages.leave("anna"), messages.leave("anna")
    marked = LiveMessages(messages, cast("LiveCalls", MemoryLiveCalls()))
    batch = await marked.fetch("anna", 1)
    assert ([each.id for each in batch.messages], batch.remaining) == ([first.id], 1)
    done = await marked.acknowledge("anna", [first.id, "else"])
    assert (list(done.acknowledged), list(done.unknown)) == ([first.id], ["else"])
    assert [each.id for each in await marked.peek("anna", 10)] == [second.id]


async def test_mark_is_shown_in_every_way(relay: RunningRelay) -> None:
    """By the tool, the resource and the notice that is pushed."""
    relay.live_calls.begin()
    left = relay.messages.leave("anna", call_sid=sid())
    async with raw_client(relay) as client, staffing(relay) as tools:
        await client.shake_hands()
        notice = await client.next_message("notifications/message")
        read = await client.request("resources/read", uri="comms://waiting-messages")
        (fetched,) = (await tools.tool("comms_get_waiting_messages"))["messages"]
    expected = {**left.as_json(), "live": True}
    assert notice["params"]["data"] == expected
    assert json.loads(read["result"]["contents"][0]["text"]) == {"messages": [expected]}
    assert fetched == expected
