"""The few HTTP exchanges that the raw ASGI handlers of the MCP side need: read a request, answer it shortly.

Raw, because a web framework would sit between the transport and the connection: its response time limits cut streams,
and it tells a handler of a hang-up only by cancelling it.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

import attrs

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]

LONGEST_MESSAGE = 1 << 20
"""How many bytes a client may post at once; the longest answers to a caller are some thousands."""


class Disconnected(Exception):
    """Say that the peer went away before its request was complete."""


class BodyTooLarge(Exception):
    """Say that a request's body is longer than the handler takes."""


@attrs.frozen
class Head:
    """The head of a request: names of headers in lower case, the first of repeated query parameters."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]

    @classmethod
    def of(cls, scope: Scope) -> Head:
        """Read the head out of an ASGI HTTP scope. Takes any bytes: what is no UTF-8 is replaced."""
        query: dict[str, str] = {}
        for name, value in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True):
            query.setdefault(name, value)
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        return cls(scope["method"], scope["path"], query, headers)

    @property
    def token(self) -> str | None:
        """The token it carries, the header before the query, or None."""
        return self.bearer or self.query.get("token") or None

    @property
    def bearer(self) -> str | None:
        """The token in its `Authorization` header, or None."""
        scheme, _, credentials = self.headers.get("authorization", "").partition(" ")
        return credentials.strip() or None if scheme.lower() == "bearer" else None

    def accepts(self, *media_types: str) -> bool:
        """Whether its `Accept` header takes all of these, by name or by wildcard; weights are not looked at."""
        ranges = {each.partition(";")[0].strip().lower() for each in self.headers.get("accept", "").split(",")}
        return all(ranges & {each, f"{each.partition('/')[0]}/*", "*/*"} for each in media_types)


async def read_body(receive: Receive, limit: int) -> bytes:
    """Read a whole body of at most `limit` bytes. Raises `BodyTooLarge` or `Disconnected`."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise Disconnected
        body += message.get("body", b"")
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
    """Send an error in the contract's words: `code` for programs, `message` says what is wrong and what to do."""
    body = json.dumps({"error": {"code": code, "message": message}}).encode()
    await answer(send, status, body, (b"content-type", b"application/json"), *headers)
