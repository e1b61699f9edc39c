"""How the echo client and the relay reach each other: messages out, messages in, over one of the two transports.

    SseLink     GET /sse ──▶ events ──▶ take        post ──▶ POST /messages, without waiting for the 202 of the last
    HttpLink    GET /mcp ──▶ events ──▶ take        post ──▶ POST /mcp ──▶ its own events ──▶ take

Over SSE all answers come down the one stream, so posts need no more than one connection and are written one behind the
other. At `/mcp` each request is answered in its own response, and waits for it: a tool that waits for a caller keeps a
connection. Sources: MCP 2024-11-05, "HTTP with SSE"; MCP 2025-11-25, basic/transports, "Streamable HTTP".
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Protocol
from urllib.parse import urlsplit

import attrs
import h11
import httpx2
import trio

Message = dict[str, Any]
"""One JSON-RPC message."""

MOST_AT_ONCE = 64
"""Connections to `/mcp`; each request that waits has one."""


class EchoFailed(Exception):
    """Why the echo client could not connect."""


class Receiver(Protocol):
    """The client, as far as its link needs to know it: `EchoClient`, whose module imports this one."""

    async def greet(self) -> None:
        """Shake hands."""
        ...

    async def take(self, message: Message) -> None:
        """Take a message of the relay's."""
        ...

    def end(self) -> None:
        """Note that nothing more will come."""
        ...


class Link(Protocol):
    """A way to the relay and back: `SseLink` or `HttpLink`."""

    async def open(self, nursery: trio.Nursery, receiver: Receiver, *, stands: bool) -> None:
        """Shake hands for the taker, and hand it all that comes, in a task of this nursery. Raises `EchoFailed`.

        Without `stands` only what is answered to its own requests comes, where the transport can do that.
        """
        ...

    async def post(self, message: Message, receiver: Receiver) -> None:
        """Send a message; what is answered to it is handed to the taker, now or later."""
        ...


# ── HTTP+SSE ────────────────────────────────────────────────────────────────────────────────────────────────────────


@attrs.define(eq=False)
class SseLink:
    """A stream of events, and a connection to post down."""

    _head: str
    _path: str
    _listening: trio.SocketStream
    _posting: trio.SocketStream
    _address: str = ""
    _turn_to_post: trio.Lock = attrs.field(factory=trio.Lock)
    _http: h11.Connection = attrs.field(factory=lambda: h11.Connection(h11.CLIENT))

    @classmethod
    @asynccontextmanager
    async def connect(cls, url: str, token: str) -> AsyncIterator[SseLink]:
        """Open both connections for the length of the block. Raises `OSError`."""
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 80
        head = f"Host: {parts.netloc}\r\n" + (f"Authorization: Bearer {token}\r\n" if token else "")
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        async with (
            await trio.open_tcp_stream(host, port) as listening,
            await trio.open_tcp_stream(host, port) as posting,
        ):
            yield cls(head, path, listening, posting)

    async def open(self, nursery: trio.Nursery, receiver: Receiver, *, stands: bool) -> None:  # noqa: ARG002 - it always does
        """Listen until the relay says where to post, then shake hands."""
        nursery.start_soon(self._drain)
        await nursery.start(self.run, receiver)
        await receiver.greet()

    async def post(self, message: Message, receiver: Receiver) -> None:  # noqa: ARG002 - answers come down the stream
        """Write a message; another one need not wait for what is answered to it."""
        body = json.dumps(message).encode()
        head = (
            f"POST {self._address} HTTP/1.1\r\n{self._head}Content-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        async with self._turn_to_post:
            await self._posting.send_all(head.encode() + body)

    async def _drain(self) -> None:
        """Read what the posts are answered with, and forget it."""
        async for _answers in self._posting:
            pass

    async def run(self, receiver: Receiver, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hand over what comes until the stream ends; started once the relay has said where to post."""
        request = f"GET {self._path} HTTP/1.1\r\n{self._head}Accept: text/event-stream\r\n\r\n"
        # h11 must know of the request before it can read the answer; what it writes itself is the same.
        self._http.send(h11.Request(method="GET", target=self._path, headers=[("Host", "relay")]))
        self._http.send(h11.EndOfMessage())
        await self._listening.send_all(request.encode())
        events = _Events()
        async for piece in self._body():
            for name, data in events.read(piece):
                if name == "endpoint":
                    self._address = data
                    task_status.started()
                else:
                    await receiver.take(json.loads(data))
        if not self._address:
            raise EchoFailed("the relay ended the stream at once; is it being stopped?")
        receiver.end()

    async def _body(self) -> AsyncIterator[bytes]:
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                raise EchoFailed(f"what answers there does not speak HTTP: {error}") from error
            match event:
                case h11.NEED_DATA:
                    self._http.receive_data(await self._listening.receive_some())
                case h11.Response(status_code=status) if status != 200:
                    raise _refused(status)
                case h11.Data(data=data):
                    yield bytes(data)
                case h11.EndOfMessage() | h11.ConnectionClosed():
                    return
                case _:
                    continue


# ── Streamable HTTP ─────────────────────────────────────────────────────────────────────────────────────────────────


@attrs.define(eq=False)
class HttpLink:
    """An HTTP client, and the session that the relay has opened for it."""

    _url: str
    _http: httpx2.AsyncClient

    _ACCEPT: ClassVar = {"Accept": "application/json, text/event-stream"}

    @classmethod
    @asynccontextmanager
    async def connect(cls, url: str, token: str) -> AsyncIterator[HttpLink]:
        """Be able to connect for the length of the block."""
        headers = cls._ACCEPT | ({"Authorization": f"Bearer {token}"} if token else {})
        limits = httpx2.Limits(max_connections=MOST_AT_ONCE, max_keepalive_connections=MOST_AT_ONCE)
        async with httpx2.AsyncClient(headers=headers, limits=limits, timeout=None) as http:
            yield cls(url, http)

    async def open(self, nursery: trio.Nursery, receiver: Receiver, *, stands: bool) -> None:
        """Shake hands, then listen, as the published clients do even if they cannot be asked."""
        await receiver.greet()
        if stands:
            await nursery.start(self.run, receiver)

    async def post(self, message: Message, receiver: Receiver) -> None:
        """Send a message, and hand over all that is answered until the answer is complete."""
        async with self._ask("POST", json=message) as response:
            if session := response.headers.get("mcp-session-id"):
                self._http.headers["mcp-session-id"] = session
            is_answered = "method" not in message or "id" not in message
            async for each in _messages(response):
                is_answered = is_answered or each.get("id") == message["id"]
                await receiver.take(each)
        if not is_answered:
            raise EchoFailed("the relay ended the stream before the answer came")

    async def run(self, receiver: Receiver, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hand over what comes on the standing stream until it ends; started once the relay has opened it."""
        async with self._ask("GET") as response:
            task_status.started()
            async for each in _messages(response):
                await receiver.take(each)
        receiver.end()

    @asynccontextmanager
    async def _ask(self, method: str, **what: Any) -> AsyncIterator[httpx2.Response]:
        try:
            async with self._http.stream(method, self._url, **what) as response:
                if not response.is_success:
                    raise _refused(response.status_code)
                yield response
        except httpx2.ConnectError as error:
            raise OSError(f"cannot connect: {error}") from error
        except httpx2.HTTPError as error:
            raise EchoFailed(f"the relay broke off: {error}") from error


async def _messages(response: httpx2.Response) -> AsyncIterator[Message]:
    """Read a response as it comes: one message, or events with one each, or nothing."""
    if response.headers.get("content-type", "").startswith("application/json"):
        yield json.loads(await response.aread())
        return
    events = _Events()
    async for piece in response.aiter_bytes():
        for _name, data in events.read(piece):
            yield json.loads(data)


def _refused(status: int) -> EchoFailed:
    return EchoFailed(f"the relay answered {status}; is the client's token right?")


@attrs.define
class _Events:
    """Put server-sent events together from pieces of a stream."""

    _unread: bytes = b""

    def read(self, piece: bytes) -> Iterator[tuple[str, str]]:
        """Yield each event that this piece completes, as (name, data); comments and ids are passed over."""
        *events, self._unread = (self._unread + piece).replace(b"\r\n", b"\n").split(b"\n\n")
        for event in events:
            lines = event.decode().split("\n")
            fields = dict(line.split(": ", 1) for line in lines if ": " in line and line[0] != ":")
            if "data" in fields:
                yield fields.get("event", "message"), fields["data"]
