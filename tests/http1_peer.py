"""A peer that speaks HTTP/1.1 byte by byte, so that a test can stop in the middle of a request and look."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import h11
import trio


@attrs.frozen
class Answer:
    """A whole response: names of headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def closes(self) -> bool:
        """Whether it announces that the connection is closed after it."""
        return "close" in self.headers.get("connection", "").lower()


class Cut(Exception):
    """Say that the server closed the connection in mid-answer, or before it."""


@attrs.define(eq=False)
class Peer:
    """One connection. Send bytes, and read answers off it one after the other."""

    stream: trio.SocketStream
    _unread: bytearray = attrs.field(factory=bytearray, init=False)

    async def send(self, data: bytes) -> None:
        """Send these bytes as they are."""
        await self.stream.send_all(data)

    async def answer(self, method: str = "GET") -> Answer:
        """Read the next whole answer, to a request of this method. Raises `Cut`; cancelling loses nothing."""
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method=method, target="/", headers=[("Host", "relay")]))
        client.send(h11.EndOfMessage())
        if self._unread:
            client.receive_data(bytes(self._unread))
        head: h11.Response | None = None
        body = b""
        while True:
            event = client.next_event()
            match event:
                case h11.NEED_DATA:
                    data = bytes(await self._receive())
                    if not data:
                        raise Cut
                    self._unread += data
                    client.receive_data(data)
                case h11.Response():
                    head = event
                case h11.Data():
                    body += event.data
                case h11.EndOfMessage():
                    break
                case h11.ConnectionClosed():
                    raise Cut
                case _:  # 100 Continue
                    pass
        self._unread = bytearray(client.trailing_data[0])
        assert head is not None
        headers = {name.decode(): value.decode() for name, value in head.headers}
        return Answer(head.status_code, headers, body)

    async def _receive(self) -> bytes | bytearray:
        try:
            return await self.stream.receive_some()
        except trio.BrokenResourceError:
            return b""

    async def is_closed(self) -> bool:
        """Wait for the end, and return whether nothing came before it."""
        return not self._unread and not await self._receive()

    async def has_ended(self) -> bool:
        """Whether the server closes within a moment."""
        with trio.move_on_after(0.01):
            return await self.is_closed()
        return False

    async def get(self, path: str = "/") -> Answer:
        """Ask for a page and read the answer."""
        await self.send(b"GET " + path.encode() + b" HTTP/1.1\r\nHost: relay\r\n\r\n")
        return await self.answer()


@asynccontextmanager
async def peer(host: str, port: int) -> AsyncIterator[Peer]:
    """Connect."""
    async with await trio.open_tcp_stream(host, port) as stream:
        yield Peer(stream)


def head(method: str, path: str, *fields: str, version: str = "1.1") -> bytes:
    """Spell out the head of a request."""
    return "\r\n".join([f"{method} {path} HTTP/{version}", "Host: relay", *fields, "", ""]).encode()


CHUNKED = "Transfer-Encoding: chunked"


def chunk(data: bytes) -> bytes:
    """Spell out a chunk; an empty one ends the body."""
    return b"%x\r\n%s\r\n" % (len(data), data)
