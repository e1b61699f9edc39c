"""The outgoing messages of a session, from the SDK to the one task that sends them.

    dispatcher, push ──send()/put()──▶ [ frames, 1 MiB ] ──take()──▶ the writer of the SSE response

`send` never waits. With a stream that does (the SDK's own has no buffer) a peer that stopped reading holds up every
turn that is asked of it, and cancelling such a turn takes five seconds more. So a peer that does not read loses its
session instead: a frame that finds more than the limit unread closes it. The frame that goes over the limit is still
taken, so that one large tool result ends no session; code that sends much waits for `room` first.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

import anyio
import attrs
import msgspec
import trio
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCMessage, RequestId

LIMIT = 1 << 20  # some 2,000 turns of usual size, or one for each of 200 calls with long histories

_ENCODER = msgspec.json.Encoder()

# The line ends of Unicode beyond ASCII, as UTF-8 has them, and as JSON may write them instead; clients split the stream
# at each (Python ones up to httpx-sse 0.4.0). Those within ASCII are always escaped in JSON.
_LINE_ENDS = ((b"\xc2\x85", rb"\u0085"), (b"\xe2\x80\xa8", rb"\u2028"), (b"\xe2\x80\xa9", rb"\u2029"))


class MessageSink(Protocol):
    """What the SDK's dispatcher writes into: its WriteStream, which it does not export.

    An `Outbox`, or the `_Router` of `/mcp`.
    """

    async def send(self, item: SessionMessage, /) -> None:
        """Queue a message for the client. Raises the two errors that `Outbox.send` names."""
        ...

    async def aclose(self) -> None:
        """Stop accepting messages."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None: ...


@attrs.define(eq=False)
class Outbox:
    """The SDK's WriteStream for one session. One reader; all methods but `take` and `room` return at once.

    `on_overflow` is called when the peer was too slow. It must not wait: the reader may be stuck in a write, so the
    session must be ended from here.
    """

    on_overflow: Callable[[], None]
    limit: int = LIMIT
    closed: bool = attrs.field(default=False, init=False)
    size: int = attrs.field(default=0, init=False)
    _frames: list[bytes] = attrs.field(factory=list, init=False)
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False)

    async def send(self, item: SessionMessage, /) -> None:
        """Queue a JSON-RPC message, without a checkpoint.

        Raises `anyio.ClosedResourceError` when closed and `anyio.BrokenResourceError` when this overflows it: the two
        that the SDK's dispatcher turns into "connection closed".
        """
        self.put(message_event(encode(item.message)))

    def put(self, frame: bytes) -> None:
        """Queue a ready-made frame; raises as `send` does."""
        if self.closed:
            raise anyio.ClosedResourceError
        if self.size > self.limit:
            self.close()
            self.on_overflow()
            raise anyio.BrokenResourceError
        self._frames.append(frame)
        self.size += len(frame)
        self._changed.set()

    async def take(self) -> bytes:
        """Wait for frames and return all there are, or nothing once the outbox is closed. Cancelling loses none."""
        while not self._frames and not self.closed:
            await self._change()
        chunk = b"".join(self._frames)
        self._frames.clear()
        self.size = 0
        self._changed.set()
        return chunk

    async def room(self) -> None:
        """Wait until the outbox is at most a quarter full, or closed. Only the peer's reading makes room."""
        while self.size > self.limit // 4 and not self.closed:
            await self._change()

    async def _change(self) -> None:
        if self._changed.is_set():  # else a task waits on it already and would miss a new one
            self._changed = trio.Event()
        await self._changed.wait()

    def close(self) -> None:
        """Close the outbox, and drop what was not sent. Idempotent."""
        self.closed = True
        self._frames.clear()
        self.size = 0
        self._changed.set()

    async def aclose(self) -> None:
        """Close, for the SDK."""
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def encode(message: JSONRPCMessage) -> bytes:
    """Encode a JSON-RPC message on one line, whatever a client takes for a line end."""
    return _on_one_line(message.model_dump_json(by_alias=True, exclude_unset=True).encode())


def encode_plain(value: object) -> bytes:
    """Encode a JSON-RPC message that is no model, or a part of one, as `encode` does models."""
    return _on_one_line(_ENCODER.encode(value))


def _on_one_line(text: bytes) -> bytes:
    # Not ASCII altogether: for words that are not English the standard library takes ten times as long for that.
    if b"\x85" in text or b"\xe2" in text:  # most texts have neither byte, and single ones are found at once
        for line_end, escaped in _LINE_ENDS:
            text = text.replace(line_end, escaped)
    return text


def encode_response(request_id: RequestId, result: bytes) -> bytes:
    """Encode the response to a request, whose result is encoded already."""
    return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (encode_plain(request_id), result)


def message_event(text: bytes) -> bytes:
    """Encode the event that carries a message, which `encode` returned."""
    return b"event: message\ndata: " + text + b"\n\n"


def event(name: str, data: str, *, event_id: str | None = None, retry_ms: int | None = None) -> bytes:
    """Encode a Server-Sent Event of one line of data."""
    lines = [f"event: {name}"]
    if event_id is not None:
        lines.append(f"id: {event_id}")
    if retry_ms is not None:
        lines.append(f"retry: {retry_ms}")
    lines.append(f"data: {data}")
    return ("\n".join(lines) + "\n\n").encode()
