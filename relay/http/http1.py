"""HTTP/1.1 as bytes: the head of a request and its body, taken apart, and the head of an answer, put together. Pure.

    bytes ──find_head──▶ RequestHead, bytes of the body and after ──Length │ Chunks──▶ pieces, bytes of the next request

httptools parses heads: 3 µs for ten headers, where h11 needs 37. It is handed one head at a time, because it cannot
stop where a request ends; h11 can, and takes bodies apart that come in chunks, which hardly any client sends. What two
readers could read in two ways is refused by httptools (a bare LF, a folded header, a space before a colon, two lengths)
or here. Chunks are read by both, because h11 takes a bare LF for the end of a trailer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import attrs
import h11
import httptools

from relay.http.asgi import Header

_CHUNKED_HEAD = b"POST / HTTP/1.1\r\nhost: -\r\ntransfer-encoding: chunked\r\n\r\n"
_SERVED = frozenset({"1.0", "1.1"})
_OTHER_VERSION = (505, "The relay speaks HTTP/1.1 only.")
_BEGINNING = 512
"""Bytes of a head that are looked at before it is complete. A peer that sends byte by byte would have all of it parsed
each time: seconds of processor time for a head of 16 kB."""
_MOST_DIGITS = 15
"""Of a length: a petabyte has as many."""
_DECIDING = frozenset({b"host", b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"expect"})
"""Headers that decide what the request is, and where it ends."""
_WITHOUT_BODY = frozenset({204, 304})


class MalformedRequestError(Exception):
    """A request is not taken: the status and the sentence that it is answered with."""

    def __init__(self, status: int = 400, message: str = "The request is not well-formed HTTP/1.1.") -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@attrs.define(eq=False)
class Length:
    """The body of a request that says how many bytes it has. `left` are those to come."""

    left: float

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """Return what of the data is the body's, and what comes after it."""
        if len(data) <= self.left:
            self.left -= len(data)
            return data, b""
        size, self.left = int(self.left), 0
        return data[:size], data[size:]


@attrs.define(eq=False)
class Chunks:
    """The body of a request that comes in chunks. `left` is infinite until the last one is there."""

    longest_line: int
    left: float = math.inf
    _reader: h11.Connection = attrs.field(init=False)
    _strict: httptools.HttpRequestParser = attrs.field(init=False)
    _is_complete: bool = attrs.field(default=False, init=False)
    """Whether the strict reader has come to the end."""

    def __attrs_post_init__(self) -> None:
        self._strict = httptools.HttpRequestParser(self)
        self._strict.feed_data(_CHUNKED_HEAD)
        self._reader = h11.Connection(h11.SERVER, max_incomplete_event_size=self.longest_line)
        self._reader.receive_data(_CHUNKED_HEAD)
        self._reader.next_event()

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """Return what of the data is the body's, and what comes after it. Raises `MalformedRequestError`."""
        pieces: list[bytes] = []
        rest = b""
        try:
            if data:  # which h11 would take for the end of the connection if there were none
                self._reader.receive_data(data)
            while self.left:
                match self._reader.next_event():
                    case h11.Data(data=piece):
                        pieces.append(bytes(piece))
                    case h11.EndOfMessage():
                        self.left = 0
                        rest = self._reader.trailing_data[0]
                    case _:  # NEED_DATA
                        break
            self._strict.feed_data(data[: len(data) - len(rest)])
        except (h11.RemoteProtocolError, httptools.HttpParserError) as error:
            raise MalformedRequestError from error
        if self._is_complete == bool(self.left):
            raise MalformedRequestError
        return b"".join(pieces), rest

    def on_message_complete(self) -> None:
        """Note that the strict reader has come to the end."""
        self._is_complete = True


@attrs.define(eq=False)
class RequestHead:
    """The head of a request: names of headers in lower case, and what they say about the connection."""

    method: str
    target: bytes
    version: str
    headers: list[Header]
    body: Length | Chunks
    keeps_alive: bool
    """Whether another request may follow."""
    upgrades: bool
    """Whether it asks for a WebSocket."""
    awaits_continue: bool
    """Whether its body comes when it is told to go on."""


def find_head(data: bytes, longest: int) -> tuple[RequestHead | None, bytes]:
    """Return the head that the data begins with, if it is complete, and the rest of the data.

    Raises `MalformedRequestError`, also for a head of more than `longest` bytes, complete or not.
    """
    if data[:1] in {b"\r", b"\n"}:  # of old clients, behind a body (RFC 9112, 2.2)
        data = data.lstrip(b"\r\n")
    end = data.find(b"\r\n\r\n", 0, longest)
    if end < 0:
        if len(data) >= longest:
            raise MalformedRequestError(431, "The head of the request is too long.")
        _parse(data[:_BEGINNING])  # what can never become a head, as a TLS handshake, is refused at once
        return None, data
    end += 4
    return _request_of(*_parse(data[:end]), longest), data[end:]


class _Fields:
    """What httptools reports of a head."""

    __slots__ = ("deciding", "headers", "target")

    def __init__(self) -> None:
        self.target = b""
        self.headers: list[Header] = []
        self.deciding: dict[bytes, bytes] = {}

    def on_url(self, part: bytes) -> None:
        self.target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        name, value = name.lower(), value.rstrip(b" \t")
        self.headers.append((name, value))
        if name in _DECIDING:
            known = self.deciding.get(name)
            # Two of them are none of those that a host, a length or a coding may have.
            self.deciding[name] = value if known is None else b"%b,%b" % (known, value)


def _parse(data: bytes) -> tuple[httptools.HttpRequestParser, _Fields]:
    """Parse a head, or the beginning of one. Raises `MalformedRequestError`."""
    fields = _Fields()
    parser = httptools.HttpRequestParser(fields)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        pass  # the head is complete; whether it is upgraded is decided by others
    except httptools.HttpParserInvalidMethodError as error:
        raise MalformedRequestError(message="The method of the request is not one of HTTP/1.1.") from error
    except httptools.HttpParserError as error:
        if parser.get_http_version() not in {*_SERVED, "0.0"}:  # 0.0 is that of a head whose version has not come
            raise MalformedRequestError(*_OTHER_VERSION) from error
        raise MalformedRequestError from error
    return parser, fields


def _request_of(parser: httptools.HttpRequestParser, fields: _Fields, longest: int) -> RequestHead:
    """Return the head that was parsed. Raises `MalformedRequestError` for what is HTTP, but not served."""
    version, method, deciding = parser.get_http_version(), parser.get_method(), fields.deciding
    if version not in _SERVED:
        raise MalformedRequestError(*_OTHER_VERSION)
    if method == b"CONNECT":
        raise MalformedRequestError(501, "The relay is no proxy.")
    is_old = version == "1.0"
    host = deciding.get(b"host", b"" if is_old else None)
    if host is None or b"," in host:
        raise MalformedRequestError
    connection = deciding.get(b"connection", b"").lower()
    tokens = {each.strip() for each in connection.split(b",")} if connection else frozenset()
    return RequestHead(
        method.decode(),
        fields.target,
        version,
        fields.headers,
        _body(deciding, longest, is_old=is_old),
        keeps_alive=not is_old and b"close" not in tokens,
        upgrades=method == b"GET" and b"upgrade" in tokens and deciding.get(b"upgrade", b"").lower() == b"websocket",
        awaits_continue=not is_old and deciding.get(b"expect", b"").lower() == b"100-continue",
    )


def _body(deciding: dict[bytes, bytes], longest: int, *, is_old: bool) -> Length | Chunks:
    length, coding = deciding.get(b"content-length"), deciding.get(b"transfer-encoding")
    if coding is not None:
        if length is not None:
            # Two lengths mean two readings: what is a body to one is a request to the other (RFC 9112, 6.1).
            raise MalformedRequestError(400, "A request may have Content-Length or Transfer-Encoding, not both.")
        if coding.lower() != b"chunked":
            raise MalformedRequestError(501, "The relay knows no transfer coding but chunked.")
        if is_old:  # which knows of none: a proxy that passed it on has read past it
            raise MalformedRequestError
        return Chunks(longest)
    if length is None:
        return Length(0)
    if not length.isdigit() or len(length) > _MOST_DIGITS:
        raise MalformedRequestError
    return Length(int(length))


def encode_head(status: int, headers: Iterable[Header]) -> bytes:
    """Return the head of an answer. Raises `ValueError` for a header that would be more than one line."""
    lines = [b"HTTP/1.1 %d \r\n" % status]
    lines += [b"%b: %b\r\n" % each for each in headers]
    lines.append(b"\r\n")
    head = b"".join(lines)
    ends = len(lines)
    if head.count(b"\n") != ends or head.count(b"\r") != ends or b"\0" in head:
        raise ValueError("a header of an answer holds a line end or a NUL")
    return head


def has_body(method: str, status: int) -> bool:
    """Whether an answer of this status to such a request has a body."""
    return method != "HEAD" and status >= 200 and status not in _WITHOUT_BODY
