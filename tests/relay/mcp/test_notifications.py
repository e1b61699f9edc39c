"""Clients are told what waits for them, once, and nothing is marked as read by it."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from actors.call_values import Availability
from actors.errors import ClientFailed
from relay.mcp.notifications import AT_ONCE
from relay.mcp.session import CALLS_TO_WAKE_FOR
from tests.relay.mcp.mcp_relay import RawClient, RunningRelay, call_info, eventually, raw_client
from tests.sids import sid


async def told(client: RawClient) -> str:
    """Return the body of the next message the client is told of."""
    notice = await client.next_message("notifications/message")
    assert notice["params"]["level"] == "notice"
    assert notice["params"]["logger"] == "waiting-message"
    body: str = notice["params"]["data"]["body"]
    return body


async def test_client_is_notified_when_it_becomes_ready(relay: RunningRelay) -> None:
    """What waits is announced as an updated resource and told message by message, oldest first."""
    await relay.leave("anna", "first")
    await relay.leave("bert", "not hers")
    await relay.leave("anna", "second")
    async with raw_client(relay) as client:
        await client.shake_hands()
        updated = await client.next_message("notifications/resources/updated")
        assert updated["params"] == {"uri": "comms://waiting-messages"}
        assert [await told(client), await told(client)] == ["first", "second"]
    assert relay.file.confirmed() == set()


async def test_client_without_sampling_is_notified_as_well(relay: RunningRelay) -> None:
    """Who cannot answer calls can still deal with what was left."""
    await relay.leave("anna", "first")
    async with raw_client(relay) as client:
        await client.shake_hands(sampling=False)
        assert await told(client) == "first"


@pytest.mark.parametrize(
    ("method", "params"), [("tools/call", {"name": "comms_list_calls", "arguments": {}}), ("tools/list", {})]
)
async def test_client_is_notified_before_its_first_request_is_answered(
    method: str, params: dict[str, Any], relay: RunningRelay
) -> None:
    """A client that opens a session for one request and closes it at the result finds nothing behind the result."""
    await relay.leave("anna", "first")
    async with raw_client(relay) as client, trio.open_nursery() as nursery:
        nursery.start_soon(relay.file.hold, 0.1)
        await client.shake_hands()
        await client.request(method, **params)
        heard = [each["data"] for each in client.events if each.get("data", "").startswith("{")]
        assert ["waiting-message" in each for each in heard] == [False, True, True, False]


async def test_message_left_later_is_announced_alone(relay: RunningRelay) -> None:
    """A new message is told once to each session of its agent; what was told before is not repeated."""
    await relay.leave("anna", "first")
    async with raw_client(relay) as one, raw_client(relay) as two:
        for client in (one, two):
            await client.shake_hands()
            assert await told(client) == "first"
        await relay.leave("anna", "second")
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
        await relay.leave("anna")
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
        await relay.leave("anna", str(number))
    async with raw_client(relay) as client:
        await client.shake_hands()
        assert [await told(client) for _ in range(AT_ONCE)] == [str(number) for number in range(AT_ONCE)]
        assert "result" in await client.request("ping")
        assert sum("notifications/message" in each.get("data", "") for each in client.events) == AT_ONCE


async def test_many_large_messages_cost_nobody_the_session(relay: RunningRelay) -> None:
    """Telling waits for the client to read, so that it cannot overflow its own session."""
    for _ in range(AT_ONCE):
        await relay.leave("anna", "ü" * 20_000)
    async with raw_client(relay) as client:
        await client.shake_hands()
        for _ in range(AT_ONCE):
            await told(client)
        assert not client.ended.is_set()


async def test_store_that_fails_is_asked_again_at_the_next_message(relay: RunningRelay) -> None:
    """A failed look at the store costs the session nothing but this one announcement."""
    async with raw_client(relay) as client:
        with relay.file.broken("messages"):
            await client.shake_hands()
            await relay.arrival()
            assert "result" in await client.request("tools/call", name="comms_list_calls", arguments={})
        await relay.leave("anna", "first")
        relay.app.announce("anna")
        assert await told(client) == "first"


# ── callers who wait ────────────────────────────────────────────────────────────────────────────────────────────────


CHANNEL: dict[str, Any] = {"experimental": {"claude/channel": {}}}


async def test_client_that_can_only_be_woken_is_notified_of_a_caller(relay: RunningRelay) -> None:
    """It is no presence, but worth waiting for; what it is told reaches its model and names the call."""
    async with raw_client(relay) as client:
        hello = await client.shake_hands(sampling=False, capabilities=CHANNEL)
        await eventually(lambda: relay.presence.availability("anna") is Availability.WAKEABLE)
        relay.app.wake(call_info())
        updated = await client.next_message("notifications/resources/updated")
        knocked = await client.next_message("notifications/claude/channel")
    assert "claude/channel" in hello["result"]["capabilities"]["experimental"]
    assert updated["params"] == {"uri": "comms://live-calls"}
    assert knocked["params"]["meta"] == {"callSid": sid(1)}
    assert "comms_converse" in knocked["params"]["content"]
    await eventually(lambda: relay.presence.availability("anna") is Availability.AWAY)


async def test_client_that_can_be_woken_and_samples_is_asked(relay: RunningRelay) -> None:
    """The better way counts; without it, when it turns out not to work, the other one is left."""
    async with raw_client(relay) as client, trio.open_nursery() as nursery:
        await client.shake_hands(capabilities=CHANNEL)
        await relay.arrival()
        nursery.start_soon(_fail_to_ask, relay)
        request = await client.next_message("sampling/createMessage")
        error = {"code": -32601, "message": "Method not found"}
        await client.post({"jsonrpc": "2.0", "id": request["id"], "error": error})
        await eventually(lambda: relay.presence.availability("anna") is Availability.WAKEABLE)


async def _fail_to_ask(relay: RunningRelay) -> None:
    with pytest.raises(ClientFailed):
        await relay.ask("Hello?")


async def test_other_clients_are_notified_of_the_resource_alone(relay: RunningRelay) -> None:
    """Each of the agent's sessions is, nobody else's, and none of them counts as there to be woken."""
    async with raw_client(relay) as mine, raw_client(relay, "bert") as other:
        for client in (mine, other):
            await client.shake_hands(sampling=False)
        await eventually(lambda: all(each.ready.is_set() for each in relay.sessions.of_agent("anna")))
        assert relay.presence.availability("anna") is Availability.AWAY
        relay.app.wake(call_info())
        assert (await mine.next_message("notifications/resources/updated"))["params"]["uri"] == "comms://live-calls"
        for client in (mine, other):
            assert "result" in await client.request("ping")
        assert not [each for each in mine.events if "notifications/claude" in each.get("data", "")]
        assert not [each for each in other.events if "resources/updated" in each.get("data", "")]


async def test_call_is_named_once_to_a_client_that_was_not_ready(relay: RunningRelay) -> None:
    """What was noted for it meanwhile is told when it is, of the newest calls only."""
    async with raw_client(relay) as client:
        (session,) = relay.sessions.of_agent("anna")
        for number in range(CALLS_TO_WAKE_FOR + 1):
            relay.app.wake(call_info(call_sid=f"CA{number}"))
        await client.shake_hands(sampling=False, capabilities=CHANNEL)
        named = [
            (await client.next_message("notifications/claude/channel"))["params"]["meta"]["callSid"]
            for _ in range(CALLS_TO_WAKE_FOR)
        ]
        assert "result" in await client.request("ping")
    assert named == [f"CA{number}" for number in range(1, CALLS_TO_WAKE_FOR + 1)]
    assert not session.unheard
