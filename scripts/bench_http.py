"""HTTP/1.1 and server-sent events for the load generator, as thin as they can be.

request ─▶ Pool ─▶ a free connection ─▶ HttpReader ─▶ its answer        stream ─▶ HttpReader ─▶ EventReader
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping

from scripts.bench_wire import Connection, Wheel

_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:\s*chunked", re.IGNORECASE)


class HttpReader:
    """The responses on a connection, one after another.

    A response with 101 ends HTTP: what comes behind it is its body, for ever.
    """

    def __init__(
        self, on_head: Callable[[int, bytes], None], on_body: Callable[[bytes], None], on_end: Callable[[], None]
    ) -> None:
        self._on_head, self._on_body, self._on_end = on_head, on_body, on_end
        self._unread = b""
        self._left: float | None = None
        self._is_chunked = False

    def feed(self, data: bytes) -> None:
        """Read what came."""
        self._unread += data
        while self._unread and (self._read_head() if self._left is None else self._read_body()):
            pass

    def _read_head(self) -> bool:
        head, found, rest = self._unread.partition(b"\r\n\r\n")
        if not found:
            return False
        self._unread = rest
        status = int(head[9:12])
        self._is_chunked = _CHUNKED.search(head) is not None
        length = _LENGTH.search(head)
        self._left = float("inf") if status == 101 else int(length[1]) if length else 0
        self._on_head(status, head)
        if self._left == 0 and not self._is_chunked:
            self._end()
        return True

    def _read_body(self) -> bool:
        if self._is_chunked and self._left == 0:
            size, found, rest = self._unread.partition(b"\r\n")
            if not found:
                return False
            if not size:  # the end of the chunk before
                self._unread = rest
                return True
            if int(size, 16) == 0:
                if len(rest) < 2:
                    return False
                self._unread = rest[2:]
                self._end()
                return True
            self._left, self._unread = int(size, 16), rest
            return True
        assert self._left is not None
        taken = len(self._unread) if self._left == float("inf") else min(int(self._left), len(self._unread))
        body, self._unread = self._unread[:taken], self._unread[taken:]
        self._left -= taken
        self._on_body(body)
        if self._left == 0 and not self._is_chunked:
            self._end()
        return True

    def _end(self) -> None:
        self._left = None
        self._on_end()


OnAnswer = Callable[[int, bytes, bytes], None]
"""Take an answer: its status, its head, its body. The status is 0 where the connection broke instead."""


class Pool:
    """Keep-alive connections to one address, a request at a time on each, and as many as there are requests.

    That is how HTTP clients do it: a request written behind another, before that one's answer, would be cheaper for
    the daemon than any real client is.
    """

    def __init__(self, wheel: Wheel, address: tuple[str, int], at_most: int = 64) -> None:
        self._wheel, self._address, self._at_most = wheel, address, at_most
        self._free: list[_Exchange] = []
        self._count = 0
        self._waiting: deque[tuple[bytes, OnAnswer]] = deque()

    def request(self, data: bytes, on_answer: OnAnswer) -> None:
        """Send a whole request; hand over its answer when it is complete."""
        if self._free:
            self._free.pop().go(data, on_answer)
        elif self._count < self._at_most:
            self._count += 1
            _Exchange(self, self._wheel, self._address).go(data, on_answer)
        else:
            self._waiting.append((data, on_answer))

    def give_back(self, exchange: _Exchange) -> None:
        """Have a connection again that has its answer."""
        if self._waiting:
            exchange.go(*self._waiting.popleft())
        else:
            self._free.append(exchange)

    def drop(self, exchange: _Exchange) -> None:
        """Note that a connection is gone."""
        self._count -= 1
        if exchange in self._free:
            self._free.remove(exchange)


class _Exchange:
    """A connection of a pool, with the request that it carries."""

    def __init__(self, pool: Pool, wheel: Wheel, address: tuple[str, int]) -> None:
        self._pool = pool
        self._reader = HttpReader(self._take_head, self._take_body, self._finish)
        self._connection = Connection(wheel, address, self._take)
        self._on_answer: OnAnswer | None = None
        self._status, self._head, self._body = 0, b"", b""

    def go(self, data: bytes, on_answer: OnAnswer) -> None:
        self._on_answer = on_answer
        self._status, self._head, self._body = 0, b"", b""
        self._connection.send(data)

    def _take(self, data: bytes) -> None:
        if data:
            self._reader.feed(data)
            return
        self._pool.drop(self)
        if self._on_answer is not None:
            waiting, self._on_answer = self._on_answer, None
            waiting(0, b"", b"")

    def _take_head(self, status: int, head: bytes) -> None:
        self._status, self._head = status, head

    def _take_body(self, body: bytes) -> None:
        self._body += body

    def _finish(self) -> None:
        taker, self._on_answer = self._on_answer, None
        status, head, body = self._status, self._head, self._body
        self._pool.give_back(self)
        if taker is not None:
            taker(status, head, body)


def request(method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """Return a request as it goes over the wire."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if body or method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


class EventReader:
    """Server-sent events out of the pieces of a stream. `last_id` is the newest one that was given."""

    def __init__(self, on_event: Callable[[bytes, bytes], None]) -> None:
        self._on_event = on_event
        self.last_id = b""
        self._unread = b""

    def feed(self, piece: bytes) -> None:
        """Hand over each event that this piece completes, as its name and its data; comments are passed over."""
        *events, self._unread = (self._unread + piece).replace(b"\r\n", b"\n").split(b"\n\n")
        for event in events:
            name, data = b"message", b""
            for line in event.split(b"\n"):
                if line.startswith(b"data:"):
                    data += line[5:].strip()
                elif line.startswith(b"event:"):
                    name = line[6:].strip()
                elif line.startswith(b"id:"):
                    self.last_id = line[3:].strip()
            if data:
                self._on_event(name, data)
