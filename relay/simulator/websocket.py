"""The carrier's end of a WebSocket: wsproto does the protocol, Trio the bytes.

trio-websocket was the alternative. As a client it raises out of its own reader when a ping arrives while it is closing,
leaves the socket open when the peer hung up first, and cannot break a connection off; a carrier that is to simulate
all ways in which a line ends needs each of these.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import attrs
import trio
import wsproto
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

MAX_MESSAGE = 1 << 20
"""Characters or bytes; what the relay sends is a sentence, so more is a fault of the relay's."""

OPEN_TIMEOUT = 10.0
"""Seconds; the carrier's own limit is not documented."""

ABNORMAL = 1006
"""What RFC 6455 (7.1.5) calls the code of a connection that ended without a Close frame."""


class WebSocketRefused(Exception):
    """The server did not take the upgrade; `status` is its HTTP status, or 0 when there was no usable answer."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class WebSocketClosed(Exception):
    """The connection is over; `code` is the peer's close code, 1006 when it sent none."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"closed with {code} {reason}".rstrip())
        self.code = code
        self.reason = reason


@attrs.define(eq=False)
class WebSocket:
    """An open WebSocket, client side. One task receives; any may send."""

    _stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]
    _protocol: wsproto.WSConnection
    _parts: list[str | bytes] = attrs.field(factory=list)
    _messages: deque[str | bytes] = attrs.field(factory=deque)
    _replies: bytearray = attrs.field(factory=bytearray)
    _end: WebSocketClosed | None = None
    _lock: trio.Lock = attrs.field(factory=trio.Lock)

    async def send(self, message: str | bytes) -> None:
        """Send one message, as text or binary by its type. Raises `WebSocketClosed`; cancelling may cut it off."""
        await self._send(TextMessage(message) if isinstance(message, str) else BytesMessage(message))

    async def receive(self) -> str | bytes:
        """Wait for the next message, answering pings meanwhile; cancelling loses nothing.

        Raises `WebSocketClosed` once the peer has closed or vanished, and again each time after that.
        """
        while not self._messages:
            await self._send_replies()
            if self._end:
                raise self._end
            try:
                data = bytes(await self._stream.receive_some())
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                data = b""
            try:
                self._protocol.receive_data(data or None)
                for event in self._protocol.events():
                    self._take(event)
            except (LocalProtocolError, RemoteProtocolError) as error:
                self._end = self._end or WebSocketClosed(ABNORMAL, str(error))
        return self._messages.popleft()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Send a Close frame; the peer's own comes out of `receive` as `WebSocketClosed`. Harmless when closed."""
        with suppress(WebSocketClosed):
            await self._send(CloseConnection(code, reason))

    async def break_off(self) -> None:
        """Reset the connection under the WebSocket, as a network that fails does."""
        transport = self._stream.transport_stream if isinstance(self._stream, trio.SSLStream) else self._stream
        transport.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await trio.aclose_forcefully(transport)

    async def shake_hands(self, request: Request) -> None:
        """Send the upgrade request and wait until it is accepted. Raises `WebSocketRefused`."""
        refusal: RejectConnection | None = None
        body = b""
        try:
            await self._stream.send_all(self._protocol.send(request))
            while data := await self._stream.receive_some():
                self._protocol.receive_data(bytes(data))
                events = self._protocol.events()
                for event in events:
                    match event:
                        case AcceptConnection():
                            for early in events:  # messages in the same segment as the end of the handshake
                                self._take(early)
                            return
                        case RejectConnection():
                            refusal = event
                        case RejectData():
                            body += event.data
                        case _:
                            pass
                    if refusal and (not refusal.has_body or getattr(event, "body_finished", False)):
                        raise WebSocketRefused(refusal.status_code, f"upgrade refused: {body[:200]!r}")
        except (trio.BrokenResourceError, RemoteProtocolError, LocalProtocolError) as error:
            raise WebSocketRefused(0, f"no usable answer to the upgrade: {error}") from error
        raise WebSocketRefused(refusal.status_code if refusal else 0, "the upgrade was not answered in full")

    def _take(self, event: wsproto.events.Event) -> None:
        match event:
            case TextMessage() | BytesMessage():
                self._parts.append(event.data if isinstance(event.data, str) else bytes(event.data))
                if sum(map(len, self._parts)) > MAX_MESSAGE:
                    self._end = WebSocketClosed(1009, "the relay's message is too big")
                elif event.message_finished:
                    empty = "" if isinstance(event, TextMessage) else b""
                    self._messages.append(empty.join(self._parts))  # type: ignore[arg-type]
                    self._parts.clear()
            case Ping() if self._protocol.state is ConnectionState.OPEN:
                self._replies += self._protocol.send(event.response())
            case CloseConnection(code=code, reason=reason):
                if self._protocol.state is ConnectionState.REMOTE_CLOSING:
                    self._replies += self._protocol.send(event.response())
                self._end = self._end or WebSocketClosed(int(code), reason or "")
            case _:
                pass  # pongs, and pings that come while closing

    async def _send(self, event: wsproto.events.Event) -> None:
        async with self._lock:
            try:
                await self._stream.send_all(self._protocol.send(event))
            except (LocalProtocolError, trio.BrokenResourceError, trio.ClosedResourceError):
                raise self._end or WebSocketClosed(ABNORMAL) from None

    async def _send_replies(self) -> None:
        async with self._lock:
            replies, self._replies = self._replies, bytearray()
            # A peer that is gone no longer needs them; the next read says how it went.
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                if replies:
                    await self._stream.send_all(replies)


@asynccontextmanager
async def open_websocket(
    url: str, *, headers: Sequence[tuple[str, str]] = (), via: str | None = None
) -> AsyncIterator[WebSocket]:
    """Connect to a `ws://` or `wss://` URL; at the end of the block the socket is closed, whatever happened.

    `via` is an origin such as `http://127.0.0.1:8080` to connect to instead of the URL's own, which is then only named
    in the request, as behind a tunnel. Raises `WebSocketRefused`, also when it is not open within 10 seconds.
    """
    target, door = urlsplit(url), urlsplit(via or url)
    secure = door.scheme in {"wss", "https"}
    host, port = door.hostname or "", door.port or (443 if secure else 80)
    opening = trio.CancelScope(deadline=trio.current_time() + OPEN_TIMEOUT)
    stream: trio.SocketStream | trio.SSLStream[trio.SocketStream] | None = None
    try:
        with opening:
            try:
                stream = await trio.open_tcp_stream(host, port)
            except OSError as error:
                raise WebSocketRefused(0, f"cannot connect to {door.netloc}: {error}") from error
            if secure:
                tls = ssl.create_default_context()
                stream = trio.SSLStream(stream, tls, server_hostname=host, https_compatible=True)
            opened = WebSocket(stream, wsproto.WSConnection(wsproto.ConnectionType.CLIENT))
            resource = (target.path or "/") + (f"?{target.query}" if target.query else "")
            extra = [(name.encode(), value.encode()) for name, value in headers]
            await opened.shake_hands(Request(target.netloc, resource, extra_headers=extra))
        if opening.cancelled_caught:
            raise WebSocketRefused(0, f"no answer to the upgrade within {OPEN_TIMEOUT:g} s")
        yield opened
    finally:
        if stream is not None:
            await trio.aclose_forcefully(stream)
