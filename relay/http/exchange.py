"""One request and its answer, as an ASGI app sees them.

    wire.buffer ──body.take──▶ receive ──▶ app ──▶ send ──▶ wire.write

Nothing is read before the app asks for it. An app that has the whole request and asks again waits for the peer to
leave: what comes instead, the next request, is kept until this one is answered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import trio

from relay.errors import error_document
from relay.http.asgi import Header, Message
from relay.http.http1 import Length, MalformedRequestError, RequestHead, encode_head, has_body
from relay.http.wire import AHEAD, Wire

_ASGI = {"spec_version": "2.3", "version": "3.0"}  # one for all scopes, of which each call keeps one
_CONTINUE = b"HTTP/1.1 100 \r\n\r\n"
_CLOSE: Header = (b"connection", b"close")
_JSON: Header = (b"content-type", b"application/json")
_CHUNKED: Header = (b"transfer-encoding", b"chunked")
_LAST_CHUNK = b"0\r\n\r\n"


def scope_of(head: RequestHead, addresses: tuple[Any, Any], extensions: dict[str, Any]) -> dict[str, Any]:
    """Return the ASGI scope of a request, or of an upgrade."""
    target, _, query = head.target.partition(b"?")
    path = target.decode("ascii")
    return {
        "type": "http",
        "asgi": _ASGI,
        "http_version": head.version,
        "method": head.method,
        "scheme": "http",
        "path": unquote(path) if "%" in path else path,
        "raw_path": target,
        "query_string": query,
        "root_path": "",
        "headers": head.headers,
        "client": addresses[0],
        "server": addresses[1],
        "state": {},
        "extensions": extensions,
    }


def refusal(status: int, message: str) -> bytes:
    """Return the answer to what cannot be served, behind which nothing follows."""
    body = error_document("bad_request", message)
    return encode_head(status, [_JSON, (b"content-length", b"%d" % len(body)), _CLOSE]) + body


class HttpExchange:
    """A request whose head has come. One task receives, one sends; what is sent after the end goes nowhere."""

    __slots__ = (
        "_ended",
        "_head",
        "_is_chunked",
        "_is_last",
        "_left",
        "_note_change",
        "_unsent_head",
        "_with_body",
        "body",
        "closes",
        "is_answered",
        "is_begun",
        "is_over",
        "is_read",
        "outlasts_end",
        "wire",
    )

    def __init__(
        self,
        wire: Wire,
        head: RequestHead,
        *,
        is_last: Callable[[], bool],
        note_change: Callable[[], None],
    ) -> None:
        """Begin. `is_last` is asked, when the answer begins, whether it is the connection's last.

        `note_change` is called when the request is read, when its answer begins, and when it is over.
        """
        self.wire = wire
        self.body = head.body
        self.closes = not head.keeps_alive
        """Whether nothing can follow the answer."""
        self.is_begun = False
        """Whether the answer is."""
        self.is_answered = False
        self.is_over = False
        """Whether it was answered, or given up."""
        self.is_read = False
        """Whether the app was handed the whole request."""
        self.outlasts_end = False
        """Whether the app is not told that the peer has ended its half before its answer begins: web frameworks cancel
        their handlers then, and the peer may wait for it. What streams must be told, that is how clients hang up."""
        self._head = head
        self._is_last = is_last
        self._note_change = note_change
        self._unsent_head = b""
        self._with_body = True
        self._is_chunked = False
        self._left: int | None = None  # bytes of the answer to come, where it says how many it has
        self._ended: trio.Event | None = None

    async def go_on(self) -> None:
        """Ask for the body if the peer waits to be asked."""
        if self._head.awaits_continue and self.body.left and not self.wire.buffer:
            await self.wire.write(_CONTINUE)

    # ── from the peer ───────────────────────────────────────────────────────────────────────────────────────────────

    def take_whole_body(self) -> bytes | None:
        """Return the body if all of it has come and nothing of it was received; else None. Never waits."""
        body, wire = self.body, self.wire
        if self.is_read or not isinstance(body, Length) or not 0 < body.left <= len(wire.buffer):
            return None
        data, wire.buffer = body.take(wire.buffer)
        self.is_read = True
        self._note_change()
        return data

    async def receive(self) -> Message:
        """Wait for the next piece of the request, or, when it is read, for the end. Cancelling loses nothing."""
        wire = self.wire
        while not self.is_answered:
            if not self.is_read:
                try:
                    piece, wire.buffer = self.body.take(wire.buffer)
                except MalformedRequestError as error:
                    await self._refuse(error)
                    break
                if not self.body.left:
                    self.is_read = True
                    self._note_change()
                    return {"type": "http.request", "body": piece, "more_body": False}
                if piece:
                    return {"type": "http.request", "body": piece, "more_body": True}
            awaits_answer = self.outlasts_end and self.is_read and not self.is_begun
            if self.is_over or (wire.has_left and not awaits_answer):
                break
            if len(wire.buffer) < AHEAD and not wire.has_left:
                await wire.fill()
            else:
                await self.wait_ended()
        return {"type": "http.disconnect"}

    # ── to the peer ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def send(self, message: Message) -> None:
        """Send what the app says. Raises `RuntimeError` or `ValueError` for what is no answer."""
        if message["type"] == "http.response.start":
            await self.begin(message["status"], message.get("headers", ()))
        elif message["type"] == "http.response.body":
            await self.write(message.get("body", b""), is_last=not message.get("more_body", False))
        else:
            raise RuntimeError(f"{message['type']} is no message of an HTTP answer")

    async def begin(self, status: int, headers: Any) -> None:
        """Begin the answer. Its head goes out with the first piece of a body whose length is known, else at once."""
        if self.is_over:
            return
        if self.is_begun:
            raise RuntimeError("the answer has begun already")
        given: list[Header] = []
        length: int | None = None
        for name, value in headers:
            kind = name.lower()
            if kind == b"content-length":
                length = int(value)
            elif kind == b"connection":
                self.closes |= b"close" in value.lower()
                continue
            elif kind == b"transfer-encoding":
                continue
            given.append((name, value))
        self._with_body = has_body(self._head.method, status)
        self._is_chunked = False
        if length is None and (self._with_body or self._head.method == "HEAD"):
            if self._head.version == "1.0":
                self.closes = True  # which is how the peer learns where the answer ends
            else:
                self._is_chunked = self._with_body
                given.append(_CHUNKED)
        self._left = length if self._with_body else None
        if self.closes or self._is_last():
            self.closes = True
            given.append(_CLOSE)
        self._unsent_head = encode_head(status, given)
        self.is_begun = True
        self._note_change()
        if length is None:
            head, self._unsent_head = self._unsent_head, b""
            await self._transmit(head)

    async def write(self, data: bytes, *, is_last: bool) -> None:
        """Send a piece of the body; nothing of an answer that has none."""
        if self.is_over:
            return
        if not self.is_begun:
            raise RuntimeError("the answer has not begun")
        if not self._with_body:
            data = b""
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                raise RuntimeError("the answer is longer than its Content-Length")
        head, self._unsent_head = self._unsent_head, b""
        if self._is_chunked:
            frame = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
            data = frame + _LAST_CHUNK if is_last else frame
        await self._transmit(head + data if head else data, is_last=is_last)

    async def _transmit(self, data: bytes, *, is_last: bool = False) -> None:
        if data:
            await self.wire.write(data)
        if is_last:
            self.is_answered = not self._left
            self.end()
        # Last, because an app may be cancelled as soon as it learns that the exchange is over.
        await self.wire.socket.breathe()

    async def _refuse(self, error: MalformedRequestError) -> None:
        """Answer a request whose body cannot be read, if nothing was answered yet; nothing can follow."""
        self.closes = True
        if not self.is_begun:
            self.is_begun = self.is_answered = True
            await self.wire.write(refusal(error.status, error.message))
        self.end()

    async def finish(self) -> None:
        """End what the app has left open: its crash is a 500, an answer that is not complete is cut off."""
        if not self.is_over and not self.is_begun:
            self.closes = True
            await self.begin(500, [(b"content-length", b"0")])
            await self.write(b"", is_last=True)
        self.end()

    # ── its end ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def end(self) -> None:
        """End the exchange, answered or not. Idempotent, never waits."""
        if self.is_over:
            return
        self.is_over = True
        self.closes |= not self.is_answered
        self.wire.socket.wake()
        if self._ended is not None:
            self._ended.set()
        self._note_change()

    async def wait_ended(self) -> None:
        """Wait until the exchange is over."""
        if self._ended is None:
            self._ended = trio.Event()
            if self.is_over:
                self._ended.set()
        await self._ended.wait()
