"""Clients that are slow, not dead: they owe a sign of life, get no turn meanwhile, and keep their session."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from actors.call_values import Availability
from actors.errors import ClientAbsent
from relay.mcp.session import McpSession
from relay.mcp.transports.event_stream import Timing
from tests.mcp_clients import PYTHON_1, PYTHON_2, StockClient, each_client, start_client
from tests.relay.mcp.http_client import standing_client
from tests.relay.mcp.mcp_relay import RunningRelay, eventually, raw_client, running_relay

EACH_PATH = pytest.mark.parametrize("way", ["sse", "mcp"])
# Scaled down; a client is given up only after a time that no test here takes.
QUICK = Timing(ping_interval=0.1, ping_timeout=0.1, silence_timeout=60)


@asynccontextmanager
async def client_by_hand(relay: RunningRelay, way: str) -> AsyncIterator[tuple[Any, Any]]:
    """Connect a client that can sample and answers nothing by itself; gives what it posts and what it reads with."""
    if way == "mcp":
        async with standing_client(relay) as (client, stream):
            yield client, stream
    else:
        async with raw_client(relay) as raw:
            await raw.shake_hands()
            yield raw, raw


async def pong(client: Any, ping: dict[str, Any]) -> None:
    """Answer a ping."""
    await client.post({"jsonrpc": "2.0", "id": ping["id"], "result": {}})


def is_reached(relay: RunningRelay, session: McpSession) -> bool:
    return relay.presence.newest("anna") is session


@EACH_PATH
async def test_who_answers_no_ping_gets_no_turn_until_it_does(way: str) -> None:
    """Its callers are not kept waiting for it; its next answer brings it back in the session that it had."""
    async with running_relay(timing=QUICK) as relay, client_by_hand(relay, way) as (client, stream):
        session = await relay.arrival()
        owed = await stream.next_message("ping")
        await eventually(lambda: session.is_silent)
        assert relay.presence.availability("anna") is Availability.AWAY
        with pytest.raises(ClientAbsent):
            await relay.ask("Anybody?")
        await pong(client, owed)
        await eventually(lambda: is_reached(relay, session))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(relay.ask, "And now?")
            await client.say(await stream.next_message("sampling/createMessage"), "Here I am.")
        assert relay.sessions.of_agent("anna") == (session,)


@EACH_PATH
async def test_a_returning_client_is_notified_of_what_was_left_meanwhile(way: str) -> None:
    """What a caller left while it was silent is announced to it once more when it is back."""
    async with running_relay(timing=QUICK) as relay, client_by_hand(relay, way) as (client, stream):
        session = await relay.arrival()
        owed = await stream.next_message("ping")
        await eventually(lambda: session.is_silent)
        left = await relay.leave("anna")
        await pong(client, owed)
        notice = await stream.next_message("notifications/message")
        assert notice["params"]["data"]["id"] == left.id


@EACH_PATH
async def test_what_it_says_by_itself_is_no_answer(way: str) -> None:
    """A client whose reader stands still may go on calling tools: it keeps its session, and gets no turn."""
    timing = Timing(ping_interval=0.1, ping_timeout=0.1, silence_timeout=0.5)
    async with running_relay(timing=timing) as relay, client_by_hand(relay, way) as (client, _stream):
        session = await relay.arrival()
        await eventually(lambda: session.is_silent)
        for _ in range(10):
            await client.notify("notifications/roots/list_changed")
            await trio.sleep(0.1)
        assert session.is_silent
        assert not session.closed


@EACH_PATH
async def test_a_client_that_may_still_work_on_a_cancelled_turn_is_asked(way: str) -> None:
    """Long before it would be for its silence; one that answers gets the next turn as if nothing had been."""
    async with running_relay(timing=Timing(ping_timeout=0.1)) as relay, client_by_hand(relay, way) as (client, stream):
        session = await relay.arrival()
        for answers in (True, False):
            with trio.move_on_after(0.1):
                await relay.ask("Think about it.")
            ping = await stream.next_message("ping")
            if answers:
                await pong(client, ping)
            else:
                await eventually(lambda: session.is_silent)
        assert relay.presence.newest("anna") is None


@EACH_PATH
async def test_a_turn_in_hand_is_not_taken_away(way: str) -> None:
    """A client that works on a turn owes nothing, however long it takes, and its answer is heard."""
    async with running_relay(timing=QUICK) as relay, client_by_hand(relay, way) as (client, stream):
        session = await relay.arrival()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(relay.ask, "Hello?")
            request = await stream.next_message("sampling/createMessage")
            await trio.sleep(0.6)
            assert not session.is_silent
            await client.say(request, "Good morning.")


@EACH_PATH
async def test_a_silent_client_that_hangs_up_is_gone_at_once(way: str) -> None:
    """That it was slow says nothing any more when its connection ends."""
    async with running_relay(timing=QUICK) as relay:
        async with client_by_hand(relay, way):
            session = await relay.arrival()
            await eventually(lambda: session.is_silent)
        await eventually(lambda: not session.reachable)


@EACH_PATH
async def test_another_client_gets_the_turns_meanwhile(way: str) -> None:
    """A silent client is passed over, and gets them again when it is back."""
    async with running_relay(timing=QUICK) as relay, client_by_hand(relay, way) as (_client, _stream):
        slow = await relay.arrival()
        await eventually(lambda: slow.is_silent)
        async with start_client(PYTHON_2, *relay.address("sse")):
            assert (await _asked(relay)) == "You said: Hello?"
        assert not slow.closed


async def _asked(relay: RunningRelay) -> str:
    await eventually(lambda: relay.presence.newest("anna") is not None)
    return (await relay.ask("Hello?")).text


@EACH_PATH
@each_client(PYTHON_1)
async def test_a_stock_client_whose_model_takes_long(way: str, stock: StockClient) -> None:
    """It reads nothing until its model is done; then it is back in its session, and fetches what was left."""
    async with running_relay(timing=QUICK) as relay, start_client(stock, *relay.address(way), "--think=3") as client:
        session = await relay.arrival()
        with trio.move_on_after(0.3):
            await relay.ask("Please call me back.")
        left = await relay.leave("anna")
        await eventually(lambda: session.is_silent)
        with pytest.raises(ClientAbsent):
            await relay.ask("Anybody?")
        await eventually(lambda: is_reached(relay, session))
        await client.call("comms_get_waiting_messages")
        fetched = (await client.next("tool"))["result"]["messages"]
        assert [each["id"] for each in fetched] == [left.id]
        assert relay.sessions.of_agent("anna") == (session,)


@EACH_PATH
@each_client(PYTHON_1)
async def test_a_stock_client_that_is_killed_while_it_is_slow(way: str, stock: StockClient) -> None:
    """The end of its connection ends what was waited for at once, as with any other client."""
    async with running_relay(timing=QUICK) as relay, start_client(stock, *relay.address(way), "--think=60") as client:
        session = await relay.arrival()
        with trio.move_on_after(0.3):
            await relay.ask("Hello?")
        await eventually(lambda: session.is_silent)
        client.kill()
        await eventually(lambda: not session.reachable)
