"""The few HTTP exchanges that the raw ASGI handlers of the MCP side need: read a request, answer it shortly.

Raw, because a web framework would sit between the transport and the connection: its response time limits cut streams,
and it tells a handler of a hang-up only by cancelling it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import attrs
from mcp_types import INTERNAL_ERROR, INVALID_REQUEST, RequestId

from relay.errors import error_document
from relay.http.asgi import Header, Receive, Scope, Send

LONGEST_MESSAGE = 1 << 20
"""How many bytes a client may post at once; the longest answers to a caller are some thousands."""


class Disconnected(Exception):
    """The peer went away before its request was complete."""


class BodyTooLarge(Exception):
    """A request's body is longer than the handler takes."""


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
    """Send an error in the contract's words: `code` for programs, `message` says what is wrong and what to do."""
    body = error_document(code, message)
    await answer(send, status, body, (b"content-type", b"application/json"), *headers)


async def refuse_message(
    send: Send, status: int, code: str, message: str, *headers: Header, request_id: RequestId | None = None
) -> None:
    """Send an error as the JSON-RPC answer to what was posted, in which form the SDKs show it to their users.

    `code` is for programs, in `data`; the number is the one of JSON-RPC for the client's fault, or for ours. The id is
    that of the request where it is known.
    """
    number = INVALID_REQUEST if status < 500 else INTERNAL_ERROR
    await answer_error(send, status, number, message, *headers, request_id=request_id, data={"code": code})


async def answer_error(
    send: Send,
    status: int,
    number: int,
    message: str,
    *headers: Header,
    request_id: RequestId | None = None,
    data: dict[str, str] | None = None,
) -> None:
    """Send a JSON-RPC error as the answer to what was posted (JSON-RPC 2.0, section 5.1)."""
    error: dict[str, Any] = {"code": number, "message": message}
    if data is not None:
        error["data"] = data
    body = json.dumps({"jsonrpc": "2.0", "id": request_id, "error": error}).encode()
    await answer(send, status, body, (b"content-type", b"application/json"), *headers)
