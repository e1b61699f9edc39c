"""The carrier's end of a WebSocket, against a real server, and against peers that misbehave."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
import wsproto
from wsproto.events import AcceptConnection, CloseConnection, Event, Ping, Pong, Request, TextMessage

from relay.http.listener import ListenerOptions, serve
from relay.simulator.carrier import websocket
from relay.simulator.carrier.websocket import WebSocketClosed, WebSocketRefused, open_websocket
from tests.limits import HANGING

App = Callable[[Any, Any, Any], Awaitable[None]]
Serve = Callable[[trio.SocketStream], Awaitable[None]]


@asynccontextmanager
async def served(app: App, **limits: Any) -> AsyncIterator[str]:
    """Serve an app and yield its `ws` URL; all within 10 seconds."""
    stop = trio.Event()
    with trio.fail_after(HANGING):
        async with trio.open_nursery() as nursery:
            options = ListenerOptions(**{"grace": 0.1, **limits})
            run = partial(serve, app, options, host="127.0.0.1", port=0, stop=stop)
            _host, port = await nursery.start(run)
            yield f"ws://127.0.0.1:{port}/path"
            stop.set()


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Send back what comes; close with the number when it is one."""
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] != "websocket.disconnect":
        if (event["text"] or "").isdigit():
            await send({"type": "websocket.close", "code": int(event["text"]), "reason": "asked to"})
            return
        await send({"type": "websocket.send", "text": event["text"], "bytes": event["bytes"]})


@asynccontextmanager
async def listening(serve_one: Serve, scheme: str = "ws") -> AsyncIterator[str]:
    """Give every TCP connection to a function, and yield the URL."""
    with trio.fail_after(HANGING):
        async with trio.open_nursery() as nursery:
            (listener,) = await nursery.start(partial(trio.serve_tcp, serve_one, 0, host="127.0.0.1"))
            yield f"{scheme}://127.0.0.1:{listener.socket.getsockname()[1]}/"
            nursery.cancel_scope.cancel()


class Peer:
    """A server's end of a WebSocket that does what it is told, and nothing by itself."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.protocol = wsproto.WSConnection(wsproto.ConnectionType.SERVER)

    async def send(self, *events: Event) -> None:
        """Send these in one go."""
        await self.stream.send_all(b"".join(self.protocol.send(event) for event in events))

    async def wait_for(self, kind: type[Event]) -> None:
        """Read until the client sends one of a kind."""
        while data := await self.stream.receive_some():
            self.protocol.receive_data(bytes(data))
            if any(isinstance(event, kind) for event in self.protocol.events()):
                return
        raise AssertionError(f"the client left without a {kind.__name__}")

    async def accept(self) -> None:
        """Take the upgrade."""
        await self.wait_for(Request)
        await self.send(AcceptConnection())

    async def wait_left(self) -> None:
        """Wait until the client has closed its socket."""
        while await self.stream.receive_some():
            pass


async def stay(left: trio.Event, stream: trio.SocketStream) -> None:
    """Take the upgrade, send nothing, not even an answer to a Close frame, and tell when the client has left."""
    peer = Peer(stream)
    await peer.accept()
    await peer.wait_left()
    left.set()


async def test_messages_both_ways() -> None:
    """Text and bytes, empty and long ones, come back as they were."""
    async with served(echo) as url, open_websocket(url) as socket:
        for message in ("hello", "", b"\x00\xff", b"", "ü" * 30_000):
            await socket.send(message)
            assert await socket.receive() == message


async def test_headers_and_path_reach_the_server() -> None:
    """The upgrade carries the path, the query and the headers that were given."""
    seen: dict[str, Any] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.update(scope, headers=list(scope["headers"]))  # which the listener drops when the upgrade is accepted
        await echo(scope, receive, send)

    async with served(app) as url, open_websocket(url + "?a=b", headers=[("X-Test", "yes")]):
        pass
    assert (seen["path"], seen["query_string"]) == ("/path", b"a=b")
    assert (b"x-test", b"yes") in seen["headers"]


async def test_another_door() -> None:
    """With `via` the connection goes elsewhere, while the request names the URL's own host."""
    hosts: list[bytes] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        hosts.append(dict(scope["headers"])[b"host"])
        await echo(scope, receive, send)

    async with served(app) as url:
        door = url.replace("ws://", "http://").removesuffix("/path")
        async with open_websocket("wss://relay.example.com/path", via=door) as socket:
            await socket.send("x")
            assert await socket.receive() == "x"
    assert hosts == [b"relay.example.com"]


async def test_the_peers_close_code() -> None:
    """A close by the server is told with its code and reason, again and again."""
    async with served(echo) as url, open_websocket(url) as socket:
        await socket.send("4001")
        for _ in range(2):
            with pytest.raises(WebSocketClosed) as closed:
                await socket.receive()
            assert (closed.value.code, closed.value.reason) == (4001, "asked to")
        with pytest.raises(WebSocketClosed):
            await socket.send("too late")


async def test_our_close_is_answered() -> None:
    """After our Close frame the server's answer ends the receiving, with the same code."""
    async with served(echo) as url, open_websocket(url) as socket:
        await socket.send("x")  # a round trip, because Hypercorn's first ping comes with the upgrade
        assert await socket.receive() == "x"
        await socket.close(1000, "bye")
        await socket.close()
        with pytest.raises(WebSocketClosed) as closed:
            await socket.receive()
        assert closed.value.code == 1000


async def test_our_close_waits_for_the_answer() -> None:
    """A task that is receiving while another one closes learns the code that the peer answers with."""

    async def answer_with_another_code(stream: trio.SocketStream) -> None:
        peer = Peer(stream)
        await peer.accept()
        await peer.wait_for(CloseConnection)
        await trio.testing.wait_all_tasks_blocked()
        await peer.send(CloseConnection(1011, "I crashed"))
        await peer.wait_left()

    async with (
        listening(answer_with_another_code) as url,
        open_websocket(url) as socket,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(socket.close)
        with pytest.raises(WebSocketClosed) as closed:
            await socket.receive()
        assert (closed.value.code, closed.value.reason) == (1011, "I crashed")


async def test_a_ping_while_closing() -> None:
    """A ping that comes after our Close frame ends the connection as if it was lost, and does no other harm."""

    async def ping_while_closing(stream: trio.SocketStream) -> None:
        peer = Peer(stream)
        await peer.accept()
        await peer.wait_for(CloseConnection)
        await stream.send_all(b"\x89\x00")  # which wsproto sends no longer
        await peer.wait_left()

    async with listening(ping_while_closing) as url, open_websocket(url) as socket:
        await socket.close()
        with pytest.raises(WebSocketClosed) as closed:
            await socket.receive()
        assert closed.value.code == 1006


async def test_a_close_that_is_not_answered() -> None:
    """A peer that hangs up at our Close frame without one of its own has not closed with any code."""

    async def hang_up(stream: trio.SocketStream) -> None:
        peer = Peer(stream)
        await peer.accept()
        await peer.wait_for(CloseConnection)

    async with listening(hang_up) as url, open_websocket(url) as socket:
        await socket.close()
        with pytest.raises(WebSocketClosed) as closed:
            await socket.receive()
        assert closed.value.code == 1006


async def test_a_close_that_is_given_up() -> None:
    """Cancelling the wait for the peer's Close frame cuts the connection, and what comes after knows it."""
    left = trio.Event()
    async with listening(partial(stay, left)) as url, open_websocket(url) as socket:
        with trio.move_on_after(0.01):
            await socket.close()
        await left.wait()
        with pytest.raises(WebSocketClosed) as closed:
            await socket.receive()
        assert closed.value.code == 1006
        await socket.break_off()


async def test_a_peer_that_closes_and_stays() -> None:
    """The socket of a connection that the peer closed is closed at the end of the block, if not by the peer."""
    left = trio.Event()

    async def close_and_stay(stream: trio.SocketStream) -> None:
        peer = Peer(stream)
        await peer.accept()
        await peer.send(TextMessage("bye"), CloseConnection(1001))
        await peer.wait_left()
        left.set()

    async with listening(close_and_stay) as url:
        async with open_websocket(url) as socket:
            assert await socket.receive() == "bye"
            with pytest.raises(WebSocketClosed) as closed:
                await socket.receive()
            assert closed.value.code == 1001
            await socket.close()
            assert not left.is_set()
        await left.wait()


async def test_nobody_receives() -> None:
    """Pings are answered behind messages that nobody has received yet, and no message is lost, however many come."""
    many = websocket.UNREAD_MESSAGES
    answered = trio.Event()

    async def talk(stream: trio.SocketStream) -> None:
        peer = Peer(stream)
        await peer.accept()
        await peer.send(*(TextMessage(str(number)) for number in range(many)), Ping(b"there?"))
        await peer.wait_for(Pong)
        answered.set()
        await peer.send(*(TextMessage(str(number)) for number in range(many, 2 * many)))
        await peer.wait_left()

    async with listening(talk) as url, open_websocket(url) as socket:
        await answered.wait()
        assert [await socket.receive() for _ in range(2 * many)] == [str(number) for number in range(2 * many)]


async def test_an_error_in_the_block() -> None:
    """What the block raises comes out as it is, and the socket is closed."""
    left = trio.Event()
    async with listening(partial(stay, left)) as url:
        with pytest.raises(KeyError):
            async with open_websocket(url):
                raise KeyError
        await left.wait()


async def test_cancelling() -> None:
    """A block that is cancelled closes the socket."""
    left = trio.Event()
    async with listening(partial(stay, left)) as url:
        with trio.CancelScope() as scope:
            async with open_websocket(url) as socket:
                scope.cancel()
                await socket.receive()
        assert scope.cancelled_caught
        await left.wait()


async def test_a_lost_connection() -> None:
    """A connection that was broken off ends both sides: here with 1006, there with a disconnect."""
    left = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await echo(scope, receive, send)
        left.set()

    async with served(app) as url, open_websocket(url) as socket:
        await socket.break_off()
        with pytest.raises(WebSocketClosed) as closed:
            await socket.receive()
        assert closed.value.code == 1006
        await left.wait()


async def test_a_message_that_is_too_big(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message above the limit ends the receiving."""
    monkeypatch.setattr(websocket, "MAX_MESSAGE", 1000)
    async with served(echo) as url, open_websocket(url) as socket:
        await socket.send("x" * 1001)
        with pytest.raises(WebSocketClosed) as closed:
            await socket.receive()
        assert closed.value.code == 1009


async def test_a_cancelled_receive_loses_nothing() -> None:
    """A message that comes after a cancelled wait is received by the next one."""
    async with served(echo) as url, open_websocket(url) as socket:
        with trio.move_on_after(0.01):
            await socket.receive()
        await socket.send("one")
        assert await socket.receive() == "one"


async def test_a_refusal_with_a_reason() -> None:
    """A refused upgrade raises with the HTTP status."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.http.response.start", "status": 403, "headers": [(b"content-length", b"2")]})
        await send({"type": "websocket.http.response.body", "body": b"no"})

    async with served(app) as url:
        with pytest.raises(WebSocketRefused, match="no") as refused:
            async with open_websocket(url):
                pass
        assert refused.value.status == 403


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nsh",
        b"HTTP/1.1 101 Fine\r\n\r\n",
    ],
)
async def test_a_peer_that_does_not_speak_it(answer: bytes) -> None:
    """A peer that hangs up, speaks something else or stops in the middle is a refusal, never a hang."""

    async def other(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(answer)

    async with listening(other) as url:
        with pytest.raises(WebSocketRefused, match="no usable answer") as refused:
            async with open_websocket(url):
                pass
        assert refused.value.status == 0


async def test_a_peer_without_tls() -> None:
    """A peer that does not speak TLS where it should is a refusal."""

    async def other(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with listening(other, "wss") as url:
        with pytest.raises(WebSocketRefused, match="no TLS"):
            async with open_websocket(url):
                pass


async def test_a_peer_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that takes the connection and says nothing is a refusal when the time is up."""
    monkeypatch.setattr(websocket, "OPEN_TIMEOUT", 0.05)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        with pytest.raises(WebSocketRefused, match="within"):
            async with open_websocket(f"ws://127.0.0.1:{listener.socket.getsockname()[1]}/"):
                pass


async def test_nobody_listens() -> None:
    """An address where nobody listens is a refusal."""
    with pytest.raises(WebSocketRefused, match="cannot connect"):
        async with open_websocket("ws://127.0.0.1:1/"):
            pass
