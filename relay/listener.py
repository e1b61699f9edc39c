"""The one port: Hypercorn's protocol code behind an accept loop of our own.

    socket ─▶ accept ─▶ Connection (Hypercorn's TCPServer) ─▶ ASGI app
                            │
                            └─ GuardedStream: notices a peer that left, or that does not read

Hypercorn speaks HTTP and WebSocket well, but its own server lets one connection harm all others: any exception while
reading a request (one byte too early, one non-ASCII header) ends the process, and a peer that does not read keeps it
from ever stopping. So the accept loop, the nurseries and the time limits are ours, and each connection is its own
compartment:

* an error in it is logged and ends it, nothing else;
* a peer that takes no bytes for `peer_patience` seconds is cut off;
* a connection that sends no request within `first_request_within` seconds is closed;
* a handler whose peer has left gets `handler_patience` seconds to finish, then it is cancelled; with the handler ends
  everything Hypercorn keeps for the connection (its ping and keep-alive timers would stay until they expire).

Running Hypercorn's worker and restarting it after a crash was the alternative; it drops every live call each time.
`TCPServer`, `WorkerContext` and `ASGIWrapper`'s protocol are Hypercorn's internals: the version is pinned, and the test
that throws hostile inputs at this module is the alarm.
"""

from __future__ import annotations

import errno
import math
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import attrs
import h11
import structlog
import trio
from attrs.validators import ge, gt
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from relay.errors import RelayError

log = structlog.get_logger(__name__)

AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]
"""An ASGI 3 application: (scope, receive, send). Frameworks disagree about the types of the three, so they are open."""

_MESSAGE_TOO_BIG = b"\x88\x02\x03\xf1"
"""A WebSocket Close frame with code 1009 and no reason, as a server writes it (RFC 6455, 5.5.1 and 7.4.1)."""


class ListenError(RelayError):
    """Say why the address cannot be listened on, and what to do."""


@attrs.frozen(kw_only=True)
class ListenerOptions:
    """The limits of the port; sizes in bytes, times in seconds."""

    backlog: int = attrs.field(default=512, validator=gt(0))
    max_connections: int = attrs.field(default=10_000, validator=gt(0))
    """More are accepted and closed at once: a refused connection tells a proxy more than one that hangs."""
    max_header_bytes: int = attrs.field(default=16 * 1024, validator=gt(0))
    max_message_bytes: int = attrs.field(default=64 * 1024, validator=gt(0))
    """The largest WebSocket message; the carrier's are a few hundred bytes."""
    ping_interval: float = attrs.field(default=20.0, validator=gt(0))
    keep_alive: float = attrs.field(default=3600.0, validator=gt(0))
    """Long, because a client posts its answers over pooled connections, and a server that closes one under its hand
    loses the answer. `max_connections` bounds what idle connections can cost."""
    first_request_within: float = attrs.field(default=20.0, validator=gt(0))
    peer_patience: float = attrs.field(default=5.0, validator=gt(0))
    handler_patience: float = attrs.field(default=30.0, validator=gt(0))
    grace: float = attrs.field(default=5.0, validator=ge(0))
    """How long connections may go on after `stop`."""


async def serve(  # noqa: ASYNC128 - started in serve_on
    app: AsgiApp,
    options: ListenerOptions,
    *,
    host: str,
    port: int,
    stop: trio.Event,
    task_status: trio.TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve an ASGI app on one port until `stop` is set; meant for `nursery.start`, which returns (host, port).

    As `serve_on`, at an address that is taken here: `host` is an IPv4 or IPv6 address or a name, port 0 picks a free
    one. Raises `ListenError` when the address cannot be had.
    """
    listeners = await bind(host, port, backlog=options.backlog)
    await serve_on(listeners, app, options, stop=stop, task_status=task_status)


async def serve_on(
    listeners: Sequence[trio.SocketListener],
    app: AsgiApp,
    options: ListenerOptions,
    *,
    stop: trio.Event,
    task_status: trio.TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve an ASGI app on bound sockets (see `bind`) until `stop` is set; meant for `nursery.start`.

    After `stop` nobody new is let in, idle connections are closed, and the others are cancelled after `options.grace`.
    On cancellation every handler is cancelled at once and waited for. The app's lifespan is not driven: what outlives a
    request belongs into the caller's nursery.
    """
    address = address_of(listeners)
    context = WorkerContext(None)
    acceptor = _Acceptor(app, options, _hypercorn_config(options), context)
    async with trio.open_nursery() as own, trio.open_nursery() as connections:
        accepting = trio.CancelScope()

        async def end() -> None:
            await stop.wait()
            accepting.cancel("stopped")
            await context.terminated.set()  # Hypercorn closes its idle keep-alive connections on this
            connections.cancel_scope.deadline = trio.current_time() + options.grace

        own.start_soon(end)
        with accepting:
            task_status.started(address)
            await trio.serve_listeners(acceptor.accept, list(listeners), handler_nursery=connections)
    log.info("listener_stopped", port=address[1])


@attrs.define
class _Acceptor:
    """Takes connections in: counts them, refuses what is too many, and keeps each one's errors inside it."""

    _app: AsgiApp
    _options: ListenerOptions
    _config: Config
    _context: WorkerContext
    _open: int = 0
    _refused: int = 0

    async def accept(self, stream: trio.SocketStream) -> None:
        """Serve one connection from accept to close; nothing but cancellation comes out of here."""
        if self._open >= self._options.max_connections:
            self._note_refusal()
            return
        self._open += 1
        try:
            await Connection(self._app, self._options, self._config, self._context, stream).run()
        except* Exception as group:  # noqa: BLE001 - the firewall: whatever broke, broke this connection only
            # The texts of these errors repeat the peer's bytes, so only their kinds are logged.
            log.warning("connection_failed", errors=_kinds(group))
        finally:
            self._open -= 1
            self._note_room()

    def _note_refusal(self) -> None:
        if not self._refused:  # one line when it begins and one when it is over: a flood must not fill the log too
            log.error("listener_full", connections=self._open)
        self._refused += 1

    def _note_room(self) -> None:
        if self._refused and self._open < self._options.max_connections * 0.9:
            log.warning("listener_has_room", refused=self._refused)
            self._refused = 0


class Connection(TCPServer):
    """One connection: Hypercorn's protocol code, under a deadline that follows from who is still there."""

    def __init__(
        self,
        app: AsgiApp,
        options: ListenerOptions,
        config: Config,
        context: WorkerContext,
        stream: trio.SocketStream,
    ) -> None:
        self._asgi = app
        self._options = options
        self._scope = trio.CancelScope(deadline=trio.current_time() + options.first_request_within)
        self._peer_left = False
        self._handlers = 0
        guarded: Any = GuardedStream(stream, options.peer_patience, self._note_peer_left)
        # Hypercorn declares the TLS stream only; it takes a plain one when that has no `do_handshake`.
        super().__init__(self._handle_request, config, context, ConnectionState({}), guarded)

    async def run(self) -> None:
        """Serve the connection until it is closed. Raises whatever Hypercorn stumbles over."""
        with self._scope:
            await super().run()

    async def protocol_send(self, event: Event) -> None:
        """Perform what the protocol code wants sent, and hang up on a peer whose message was too big.

        Hypercorn only writes the Close frame: it would go on collecting the message, as long as the peer likes, and
        never tell the handler.
        """
        await super().protocol_send(event)
        if isinstance(event, RawData) and event.data == _MESSAGE_TOO_BIG:
            await super().protocol_send(Closed())

    async def _handle_request(
        self,
        scope: Any,
        receive: Any,
        send: Any,
        sync_spawn: object,  # noqa: ARG002 - for WSGI apps, as is the next; Hypercorn passes both
        call_soon: object,  # noqa: ARG002
    ) -> None:
        self._handlers += 1
        self._scope.deadline = self._due()
        try:
            await self._asgi(scope, receive, send)
        except* h11.LocalProtocolError:
            # The answer does not fit what the peer has sent since (CONNECT, a reset): its fault, so no traceback.
            log.warning("answer_not_sendable", protocol=scope["type"])
        except* Exception as group:
            # Swallowed here, because Hypercorn logs on its own channel; it then answers 500 or closes with 1011.
            log.error("handler_failed", protocol=scope["type"], errors=_kinds(group), exc_info=True)
        finally:
            self._handlers -= 1
            self._scope.deadline = self._due()

    def _note_peer_left(self) -> None:
        if not self._peer_left:
            self._peer_left = True
            self._scope.deadline = self._due()

    def _due(self) -> float:
        if not self._peer_left:
            return math.inf
        return trio.current_time() + (self._options.handler_patience if self._handlers else 0)


class GuardedStream(trio.abc.HalfCloseableStream):
    """A socket that says when its peer has left, and that counts a peer which does not read as one that left."""

    def __init__(self, inner: trio.SocketStream, patience: float, note_peer_left: Callable[[], None]) -> None:
        self._inner = inner
        self._patience = patience
        self._note_peer_left = note_peer_left

    @property
    def socket(self) -> trio.socket.SocketType:
        """The socket underneath, of which Hypercorn asks the addresses."""
        return self._inner.socket

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of it. Raises `BrokenResourceError` when the peer is gone or has not read for the patience."""
        with trio.move_on_after(self._patience) as limit:  # inside Hypercorn's shield, which hides outer deadlines only
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


def _hypercorn_config(options: ListenerOptions) -> Config:
    config = Config()
    config.accesslog = None
    config.errorlog = None  # standard error carries our JSON lines only
    config.include_server_header = False
    config.h11_max_incomplete_size = options.max_header_bytes
    config.websocket_max_message_size = options.max_message_bytes
    config.websocket_ping_interval = options.ping_interval
    config.keep_alive_timeout = options.keep_alive
    config.keep_alive_max_requests = 10**9  # the default of 1,000 closes a busy client's connection under its hand
    return config


async def bind(host: str, port: int, *, backlog: int = 512) -> list[trio.SocketListener]:
    """Take an address without serving it yet, for an app that must know its own address before it is built.

    Raises `ListenError` when the address cannot be had.
    """
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        listeners = await trio.open_tcp_listeners(port, host=host, backlog=backlog)
    except OSError as error:
        raise ListenError(f"Cannot listen on {where}: {_advice(error)}") from error
    if port == 0:
        # A name such as localhost may stand for several addresses, each of which got a port of its own; one is told.
        for spare in listeners[1:]:
            await spare.aclose()
        del listeners[1:]
    for listener in listeners:
        _set_socket_options(listener.socket)
    return listeners


def address_of(listeners: Sequence[trio.SocketListener]) -> tuple[str, int]:
    """Return the host and port that bound sockets can be reached at."""
    host, port = listeners[0].socket.getsockname()[:2]
    return str(host), int(port)


def _advice(error: OSError) -> str:
    # An OSError for several addresses at once carries them as its cause; the first says enough.
    inner = error.__cause__
    if isinstance(inner, BaseExceptionGroup) and isinstance(inner.exceptions[0], OSError):
        error = inner.exceptions[0]
    if isinstance(error, socket.gaierror):
        return "the host name is not known. Give an address of this machine, such as 127.0.0.1 or ::."
    if error.errno == errno.EADDRINUSE:
        return "the port is in use. Stop the other program, or choose another port (0 picks a free one)."
    if error.errno == errno.EACCES:
        return "the port needs more rights. Choose one above 1023, and let a proxy forward to it."
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine has no such address. Give one that it has, such as 127.0.0.1 or 0.0.0.0."
    return f"{error.strerror or error}. Give another address or port."


def _set_socket_options(listening: trio.socket.SocketType) -> None:
    """Have accepted sockets, which inherit these, notice a dead peer in about 9 seconds.

    Not every platform has every option; a missing one only makes the discovery slower.
    """
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 2), ("TCP_USER_TIMEOUT", 8_000)):
        if hasattr(socket, name):
            listening.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _kinds(group: BaseExceptionGroup[Any]) -> list[str]:
    """Name the kinds of the errors in a group, however deep."""
    kinds: set[str] = set()
    for each in group.exceptions:
        kinds.update(_kinds(each) if isinstance(each, BaseExceptionGroup) else [type(each).__name__])
    return sorted(kinds)
