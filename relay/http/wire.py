"""The two directions of a connection: bytes that have come and nobody has used yet, and bytes that go out."""

from __future__ import annotations

from collections.abc import Callable

import trio

from relay.http.peer_socket import PeerSocket

AHEAD = 65_536
"""Bytes that may come before they are asked for: behind that the peer waits."""


class Wire:
    """A peer's socket and what was received of it. Whatever shows that the peer has left is noted once.

    A peer that ends its half of the connection has left, as far as can be told; but it may wait for its answer, so what
    there is to say is written until that fails.
    """

    __slots__ = ("_on_left", "buffer", "has_left", "is_broken", "socket")

    def __init__(self, socket: PeerSocket, on_left: Callable[[], None]) -> None:
        """Begin with nothing received. `on_left` is called when the peer has left, and when nothing reaches it."""
        self.socket = socket
        self.buffer = b""
        self.has_left = False
        self.is_broken = False
        """Whether nothing that is written reaches the peer."""
        self._on_left = on_left

    async def fill(self, *, try_first: bool = True) -> bool:
        """Wait until more has come, or the socket's receiver was woken; return False when the peer has left.

        `try_first` if more is probably there already.
        """
        data = await self.socket.receive(try_first=try_first)
        if data is not None:
            self._take(data)
        return not self.has_left

    def fill_now(self) -> None:
        """Take what has come, up to the bound."""
        if len(self.buffer) < AHEAD and (data := self.socket.receive_now()) is not None:
            self._take(data)

    def _take(self, data: bytes) -> None:
        if data:
            self.buffer = self.buffer + data if self.buffer else data
        else:
            self.note_left()

    async def write(self, data: bytes) -> None:
        """Send all of it, without a checkpoint where it goes through at once; nothing if it would not arrive."""
        if not self.is_broken:
            try:
                await self.socket.send(data)
            except trio.BrokenResourceError:
                self.note_broken()

    def note_left(self) -> None:
        """Note that the peer has left. Idempotent."""
        if not self.has_left:
            self.has_left = True
            self._on_left()

    def note_broken(self) -> None:
        """Note that nothing reaches the peer any more. Idempotent."""
        if not self.is_broken:
            self.is_broken = self.has_left = True
            self._on_left()

    def close(self) -> None:
        """Close the socket; nobody is told of anything after that."""
        self.socket.close()
        self._on_left = _ignore  # a method of what holds this: together they would wait for the collector


def _ignore() -> None:
    """Take no note."""
