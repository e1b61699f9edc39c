"""A connected socket: tried first, waited for only where it would block.

Trio's own stream yields to the scheduler with every operation and, to be cancelled by time, needs a timer around each.
That is most of what a small request costs. Here an operation that goes through at once costs its system call, every
sixteenth lets the other tasks run, and a timer is set only when a write blocks. Where nothing can be there yet, as
between two requests, it is waited for at once: to try first costs a system call, an exception and a look for
cancellation.
"""

from __future__ import annotations

import socket
import struct

import trio

_RECEIVE_BYTES = 65_536
_MOST_AT_ONCE = 16
"""Operations that go through at once before the other tasks get their turn."""


class PeerSocket:
    """The socket of one peer. One task receives at a time, any number send; each `send` goes out whole and in order."""

    __slots__ = ("_at_once", "_descriptor", "_ends", "_lock", "_patience", "_socket", "_waiter", "is_closed")

    def __init__(self, stream: trio.SocketStream, patience: float) -> None:
        """Take over the socket of a stream. A peer has `patience` seconds to make room for what is sent."""
        inner = stream.socket
        self._socket = socket.socket(inner.family, inner.type, inner.proto, fileno=inner.detach())
        self._socket.setblocking(False)
        self._descriptor = self._socket.fileno()
        self._patience = patience
        self._at_once = 0
        self._lock: trio.StrictFIFOLock | None = None  # while a send waits for the peer
        self._ends = False
        self._waiter: object | None = None
        self.is_closed = False

    def addresses(self) -> tuple[tuple[str, int], tuple[str, int]]:
        """Return the peer's host and port, and ours. Raises `OSError` when the peer is gone."""
        peer, here = self._socket.getpeername(), self._socket.getsockname()
        return (peer[0], peer[1]), (here[0], here[1])

    @property
    def is_awaited(self) -> bool:
        """Whether a task waits for the peer to send."""
        return self._waiter is not None

    async def receive(self, *, try_first: bool = True) -> bytes | None:
        """Wait for bytes; none when the peer has left, None when `wake` was called. Cancelling loses nothing.

        `try_first` if something is probably there already.
        """
        self._waiter = waiter = object()
        try:
            if try_first:
                await self.breathe()
            while self._waiter is waiter and not self.is_closed:
                if try_first and (data := self.receive_now()) is not None:
                    return data
                try_first = True
                self._at_once = 0
                await trio.lowlevel.wait_readable(self._descriptor)
        except trio.ClosedResourceError:
            pass
        finally:
            if self._waiter is waiter:
                self._waiter = None
        return b"" if self.is_closed else None

    def receive_now(self) -> bytes | None:
        """Return the bytes that are there, none when the peer has left, None when nothing has come."""
        try:
            return self._socket.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def wake(self) -> None:
        """Release the task that waits in `receive`, if there is one. Never waits."""
        if self._waiter is not None:
            self._waiter = None  # it may only be about to wait, and the next receiver may wait before it runs
            # It only wakes who waits, and leaves the socket as it is. A send that waits as well looks again.
            trio.lowlevel.notify_closing(self._descriptor)

    async def send(self, data: bytes) -> None:
        """Send all of it, without a checkpoint where it goes through at once.

        Raises `BrokenResourceError` when the peer is gone, or does not read for the patience. Cancelled while others
        send, nothing of it is sent; once it has begun it is not cancelled, because half of a message would spoil what
        follows.
        """
        lock = self._lock
        if lock is None:
            sent = self._try(data)
            if sent == len(data):
                return
            lock = self._lock = trio.StrictFIFOLock()
            lock.acquire_nowait()
        else:
            await lock.acquire()
            sent = 0
        try:
            await self._send_patiently(memoryview(data)[sent:])
        finally:
            lock.release()
            if not lock.locked():
                self._lock = None
                if self._ends:
                    self.end()

    def send_now(self, data: bytes) -> bool:
        """Send a few bytes if nothing else is being sent; return whether the peer could get them, now or ever.

        False also when only some of them went out: the peer has not read for long, and nothing can follow.
        """
        if self._lock is not None:
            return True
        try:
            return self._try(data) in {0, len(data)}
        except trio.BrokenResourceError:
            return False

    def _try(self, data: bytes | memoryview) -> int:
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise trio.BrokenResourceError("the peer has left") from error

    async def _send_patiently(self, rest: memoryview) -> None:
        with trio.move_on_after(self._patience, shield=True):
            while rest and not self.is_closed:  # the descriptor of a closed one may be another connection's
                try:
                    await trio.lowlevel.wait_writable(self._descriptor)
                except trio.ClosedResourceError:
                    continue
                rest = rest[self._try(rest) :]
        if rest:
            self._reset()
            raise trio.BrokenResourceError("the peer does not read")

    def _reset(self) -> None:
        """Close at once, and tell the peer. Idempotent.

        A plain `close` would stand behind all that the peer has no room for, which the system keeps for minutes.
        """
        if not self.is_closed:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close()

    async def breathe(self) -> None:
        """Yield to other tasks if it is time to, or be cancelled: for between operations that went through at once."""
        self._at_once += 1
        if self._at_once < _MOST_AT_ONCE:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            self._at_once = 0
            await trio.lowlevel.checkpoint()

    def end(self) -> None:
        """Close the sending half, behind what is being sent. Never waits."""
        self._ends = True
        if self._lock is None:
            try:
                self._socket.shutdown(socket.SHUT_WR)
            except OSError:
                return  # gone already

    def close(self) -> None:
        """Close at once, and release who waits for it. Idempotent."""
        if not self.is_closed:
            self.is_closed = True
            self._waiter = None  # nobody is to be woken by a descriptor that may be another connection's
            trio.lowlevel.notify_closing(self._descriptor)
            self._socket.close()
