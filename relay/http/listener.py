"""The one port: an accept loop of our own, which keeps its connections apart.

    socket ─▶ accept ─▶ Connection ─▶ ASGI app        relay.http.connection: whose turn it is, and until when
                │  ▲  ▲
                ▼  │  └── tend: whose time is over?
           IdleConnections                            relay.http.connection: who gives way

Hypercorn has a server, which lets one connection harm all others: any exception while reading a request (one byte too
early, one non-ASCII header) ends the process, and a peer that does not read keeps it from ever stopping. Running it and
restarting it after a crash was the alternative; it drops every live call each time. So the accept loop, the nurseries
and the time limits are ours, and each connection is its own compartment: an error in it is logged and ends it, nothing
else.

When places or file descriptors are short, a connection that waits for its peer is closed for the next one. So a peer
that only holds connections open keeps no other out.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import structlog
import trio

from relay.errors import RelayError
from relay.http.asgi import AsgiApp
from relay.http.connection import Connection, Port
from relay.http.options import ListenerOptions

__all__ = ["ListenError", "ListenerOptions", "address_of", "bind", "serve", "serve_on"]

log = structlog.get_logger(__name__)

_SHORTAGE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
# A place becomes free when a connection has its answer, which takes milliseconds: it is looked for, not announced.
_LOOK_INTERVAL = 0.02
# Meanwhile newcomers wait in the kernel's queue, where they cost no descriptor.
_LOOKS = 50


class ListenError(RelayError):
    """The address cannot be used; the text says why and what to do."""


async def serve(  # noqa: ASYNC128 - started in serve_on
    app: AsgiApp,
    options: ListenerOptions,
    *,
    host: str,
    port: int,
    stop: trio.Event,
    runs_in_place: Callable[[str], bool] = lambda _path: True,
    task_status: trio.TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve an ASGI app on one port until `stop` is set; meant for `nursery.start`, which returns (host, port).

    As `serve_on`, at an address that is taken here: `host` is an IPv4 or IPv6 address or a name, port 0 picks a free
    one. Raises `ListenError` when the address cannot be had.
    """
    listeners = await bind(host, port, backlog=options.backlog)
    await serve_on(listeners, app, options, stop=stop, runs_in_place=runs_in_place, task_status=task_status)


async def serve_on(
    listeners: Sequence[trio.SocketListener],
    app: AsgiApp,
    options: ListenerOptions,
    *,
    stop: trio.Event,
    runs_in_place: Callable[[str], bool] = lambda _path: True,
    connections: set[Connection] | None = None,
    task_status: trio.TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve an ASGI app on bound sockets (see `bind`) until `stop` is set; meant for `nursery.start`.

    After `stop` no connection is accepted, idle ones are closed, and the others are cancelled after `options.grace`.
    On cancellation every handler is cancelled at once and waited for. The app's lifespan is not driven: what outlives a
    request belongs into the caller's nursery.

    Requests whose path `runs_in_place` names are served in the task of their connection, all others as those of a web
    framework, in a task of their own. The open connections are kept in `connections`, for who wants to count them.
    """
    address = address_of(listeners)
    acceptor = _Acceptor(Port(app, options, runs_in_place), set() if connections is None else connections)
    async with trio.open_nursery() as own:
        async with trio.open_nursery() as serving:
            accepting = trio.CancelScope()

            async def end() -> None:
                await stop.wait()
                accepting.cancel("stopped")
                acceptor.stop()
                serving.cancel_scope.deadline = trio.current_time() + options.grace

            own.start_soon(end)
            own.start_soon(acceptor.tend)
            with accepting:
                task_status.started(address)
                yielding = [_YieldingListener(each, acceptor) for each in listeners]
                await trio.serve_listeners(acceptor.accept, yielding, handler_nursery=serving)
        own.cancel_scope.cancel("stopped")
    log.info("listener_stopped", port=address[1])


@attrs.define(eq=False)
class _Acceptor:
    """Accepts connections: counts them, closes one for the next if needed, and contains the errors of each."""

    _port: Port
    _connections: set[Connection]
    arriving: int = attrs.field(default=0, init=False)
    """Accepted, with their tasks about to begin."""
    _refused: int = attrs.field(default=0, init=False)

    async def accept(self, stream: trio.SocketStream) -> None:
        """Serve one connection from accept to close; nothing but cancellation comes out of here."""
        self.arriving -= 1
        if len(self._connections) >= self._port.options.max_connections:
            return  # no connection could give way
        connection = Connection(self._port, stream)
        self._connections.add(connection)
        try:
            await connection.run()
        except* OSError:
            log.debug("connection_lost")  # before it was served, or while its peer was being looked at
        except* Exception as group:  # noqa: BLE001 - the firewall: whatever broke, broke this connection only
            # The texts of these errors repeat the peer's bytes, so only their kinds are logged.
            log.warning("connection_failed", errors=kinds(group))
        finally:
            self._connections.discard(connection)
            self._note_room()

    async def tend(self) -> None:
        """Look after all connections now and then, until cancelled."""
        while True:
            await trio.sleep(self._port.options.look_interval)
            now = trio.current_time()
            for each in self._connections:
                try:
                    each.tend(now)
                except Exception as error:  # noqa: BLE001 - the firewall here: this task looks after all the others
                    log.warning("connection_failed", errors=[type(error).__name__])
                    each.give_way()

    def has_room(self) -> bool:
        """Whether there is a place for one more."""
        return len(self._connections) + self.arriving < self._port.options.max_connections

    async def make_room(self) -> None:
        """Close a connection that can give way: a stranger's, or, after a second without one, a known peer's."""
        for _ in range(_LOOKS):
            if self._spare(known=False):
                return
            await trio.sleep(_LOOK_INTERVAL)
            if self.has_room():
                return
        if not self._spare(known=True):
            self.note_refusal()

    def _spare(self, *, known: bool) -> bool:
        spared = self._port.idle.spare(known=known)
        if spared is None:
            return False
        self._connections.discard(spared)  # its place is free now, its descriptor as soon as its task runs
        return True

    def stop(self) -> None:
        """Close idle connections, and the others after their next answer. Never waits."""
        self._port.is_stopping = True
        for each in self._connections:
            each.stop()

    def note_refusal(self) -> None:
        """Record that a connection was refused for want of a place."""
        if not self._refused:  # one line when it begins and one when it is over: a flood must not fill the log too
            log.error("listener_full", connections=len(self._connections))
        self._refused += 1

    def _note_room(self) -> None:
        if self._refused and len(self._connections) < self._port.options.max_connections * 0.9:
            log.warning("listener_has_room", refused=self._refused)
            self._refused = 0


@attrs.frozen(eq=False)
class _YieldingListener(trio.abc.Listener[trio.SocketStream]):
    """A listening socket that has a connection give way when there is no place or descriptor for the next one.

    Without a descriptor Trio's own loop waits and reports it ten times a second, and accepts no connection until one
    leaves.
    """

    _inner: trio.SocketListener
    _acceptor: _Acceptor

    async def accept(self) -> trio.SocketStream:
        """Wait for the next connection."""
        while True:
            await trio.lowlevel.wait_readable(self._inner.socket)
            if not self._acceptor.has_room():
                await self._acceptor.make_room()
            try:
                stream = await self._inner.accept()
            except OSError as error:
                if error.errno not in _SHORTAGE:
                    raise
                await self._acceptor.make_room()
                await trio.sleep(_LOOK_INTERVAL)
            else:
                self._acceptor.arriving += 1
                return stream

    async def aclose(self) -> None:
        """Close the listening socket."""
        await self._inner.aclose()


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


def kinds(group: BaseExceptionGroup[Any]) -> list[str]:
    """Name the kinds of the errors in a group, however deep."""
    named: set[str] = set()
    for each in group.exceptions:
        named.update(kinds(each) if isinstance(each, BaseExceptionGroup) else [type(each).__name__])
    return sorted(named)


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
    """Set options by which accepted sockets, which inherit them, notice a dead peer or a cut network within 9 seconds.

    The kernel gives up 6 seconds after the first thing that was not acknowledged: a probe, or what we sent since. What
    is sent while a probe is out begins these 6 seconds anew, once; so an idle stream must send something more often
    than that, see `relay.mcp.transports.event_stream.Timing`. Source: Linux, tcp(7), TCP_USER_TIMEOUT; measured by
    cutting a network at twelve points of that interval.

    Not every platform has every option; a missing one only makes the discovery slower.
    """
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 3), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 2), ("TCP_USER_TIMEOUT", 6_000)):
        if hasattr(socket, name):
            listening.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
