"""WebSocket messages for the load generator: a client's are written, a server's are read (RFC 6455, 5.2)."""

from __future__ import annotations

from collections.abc import Callable

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
"""WebSocket's opcodes (RFC 6455, 5.2), as far as the two sides use them."""


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """Return a whole message of a client. The mask is zeros: nobody is between the two whom it could protect."""
    size = len(payload)
    head = bytes((0x80 | opcode, 0x80 | size)) if size < 126 else bytes((0x80 | opcode, 0xFE)) + size.to_bytes(2, "big")
    return head + b"\0\0\0\0" + payload


class FrameReader:
    """The messages of a server, which come whole and unmasked."""

    def __init__(self, on_frame: Callable[[int, bytes], None]) -> None:
        self._on_frame = on_frame
        self._unread = b""

    def feed(self, data: bytes) -> None:
        """Hand over each frame that these bytes complete, as its opcode and its payload."""
        unread = self._unread + data
        start = 0
        while len(unread) >= start + 2:
            size, head = unread[start + 1], 2
            if size >= 126:
                head = 4 if size == 126 else 10
                size = int.from_bytes(unread[start + 2 : start + head], "big")
            end = start + head + size
            if len(unread) < end:
                break
            self._on_frame(unread[start] & 0x0F, unread[start + head : end])
            start = end
        self._unread = unread[start:]
