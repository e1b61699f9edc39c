"""A request as it is passed on: its head as it came, its body as it comes.

Path, query, headers and body are what the carrier has signed, and what a client's token is in: they are not touched.
What belongs to the connection only is left out, and one header is added: the hop, by the name of the node that passes
the request on. It grants nothing; the node which serves the request checks signature and token as ever.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs

from relay.http.asgi import BODY_AT_HAND, HOP, Header, Message, Receive, Scope, Send

KEPT_BYTES = 65_536
"""Of a body, to be sent once more: a webhook's has a kilobyte or two."""

# They belong to one connection (RFC 9110, 7.6.1), or were dealt with here. Not those that `Connection` names: nobody
# needs it, and a length that is left out has a body taken for a request.
_LEFT_OUT = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"expect", HOP}
)
_CHUNKED: Header = (b"transfer-encoding", b"chunked")
LAST_CHUNK = b"0\r\n\r\n"


def hop_of(scope: Scope) -> str | None:
    """Return which node has passed a request on, by its own word; None if none did."""
    for name, value in scope["headers"]:
        if name == HOP:
            hop: str = value.decode("latin-1")
            return hop
    return None


def encode_request(scope: Scope, hop: str, *, upgrades: bool = False, is_held_open: bool = False) -> bytes:
    """Return the head of a request, or of an upgrade, as it is passed on by the node `hop`.

    One that `is_held_open` has no body, and is complete when `LAST_CHUNK` is sent all the same. Raises `ValueError` for
    a header that would be more than one line.
    """
    target: bytes = scope["raw_path"]
    if query := scope["query_string"]:
        target = b"%b?%b" % (target, query)
    method = "GET" if upgrades else scope["method"]
    lines = [b"%b %b HTTP/1.1\r\n" % (method.encode(), target)]
    has_host = False
    for name, value in scope["headers"]:
        if name in _LEFT_OUT:
            if name == b"transfer-encoding":
                lines.append(b"%b: %b\r\n" % _CHUNKED)
            continue
        if name == b"upgrade" or (is_held_open and name == b"content-length"):
            continue
        has_host |= name == b"host"
        lines.append(b"%b: %b\r\n" % (name, value))
    if not has_host:  # HTTP/1.0 has none
        lines.append(b"host: \r\n")
    if is_held_open:
        lines.append(b"%b: %b\r\n" % _CHUNKED)
    if upgrades:
        lines += [b"connection: Upgrade\r\n", b"upgrade: websocket\r\n"]
    lines += [b"%b: %b\r\n" % (HOP, hop.encode()), b"\r\n"]
    head = b"".join(lines)
    ends = len(lines)
    if head.count(b"\n") != ends or head.count(b"\r") != ends or b"\0" in head:
        raise ValueError("a header of a request holds a line end or a NUL")
    return head


@attrs.define(eq=False)
class RequestBody:
    """The body of a request: received as it is passed on, and kept as far as it may be needed again."""

    _receive: Receive
    _take_now: Callable[[], bytes | None] | None
    is_chunked: bool
    is_none: bool
    """Whether the request has none."""
    is_whole: bool = attrs.field(init=False)
    """Whether all of it was received."""
    _kept: list[bytes] = attrs.field(factory=list, init=False)
    _kept_bytes: int = attrs.field(default=0, init=False)

    @is_whole.default
    def _none_is_whole(self) -> bool:
        return self.is_none

    @classmethod
    def of(cls, scope: Scope, receive: Receive) -> RequestBody:
        """Return the body of a request of which nothing was received yet."""
        names = {name: value for name, value in scope["headers"] if name in {b"content-length", b"transfer-encoding"}}
        is_chunked = b"transfer-encoding" in names
        has_none = not is_chunked and not int(names.get(b"content-length", b"0"))
        return cls(receive, scope.get("extensions", {}).get(BODY_AT_HAND), is_chunked, has_none)

    @property
    def is_untouched(self) -> bool:
        """Whether nothing of it was received."""
        return not self._kept and not self._kept_bytes

    @property
    def can_repeat(self) -> bool:
        """Whether all that was received is kept."""
        return self._kept_bytes <= KEPT_BYTES

    @property
    def kept(self) -> bytes:
        """What was received, if it is kept."""
        return b"".join(self._kept)

    def take_now(self) -> bytes:
        """Return what there is of it without waiting: what was received before, or the body if that has come whole."""
        if self._kept_bytes or self.is_whole or self._take_now is None or (data := self._take_now()) is None:
            return self.kept
        self.is_whole = True
        self._keep(data)
        return data

    async def receive(self) -> bytes | None:
        """Wait for the next piece; None when the asker has left before the body was whole."""
        message = await self._receive()
        if message["type"] != "http.request":
            return None
        piece: bytes = message.get("body", b"")
        self.is_whole = not message.get("more_body", False)
        self._keep(piece)
        return piece

    async def receive_all(self) -> bytes | None:
        """Wait for the whole body; None if it is too long to be kept, or the asker has left."""
        self.take_now()
        while not self.is_whole and self.can_repeat:
            if await self.receive() is None:
                return None
        return self.kept if self.can_repeat else None

    async def wait_left(self) -> None:
        """Wait until the asker, whose whole request was received, has left or ended its half of the connection."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def replay(self) -> Message:
        """Receive as an ASGI app does that is given the request after all."""
        if self._kept:
            piece = self.kept
            self._kept.clear()
            return {"type": "http.request", "body": piece, "more_body": not self.is_whole}
        return await self._receive()

    def encode(self, piece: bytes) -> bytes:
        """Return a piece as it is sent; after the last one the end, where the body comes in chunks."""
        if not self.is_chunked:
            return piece
        framed = b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""
        return framed + LAST_CHUNK if self.is_whole else framed

    def _keep(self, piece: bytes) -> None:
        self._kept_bytes += len(piece)
        if self.can_repeat:
            self._kept.append(piece)
        else:
            self._kept.clear()


@attrs.define(eq=False)
class PassedRequest:
    """A request that is passed on, perhaps to one node after another."""

    scope: Scope
    send: Send
    body: RequestBody
    may_repeat: bool
    """Whether it may be sent again when it is not known what became of it: a webhook, or a GET."""
    gives_up: Callable[[], Awaitable[bool]] | None = None
    """Is asked, each time that there is no answer in the time of one that comes at once, whether none will come: the
    node is dead. None where that is not known."""
    is_stream: bool = False
    """Whether its answer is a client's stream, whose head comes at once, and which may be asked for again."""
    note_status: Callable[[int], None] = lambda _status: None
    """Is called with the status of an answer that is relayed."""

    @property
    def is_held_open(self) -> bool:
        """Whether it is passed on as one that is complete only when the asker has left.

        So the node can tell that from a hop that is gone. It cannot by the end of the connection: a killed process ends
        it in the same way.
        """
        return self.is_stream and self.body.is_none
