"""A WebSocket of the server: which messages an app gets, which codes and answers the peer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import pytest
import trio

from relay.http.asgi import Message, Receive, Send
from relay.http.listener import ListenerOptions, serve
from tests.hostile_inputs import BINARY, CLOSE, PING, TEXT, Upgrade, client_frame, upgrade_request
from tests.limits import HANGING

CONTINUATION, PONG = 0x0, 0xA
App = Callable[[Any, Receive, Send], Awaitable[None]]


@attrs.define(eq=False)
class Peer:
    """The peer's end of a socket, frame by frame."""

    stream: trio.SocketStream
    _unread: bytes = b""

    async def send(self, *frames: bytes) -> None:
        """Send these frames in one go."""
        await self.stream.send_all(b"".join(frames))

    async def upgrade(self, step: Upgrade | None = None) -> bytes:
        """Ask for the socket, and return the head of the answer."""
        await self.stream.send_all(upgrade_request(b"/", step or Upgrade(), {}))
        while b"\r\n\r\n" not in self._unread:
            self._unread += await self._receive()
        answer, _, self._unread = self._unread.partition(b"\r\n\r\n")
        return answer

    async def frame(self) -> tuple[int, bytes] | None:
        """Return the opcode and the payload of the next short frame; None at the end of the stream."""
        while len(self._unread) < 2 or len(self._unread) < 2 + self._unread[1]:
            data = await self._receive()
            if not data:
                assert not self._unread
                return None
            self._unread += data
        size = 2 + self._unread[1]
        frame, self._unread = self._unread[:size], self._unread[size:]
        return frame[0] & 0xF, frame[2:]

    async def rest(self) -> bytes:
        """Return what comes until the end."""
        while data := await self._receive():
            self._unread += data
        return self._unread

    async def _receive(self) -> bytes:
        try:
            return bytes(await self.stream.receive_some())
        except trio.BrokenResourceError:
            return b""


@asynccontextmanager
async def serving(app: App, **limits: Any) -> AsyncIterator[Peer]:
    """Serve an app, and connect to it."""
    stop = trio.Event()
    with trio.fail_after(HANGING):
        async with trio.open_nursery() as nursery:
            run = partial(serve, app, ListenerOptions(**{"grace": 0.2, **limits}), host="127.0.0.1", port=0, stop=stop)
            async with await trio.open_tcp_stream(*(await nursery.start(run))) as stream:
                yield Peer(stream)
            stop.set()


def close_frame(code: int) -> bytes:
    return client_frame(CLOSE, code.to_bytes(2, "big"))


@attrs.define(eq=False)
class Listener:
    """An app that accepts, takes what comes, and is over after the first disconnect event."""

    heard: list[Message] = attrs.field(factory=list)
    over: trio.Event = attrs.field(factory=trio.Event)

    async def __call__(self, _scope: Any, receive: Receive, send: Send) -> None:
        self.heard.append(await receive())
        await send({"type": "websocket.accept"})
        while self.heard[-1]["type"] != "websocket.disconnect":
            self.heard.append(await receive())
        assert await receive() == self.heard[-1]
        await send({"type": "websocket.send", "text": "goes nowhere"})
        self.over.set()


async def test_messages_come_in_order_whole_and_of_their_kind() -> None:
    """Text and bytes, in one frame or several, pings in between answered, until the peer's own close code."""
    app = Listener()
    async with serving(app) as peer:
        assert (await peer.upgrade()).startswith(b"HTTP/1.1 101 ")
        await peer.send(
            client_frame(TEXT, "grüß".encode()),
            client_frame(BINARY, b"\xff"),
            client_frame(TEXT, "gr\u00fc".encode()[:3], fin=False),
            client_frame(PING, b"there?"),
            client_frame(CONTINUATION, b"", fin=False),
            client_frame(CONTINUATION, "\u00fc".encode()[1:] + b"!"),
            client_frame(TEXT),
            close_frame(4001),
            client_frame(TEXT, b"too late"),
        )
        assert await peer.frame() == (PONG, b"there?")
        assert await peer.frame() == (CLOSE, (4001).to_bytes(2, "big"))
        assert await peer.frame() is None
        await app.over.wait()
    assert app.heard == [
        {"type": "websocket.connect"},
        {"type": "websocket.receive", "text": "grüß", "bytes": None},
        {"type": "websocket.receive", "text": None, "bytes": b"\xff"},
        {"type": "websocket.receive", "text": "grü!", "bytes": None},
        {"type": "websocket.receive", "text": "", "bytes": None},
        {"type": "websocket.disconnect", "code": 4001},
    ]


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([client_frame(TEXT, b"\xff")], 1007),
        ([client_frame(TEXT, b"\xc3", fin=False), client_frame(CONTINUATION, b"")], 1007),
        ([client_frame(TEXT, b"hi", masked=False)], 1002),
        ([client_frame(TEXT, b"hi", reserved=4)], 1002),
        ([client_frame(CONTINUATION, b"hi")], 1002),
        ([client_frame(TEXT, b"hi", fin=False), client_frame(TEXT, b"hi")], 1002),
        ([client_frame(PING, b"x" * 126)], 1002),
        ([close_frame(1005)], 1002),
        ([client_frame(TEXT, b"x" * 1001)], 1009),
        ([client_frame(TEXT, b"x" * 600, fin=False), client_frame(CONTINUATION, b"x" * 600, fin=False)], 1009),
        ([client_frame(BINARY, length=1 << 62)], 1009),
    ],
)
async def test_fault_of_the_peer_closes_with_its_code_and_no_word(frames: list[bytes], code: int) -> None:
    """What is no frame, no text or too much ends the socket; the app gets the code too."""
    app = Listener()
    async with serving(app, max_message_bytes=1000) as peer:
        await peer.upgrade()
        await peer.send(*frames)
        assert await peer.frame() == (CLOSE, code.to_bytes(2, "big"))
        assert await peer.frame() is None
        await app.over.wait()
    assert app.heard[-1] == {"type": "websocket.disconnect", "code": code}


async def test_peer_that_leaves_without_a_word_is_1006() -> None:
    """The end of the stream is an end of the socket that nobody gave a code."""
    app = Listener()
    async with serving(app) as peer:
        await peer.upgrade()
        await peer.stream.send_eof()
        await app.over.wait()
    assert app.heard[-1] == {"type": "websocket.disconnect", "code": 1006}


async def test_close_without_a_code_is_1005() -> None:
    """A Close frame may be empty, and is answered by an empty one."""
    app = Listener()
    async with serving(app) as peer:
        await peer.upgrade()
        await peer.send(client_frame(CLOSE))
        assert await peer.frame() == (CLOSE, b"")
        await app.over.wait()
    assert app.heard[-1] == {"type": "websocket.disconnect", "code": 1005}


async def test_app_that_returns_without_closing_is_an_error_of_ours() -> None:
    """The peer sees 1011."""

    async def app(_scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})

    async with serving(app) as peer:
        await peer.upgrade()
        assert await peer.frame() == (CLOSE, (1011).to_bytes(2, "big"))


@pytest.mark.parametrize(
    ("messages", "status", "body"),
    [
        ([], 500, b""),
        ([{"type": "websocket.close", "code": 1008}], 403, b""),
        (
            [
                {"type": "websocket.http.response.start", "status": 404, "headers": [(b"x-why", b"none")]},
                {"type": "websocket.http.response.body", "body": b"no ", "more_body": True},
                {"type": "websocket.http.response.body", "body": b"socket"},
                {"type": "websocket.close"},
            ],
            404,
            b"no socket",
        ),
    ],
)
async def test_upgrade_can_be_refused(messages: list[Message], status: int, body: bytes) -> None:
    """By a status and a body, by a close, or by an app that says nothing; the connection closes behind it."""

    async def app(_scope: Any, receive: Receive, send: Send) -> None:
        assert (await receive())["type"] == "websocket.connect"
        for each in messages:
            await send(each)

    async with serving(app) as peer:
        head = await peer.upgrade()
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert b"connection: close" in head
        assert await peer.rest() == body


async def test_headers_are_kept_until_the_upgrade_is_accepted() -> None:
    """What asks for the socket is checked by them; for the length of a call nobody needs them."""
    kept: list[list[bytes]] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        kept.append([name for name, _value in scope["headers"]])
        await receive()
        await send({"type": "websocket.accept"})
        kept.append(scope["headers"])

    async with serving(app) as peer:
        assert b" 101 " in await peer.upgrade()
        assert await peer.frame() == (CLOSE, b"\x03\xf3")
    before, after = kept
    assert b"sec-websocket-key" in before
    assert after == []


@pytest.mark.parametrize(
    "step",
    [
        Upgrade({b"Sec-WebSocket-Key": None}),
        Upgrade({b"Sec-WebSocket-Key": b"c2hvcnQ="}),
        Upgrade({b"Sec-WebSocket-Key": b"\xff\xfe"}),
        Upgrade({b"Sec-WebSocket-Version": b"7"}),
        Upgrade({b"Sec-WebSocket-Version": None}),
        Upgrade({b"Content-Length": b"5"}),
        Upgrade(start=b"GET %s HTTP/1.0"),
        Upgrade(trailing=client_frame(TEXT, b"hi")),
    ],
)
async def test_upgrade_that_cannot_be_made_is_refused(step: Upgrade) -> None:
    """Without its key or version, with a body, or with frames before it was answered: 400, and the app is not asked."""

    async def app(_scope: Any, _receive: Receive, _send: Send) -> None:
        raise AssertionError

    async with serving(app) as peer:
        assert (await peer.upgrade(step)).startswith(b"HTTP/1.1 400 ")


async def test_frame_before_the_answer_is_refused() -> None:
    """An app that waits before it accepts learns that the socket is over."""

    async def app(_scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        assert (await receive())["type"] == "websocket.disconnect"
        await send({"type": "websocket.accept"})

    async with serving(app) as peer, trio.open_nursery() as nursery:

        async def hurry() -> None:
            await trio.sleep(0.05)
            await peer.send(client_frame(TEXT, b"hi"))

        nursery.start_soon(hurry)
        assert (await peer.upgrade()).startswith(b"HTTP/1.1 400 ")


async def test_quiet_peer_is_pinged() -> None:
    """Again and again, after each interval."""
    async with serving(Listener(), ping_interval=0.1) as peer:
        await peer.upgrade()
        assert [await peer.frame(), await peer.frame()] == [(PING, b"")] * 2


async def test_peer_is_answered_for_an_app_that_does_not_receive() -> None:
    """Pings and a Close are, and the messages are there when the app asks for them."""
    go_on, heard = trio.Event(), []

    async def app(_scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await go_on.wait()
        heard.extend([await receive(), await receive()])

    async with serving(app, linger=0.2) as peer:
        await peer.upgrade()
        await peer.send(client_frame(TEXT, b"hi"), client_frame(PING, b"there?"), close_frame(1000))
        assert await peer.frame() == (PONG, b"there?")
        assert await peer.frame() == (CLOSE, (1000).to_bytes(2, "big"))
        go_on.set()
        assert await peer.frame() is None
    assert [each.get("text", each.get("code")) for each in heard] == ["hi", 1000]
