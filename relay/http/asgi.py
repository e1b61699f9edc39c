"""ASGI 3 for our raw handlers: its types, a request read, a short answer sent, an upgrade refused.

Raw, because a web framework would sit between the handler and the connection: its response time limits cut streams, and
it tells a handler of a hang-up only by cancelling it. Frameworks disagree about the types of the three arguments of an
application, so those of `AsgiApp` are open.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl

import attrs

from relay.errors import error_document

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]
AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]

BODY_AT_HAND = "relay.body_at_hand"
"""The extension of an HTTP scope that an app calls, without arguments, for the whole body if that has come already.

None if it has not, and then it is to be received. So an app needs a timer only for a body that must be waited for.
"""

HOP = b"relay-hop"
"""The header of a request that names the node which passes it on; of an answer, the node that is not the home."""

CUT = "relay.cut"
"""The extension of an HTTP scope that an app calls, without arguments, to close the connection without an answer."""

HAND_OVER = "relay.hand_over"
"""The extension of a WebSocket's scope that an app calls, without arguments, for the peer's socket itself.

Only instead of an answer to the upgrade: what is sent and received is then the app's own affair, the 101 included, and
the connection closes when the app returns. None if the peer has left.
"""

_POLICY_VIOLATION = 1008

# A client over SSE posts to the same address all the time, which is short.
_SESSION = b"session_id="
_LONGEST_POSTED_TO = 100
_POSTED_TO = 1_000


class Disconnected(Exception):
    """The peer went away before its request was complete."""


class BodyTooLarge(Exception):
    """A request's body is longer than the handler takes."""


@attrs.define(eq=False)
class Head:
    """The head of a request, parsed as far as it is asked for. Takes any bytes: what is no UTF-8 is replaced."""

    _scope: Scope
    # What was parsed of it. A `cached_property` takes a lock and five times as long, and each turn has some.
    _query: Mapping[str, str] | None = attrs.field(default=None, init=False)
    _headers: Mapping[str, str] | None = attrs.field(default=None, init=False)

    @property
    def method(self) -> str:
        """Its method, in capitals."""
        method: str = self._scope["method"]
        return method

    @property
    def path(self) -> str:
        """Its path."""
        path: str = self._scope["path"]
        return path

    @property
    def query(self) -> Mapping[str, str]:
        """Its query parameters, the first of repeated ones."""
        if self._query is None:
            raw = self._scope["query_string"]
            is_posted_to = raw.startswith(_SESSION) and len(raw) <= _LONGEST_POSTED_TO
            self._query = _parse_posted_to(raw) if is_posted_to else _parse(raw)
        return self._query

    @property
    def headers(self) -> Mapping[str, str]:
        """Its headers by their names in lower case."""
        if self._headers is None:
            headers = self._scope["headers"]
            self._headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}
        return self._headers

    def take_body(self, limit: int) -> bytes | None:
        """Return the whole body if it has come already; None if it is to be received. Never waits.

        Raises `BodyTooLarge` for more than `limit` bytes.
        """
        take: Callable[[], bytes | None] | None = self._scope.get("extensions", {}).get(BODY_AT_HAND)
        body = None if take is None else take()
        if body is not None and len(body) > limit:
            raise BodyTooLarge
        return body

    @property
    def hop(self) -> str:
        """The node that has passed it on, by that node's own word; empty if none did."""
        return self.headers.get(HOP.decode(), "")

    @property
    def token(self) -> str | None:
        """The token it carries, the header before the query, or None."""
        return self.bearer or self.query.get("token") or None

    @property
    def bearer(self) -> str | None:
        """The token in its `Authorization` header, or None."""
        if self._headers is None:
            # Not from all of them: this is asked of each post of a client, and often nothing else is.
            given = dict(self._scope["headers"]).get(b"authorization", b"").decode("latin-1")
        else:
            given = self._headers.get("authorization", "")  # of a WebSocket that was accepted the scope has none
        scheme, _, credentials = given.partition(" ")
        return credentials.strip() or None if scheme.lower() == "bearer" else None

    def accepts(self, *media_types: str) -> bool:
        """Whether its `Accept` header takes all of these, by name or by wildcard; weights are not looked at."""
        ranges = {each.partition(";")[0].strip().lower() for each in self.headers.get("accept", "").split(",")}
        return all(ranges & {each, f"{each.partition('/')[0]}/*", "*/*"} for each in media_types)


def _parse(query_string: bytes) -> Mapping[str, str]:
    query: dict[str, str] = {}
    for name, value in parse_qsl(query_string.decode("latin-1"), keep_blank_values=True):
        query.setdefault(name, value)
    return MappingProxyType(query)


_parse_posted_to = lru_cache(_POSTED_TO)(_parse)


async def read_body(receive: Receive, limit: int, note: Callable[[int], None] = lambda _size: None) -> bytes:
    """Read a whole body of at most `limit` bytes. Raises `BodyTooLarge` or `Disconnected`.

    `note` is called with the number of bytes as they come; what it raises ends the reading.
    """
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise Disconnected
        body += message.get("body", b"")
        note(len(message.get("body", b"")))
        if len(body) > limit:
            raise BodyTooLarge
        if not message.get("more_body", False):
            return bytes(body)


async def answer(send: Send, status: int, body: bytes = b"", *headers: Header) -> None:
    """Send a whole response."""
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body})


async def refuse(send: Send, status: int, code: str, message: str, *headers: Header) -> None:
    """Send an error document: `code` for programs, `message` says what is wrong and what to do."""
    body = error_document(code, message)
    await answer(send, status, body, (b"content-type", b"application/json"), *headers)


async def refuse_upgrade(scope: Scope, send: Send, status: int, body: bytes = b"") -> None:
    """Answer an upgrade with an HTTP status instead of a socket.

    A server without the extension for it closes before accepting, which it shows to the peer as 403.
    """
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
        return
    headers = [(b"content-length", str(len(body)).encode())]
    if body:
        headers.append((b"content-type", b"application/json"))
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})
