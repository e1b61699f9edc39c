"""The carrier's end of a WebSocket: trio-websocket speaks the protocol, on a stream and in a nursery that are ours.

    TCP or TLS stream ─▶ trio-websocket's reader ─▶ its queue ─▶ receive

A carrier that simulates every way in which a line ends asks more than trio-websocket 0.12 gives a client. With the
stream and the nursery in our hands each defect is fixed from outside:

- A ping that comes while it closes crashes its reader. The error stops at the reader's nursery, and the connection
  counts as lost, with 1006: it was at its end anyway.
- A reader that is over can leave either handshake waiting for ever. Both waits are cut off then.
- It leaves the socket open when the peer closed first. The stream is closed at the end of the block, whatever happened.
- It cannot break a connection off. The socket under it is reset.
- It says 1000 once our own Close frame is sent, answered or not. `receive` waits until the reader is over, and tells
  the peer's code, or 1006.

wsproto by itself lost: it needs no fixing, but the reader, the queue and both handshakes would be our own code.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from urllib.parse import SplitResult, urlsplit

import attrs
import h11
import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream
from wsproto.connection import ConnectionState
from wsproto.utilities import LocalProtocolError

MAX_MESSAGE = 1 << 20
"""Characters or bytes; what the relay sends is a sentence, so more is a fault of the relay's."""

UNREAD_MESSAGES = 1_000
"""Messages that may wait for `receive`: minutes of fast speech, which is a few hundred frames a minute.

At a full queue the reader stops, answers no ping and notices no hang-up, so it must take a receiver that is stuck to
get there. Nothing is lost then: TCP holds the relay back.
"""

OPEN_TIMEOUT = 10.0
"""Seconds; the carrier's own limit is not documented."""

ABNORMAL = 1006
"""What RFC 6455 (7.1.5) calls the code of a connection that ended without a Close frame."""

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


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

    _stream: Stream
    _connection: WebSocketConnection = attrs.field(init=False)
    _refusal: WebSocketRefused = attrs.field(init=False)
    _closing: bool = attrs.field(default=False, init=False)
    _begun: trio.Event = attrs.field(factory=trio.Event, init=False)
    _over: trio.Event = attrs.field(factory=trio.Event, init=False)

    async def send(self, message: str | bytes) -> None:
        """Send one message, as text or binary by its type. Raises `WebSocketClosed`; cancelling may cut it off."""
        try:
            await self._connection.send_message(message)
        except ConnectionClosed:
            raise self._end() from None

    async def receive(self) -> str | bytes:
        """Wait for the next message; cancelling loses nothing. Pings are answered all the while.

        Raises `WebSocketClosed` once the peer has closed or vanished, and again each time after that.
        """
        with suppress(ConnectionClosed):
            return await self._connection.get_message()
        if self._closing:
            await self._over.wait()
        raise self._end()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Send a Close frame and wait for the peer's, which comes out of `receive` as `WebSocketClosed`.

        Messages that were not received by then are dropped. No-op if closed; cancelling cuts the connection.
        """
        if self._connection.closed:
            return
        self._closing = True
        async with self._while_reading():
            await self._connection.aclose(code, reason)

    async def break_off(self) -> None:
        """Reset the connection under the WebSocket, like a network failure. No-op if closed."""
        transport = self._stream.transport_stream if isinstance(self._stream, trio.SSLStream) else self._stream
        with suppress(OSError):
            transport.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await trio.aclose_forcefully(transport)

    async def run(self, *, task_status: trio.TaskStatus[trio.Nursery]) -> None:
        """Hold the reader's nursery, which `started` hands out, until the reader is over; then close the stream."""
        self._refusal = WebSocketRefused(0, "no usable answer to the upgrade")
        try:
            async with trio.open_nursery() as reading:
                task_status.started(reading)
                await self._begun.wait()
        except* ConnectionRejected as group:
            for error in group.exceptions:
                if isinstance(error, ConnectionRejected):
                    self._refusal = WebSocketRefused(error.status_code, f"upgrade refused: {error.body!r:.200}")
        except* (LocalProtocolError, h11.LocalProtocolError):
            pass  # at a ping while closing (wsproto), or at an answer to the upgrade that makes no sense (h11)
        finally:
            self._over.set()
            await trio.aclose_forcefully(self._stream)

    async def shake_hands(
        self, reading: trio.Nursery, host: str, resource: str, headers: Sequence[tuple[str, str]]
    ) -> None:
        """Start the reader in its nursery, and wait until the upgrade is accepted. Raises `WebSocketRefused`."""
        if isinstance(self._stream, trio.SSLStream):
            try:
                await self._stream.do_handshake()
            except trio.BrokenResourceError as error:
                raise WebSocketRefused(0, f"no TLS with {host}: {error.__cause__}") from error
        async with self._while_reading():
            self._begun.set()  # nothing may wait between this and the reader's start: an empty nursery ends
            self._connection = await wrap_client_stream(
                reading,
                self._stream,
                host,
                resource,
                extra_headers=[(name.encode(), value.encode()) for name, value in headers],
                max_message_size=MAX_MESSAGE,
                message_queue_size=UNREAD_MESSAGES,
            )
            return
        raise self._refusal

    @asynccontextmanager
    async def _while_reading(self) -> AsyncIterator[None]:
        """Cut the block off when the reader is over: what it waits for will not come."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._cancel_when_over, nursery.cancel_scope)
            yield
            nursery.cancel_scope.cancel()

    async def _cancel_when_over(self, scope: trio.CancelScope) -> None:
        await self._over.wait()
        scope.cancel()

    def _end(self) -> WebSocketClosed:
        closed = self._connection.closed
        # Nothing public tells whether our Close frame was answered; wsproto's state is CLOSED only if both were sent.
        answered = self._connection._wsproto.state is ConnectionState.CLOSED  # noqa: SLF001
        if closed is None or (self._closing and not answered):
            return WebSocketClosed(ABNORMAL)
        return WebSocketClosed(int(closed.code), closed.reason or "")


@asynccontextmanager
async def open_websocket(
    url: str, *, headers: Sequence[tuple[str, str]] = (), via: str | None = None
) -> AsyncIterator[WebSocket]:
    """Connect to a `ws://` or `wss://` URL; at the end of the block the socket is closed, whatever happened.

    `via` is an origin such as `http://127.0.0.1:8080` to connect to instead of the URL's own, which is then only named
    in the request, as behind a tunnel. Raises `WebSocketRefused`, also when it is not open within 10 seconds, and what
    the block raised as it is, not wrapped in a group.
    """
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        try:
            yield await _open(nursery, url, headers, via or url)
        except Exception as error:  # noqa: BLE001 - raised again outside, where no nursery wraps it
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _open(nursery: trio.Nursery, url: str, headers: Sequence[tuple[str, str]], via: str) -> WebSocket:
    target, door = urlsplit(url), urlsplit(via)
    resource = (target.path or "/") + (f"?{target.query}" if target.query else "")
    with trio.move_on_after(OPEN_TIMEOUT):
        opened = WebSocket(await _connect(door))
        reading = await nursery.start(opened.run)  # from here on it is run that closes the stream
        await opened.shake_hands(reading, target.netloc, resource, headers)
        return opened
    raise WebSocketRefused(0, f"no answer to the upgrade within {OPEN_TIMEOUT:g} s")


async def _connect(door: SplitResult) -> Stream:
    secure = door.scheme in {"wss", "https"}
    host = door.hostname or ""
    try:
        stream = await trio.open_tcp_stream(host, door.port or (443 if secure else 80))
    except OSError as error:
        raise WebSocketRefused(0, f"cannot connect to {door.netloc}: {error}") from error
    if not secure:
        return stream
    return trio.SSLStream(stream, ssl.create_default_context(), server_hostname=host, https_compatible=True)
