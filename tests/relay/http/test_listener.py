"""The port keeps its connections apart: what one peer does, or one handler, no other notices."""

from __future__ import annotations

import gc
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from relay.http.connection import Connection
from relay.http.listener import ListenerOptions, ListenError, serve
from relay.simulator.carrier.websocket import WebSocket, WebSocketClosed, open_websocket
from tests.hostile_inputs import (
    MALFORMED_FRAMES,
    RAW_INPUTS,
    TEXT,
    AwaitAnswer,
    HostileInput,
    MalformedFrame,
    Send,
    Upgrade,
    client_frame,
    throw,
)
from tests.relay.http.tending import tended

PROMPTLY = 30.0
"""Seconds until a test is called hung: far more than any needs, and less than the kernel needs to drop a dead peer."""


@attrs.define
class EchoApp:
    """A raw ASGI app: echoes text on `/`, crashes on `/crash`, never reads on `/deaf`; counts those who are inside."""

    inside: int = 0
    left: trio.Event = attrs.field(factory=trio.Event)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.inside += 1
        try:
            if scope["type"] == "websocket":
                await self._speak(scope, receive, send)
            else:
                await self._answer(scope, send)
        finally:
            self.inside -= 1
            self.left.set()

    async def _answer(self, scope: Any, send: Any) -> None:
        if scope["path"] == "/crash":
            raise RuntimeError("this handler is broken")
        body = b"x" * 50_000_000 if scope["path"] == "/large" else b"ok"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})

    async def _speak(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        if scope["path"] == "/deaf":
            await trio.sleep_forever()
        while (event := await receive())["type"] != "websocket.disconnect":
            if scope["path"] == "/crash":
                raise RuntimeError("this handler is broken")
            await send({"type": "websocket.send", "text": event["text"], "bytes": event["bytes"]})


@attrs.define
class Served:
    """A listener that runs: its address, its app, and the event that stops it."""

    host: str
    port: int
    app: EchoApp
    stop: trio.Event

    @asynccontextmanager
    async def caller(self, path: str = "/") -> AsyncIterator[WebSocket]:
        """Open a WebSocket to the app."""
        async with open_websocket(f"ws://{self.host}:{self.port}{path}") as connection:
            yield connection


@asynccontextmanager
async def listening(host: str = "127.0.0.1", *, in_place: bool = True, **limits: Any) -> AsyncIterator[Served]:
    app, stop = EchoApp(), trio.Event()
    with trio.fail_after(PROMPTLY):
        async with trio.open_nursery() as nursery:
            run = partial(serve, app, ListenerOptions(**{"grace": 0.2, **limits}), host=host, port=0, stop=stop)
            address = await nursery.start(partial(run, runs_in_place=lambda _path: in_place))
            served = Served(address[0], address[1], app, stop)
            yield served
            stop.set()


async def echoes(connection: WebSocket, text: str = "are you there?") -> bool:
    """Say whether the app is still there, through a live WebSocket."""
    await connection.send(text)
    return await connection.receive() == text


async def get(served: Served, path: str) -> bytes:
    async with await trio.open_tcp_stream(served.host, served.port) as stream:
        await stream.send_all(b"GET " + path.encode() + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return b"".join([bytes(chunk) async for chunk in stream])


both_ways = pytest.mark.parametrize("in_place", [True, False], ids=["in place", "as a framework"])
"""Requests are served in the connection's task, or as those of a web framework; sockets always in it."""


@both_ways
@pytest.mark.parametrize("hostile", RAW_INPUTS, ids=lambda hostile: hostile.name)
async def test_no_input_harms_another_connection(hostile: HostileInput, *, in_place: bool) -> None:
    """Whatever one peer sends, a live connection goes on and new ones are taken, while it is there and when it left."""
    async with listening(in_place=in_place) as served, served.caller() as other:
        attacker = await throw(hostile, served.host, served.port)
        # The server has one loop: by the second answer it has read what the attacker sent before.
        assert await echoes(other)
        assert await echoes(other)
        await trio.aclose_forcefully(attacker)
        assert await echoes(other)
        assert (await get(served, "/")).endswith(b"ok")


@pytest.mark.parametrize("frame", MALFORMED_FRAMES, ids=lambda frame: frame.name)
async def test_no_message_harms_another_connection(frame: MalformedFrame) -> None:
    """Whatever message one peer sends, another connection goes on."""
    async with listening() as served, served.caller() as other, served.caller() as attacker:
        with suppress(WebSocketClosed):  # hanging up on it is a fine answer
            await attacker.send(frame.payload)
        assert await echoes(other)


async def test_a_crash_of_a_handler_closes_its_connection_only() -> None:
    """A handler that crashes closes its WebSocket with 1011; another one goes on."""
    async with listening() as served, served.caller() as other, served.caller("/crash") as victim:
        await victim.send("crash")
        with pytest.raises(WebSocketClosed) as closed:
            await victim.receive()
        assert closed.value.code == 1011
        assert await echoes(other)


@both_ways
async def test_a_crash_before_the_answer_is_a_500(*, in_place: bool) -> None:
    """A handler that crashes before it answers a request makes that request a 500."""
    async with listening(in_place=in_place) as served:
        assert b" 500 " in (await get(served, "/crash")).splitlines()[0]


@both_ways
async def test_a_peer_that_does_not_read_is_dropped(*, in_place: bool) -> None:
    """A peer that asks for more than it reads is cut off after the patience, and its handler ends."""
    async with listening(in_place=in_place, peer_patience=0.1, handler_patience=0.1) as served:
        stream = await trio.open_tcp_stream(served.host, served.port)
        await stream.send_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        await served.app.left.wait()
        await trio.aclose_forcefully(stream)


@both_ways
async def test_stop_finishes_in_spite_of_a_peer_that_does_not_read(*, in_place: bool) -> None:
    """Stopping finishes although a peer does not read what is being sent to it."""
    async with listening(in_place=in_place, peer_patience=0.1) as served:
        stream = await trio.open_tcp_stream(served.host, served.port)
        await stream.send_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await stream.receive_some(1)
    await trio.aclose_forcefully(stream)


async def test_a_message_that_is_too_big_ends_the_connection() -> None:
    """A message above the limit is answered with close code 1009, and the connection is not read any further."""
    async with listening(max_message_bytes=1000) as served:
        endless = HostileInput(
            "endless message", (Upgrade(), AwaitAnswer(), Send(client_frame(TEXT, b"x" * 2000, fin=False)))
        )
        stream = await throw(endless, served.host, served.port)
        rest = b"".join([bytes(chunk) async for chunk in stream])
        assert rest.endswith(b"\x88\x02" + (1009).to_bytes(2, "big"))
        await stream.aclose()
        await served.app.left.wait()


async def test_a_handler_that_does_not_notice_the_hang_up_is_cancelled() -> None:
    """A handler that outlives its peer is cancelled after the patience, although it never reads."""
    async with listening(handler_patience=0.1) as served:
        async with served.caller("/deaf"):
            assert served.app.inside == 1
        await served.app.left.wait()


async def test_a_fault_while_a_connection_is_looked_at_ends_that_one_only() -> None:
    """The one task that looks after all connections outlives what goes wrong with one of them."""
    looked_at: list[Connection] = []

    def fail_for_the_first(connection: Connection, _now: float) -> None:
        looked_at.append(connection)
        if connection is looked_at[0]:
            raise RuntimeError("this connection is broken")

    async with listening(linger=0.1) as served, served.caller() as victim:
        with tended(fail_for_the_first):
            with pytest.raises(WebSocketClosed):
                await victim.receive()
            async with served.caller() as other:
                before = len(looked_at)
                while len(looked_at) < before + 2:
                    assert await echoes(other)


async def test_nothing_is_left_of_connections_that_ended() -> None:
    """When a kept-alive connection and a WebSocket have ended, no task of theirs stays to wait for a timer."""
    async with listening() as served:
        before = count_tasks()
        async with await trio.open_tcp_stream(served.host, served.port) as kept_alive:
            await kept_alive.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await kept_alive.receive_some()
        async with served.caller() as connection:
            assert await echoes(connection)
            assert count_tasks() > before
        await wait_all_tasks_blocked(0.05)
        assert count_tasks() == before


def count_tasks() -> int:
    """Count all tasks that there are."""

    def below(task: trio.lowlevel.Task) -> int:
        return 1 + sum(below(child) for nursery in task.child_nurseries for child in nursery.child_tasks)

    root = trio.lowlevel.current_root_task()
    assert root is not None
    return below(root)


async def test_more_connections_than_the_limit_are_closed_at_once() -> None:
    """A connection above the limit is closed without an answer, and those inside go on."""
    async with listening(max_connections=1) as served, served.caller() as inside:
        async with await trio.open_tcp_stream(served.host, served.port) as refused:
            assert await refused.receive_some() == b""
        assert await echoes(inside)


async def test_a_connection_that_asks_nothing_is_closed() -> None:
    """A connection that sends no complete request in time is closed."""
    async with (
        listening(head_within=0.1) as served,
        await trio.open_tcp_stream(served.host, served.port) as silent,
    ):
        await silent.send_all(b"GET / HTTP/1.1\r\nHost:")
        assert await silent.receive_some() == b""


async def test_a_connection_that_has_asked_may_stay() -> None:
    """The time limit for the first request does not end a connection that is in use."""
    async with listening(head_within=0.1) as served, served.caller() as connection:
        await trio.sleep(0.2)
        assert await echoes(connection)


async def test_stop_ends_connections_after_the_grace() -> None:
    """A live connection still works after stop, is ended when the grace is over, and nobody new is let in."""
    async with listening(grace=0.3) as served, served.caller() as live:
        served.stop.set()
        assert await echoes(live)
        with pytest.raises(OSError, match="all attempts to connect"):
            await trio.open_tcp_stream(served.host, served.port)
        with pytest.raises(WebSocketClosed):
            await live.receive()


async def test_stop_does_not_wait_out_the_grace_for_nobody() -> None:
    """With only an idle connection left, stopping closes it and finishes at once."""
    async with listening(grace=1000) as served, await trio.open_tcp_stream(served.host, served.port) as idle:
        await idle.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while not answer.endswith(b"ok"):
            answer += bytes(await idle.receive_some())
        served.stop.set()
        assert await idle.receive_some() == b""


async def test_cancelling_ends_it_at_once() -> None:
    """Cancelling the listener ends its connections without grace."""
    with trio.move_on_after(PROMPTLY) as limit:
        async with listening(grace=1000) as served, served.caller() as connection:
            assert await echoes(connection)
            limit.cancel()
            await trio.sleep_forever()
    assert served.app.inside == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
async def test_it_reports_its_address(host: str) -> None:
    """With port 0 the address that was taken is reported, for IPv4, IPv6 and a name, and it answers there."""
    async with listening(host) as served:
        assert served.port > 0
        assert (await get(served, "/")).endswith(b"ok")


async def test_a_port_in_use_says_what_to_do() -> None:
    """Listening on a port that somebody has is an error for the operator, with the fix."""
    async with listening() as served:
        with pytest.raises(
            ListenError, match=rf"127\.0\.0\.1:{served.port}.*Stop the other program, or choose another port"
        ):
            await serve(served.app, ListenerOptions(), host="127.0.0.1", port=served.port, stop=served.stop)


@pytest.mark.parametrize(
    ("host", "advice"),
    [("no-such-host.invalid", "host name is not known"), ("192.0.2.1", "no such address")],
)
async def test_an_address_that_is_not_ours_says_what_to_do(host: str, advice: str) -> None:
    """A host that cannot be listened on is an error for the operator, with the fix."""
    with pytest.raises(ListenError, match=advice):
        await serve(EchoApp(), ListenerOptions(), host=host, port=0, stop=trio.Event())


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="this platform has no such option")
async def test_dead_peers_are_noticed_by_the_kernel() -> None:
    """Accepted sockets give up on a peer that acknowledges nothing for 6 seconds."""
    async with listening() as served, served.caller() as connection:
        assert await echoes(connection)
        here = [each for each in gc.get_objects() if type(each) is socket.socket and each.fileno() >= 0]
        ours = [each for each in here if each.getsockname()[:2] == (served.host, served.port)]
        assert len(ours) == 2  # the listening one, and the one that was accepted
        assert {each.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) for each in ours} == {6000}
