"""Clients are told what waits for them, once, and nothing is marked as read by it."""

from __future__ import annotations

import pytest

from relay.mcp.push import AT_ONCE
from tests.relay.mcp.mcp_relay import RawClient, RunningRelay, raw_client


async def told(client: RawClient) -> str:
    """Return the body of the next message the client is told of."""
    notice = await client.next_message("notifications/message")
    assert notice["params"]["level"] == "notice"
    assert notice["params"]["logger"] == "waiting-message"
    body: str = notice["params"]["data"]["body"]
    return body


async def test_client_is_told_when_it_becomes_ready(relay: RunningRelay) -> None:
    """What waits is announced as an updated resource and told message by message, oldest first."""
    relay.messages.leave("anna", "first")
    relay.messages.leave("bert", "not hers")
    relay.messages.leave("anna", "second")
    async with raw_client(relay) as client:
        await client.shake_hands()
        updated = await client.next_message("notifications/resources/updated")
        assert updated["params"] == {"uri": "comms://waiting-messages"}
        assert [await told(client), await told(client)] == ["first", "second"]
    assert relay.messages.confirmed == set()


async def test_client_without_sampling_is_told_as_well(relay: RunningRelay) -> None:
    """Who cannot answer calls can still deal with what was left."""
    relay.messages.leave("anna", "first")
    async with raw_client(relay) as client:
        await client.shake_hands(sampling=False)
        assert await told(client) == "first"


async def test_message_left_later_is_told_alone(relay: RunningRelay) -> None:
    """A new message is told once to each session of its agent; what was told before is not repeated."""
    relay.messages.leave("anna", "first")
    async with raw_client(relay) as one, raw_client(relay) as two:
        for client in (one, two):
            await client.shake_hands()
            assert await told(client) == "first"
        relay.messages.leave("anna", "second")
        relay.app.announce("anna")
        assert [await told(one), await told(two)] == ["second", "second"]


async def test_nothing_is_said_when_nothing_waits(relay: RunningRelay) -> None:
    """A client that becomes ready with no messages hears nothing of them."""
    async with raw_client(relay) as client:
        await client.shake_hands()
        await relay.arrival()
        assert "result" in await client.request("ping")
        assert not [each for each in client.events if "notifications/" in each.get("data", "")]


@pytest.mark.parametrize(("level", "hears"), [("debug", True), ("notice", True), ("warning", False)])
async def test_log_level_of_the_session_is_honoured(relay: RunningRelay, level: str, *, hears: bool) -> None:
    """A client that wants only worse than notices is told by the resource alone."""
    async with raw_client(relay) as client:
        await client.shake_hands()
        assert (await client.request("logging/setLevel", level=level))["result"] == {}
        relay.messages.leave("anna")
        relay.app.announce("anna")
        await client.next_message("notifications/resources/updated")
        if hears:
            await told(client)
        else:
            assert "result" in await client.request("ping")
            assert not [each for each in client.events if "notifications/message" in each.get("data", "")]


async def test_number_of_messages_told_at_once_is_bounded(relay: RunningRelay) -> None:
    """Of very many waiting messages the oldest are told; the client fetches the others."""
    for number in range(AT_ONCE + 10):
        relay.messages.leave("anna", str(number))
    async with raw_client(relay) as client:
        await client.shake_hands()
        assert [await told(client) for _ in range(AT_ONCE)] == [str(number) for number in range(AT_ONCE)]
        assert "result" in await client.request("ping")
        assert sum("notifications/message" in each.get("data", "") for each in client.events) == AT_ONCE


async def test_many_large_messages_cost_nobody_the_session(relay: RunningRelay) -> None:
    """Telling waits for the client to read, so that it cannot overflow its own session."""
    for _ in range(AT_ONCE):
        relay.messages.leave("anna", "ü" * 20_000)
    async with raw_client(relay) as client:
        await client.shake_hands()
        for _ in range(AT_ONCE):
            await told(client)
        assert not client.ended.is_set()


async def test_store_that_fails_is_asked_again_at_the_next_message(relay: RunningRelay) -> None:
    """A failed look at the store costs the session nothing but this one announcement."""
    relay.messages.broken = True
    async with raw_client(relay) as client:
        await client.shake_hands()
        await relay.arrival()
        assert "result" in await client.request("ping")
        relay.messages.broken = False
        relay.messages.leave("anna", "first")
        relay.app.announce("anna")
        assert await told(client) == "first"
