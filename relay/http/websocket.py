"""One WebSocket, from its upgrade to its last frame, as an ASGI app sees it.

    socket ──▶ Protocol ──messages──▶ receive ──▶ app ──▶ send ──▶ Protocol ──▶ socket
                   └──pongs, Close──▶ socket

The frames are those of websockets' sans-IO protocol, the upgrade and the rest is ours. No extension is offered:
compression costs each call 50 kB and more, and what it inflates has no bound. The `websocket.disconnect` event has the
code of the peer's Close frame; ours, where we closed because of what the peer sent; 1006 where it left without a word.
"""

from __future__ import annotations

import base64
import binascii
import logging
import math
from collections import deque
from collections.abc import Callable
from typing import Any

import trio
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import OPEN, SERVER, Protocol
from websockets.typing import BytesLike
from websockets.utils import accept_key

from relay.http.asgi import Header, Message
from relay.http.exchange import refusal
from relay.http.http1 import RequestHead, encode_head
from relay.http.peer_socket import PeerSocket
from relay.http.wire import Wire

# The library writes a line for each socket that ends.
_LOG = logging.getLogger("websockets.server")
_LOG.setLevel(logging.ERROR)
_DATA = frozenset({Opcode.TEXT, Opcode.BINARY, Opcode.CONT})
_TOO_EARLY = "Nothing may be sent before the upgrade was answered."
_MOST_UNREAD = 16
"""Messages that are kept for an app that does not ask for them."""


def fault_of_upgrade(head: RequestHead, rest: bytes) -> str | None:
    """Return why an upgrade to a WebSocket cannot be made (RFC 6455, 4.2.1), or None."""
    if rest or head.body.left:
        return _TOO_EARLY
    fields = dict(head.headers)
    if head.version == "1.0":
        return "An upgrade needs HTTP/1.1."
    if fields.get(b"sec-websocket-version") != b"13":
        return "Sec-WebSocket-Version must be 13."
    try:
        is_key = len(base64.b64decode(fields.get(b"sec-websocket-key", b""), validate=True)) == 16
    except binascii.Error:
        is_key = False
    return None if is_key else "Sec-WebSocket-Key must be 16 bytes in base64."


def websocket_scope(scope: dict[str, Any]) -> dict[str, Any]:
    """Return the ASGI scope of a WebSocket: that of its request, changed in place, because it is kept for a call."""
    asked = dict(scope["headers"]).get(b"sec-websocket-protocol", b"").decode("latin-1")
    scope["type"], scope["scheme"] = "websocket", "ws"
    scope["subprotocols"] = [each.strip() for each in asked.split(",")] if asked else []
    scope["extensions"]["websocket.http.response"] = {}
    return scope


class _Frames(Protocol):
    """The library's protocol, with no reason in its Close frames: theirs repeat what the peer has sent."""

    def fail(self, code: CloseCode | int, reason: str = "") -> None:  # noqa: ARG002
        super().fail(code)


class WebSocketExchange:
    """An upgrade that can be answered, and the socket that it becomes. One task receives, any number send."""

    __slots__ = (
        "_fragments",
        "_frames",
        "_head",
        "_is_connected",
        "_is_handed_over",
        "_is_text",
        "_max_bytes",
        "_note_change",
        "_ping_at",
        "_ping_interval",
        "_refusal",
        "_unread",
        "is_over",
        "wire",
    )

    def __init__(
        self, wire: Wire, head: RequestHead, *, max_bytes: int, ping_interval: float, note_change: Callable[[], None]
    ) -> None:
        """Begin. A message has at most `max_bytes`; `note_change` is called when the exchange is over.

        The headers, also those in the ASGI scope, are dropped when the upgrade is accepted.
        """
        self.wire = wire
        self.is_over = False
        """Whether nothing more can be sent."""
        self._head = head
        self._max_bytes = max_bytes
        self._ping_interval = ping_interval
        self._ping_at = math.inf
        self._note_change = note_change
        self._is_connected = False  # whether the app was handed the connect event
        self._is_handed_over = False  # whether the app has the socket
        self._refusal: tuple[int, list[Header], bytes] | None = None
        self._frames: _Frames | None = None
        self._fragments: list[BytesLike] = []
        self._is_text = True
        self._unread: deque[Message] | None = None  # an empty one has 760 bytes, and nearly all are empty

    # ── from the peer ───────────────────────────────────────────────────────────────────────────────────────────────

    async def receive(self) -> Message:
        """Wait for the next message; the disconnect event comes again and again. Cancelling loses nothing."""
        if not self._is_connected:
            self._is_connected = True
            return {"type": "websocket.connect"}
        if self._unread:
            # Several came at once, and who takes them may hand each to another task.
            await trio.lowlevel.checkpoint()
        while not self._unread:
            await self._advance()
            if self._unread:
                break
            if self.is_over or self.wire.has_left:
                await trio.lowlevel.checkpoint()
                return {"type": "websocket.disconnect", "code": self._code()}
            await self.wire.fill(try_first=False)
        message = self._unread.popleft()
        if not self._unread:
            self._unread = None
        return message

    async def _advance(self) -> None:
        if self._frames is None:
            if self.wire.buffer:
                await self._end_with(refusal(400, _TOO_EARLY))
            return
        if self.wire.buffer:
            reply = self._take_bytes(self._frames)
            if reply:
                await self.wire.write(reply)
        if self._frames.eof_sent:
            self.end()

    def _take_bytes(self, frames: _Frames) -> bytes:
        """Take the frames that have come, and return what is to be sent for them."""
        data, self.wire.buffer = self.wire.buffer, b""
        frames.receive_data(data)
        try:
            for frame in frames.events_received():
                if isinstance(frame, Frame):
                    self._take_frame(frame)
        except UnicodeDecodeError:
            frames.fail(CloseCode.INVALID_DATA)
        return b"".join(frames.data_to_send())

    def _take_frame(self, frame: Frame) -> None:
        if frame.opcode not in _DATA:
            return
        if frame.opcode is not Opcode.CONT:
            self._is_text = frame.opcode is Opcode.TEXT
        data = frame.data
        if self._fragments or not frame.fin:
            if data:
                self._fragments.append(data)
            if not frame.fin:
                return
            data = b"".join(self._fragments)
            self._fragments.clear()
        text, raw = (str(data, "utf-8"), None) if self._is_text else (None, bytes(data))
        if self._unread is None:
            self._unread = deque()
        self._unread.append({"type": "websocket.receive", "text": text, "bytes": raw})

    def _code(self) -> int:
        frames = self._frames
        if frames is None:
            return CloseCode.ABNORMAL_CLOSURE
        if frames.close_rcvd is not None:
            return int(frames.close_rcvd.code)
        if frames.eof_sent and frames.close_sent is not None:
            return int(frames.close_sent.code)
        return CloseCode.ABNORMAL_CLOSURE

    # ── to the peer ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def send(self, message: Message) -> None:
        """Send what the app says; after the end it goes nowhere. Raises `RuntimeError` for what makes no sense."""
        frames = self._frames
        if self.is_over or (frames is not None and frames.state is not OPEN):
            await trio.lowlevel.checkpoint()
            return
        match message["type"]:
            case "websocket.send" if frames is not None:
                text = message.get("text")
                if text is None:
                    frames.send_binary(message["bytes"])
                else:
                    frames.send_text(text.encode())
                await self._transmit(b"".join(frames.data_to_send()))
            case "websocket.accept" if frames is None:
                await self._accept(message)
            case "websocket.close" if frames is None:
                await self._answer(403, [], b"")
            case "websocket.close":
                assert frames is not None
                frames.send_close(message.get("code", CloseCode.NORMAL_CLOSURE), message.get("reason") or "")
                await self._transmit(b"".join(frames.data_to_send()))
            case "websocket.http.response.start" if frames is None:
                self._refusal = message["status"], list(message.get("headers", ())), b""
            case "websocket.http.response.body" if self._refusal is not None:
                status, headers, body = self._refusal
                body += message.get("body", b"")
                self._refusal = status, headers, body
                if not message.get("more_body", False):
                    await self._answer(status, headers, body)
            case kind:
                raise RuntimeError(f"{kind} cannot be sent now")

    async def _accept(self, message: Message) -> None:
        key = dict(self._head.headers)[b"sec-websocket-key"]
        # They are held wherever the scope is, for as long as a call: 150 bytes each.
        self._head.headers.clear()
        headers: list[Header] = [
            (b"upgrade", b"websocket"),
            (b"connection", b"Upgrade"),
            (b"sec-websocket-accept", accept_key(key.decode()).encode()),
            *message.get("headers", ()),
        ]
        if (subprotocol := message.get("subprotocol")) is not None:
            headers.append((b"sec-websocket-protocol", subprotocol.encode()))
        head = encode_head(101, headers)
        self._frames = _Frames(SERVER, state=OPEN, max_size=self._max_bytes, logger=_LOG)
        self._ping_at = trio.current_time() + self._ping_interval
        await self._transmit(head)

    async def _transmit(self, data: bytes) -> None:
        await self.wire.write(data)
        await self.wire.socket.breathe()

    async def _answer(self, status: int, headers: list[Header], body: bytes) -> None:
        """Answer the upgrade with something else than a socket."""
        headers = [each for each in headers if each[0] not in {b"content-length", b"connection"}]
        headers += [(b"content-length", b"%d" % len(body)), (b"connection", b"close")]
        await self._end_with(encode_head(status, headers) + body)

    async def _end_with(self, answer: bytes) -> None:
        await self.wire.write(answer)
        self.end()
        await trio.lowlevel.checkpoint()

    def hand_over(self) -> PeerSocket | None:
        """Return the peer's socket, see `HAND_OVER`. Raises `RuntimeError` when the upgrade was answered."""
        if self._frames is not None:
            raise RuntimeError("the upgrade was answered")
        self._is_handed_over = not self.is_over
        return None if self.is_over else self.wire.socket

    async def finish(self) -> None:
        """End what the app has left open: without an answer to the upgrade by a 500, else by 1011, internal error."""
        if self.is_over:
            return
        if self._frames is None and not self._is_handed_over:
            await self._answer(500, [], b"")
        elif self._frames is not None and self._frames.state is OPEN:
            self._frames.send_close(CloseCode.INTERNAL_ERROR)
            await self.wire.write(b"".join(self._frames.data_to_send()))
        self.end()

    def tend(self, now: float) -> None:
        """Ping the peer if it is time to, and take what has come for an app that does not ask. Never waits."""
        frames = self._frames
        if frames is None or frames.state is not OPEN:
            return
        reply = b""
        if not self.wire.socket.is_awaited and len(self._unread or ()) < _MOST_UNREAD:
            self.wire.fill_now()
            reply = self._take_bytes(frames)
        if now >= self._ping_at and frames.state is OPEN:
            self._ping_at = now + self._ping_interval
            frames.send_ping(b"")
            reply += b"".join(frames.data_to_send())
        if reply and not self.wire.socket.send_now(reply):
            self.wire.note_broken()
        if frames.eof_sent:
            self.end()

    def end(self) -> None:
        """End the exchange: nothing more is sent. Idempotent, never waits."""
        if not self.is_over:
            self.is_over = True
            self.wire.socket.wake()
            self._note_change()
