"""The answer of another node as bytes: its head, and where its body ends. Pure.

    bytes ──find_answer──▶ NodeAnswer, bytes of its body ──take──▶ pieces

httptools parses it, as in `relay.http.http1`; h11 takes ten times as long, which would be most of what a hop costs.
What comes behind an answer breaks it, because nothing was asked for that it could belong to.
"""

from __future__ import annotations

import math

import attrs
import httptools

from relay.http.asgi import HOP, Header
from relay.http.http1 import has_body

LONGEST_HEAD = 65_536
"""Bytes of the head of an answer."""
SWITCHING, MISDIRECTED = 101, 421

# They belong to one connection and not to the answer (RFC 9110, 7.6.1); how the body ends is said anew.
_OF_THE_CONNECTION = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})


class BrokenAnswerError(Exception):
    """What comes from a node is no answer, or not all of one."""


class _Fields:
    """What httptools reports."""

    __slots__ = ("headers", "is_complete", "is_too_much", "pieces")

    def __init__(self) -> None:
        self.headers: list[Header] = []
        self.pieces: list[bytes] = []
        self.is_complete = False
        self.is_too_much = False

    def on_message_begin(self) -> None:
        self.is_too_much = self.is_complete

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value.rstrip(b" \t")))

    def on_body(self, piece: bytes) -> None:
        self.pieces.append(piece)

    def on_message_complete(self) -> None:
        self.is_complete = True


@attrs.define(eq=False)
class NodeAnswer:
    """An answer whose head has come."""

    status: int
    raw_head: bytes
    """The head as it came."""
    headers: list[Header]
    """Those of the answer: names in lower case, without those of the connection."""
    left: float
    """Bytes of the body to come; infinite until the last of a body that does not say how many it has."""
    ends_with_connection: bool
    keeps_alive: bool
    """Whether another request may follow it."""
    _reader: httptools.HttpResponseParser | None
    """Of chunks."""
    _fields: _Fields

    @property
    def is_misdirected(self) -> bool:
        """Whether the node itself says that it is not the home; a 421 of what it serves names no node."""
        return self.status == MISDIRECTED and any(name == HOP for name, _ in self.headers)

    @property
    def is_event_stream(self) -> bool:
        """Whether it is a stream of server-sent events."""
        return any(name == b"content-type" and value.startswith(b"text/event-stream") for name, value in self.headers)

    def take(self, data: bytes) -> bytes:
        """Return what of the data is the body's. Raises `BrokenAnswerError`, also for what comes behind it."""
        if self._reader is not None:
            return self._take_chunks(self._reader, data)
        if len(data) > self.left:
            raise BrokenAnswerError("there is more than the answer")
        self.left -= len(data)
        return data

    def _take_chunks(self, reader: httptools.HttpResponseParser, data: bytes) -> bytes:
        fields = self._fields
        try:
            if data:
                reader.feed_data(data)
        except httptools.HttpParserError as error:
            raise BrokenAnswerError("the chunks are not well-formed") from error
        if fields.is_too_much or (fields.is_complete and not self.left and data):
            raise BrokenAnswerError("there is more than the answer")
        if fields.is_complete:
            self.left = 0
        pieces, fields.pieces = fields.pieces, []
        return b"".join(pieces) if len(pieces) > 1 else pieces[0] if pieces else b""


def find_answer(data: bytes, method: str) -> tuple[NodeAnswer | None, bytes]:
    """Return the answer whose head the data begins with, if that is complete, and the rest of the data.

    `method` is that of its request. What comes before an answer, such as 100 (Continue), is left out. Raises
    `BrokenAnswerError`.
    """
    while (end := data.find(b"\r\n\r\n", 0, LONGEST_HEAD)) >= 0:
        head, data = data[: end + 4], data[end + 4 :]
        answer = _parse(head, method)
        if answer.status >= 200 or answer.status == SWITCHING:
            return answer, data
    if len(data) >= LONGEST_HEAD:
        raise BrokenAnswerError("the head of the answer is too long")
    return None, data


def _parse(head: bytes, method: str) -> NodeAnswer:
    fields = _Fields()
    parser = httptools.HttpResponseParser(fields)
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        pass  # 101: what follows is not HTTP
    except httptools.HttpParserError as error:
        raise BrokenAnswerError("the head of the answer is not well-formed") from error
    version = parser.get_http_version()
    if version not in {"1.0", "1.1"}:
        raise BrokenAnswerError("the answer is of another version of HTTP")
    status, headers = parser.get_status_code(), fields.headers
    names = {name: value for name, value in headers if name in {b"content-length", b"transfer-encoding", b"connection"}}
    length, is_chunked = names.get(b"content-length"), b"transfer-encoding" in names
    left: float = math.inf
    if not has_body(method, status):
        left, is_chunked = 0, False
    elif not is_chunked and length is not None:
        left = int(length)  # digits, or the parser would have refused it
    return NodeAnswer(
        status=status,
        raw_head=head,
        headers=[each for each in headers if each[0] not in _OF_THE_CONNECTION],
        left=left,
        ends_with_connection=left == math.inf and not is_chunked,
        keeps_alive=version == "1.1" and b"close" not in names.get(b"connection", b"").lower(),
        reader=parser if is_chunked else None,
        fields=fields,
    )
