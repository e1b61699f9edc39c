"""A stream says where to post, shows signs of life, and ends when its client does."""

from __future__ import annotations

import socket

import pytest
import trio

from actors.errors import ClientLeft
from relay.mcp.transports.event_stream import Timing
from tests.relay.mcp.mcp_relay import RunningRelay, eventually, raw_client, running_relay


async def test_stream_opens_with_the_address_for_posts(relay: RunningRelay) -> None:
    """The first event names the endpoint and the client; no proxy may store or collect the stream."""
    async with raw_client(relay) as client:
        first = client.events[0]
        headers = client.response.headers
    assert first["event"] == "endpoint"
    assert first["data"].startswith("/messages?session_id=")
    assert first["id"]
    assert first["retry"] == "1000"
    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert headers["cache-control"] == "no-store"
    assert headers["x-accel-buffering"] == "no"


async def test_idle_stream_carries_comments() -> None:
    """A stream that is silent for a while shows that its path is alive."""
    async with running_relay(timing=Timing(comment_interval=0.02)) as relay, raw_client(relay) as client:
        assert await client.next_event() == {"comment": "still here"}
        assert await client.next_event() == {"comment": "still here"}


async def test_session_without_a_handshake_is_closed() -> None:
    """Who opens a stream and does not become ready does not keep it."""
    timing = Timing(reconnect_patience=0.01, handshake_timeout=0.05)
    async with running_relay(timing=timing) as relay, raw_client(relay) as client:
        await client.ended.wait()
        await relay.departure()


async def test_error_in_one_session_ends_that_session_only(relay: RunningRelay) -> None:
    """A mistake of ours in one stream is logged and ends it; the others go on."""
    await relay.leave("anna")
    relay.file.execute("UPDATE messages SET direction = 'sideways'")
    async with raw_client(relay, "bert") as client, raw_client(relay) as broken:
        await broken.shake_hands()
        await broken.ended.wait()
        assert "result" in await client.request("ping")
        await eventually(lambda: len(relay.app) == 1)


async def test_client_that_answers_no_ping_is_closed() -> None:
    """A client that reads but has gone mute for long is given up without a turn being lost on it."""
    timing = Timing(ping_interval=0.05, ping_timeout=0.1, silence_timeout=0.2)
    async with running_relay(timing=timing) as relay, raw_client(relay) as client:
        await client.shake_hands()
        await client.next_message("ping")
        await client.ended.wait()
        await relay.departure()


async def test_client_that_answers_pings_stays() -> None:
    """A sign of life, an error too, is enough to stay."""
    timing = Timing(ping_interval=0.02, ping_timeout=5)
    async with running_relay(timing=timing) as relay, raw_client(relay) as client:
        await client.shake_hands()
        for _ in range(3):
            ping = await client.next_message("ping")
            await client.post({"jsonrpc": "2.0", "id": ping["id"], "error": {"code": -32601, "message": "what?"}})
        assert not client.ended.is_set()


async def test_client_with_a_turn_in_hand_is_not_pinged() -> None:
    """A client that handles one request at a time is not taken for mute while it thinks, nor after a cancelled turn."""
    timing = Timing(ping_interval=0.02, ping_timeout=0.02)
    async with running_relay(timing=timing) as relay, raw_client(relay) as client:
        await client.shake_hands()
        session = await relay.arrival()
        with trio.move_on_after(0.1):
            await relay.ask("Think about it.")
        assert session.busy
        await client.next_message("notifications/cancelled")
        with trio.move_on_after(0.1) as quiet:
            await client.ended.wait()
        assert quiet.cancelled_caught
        assert [each for each in client.events if '"ping"' in each.get("data", "")] == []
        await client.notify("notifications/roots/list_changed")  # it is heard of: pinged again from now on
        await client.next_message("ping")


async def test_hang_up_ends_the_session_at_once(relay: RunningRelay) -> None:
    """A stream that the client closes is a session less, and its turn fails."""
    async with trio.open_nursery() as nursery:
        async with raw_client(relay) as client:
            await client.shake_hands()
            await relay.arrival()

            async def ask() -> None:
                with pytest.raises(ClientLeft):
                    await relay.ask("Hello?")

            nursery.start_soon(ask)
            await client.next_message("sampling/createMessage")
        await relay.departure()


async def test_reader_that_stops_is_dropped_and_others_are_served() -> None:
    """A peer that does not read loses its own session, after bounded memory, and another's turn is not held up."""
    async with running_relay(peer_patience=1.0) as relay, raw_client(relay, "bert") as other:
        await other.shake_hands()
        await relay.arrival(1, "bert")
        host, port = relay.origin.removeprefix("http://").split(":")
        with trio.socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await deaf.connect((host, int(port)))
            await deaf.send(b"GET /sse?token=token-anna HTTP/1.1\r\nhost: x\r\n\r\n")
            await eventually(lambda: len(relay.sessions.of_agent("anna")) == 1)
            session = relay.sessions.of_agent("anna")[0]
            for _ in range(100):
                if session.closed:
                    break
                await session.connection.notify("notifications/message", {"level": "info", "data": "x" * 100_000})
                await trio.lowlevel.checkpoint()
            assert session.closed
            assert session.outbox.size == 0
            async with trio.open_nursery() as nursery:
                nursery.start_soon(relay.ask, "Can you hear me?", "bert")
                await other.say(await other.next_message("sampling/createMessage"), "Yes.")
            await relay.departure(0, "anna")
