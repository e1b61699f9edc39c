"""A WebSocket that another node serves is as good as one that is served here, whatever either side does."""

from __future__ import annotations

import gc
import socket
import struct
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import attrs
import pytest
import trio

from relay.cluster.forwarding import Outcome
from relay.http.asgi import HOP, refuse_upgrade
from relay.simulator.carrier.websocket import WebSocket, WebSocketClosed, open_websocket
from tests.hostile_inputs import (
    MALFORMED_FRAMES,
    RAW_INPUTS,
    HostileInput,
    MalformedFrame,
    Upgrade,
    throw,
    upgrade_request,
)
from tests.http1_peer import peer
from tests.relay.cluster.hop import Hop, hop_to, node_of, scripted_node

ACCEPTED = b"HTTP/1.1 101 \r\nupgrade: websocket\r\nconnection: Upgrade\r\n\r\n"


@attrs.define(eq=False)
class Echo:
    """Echoes text on `/`, closes with 4001 on `/close`, refuses on `/refuse`, sends without end on `/flood`."""

    scopes: list[Any] = attrs.field(factory=list)
    left: trio.Event = attrs.field(factory=trio.Event)
    flooded: int = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append({**scope, "headers": list(scope["headers"])})
        if scope["path"] == "/refuse":
            await refuse_upgrade(scope, send, 403, b'{"error": "no"}')
            return
        await receive()
        await send({"type": "websocket.accept", "subprotocol": "b" if "b" in scope["subprotocols"] else None})
        try:
            while scope["path"] == "/flood" and self.flooded < 1 << 30:
                await send({"type": "websocket.send", "text": "x" * 60_000})
                self.flooded += 60_000
            while (event := await receive())["type"] != "websocket.disconnect":
                if scope["path"] == "/close":
                    await send({"type": "websocket.close", "code": 4001, "reason": "done"})
                await send({"type": "websocket.send", "text": event["text"], "bytes": event["bytes"]})
        finally:
            self.left.set()


@attrs.frozen
class Through:
    """A socket's way through a hop."""

    hop: Hop
    home: Echo

    @asynccontextmanager
    async def caller(self, path: str = "/", **headers: str) -> AsyncIterator[WebSocket]:
        """Open a WebSocket to the home, through the hop."""
        url = f"ws://{self.hop.host}:{self.hop.port}{path}"
        async with open_websocket(url, headers=list(headers.items())) as connection:
            yield connection


@asynccontextmanager
async def through(limits: dict[str, Any] | None = None, **entry: Any) -> AsyncIterator[Through]:
    home = Echo()
    async with node_of(home, **limits or {}) as url, hop_to(url, limits=limits, **entry) as hop:
        yield Through(hop, home)


async def echoes(connection: WebSocket, text: str = "are you there?") -> bool:
    await connection.send(text)
    return await connection.receive() == text


async def test_frames_go_both_ways() -> None:
    """Text of any size comes back as it was sent, and the home sees the upgrade as it was asked for."""
    async with through() as way, way.caller("/n/b/voice-ws?a=%20b", X_Twilio_Signature="a+b/c=") as caller:
        for size in (0, 1, 1000, 60_000):
            assert await echoes(caller, "x" * size)
        (scope,) = way.home.scopes
        assert (scope["raw_path"], scope["query_string"]) == (b"/n/b/voice-ws", b"a=%20b")
        headers = dict(scope["headers"])
        assert (headers[b"x_twilio_signature"], headers[HOP]) == (b"a+b/c=", b"entry")


async def test_a_refusal_comes_through() -> None:
    """An upgrade that the home refuses is refused with its status and body."""
    async with through() as way, peer(way.hop.host, way.hop.port) as asker:
        await asker.send(upgrade_request(b"/refuse", Upgrade(), {}))
        answer = await asker.answer()
        assert (answer.status, answer.body) == (403, b'{"error": "no"}')
        await way.hop.entry.has_become(Outcome.ANSWERED)


async def test_a_close_comes_through() -> None:
    """Code and reason of either side's Close reach the other one, and both connections end."""
    async with through() as way:
        async with way.caller("/close") as caller:
            await caller.send("close")
            with pytest.raises(WebSocketClosed) as closed:
                await caller.receive()
            assert closed.value.code == 4001
        with trio.fail_after(10):
            await way.home.left.wait()
            await way.hop.entry.has_become(Outcome.ANSWERED)


async def test_the_home_learns_at_once_that_the_caller_is_gone() -> None:
    """A connection that breaks on one side is closed on the other."""
    async with through() as way:
        async with peer(way.hop.host, way.hop.port) as asker:
            await asker.send(upgrade_request(b"/", Upgrade(), {}))
            assert (await asker.stream.receive_some()).startswith(b"HTTP/1.1 101")
            asker.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await trio.aclose_forcefully(asker.stream)
        with trio.fail_after(10):
            await way.home.left.wait()
            await way.hop.entry.has_become(Outcome.ANSWERED)


async def test_the_caller_learns_at_once_that_the_home_is_gone() -> None:
    """When the node is gone, so is what it served."""

    async def die(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(ACCEPTED + b"\x81\x02hi")
        await stream.receive_some()

    async with scripted_node(die) as url, hop_to(url) as hop, peer(hop.host, hop.port) as asker:
        await asker.send(upgrade_request(b"/", Upgrade(), {}))
        seen = b""
        while not seen.endswith(b"hi"):  # what came with the answer to the upgrade is not lost
            seen += bytes(await asker.stream.receive_some())
        await asker.send(b"\x81\x80\0\0\0\0")
        with trio.fail_after(10):
            assert not await asker.stream.receive_some()


async def test_a_half_that_is_ended_is_ended_towards_the_other() -> None:
    """After one side's end the other may still say something, and is heard."""
    ended = trio.Event()

    async def last_word(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(ACCEPTED)
        while await stream.receive_some():
            pass
        ended.set()
        await stream.send_all(b"bye")

    async with scripted_node(last_word) as url, hop_to(url) as hop, peer(hop.host, hop.port) as asker:
        await asker.send(upgrade_request(b"/", Upgrade(), {}))
        assert (await asker.stream.receive_some()).startswith(b"HTTP/1.1 101")
        await asker.stream.send_eof()
        await ended.wait()
        assert await asker.stream.receive_some() == b"bye"
        assert not await asker.stream.receive_some()


async def test_who_does_not_read_stops_who_sends() -> None:
    """Nothing piles up in between: the home sends no more than the sockets hold, and memory stays as it is."""
    async with through({"peer_patience": 60}) as way, peer(way.hop.host, way.hop.port) as asker:
        asker.stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        await asker.send(upgrade_request(b"/flood", Upgrade(), {}))
        await trio.sleep(0.5)
        before = way.home.flooded
        tracemalloc.start()
        await trio.sleep(0.3)
        assert way.home.flooded == before
        for _ in range(200):
            await asker.stream.receive_some(65_536)
        gc.collect()
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert way.home.flooded > before
        assert most < 2_000_000


async def test_who_does_not_read_for_long_is_dropped() -> None:
    """A caller that takes nothing for the patience of the listener loses its socket, and the home its caller."""
    async with through({"peer_patience": 0.5}) as way, peer(way.hop.host, way.hop.port) as asker:
        await asker.send(upgrade_request(b"/flood", Upgrade(), {}))
        with trio.fail_after(10):
            await way.home.left.wait()


async def test_many_sockets_at_once_and_none_is_left() -> None:
    """Each is served, and when all have ended nothing of them is left."""
    async with through() as way:

        async def speak() -> None:
            async with way.caller() as caller:
                for _ in range(5):
                    assert await echoes(caller)

        tasks = trio.lowlevel.current_statistics().tasks_living
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(speak)
        with trio.fail_after(10):
            while trio.lowlevel.current_statistics().tasks_living > tasks:  # noqa: ASYNC110 - of other tasks' ends
                await trio.sleep(0.01)
        assert way.hop.entry.outcomes == [Outcome.ANSWERED] * 50


async def test_a_stop_of_the_listener_ends_what_passes_through() -> None:
    """A node that stops closes its tunnels when the time of grace is over, and the home learns it."""
    home, stop = Echo(), trio.Event()
    async with node_of(home) as url, hop_to(url) as hop:
        async with open_websocket(f"ws://{hop.host}:{hop.port}/") as caller:
            assert await echoes(caller)
            hop.stop.set()
            with trio.fail_after(10), suppress(WebSocketClosed):
                await caller.receive()
            await home.left.wait()
        assert not stop.is_set()


@pytest.mark.parametrize("hostile", RAW_INPUTS, ids=lambda hostile: hostile.name)
async def test_no_input_harms_another_socket(hostile: HostileInput) -> None:
    """Whatever one peer sends, another socket that passes through goes on, and new ones are taken."""
    async with through() as way, way.caller() as other:
        attacker = await throw(hostile, way.hop.host, way.hop.port)
        assert await echoes(other)
        assert await echoes(other)
        await trio.aclose_forcefully(attacker)
        assert await echoes(other)
        async with way.caller() as next_one:
            assert await echoes(next_one)


@pytest.mark.parametrize("frame", MALFORMED_FRAMES[::5], ids=lambda frame: frame.name)
async def test_no_message_harms_another_socket(frame: MalformedFrame) -> None:
    """Whatever message one peer sends, another socket goes on."""
    async with through() as way, way.caller() as other, way.caller() as attacker:
        with suppress(WebSocketClosed):
            await attacker.send(frame.payload)
        assert await echoes(other)


# ── nodes that do not answer ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        (b"", Outcome.LOST),
        (b"HTTP/1.1 101 Switching\r\nupgr", Outcome.LOST),
        (b"no HTTP\r\n\r\n", Outcome.LOST),
        (b"HTTP/1.1 421 \r\nrelay-hop: b\r\ncontent-length: 0\r\n\r\n", Outcome.MISDIRECTED),
    ],
)
async def test_what_is_no_answer_to_an_upgrade(said: bytes, outcome: Outcome) -> None:
    """Where the node breaks, or is not the home, nothing was said to who asks, and another node can be asked."""

    async def say(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(said)

    async with scripted_node(say) as url, hop_to(url) as hop, peer(hop.host, hop.port) as asker:
        await asker.send(upgrade_request(b"/", Upgrade(), {}))
        await hop.entry.has_become(outcome)
        assert (await asker.answer()).status == 500  # this test's entry asks nobody else


async def test_a_home_that_is_not_there() -> None:
    """Where nobody listens the upgrade was not sent."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with hop_to(f"http://127.0.0.1:{unused.getsockname()[1]}") as hop, peer(hop.host, hop.port) as asker:
            await asker.send(upgrade_request(b"/", Upgrade(), {}))
            await hop.entry.has_become(Outcome.REFUSED)
