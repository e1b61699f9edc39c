"""Connections to other nodes: made in time, kept for the next request, and closed when nobody wants them.

    connect ──▶ PeerSocket │ TlsSocket ──▶ one request, or a tunnel ──keep──▶ take ──▶ the next request

A connection that was kept may have been closed by the node just now; what is sent over it then is lost, or not. Who may
not send it twice looks at that before: `take` returns none of which an end has come.
"""

from __future__ import annotations

import select
import socket
import ssl
from collections import deque
from collections.abc import Iterator
from typing import Protocol
from urllib.parse import urlsplit

import attrs
import structlog
import trio

from relay.http.peer_socket import PeerSocket

log = structlog.get_logger(__name__)

CONNECT_SECONDS = 1.5
"""A node in the same network answers within a millisecond; TLS takes ten."""
PATIENCE_SECONDS = 5.0
"""For a node to take what is sent to it: as long as the listener waits for its peers."""
MOST_KEPT = 32
"""Unused connections to one node. More than that many requests at once make new ones."""
KEPT_SECONDS = 60.0
_LOOK_SECONDS = 10.0
_RECEIVE_BYTES = 65_536

# A host that vanishes says nothing. What was sent to it, or a probe after three seconds of silence, is given up after
# three more; a node that is slow acknowledges nevertheless, that is done by its kernel.
_SOCKET_OPTIONS = (("TCP_KEEPIDLE", 3), ("TCP_KEEPINTVL", 1), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 3_000))


class NodeRefusedError(Exception):
    """Nobody listens at the node's address."""


class NodeUnreachableError(Exception):
    """No connection to the node could be made, or not in time."""


class NodeSocket(Protocol):
    """A connection to a node. One task receives at a time and one sends."""

    async def receive(self) -> bytes | None:
        """Wait for bytes; none, or None, when the node has ended the connection. Cancelling loses nothing."""
        ...

    def receive_now(self) -> bytes | None:
        """Return None where nothing has come."""
        ...

    async def send(self, data: bytes) -> None:
        """Send all of it. Raises `trio.BrokenResourceError` when the node is gone or does not read."""
        ...

    def end(self) -> None:
        """End the sending half; the whole connection where it cannot be halved. Never waits."""
        ...

    def close(self) -> None:
        """Close at once. Idempotent, never waits."""
        ...


@attrs.define(eq=False)
class TlsSocket:
    """A connection with TLS. Its halves cannot be ended apart."""

    _stream: trio.SSLStream[trio.SocketStream]
    _patience: float

    async def receive(self) -> bytes:
        """Wait for bytes; none when the node has ended the connection."""
        try:
            return bytes(await self._stream.receive_some(_RECEIVE_BYTES))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return b""

    def receive_now(self) -> bytes | None:
        """Return no bytes if something has come, which between two requests can only be the end, else None."""
        inner = self._stream.transport_stream.socket
        if inner.fileno() < 0:
            return b""
        poll = select.poll()
        poll.register(inner.fileno(), select.POLLIN)
        return b"" if poll.poll(0) else None

    async def send(self, data: bytes) -> None:
        """Send all of it. Raises `trio.BrokenResourceError`."""
        with trio.move_on_after(self._patience) as patience:
            try:
                await self._stream.send_all(data)
            except trio.ClosedResourceError as error:
                raise trio.BrokenResourceError("the connection was closed") from error
        if patience.cancelled_caught:
            self.close()
            raise trio.BrokenResourceError("the node does not read")

    def end(self) -> None:
        """Close: the node could not tell a half that is ended from a connection that is broken."""
        self.close()

    def close(self) -> None:
        """Close at once."""
        self._stream.transport_stream.socket.close()


@attrs.define(eq=False)
class NodeConnections:
    """Make connections to nodes, and keep those that are not used. `run` runs beside them."""

    most_kept: int = MOST_KEPT
    kept_seconds: float = KEPT_SECONDS
    connect_seconds: float = CONNECT_SECONDS
    patience: float = PATIENCE_SECONDS
    tls: ssl.SSLContext | None = None
    """What is trusted: by default what the system trusts, or `SSL_CERT_FILE` names, read when it is needed."""
    _kept: dict[str, deque[tuple[float, NodeSocket]]] = attrs.field(factory=dict, init=False)
    # Nodes of which the log says that they cannot be trusted: once, and not for each request that is for them.
    _without_tls: set[str] = attrs.field(factory=set, init=False)

    async def run(self) -> None:
        """Close those that were not used for long, until cancelled; then all."""
        try:
            while True:
                await trio.sleep(_LOOK_SECONDS)
                self._close_before(trio.current_time() - self.kept_seconds)
        finally:
            self._close_before(trio.current_time() + 1)

    def __len__(self) -> int:
        """Count those that are kept."""
        return sum(map(len, self._kept.values()))

    def take(self, url: str) -> NodeSocket | None:
        """Return the kept connection to a node that was used last, if there is one. Never waits."""
        kept = self._kept.get(url)
        while kept:
            _, node = kept.pop()
            if node.receive_now() is None:
                return node
            node.close()
        return None

    def keep(self, url: str, node: NodeSocket) -> None:
        """Keep a connection over which nothing is under way; the one that was kept longest gives way. Never waits."""
        kept = self._kept.setdefault(url, deque())
        kept.append((trio.current_time(), node))
        if len(kept) > self.most_kept:
            kept.popleft()[1].close()

    async def connect(self, url: str) -> NodeSocket:
        """Connect to a node at its origin, `http` or `https`.

        Raises `NodeRefusedError` or `NodeUnreachableError`; then nothing was sent.
        """
        parts = urlsplit(url)
        is_safe = parts.scheme == "https"
        host, port = parts.hostname or "", parts.port or (443 if is_safe else 80)
        stream: trio.SocketStream | None = None
        node: NodeSocket | None = None
        try:
            with trio.fail_after(self.connect_seconds):
                stream = await trio.open_tcp_stream(host, port)
                _set_socket_options(stream.socket)
                node = await self._secured(stream, host) if is_safe else PeerSocket(stream, self.patience)
                self._without_tls.discard(url)
                return node
        except OSError as error:
            if _is_refused(error):
                raise NodeRefusedError from error
            raise NodeUnreachableError from error
        except trio.TooSlowError as error:
            raise NodeUnreachableError from error
        except trio.BrokenResourceError as error:
            # What the operator has to fix: a certificate that nobody here trusts, or a port without TLS.
            if url not in self._without_tls:
                self._without_tls.add(url)
                log.warning("node_without_tls", url=url, why=str(error.__cause__ or error))
            raise NodeUnreachableError from error
        finally:
            if stream is not None and node is None:
                stream.socket.close()

    async def _secured(self, stream: trio.SocketStream, host: str) -> TlsSocket:
        if self.tls is None:
            self.tls = ssl.create_default_context()
        secured = trio.SSLStream(stream, self.tls, server_hostname=host, https_compatible=True)
        await secured.do_handshake()
        return TlsSocket(secured, self.patience)

    def _close_before(self, limit: float) -> None:
        for url, kept in list(self._kept.items()):
            while kept and kept[0][0] < limit:
                kept.popleft()[1].close()
            if not kept:
                del self._kept[url]


def _set_socket_options(node: trio.socket.SocketType) -> None:
    node.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _SOCKET_OPTIONS:
        if hasattr(socket, name):  # a missing one only makes the discovery slower
            node.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _is_refused(error: OSError) -> bool:
    return all(isinstance(each, ConnectionRefusedError) for each in _causes(error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Return the errors behind that of Trio, which tries all addresses of a name."""
    inner = error.__cause__
    if isinstance(inner, BaseExceptionGroup):
        for each in inner.exceptions:
            yield from _causes(each)
    elif inner is not None:
        yield from _causes(inner)
    else:
        yield error
