"""One connection: HTTP/1.1 by h11, each request and WebSocket by Hypercorn's stream classes, the rules by us.

    bytes ─▶ GuardedStream ─▶ Connection ──Request, Body──▶ HTTPStream │ WSStream ──▶ ASGI app, a task a request
             notices a peer      │    ▲                            │
             that left, or       │    └──Response, Body, Data──────┘
             does not read       └─ whose turn is it, and until when

Hypercorn's own connection was the alternative, and was used for long. It finishes an answer inside the app's task,
which a framework cancels just then: the connection was neither closed nor read any further. It closes or forgets a
connection that was answered before its request was complete, and a reader that waits for an app which has answered
already waits for ever. And it offers HTTP/2 and compression to every peer, which is not needed here.

Whose turn it is decides how long the connection may stay:

* the peer's, and a request has begun, or is the first: `head_within`;
* the peer's, between two requests: `keep_alive`, or until another connection needs the place;
* the peer's, with the answer out and some of the request still to come: the rest is read and dropped, up to
  `drain_within` and `drain_bytes`, and the next request is served. A connection that is closed at that moment, or left
  unread, costs a proxy which pools connections the next request, and that may be a caller. What is known to be longer
  is answered with `Connection: close`;
* ours: no limit, unless the peer has left; then `handler_patience`;
* neither's: we have sent our last byte. What still comes is dropped for `linger` seconds, because closing with bytes
  unread would reset the connection and could take the answer along (RFC 9112, 9.6).

The stream classes are Hypercorn's internals: the version is pinned, and the tests which throw hostile inputs at the
listener are the alarm.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import attrs
import h11
import structlog
import trio
from attrs.validators import ge, gt
from hypercorn.config import Config
from hypercorn.protocol.events import Body, Data, EndBody, Event, Request, Response, StreamClosed
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.protocol.ws_stream import WSStream
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import parse_socket_addr

from relay.errors import error_document
from relay.http.asgi import AsgiApp
from relay.logs import report

log = structlog.get_logger(__name__)

"""An ASGI 3 application: (scope, receive, send). Frameworks disagree about the types of the three, so they are open."""

KNOWN_PEER = "relay.known_peer"
"""The extension of an HTTP scope that an app calls, without arguments, when the peer has shown a good token or
signature: its connection then gives way to others last."""

_MESSAGE_TOO_BIG = b"\x88\x02\x03\xf1"
"""A WebSocket Close frame with code 1009 and no reason, as a server writes it (RFC 6455, 5.5.1 and 7.4.1)."""
_STREAM = 1
_RECEIVE_BYTES = 65_536


@attrs.frozen(kw_only=True)
class ListenerOptions:
    """The limits of the port; sizes in bytes, times in seconds."""

    backlog: int = attrs.field(default=512, validator=gt(0))
    max_connections: int = attrs.field(default=10_000, validator=gt(0))
    """When there are as many, one that waits for its peer gives way to the next. If there is none, more are accepted
    and closed at once: a refused connection tells a proxy more than one that hangs."""
    max_header_bytes: int = attrs.field(default=16 * 1024, validator=gt(0))
    max_message_bytes: int = attrs.field(default=64 * 1024, validator=gt(0))
    """The largest WebSocket message; the carrier's are a few hundred bytes."""
    ping_interval: float = attrs.field(default=20.0, validator=gt(0))
    keep_alive: float = attrs.field(default=3600.0, validator=gt(0))
    """Long, because a client posts its answers over pooled connections, and a server that closes one under its hand
    loses the answer. Idle connections cost little, and give way."""
    head_within: float = attrs.field(default=20.0, validator=gt(0))
    """For the head of a request: of the first from the connection on, of the others from their first byte on."""
    drain_within: float = attrs.field(default=5.0, validator=gt(0))
    drain_bytes: int = attrs.field(default=2 << 20, validator=gt(0))
    """How much of a request is read and dropped when it was answered before it was complete; twice what a client may
    post at once."""
    linger: float = attrs.field(default=2.0, validator=gt(0))
    peer_patience: float = attrs.field(default=5.0, validator=gt(0))
    handler_patience: float = attrs.field(default=30.0, validator=gt(0))
    grace: float = attrs.field(default=5.0, validator=ge(0))
    """How long connections may go on after `stop`."""


def hypercorn_config(options: ListenerOptions) -> Config:
    """Return our limits in the form that Hypercorn's stream classes read."""
    config = Config()
    config.accesslog = None
    config.errorlog = None  # standard error carries our JSON lines only
    config.include_server_header = False
    config.websocket_max_message_size = options.max_message_bytes
    config.websocket_ping_interval = options.ping_interval
    return config


@attrs.define(eq=False)
class IdleConnections:
    """The connections that wait for their peer, those first that have waited longest; the listener owns it.

    A connection waits for its peer while nothing has come, while a request is incomplete, and between two requests. It
    may be closed then: nothing is being worked on. Strangers give way first. A peer that has shown a good token or
    signature keeps its place as long as a stranger's can be had: so a peer that only holds connections open displaces
    other strangers, and the carrier and the clients keep their places.
    """

    _strangers: dict[Connection, None] = attrs.field(factory=dict, init=False)
    _known: dict[Connection, None] = attrs.field(factory=dict, init=False)

    def add(self, connection: Connection) -> None:
        """Note that a connection waits for its peer. No-op if it does already."""
        (self._known if connection.is_known else self._strangers).setdefault(connection)

    def discard(self, connection: Connection) -> None:
        """Note that a connection does not wait any more. No-op if it did not."""
        self._strangers.pop(connection, None)
        self._known.pop(connection, None)

    def spare(self, *, known: bool) -> Connection | None:
        """Close the connection of a stranger, or of a known peer, that has waited longest, and return it.

        None if there is none. Never waits.
        """
        for connection in self._known if known else self._strangers:
            self.discard(connection)
            connection.give_way()
            return connection
        return None


class Connection:
    """One connection, from accept to close. `run` is its life; everything else is called from inside it."""

    def __init__(
        self,
        app: AsgiApp,
        options: ListenerOptions,
        config: Config,
        stream: trio.SocketStream,
        *,
        idle: IdleConnections,
        stopping: trio.Event,
    ) -> None:
        """Take over an accepted socket. `idle` is notified when the peer's turn begins and ends."""
        self.is_known = False
        self._app = app
        self._options = options
        self._config = config
        self._idle = idle
        self._stopping = stopping
        self._stream = GuardedStream(stream, options.peer_patience, self._note_peer_left)
        self._scope = trio.CancelScope(deadline=trio.current_time() + options.head_within)
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=options.max_header_bytes)
        self._exchange: _Exchange | None = None
        self._handlers = 0
        self._head_begun = True  # the time for the first head runs from the beginning
        self._unread: float = 0  # bytes of the request that are still to come; `inf` if that is not known
        self._droppable = options.drain_bytes
        self._peer_left = False
        self._leaving = False
        self._recycled = trio.Event()
        self._write_lock = trio.Lock()
        self._context = WorkerContext(None)
        self._addresses: tuple[Any, Any] = (None, None)
        self._nursery: trio.Nursery

    async def run(self) -> None:
        """Serve the connection until it is closed. Raises what Hypercorn raises, and `OSError`."""
        self._idle.add(self)
        try:
            socket = self._stream.socket
            self._addresses = (
                parse_socket_addr(socket.family, socket.getpeername()),
                parse_socket_addr(socket.family, socket.getsockname()),
            )
            with self._scope:
                async with trio.open_nursery() as self._nursery:
                    await self._read()
                    await self._abandon_exchange()
                    self._note_peer_left()
        finally:
            self._idle.discard(self)
            await trio.aclose_forcefully(self._stream)

    def give_way(self) -> None:
        """Close at once, because another connection needs the place. Never waits."""
        self._scope.cancel("another connection needs the place")

    def stop(self) -> None:
        """Close if nothing is under way; otherwise after the next answer. Never waits."""
        self._set_deadline()

    # ── whose turn it is, and until when ────────────────────────────────────────────────────────────────────────────

    def _note_turn(self) -> None:
        if self._exchange is not None:
            is_incomplete = self._http.their_state is h11.SEND_BODY and not self._exchange.is_upgrade
            is_peers = is_incomplete and self._http.our_state is h11.SEND_RESPONSE
        else:
            is_peers = not self._handlers  # a handler may have work to do after its answer
        if is_peers:
            self._idle.add(self)
        else:
            self._idle.discard(self)

    def _set_deadline(self) -> None:
        options = self._options
        if self._handlers:
            within = options.handler_patience if self._peer_left or self._leaving else math.inf
        elif self._peer_left:
            within = 0
        elif self._leaving:
            within = options.linger
        elif self._stopping.is_set() and self._http.their_state is h11.IDLE:
            within = 0
        elif self._http.their_state is h11.SEND_BODY:
            within = options.drain_within
        else:
            within = options.head_within if self._head_begun else options.keep_alive
        self._scope.deadline = trio.current_time() + within

    def _note_idle(self) -> None:
        """Note that the next request is waited for; what has come of it already may be its beginning."""
        begun = bool(self._http.trailing_data[0])
        if begun != self._head_begun:
            self._head_begun = begun
            self._set_deadline()

    def _note_peer_left(self) -> None:
        if not self._peer_left:
            self._peer_left = True
            self._set_deadline()

    def _note_known(self) -> None:
        self.is_known = True

    # ── from the peer ───────────────────────────────────────────────────────────────────────────────────────────────

    async def _read(self) -> None:
        """Read until the peer has closed, or has been told that nothing more is read."""
        while True:
            try:
                data = bytes(await self._stream.receive_some(_RECEIVE_BYTES))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return
            if not data:
                return
            if self._leaving:
                if not self._drop(len(data)):
                    return
            elif self._exchange is not None and self._exchange.is_upgrade:
                await self._take_frames(self._exchange, data)
            else:
                self._http.receive_data(data)
                await self._advance()

    async def _advance(self) -> None:
        """Perform what has come, until more of it is needed."""
        while not self._leaving:
            if self._http.they_are_waiting_for_100_continue:
                await self._send_event(h11.InformationalResponse(status_code=100, headers=[]))
            if self._http.their_state in {h11.MUST_CLOSE, h11.CLOSED}:
                break  # it has announced its last request: what follows is none
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                await self._reject(error.error_status_hint, "The request is not well-formed HTTP/1.1.")
                return
            match event:
                case h11.Request():
                    await self._begin(event)
                    if self._exchange is not None and self._exchange.is_upgrade:
                        break  # from now on its frames are not for h11
                case h11.Data():
                    await self._take_body(event.data)
                case h11.EndOfMessage():
                    await self._complete()
                case h11.PAUSED:
                    self._recycled = trio.Event()
                    await self._recycled.wait()
                case _:  # NEED_DATA, or ConnectionClosed
                    break
        if self._exchange is None and self._http.their_state is h11.IDLE:
            self._note_idle()
        self._note_turn()

    async def _begin(self, request: h11.Request) -> None:
        names = {name for name, _ in request.headers}
        if not request.http_version.startswith(b"1."):
            await self._reject(505, "The relay speaks HTTP/1.1 only.")
        elif {b"content-length", b"transfer-encoding"} <= names:
            # Two lengths mean two readings: what is a body to one is a request to the other (RFC 9112, 6.1).
            await self._reject(400, "A request may have Content-Length or Transfer-Encoding, not both.")
        else:
            self._idle.discard(self)
            self._unread = _announced_length(request)
            exchange = self._exchange = self._make_exchange(request)
            self._set_deadline()
            try:
                await exchange.stream.handle(_as_event(request, is_upgrade=exchange.is_upgrade))
            except ValueError:  # Hypercorn decodes some headers of an upgrade as ASCII
                await self._reject(400, "The headers of an upgrade must be ASCII.")
                return
            await self._end_if_closed(exchange)
            trailing = self._http.trailing_data[0]
            if exchange.is_upgrade and trailing and exchange is self._exchange:
                await self._take_frames(exchange, trailing)

    def _make_exchange(self, request: h11.Request) -> _Exchange:
        is_upgrade = _is_upgrade(request)
        exchange = _Exchange(is_upgrade=is_upgrade)
        tasks: Any = _Tasks(self._nursery, partial(self._handle, exchange), exchange.put)
        app: Any = self._app  # which Hypercorn only passes on to the tasks
        client, server = self._addresses
        perform = partial(self._perform, exchange)
        kind = WSStream if is_upgrade else HTTPStream
        exchange.stream = kind(
            app,
            self._config,
            self._context,
            tasks,
            ssl=False,
            client=client,
            server=server,
            send=perform,
            stream_id=_STREAM,
        )
        return exchange

    async def _take_frames(self, exchange: _Exchange, data: bytes) -> None:
        if self._http.our_state is h11.SWITCHED_PROTOCOL:
            await self._hand_over(exchange, Data(_STREAM, data))
        elif self._http.our_state is h11.SEND_RESPONSE:
            # Hypercorn refuses it as well, but lets the app answer meanwhile.
            await self._reject(400, "Nothing may be sent before the upgrade was answered.")

    async def _take_body(self, data: bytes | bytearray) -> None:
        self._unread -= len(data)
        if self._exchange is not None:
            await self._hand_over(self._exchange, Body(_STREAM, bytes(data)))
        elif not self._drop(len(data)):
            await self._leave()

    async def _complete(self) -> None:
        self._unread = 0
        if self._exchange is not None:
            await self._hand_over(self._exchange, EndBody(_STREAM))
        else:
            self._recycle()

    async def _hand_over(self, exchange: _Exchange, event: Event) -> None:
        await exchange.stream.handle(event)
        await self._end_if_closed(exchange)

    async def _end_if_closed(self, exchange: _Exchange) -> None:
        # Hypercorn refuses some upgrades by itself, and then says no more.
        if exchange.stream.closed:
            await self._end_exchange(exchange)

    def _drop(self, size: int) -> bool:
        """Count dropped bytes; return whether more may come."""
        self._droppable -= size
        return self._droppable >= 0

    # ── to the peer ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _handle(self, exchange: _Exchange, scope: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        """Run the app for one request or WebSocket; nothing but cancellation comes out of here."""
        self._handlers += 1
        scope["extensions"][KNOWN_PEER] = self._note_known
        self._set_deadline()
        try:
            await self._run_app(exchange, scope, send)
        finally:
            self._handlers -= 1
            self._set_deadline()
        self._note_turn()

    async def _run_app(self, exchange: _Exchange, scope: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        try:
            try:
                await self._app(scope, exchange.receive, partial(self._send_unbroken, send))
            except* h11.LocalProtocolError:
                raise
            except* Exception as group:  # noqa: BLE001 - the firewall of a request: the connection goes on or closes
                report("handler_failed", group, protocol=scope["type"])
            if exchange is self._exchange:
                await send(None)  # Hypercorn answers 500, or closes with 1011, if that was not all
        except* h11.LocalProtocolError:
            # The answer does not fit what the peer has sent since (CONNECT, a reset): its fault, so no traceback.
            log.warning("answer_not_sendable", protocol=scope["type"])
            await self._leave()

    async def _send_unbroken(self, send: Callable[[Any], Awaitable[None]], message: Any) -> None:
        """Send what an app says, and do not let it be cancelled in the last of it.

        The app learns then that the exchange is over, as it would of a hang-up, and may cancel all that it is doing.
        """
        is_last = message["type"].endswith("response.body") and not message.get("more_body", False)
        with trio.move_on_after(2 * self._options.peer_patience if is_last else math.inf, shield=is_last):
            await send(message)

    async def _perform(self, exchange: _Exchange, event: Event) -> None:
        """Perform what one of Hypercorn's streams wants; nothing, if its exchange is over."""
        if exchange is not self._exchange:
            return
        match event:
            case Response(status_code=101):
                await self._send_event(h11.InformationalResponse(status_code=101, headers=event.headers))
            case Response():
                headers = list(event.headers)
                is_too_long = self._droppable < self._unread < math.inf
                if self._stopping.is_set() or exchange.is_upgrade or is_too_long:
                    headers.append((b"connection", b"close"))
                await self._send_event(h11.Response(status_code=event.status_code, headers=headers))
            case Body():
                await self._send_event(h11.Data(data=event.data))
            case EndBody():
                await self._send_event(h11.EndOfMessage())
            case Data():
                await self._write(event.data)
                # Hypercorn would go on collecting the message, as long as the peer likes, and never tell the handler.
                if event.data == _MESSAGE_TOO_BIG:
                    await self._leave()
            case StreamClosed():
                await self._end_exchange(exchange)
            case _:  # EndData, which needs no byte
                pass

    async def _send_event(self, event: h11.Event) -> None:
        try:
            data = self._http.send(event)
        except h11.LocalProtocolError:
            if self._http.their_state is not h11.ERROR:
                raise
        else:
            if data:  # what ends an answer of a known length is no byte
                await self._write(data)
        self._note_turn()

    async def _write(self, data: bytes) -> None:
        # Shielded, because half of a message would spoil what follows. The stream has a time limit of its own.
        with trio.move_on_after(2 * self._options.peer_patience, shield=True):
            async with self._write_lock:
                try:
                    await self._stream.send_all(data)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    self._note_peer_left()
                    await self._abandon_exchange()

    async def _reject(self, status: int, message: str) -> None:
        """Refuse a request that cannot be served, if nothing was answered yet, and read no more."""
        await self._abandon_exchange()  # first, so that its app says nothing in between
        if self._http.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            body = error_document("bad_request", message)
            headers = [
                ("content-type", "application/json"),
                ("content-length", str(len(body))),
                ("connection", "close"),
            ]
            await self._send_event(h11.Response(status_code=status, headers=headers))
            await self._send_event(h11.Data(data=body))
            await self._send_event(h11.EndOfMessage())
        await self._leave()

    # ── after an answer ─────────────────────────────────────────────────────────────────────────────────────────────

    async def _end_exchange(self, exchange: _Exchange) -> None:
        """Wait for the next request, after the rest of this one; or close, if there cannot be another."""
        if exchange is not self._exchange:
            return
        http = self._http
        await self._abandon_exchange()
        if self._stopping.is_set() or exchange.is_upgrade or http.our_state is not h11.DONE:
            await self._leave()
        elif http.their_state is h11.DONE:
            self._recycle()
        elif http.their_state is h11.SEND_BODY:
            self._set_deadline()
            self._note_turn()
        else:
            await self._leave()

    def _recycle(self) -> None:
        self._http.start_next_cycle()
        self._droppable = self._options.drain_bytes
        self._head_begun = bool(self._http.trailing_data[0])
        self._set_deadline()
        self._idle.discard(self)  # its time as an idle one begins now
        self._note_turn()
        self._recycled.set()

    async def _abandon_exchange(self) -> None:
        """Send the app, if there is one, a disconnect event. Idempotent."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            await exchange.stream.handle(StreamClosed(_STREAM))
            exchange.end()

    async def _leave(self) -> None:
        """Send our last byte, and from now on drop what comes. Idempotent."""
        if self._leaving:
            return
        self._leaving = True
        self._recycled.set()
        await self._abandon_exchange()
        try:
            async with self._write_lock:
                await self._stream.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._note_peer_left()
        self._set_deadline()
        self._note_turn()


class _Exchange:
    """One request and its answer, or one WebSocket: Hypercorn's stream, and what the app has not taken of it yet."""

    stream: HTTPStream | WSStream

    def __init__(self, *, is_upgrade: bool) -> None:
        self.is_upgrade = is_upgrade
        self._last: dict[str, Any] = {"type": "http.disconnect"}
        if is_upgrade:
            self._last = {"type": "websocket.disconnect", "code": 1006}
        # A few pieces: then the peer waits for the app, unless the answer is out.
        self._arriving, self._unread = trio.open_memory_channel[Any](10)

    async def put(self, event: Any) -> None:
        """Hand the app an event; waits for room. What comes after the end is dropped."""
        if event["type"] == self._last["type"]:
            self._last = event
            self.end()
            return
        with suppress(trio.ClosedResourceError):  # the answer is out: the rest is not needed
            await self._arriving.send(event)

    def end(self) -> None:
        """Accept no more events, and release a task that waits in `put`. Idempotent, never waits."""
        self._arriving.close()

    async def receive(self) -> Any:
        """Wait for the next event; the last one comes again and again."""
        try:
            return await self._unread.receive()
        except trio.EndOfChannel:
            return self._last


@attrs.frozen(eq=False)
class _Tasks:
    """The connection's nursery, in the form of Hypercorn's task group."""

    _nursery: trio.Nursery
    _handle: Callable[[Any, Any], Awaitable[None]]
    _put: Callable[[Any], Awaitable[None]]

    async def spawn_app(self, _app: object, _config: object, scope: Any, send: Any) -> Callable[[Any], Awaitable[None]]:
        """Start the app's task; return how to hand it events."""
        await trio.lowlevel.checkpoint()
        self._nursery.start_soon(self._handle, scope, send)
        return self._put

    def spawn(self, task: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        """Start a task of the stream's own: its pings."""
        self._nursery.start_soon(task, *arguments)


class GuardedStream(trio.abc.HalfCloseableStream):
    """A socket that reports when its peer has left; a peer that does not read counts as left."""

    def __init__(self, inner: trio.SocketStream, patience: float, note_peer_left: Callable[[], None]) -> None:
        self._inner = inner
        self._patience = patience
        self._note_peer_left = note_peer_left

    @property
    def socket(self) -> trio.socket.SocketType:
        """The socket underneath."""
        return self._inner.socket

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of it. Raises `BrokenResourceError` when the peer is gone or has not read for the patience."""
        with trio.move_on_after(
            self._patience
        ) as limit:  # inside the writer's shield, which hides outer deadlines only
            await self._inner.send_all(data)
        if limit.cancelled_caught:
            await trio.aclose_forcefully(self._inner)
            self._note_peer_left()
            raise trio.BrokenResourceError("the peer does not read")

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until a small send would go through."""
        await self._inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive what is there, empty at the end. Raises `BrokenResourceError` or `ClosedResourceError`."""
        try:
            data = await self._inner.receive_some(max_bytes)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._note_peer_left()
            raise
        if not data:
            self._note_peer_left()
        return data

    async def send_eof(self) -> None:
        """Close the sending half."""
        await self._inner.send_eof()

    async def aclose(self) -> None:
        """Close both halves."""
        await self._inner.aclose()


def _is_upgrade(request: h11.Request) -> bool:
    fields: dict[bytes, list[str]] = {}
    for name, value in request.headers:
        fields.setdefault(name, []).append(value.decode("latin-1").lower())
    tokens = {each.strip() for value in fields.get(b"connection", ()) for each in value.split(",")}
    kinds_asked = [each.strip() for each in fields.get(b"upgrade", ())]
    return request.method == b"GET" and "upgrade" in tokens and kinds_asked == ["websocket"]


def _as_event(request: h11.Request, *, is_upgrade: bool) -> Request:
    headers = list(request.headers)
    if is_upgrade:
        # Not offered, so not used: compression costs each call 50 kB and more, and what it inflates has no bound.
        headers = [(name, value) for name, value in headers if name != b"sec-websocket-extensions"]
    return Request(
        stream_id=_STREAM,
        headers=headers,
        http_version=request.http_version.decode("ascii"),
        method=request.method.decode("ascii").upper(),
        raw_path=request.target,
        state=ConnectionState({}),
    )


def _announced_length(request: h11.Request) -> float:
    fields = dict(request.headers)
    return math.inf if b"transfer-encoding" in fields else int(fields.get(b"content-length", 0))


def kinds(group: BaseExceptionGroup[Any]) -> list[str]:
    """Name the kinds of the errors in a group, however deep."""
    named: set[str] = set()
    for each in group.exceptions:
        named.update(kinds(each) if isinstance(each, BaseExceptionGroup) else [type(each).__name__])
    return sorted(named)
