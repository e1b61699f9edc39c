"""One connection: whose turn it is, and until when.

    PeerSocket ──▶ Wire ──find_head──▶ HttpExchange │ WebSocketExchange ──▶ ASGI app
        ▲            │                         │
        │            └── notes that the peer left
        └── closed when the time is over       └── notes that it is read, begun, over

One task does it all: it reads a head, runs the app in it, and goes on with the next request. Nothing is read while
nobody asks. So a request costs no task, no channel, and no timer where nothing blocks. Only what the web framework
serves has a task of its own for each request, see `framework`; and an app which goes on for long after its answer is
left behind in this task, while another one goes on with the connection.

Whose turn it is decides how long the connection may stay:

* the peer's, and a request has begun, or is the first: `head_within`;
* the peer's, between two requests: `keep_alive`, or until another connection needs the place;
* the peer's, with the answer out and some of the request still to come: the rest is read and dropped, up to
  `drain_within` and `drain_bytes`, and the next request is served. A connection that is closed at that moment, or left
  unread, costs a proxy which pools connections the next request, and that may be a caller. What is known to be longer
  is answered with `Connection: close`;
* ours: no limit, unless the peer has left; then `handler_patience`. A peer that has asked, and ended its half of the
  connection, gets its answer within that;
* neither's: we have sent our last byte. What still comes is dropped for `linger` seconds, because closing with bytes
  unread would reset the connection and could take the answer along (RFC 9112, 9.6).

The limit is a number on the connection. The listener, which has one task for that, looks now and then at all of them,
see `tend`: a timer for each costs more than what most requests do.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import attrs
import structlog
import trio

from relay.http.asgi import BODY_AT_HAND, CUT, HAND_OVER, AsgiApp
from relay.http.exchange import HttpExchange, refusal, scope_of
from relay.http.framework import Framework
from relay.http.http1 import Chunks, Length, MalformedRequestError, RequestHead, find_head
from relay.http.options import ListenerOptions
from relay.http.peer_socket import PeerSocket
from relay.http.websocket import WebSocketExchange, fault_of_upgrade, websocket_scope
from relay.http.wire import Wire
from relay.logs import report

log = structlog.get_logger(__name__)

KNOWN_PEER = "relay.known_peer"
"""The extension of an HTTP scope that an app calls, without arguments, when the peer has shown a good token or
signature: its connection then gives way to others last."""


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


@attrs.define(eq=False)
class Port:
    """What the connections of one port share."""

    app: AsgiApp
    options: ListenerOptions
    runs_in_place: Callable[[str], bool]
    """Whether requests to a path are served in the connection's own task, and not as those of a web framework."""
    framework: Framework = attrs.field(init=False)
    idle: IdleConnections = attrs.field(factory=IdleConnections, init=False)
    """Is told whenever it becomes, or ceases to be, a peer's turn."""
    is_stopping: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self.framework = Framework(self.app)


class Connection:
    """One connection, from accept to close. `run` is its life; everything else is called from inside it, or by `tend`.

    The reader is the task that reads the requests: that of `run`, until an app keeps it for itself.
    """

    __slots__ = (
        "_addresses",
        "_deadline",
        "_droppable",
        "_exchange",
        "_handlers",
        "_in_place",
        "_is_begun",
        "_is_first",
        "_is_idle",
        "_is_leaving",
        "_nursery",
        "_port",
        "_reader",
        "_unread",
        "_wire",
        "is_known",
    )

    def __init__(self, port: Port, stream: trio.SocketStream) -> None:
        """Take over an accepted socket."""
        self.is_known = False
        self._port = port
        self._wire = Wire(PeerSocket(stream, port.options.peer_patience), self._note_left)
        self._deadline = trio.current_time() + port.options.head_within
        self._exchange: HttpExchange | WebSocketExchange | None = None
        self._handlers = 0
        self._in_place = False  # whether an app has the reader's task
        self._reader = 0
        self._is_idle = False  # whether it is among those that wait for their peers
        self._is_begun = True
        self._is_first = True  # whose time runs from the beginning, whatever has come of it
        self._unread: Length | Chunks | None = None
        """What is to come of a request that was answered before."""
        self._is_leaving = False
        self._droppable = port.options.drain_bytes
        self._addresses: tuple[Any, Any] = (None, None)
        self._nursery: trio.Nursery

    async def run(self) -> None:
        """Serve the connection until it is closed. Raises `OSError` when the peer is gone before it was served."""
        self._note_turn()
        try:
            self._addresses = self._wire.socket.addresses()
            async with trio.open_nursery() as self._nursery:
                await self._read(self._reader)
        finally:
            self._port.idle.discard(self)
            self._wire.close()

    def give_way(self) -> None:
        """Close at once, because another connection needs the place. Never waits."""
        self._cancel("another connection needs the place")

    def stop(self) -> None:
        """Close if nothing is under way; otherwise after the next answer. Never waits."""
        if self._exchange is None and not (self._handlers or self._unread or self._is_leaving):
            self._cancel("stopped")

    def tend(self, now: float) -> None:
        """Close what has exceeded its time, and look after what asks for nothing. Never waits."""
        if now >= self._deadline:
            self._cancel("the time is over")
            return
        exchange = self._exchange
        if isinstance(exchange, WebSocketExchange):
            exchange.tend(now)
        elif self._handlers and not self._wire.socket.is_awaited:
            # An app that does not receive would never learn that the peer has left.
            self._wire.fill_now()
            self._note_turn()  # the rest of the request may have come
        if exchange is None and self._in_place:
            self._in_place = False
            self._reader += 1  # now: the app may be done before the new reader has begun
            self._nursery.start_soon(self._read, self._reader)

    def _cancel(self, reason: str) -> None:
        self._nursery.cancel_scope.cancel(reason)

    # ── whose turn it is, and until when ────────────────────────────────────────────────────────────────────────────

    def _note_turn(self) -> None:
        exchange = self._exchange
        if exchange is None:
            is_peers = not self._handlers  # a handler may have work to do after its answer
        elif isinstance(exchange, HttpExchange):
            # What has come and was not taken is ours to take.
            is_peers = not exchange.is_begun and exchange.body.left > len(self._wire.buffer)
        else:
            is_peers = False
        if is_peers is not self._is_idle:
            self._is_idle = is_peers
            if is_peers:
                self._port.idle.add(self)
            else:
                self._port.idle.discard(self)

    def _end_idleness(self) -> None:
        """Begin the time for which it waits for its peer anew, with the next turn of the peer."""
        if self._is_idle:
            self._is_idle = False
            self._port.idle.discard(self)

    def _set_deadline(self) -> None:
        options = self._port.options
        if self._handlers:
            within = options.handler_patience if self._wire.has_left or self._is_leaving else math.inf
        elif self._wire.has_left:
            within = 0
        elif self._is_leaving:
            within = options.linger
        elif self._unread is not None:
            within = options.drain_within
        else:
            within = options.head_within if self._is_begun else options.keep_alive
        # Mostly there is none: a handler is at work.
        self._deadline = math.inf if within == math.inf else trio.current_time() + within

    def _note_left(self) -> None:
        self._set_deadline()
        exchange = self._exchange
        is_asked = False
        if isinstance(exchange, HttpExchange):
            # What has come and was not taken counts. Whether chunks are all there, the app learns when it takes them.
            left, come = exchange.body.left, len(self._wire.buffer)
            is_asked = left <= come or (left == math.inf and come > 0)
        if exchange is not None and (self._wire.is_broken or not is_asked):
            exchange.end()

    def _note_known(self) -> None:
        self.is_known = True

    # ── requests ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _read(self, reader: int) -> None:
        """Serve one request after the other, until nothing more can come or another reader has taken over."""
        while await self._drain() and (head := await self._next_head()) is not None:
            await self._serve(head)
            if reader != self._reader:
                return
        await self._linger()

    async def _next_head(self) -> RequestHead | None:
        """Wait for the head of a request; None when there will be none."""
        wire = self._wire
        while not self._is_leaving:
            try:
                head, wire.buffer = find_head(wire.buffer, self._port.options.max_header_bytes)
            except MalformedRequestError as error:
                await self._refuse(error)
                break
            if head is not None:
                self._is_first = False
                return head
            if self._is_begun != (self._is_first or bool(wire.buffer)):
                self._is_begun = not self._is_begun
                self._set_deadline()
            if not await wire.fill(try_first=bool(wire.buffer)):
                break
        return None

    async def _serve(self, head: RequestHead) -> None:
        """Run the app for a request; return when the next one may be read."""
        wire = self._wire
        self._end_idleness()
        scope = scope_of(head, self._addresses, {KNOWN_PEER: self._note_known})
        exchange: HttpExchange | WebSocketExchange
        if head.upgrades:
            if (fault := fault_of_upgrade(head, wire.buffer)) is not None:
                await self._refuse(MalformedRequestError(400, fault))
                return
            options = self._port.options
            exchange = self._exchange = WebSocketExchange(
                wire,
                head,
                max_bytes=options.max_message_bytes,
                ping_interval=options.ping_interval,
                note_change=self._note_change,
            )
            scope = websocket_scope(scope)
            scope["extensions"][HAND_OVER] = exchange.hand_over
        else:
            exchange = self._exchange = HttpExchange(wire, head, is_last=self._is_last, note_change=self._note_change)
            self._note_turn()
            if head.awaits_continue:
                await exchange.go_on()
            if not self._port.runs_in_place(scope["path"]):
                exchange.outlasts_end = True
                serve = partial(self._port.framework.serve, head, exchange, self._addresses, scope["extensions"])
                self._begin_handler()
                self._nursery.start_soon(self._handle, exchange, serve)
                await exchange.wait_ended()
                return
            scope["extensions"] |= {BODY_AT_HAND: exchange.take_whole_body, CUT: exchange.end}
        self._begin_handler()
        self._in_place = True
        reader = self._reader
        await self._handle(exchange, partial(self._port.app, scope, exchange.receive, exchange.send))
        if reader == self._reader:
            self._in_place = False

    def _is_last(self) -> bool:
        exchange = self._exchange
        unread = exchange.body.left if isinstance(exchange, HttpExchange) else 0
        return self._port.is_stopping or self._droppable < unread < math.inf

    def _begin_handler(self) -> None:
        self._handlers += 1
        self._set_deadline()

    async def _handle(self, exchange: HttpExchange | WebSocketExchange, run_app: Callable[[], Awaitable[None]]) -> None:
        """Run the app for one request or WebSocket; nothing but cancellation comes out of here."""
        try:
            try:
                await run_app()
            except* Exception as group:  # noqa: BLE001 - the firewall of a request: the connection goes on or closes
                protocol = "websocket" if isinstance(exchange, WebSocketExchange) else "http"
                report("handler_failed", group, protocol=protocol)
            if not exchange.is_over:
                await exchange.finish()
        finally:
            self._handlers -= 1
            self._set_deadline()
        self._note_turn()

    def _note_change(self) -> None:
        exchange = self._exchange
        if exchange is not None and exchange.is_over:
            self._exchange = None
            if isinstance(exchange, WebSocketExchange) or exchange.closes or self._port.is_stopping:
                self._leave()
            elif exchange.body.left:
                self._unread = exchange.body
                self._set_deadline()
            else:
                self._recycle()
        self._note_turn()

    # ── after an answer ─────────────────────────────────────────────────────────────────────────────────────────────

    def _recycle(self) -> None:
        self._unread = None
        self._droppable = self._port.options.drain_bytes
        self._is_begun = bool(self._wire.buffer)
        self._set_deadline()
        self._end_idleness()

    async def _drain(self) -> bool:
        """Read and drop what is to come of a request that was answered; return whether another one may follow."""
        wire = self._wire
        while (body := self._unread) is not None and not self._is_leaving:
            try:
                piece, wire.buffer = body.take(wire.buffer)
            except MalformedRequestError:
                self._leave()
                break
            if not self._drop(len(piece)):
                self._leave()
            elif not body.left:
                self._recycle()
                self._note_turn()
            elif not await wire.fill():
                break
        return not self._is_leaving and (not wire.has_left or bool(wire.buffer))

    def _drop(self, size: int) -> bool:
        """Count dropped bytes; return whether more may come."""
        self._droppable -= size
        return self._droppable >= 0

    async def _refuse(self, error: MalformedRequestError) -> None:
        """Refuse a request that cannot be served, and read no more."""
        await self._wire.write(refusal(error.status, error.message))
        self._leave()

    def _leave(self) -> None:
        """Send our last byte, and from now on drop what comes. Idempotent, never waits."""
        if not self._is_leaving:
            self._is_leaving = True
            self._wire.socket.end()
            self._set_deadline()
            self._note_turn()

    async def _linger(self) -> None:
        """Drop what comes until the peer has closed; then handlers that are still at work have their time."""
        wire = self._wire
        while self._drop(len(wire.buffer)):
            wire.buffer = b""
            if not await wire.fill():
                break
        wire.buffer = b""
        wire.note_left()
