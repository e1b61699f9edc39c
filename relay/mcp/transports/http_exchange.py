"""A POST with requests: their answers are collected and sent as its response.

As plain JSON, if nothing else is to be said and it does not take long. A tool that reports progress, or takes longer
than a proxy may wait for the first byte, gets a stream of events, whose last one is the answer (MCP 2025-11-25,
basic/transports, "Sending Messages to the Server", items 5 and 6).
"""

from __future__ import annotations

import attrs
import trio
from mcp.shared.dispatcher import coerce_request_id
from mcp_types import JSONRPCError, JSONRPCMessage, JSONRPCResponse, RequestId

from relay.http.asgi import Header, Receive, Send, answer
from relay.mcp.transports.event_stream import HEADERS, Timing, end_response, hang_up, write_events
from relay.mcp.transports.outbox import LIMIT, encode, message_event
from relay.mcp.transports.refusals import jsonrpc_error, refuse_message

# The code of the SDKs for it; the specification has none, because it ends such a request without an answer, which an
# HTTP response cannot do.
REQUEST_CANCELLED = -32800


@attrs.define(eq=False, kw_only=True)
class Exchange:
    """The requests of one POST, by the ids under which the dispatcher knows them, and what is to be sent in return.

    `answer`, `notify`, `give_up` and `end` never wait. Beyond a limit of unread bytes `notify` drops messages, `answer`
    never.
    """

    unanswered: set[RequestId]
    is_batch: bool
    request_id: RequestId | None = None
    """The id of the one request, as its client wrote it; None for a batch."""
    _unsent: list[bytes] = attrs.field(factory=list, init=False)
    _size: int = attrs.field(default=0, init=False)
    _streams: bool = attrs.field(default=False, init=False)
    _ended: bool = attrs.field(default=False, init=False)
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False)

    def answer(self, message: JSONRPCResponse | JSONRPCError) -> None:
        """Queue the answer to one of the requests. No-op for a second one, and after the end."""
        key = None if message.id is None else coerce_request_id(message.id)
        if key in self.unanswered and not self._ended:
            self.unanswered.discard(key)
            self._add(encode(message))

    def notify(self, message: JSONRPCMessage) -> None:
        """Queue a message that is sent before the answers."""
        self._streams = True
        if self._size <= LIMIT:
            self._add(encode(message))

    async def give_up(self, request_id: RequestId) -> None:
        """Answer a request that the client has cancelled, so that its response ends."""
        await trio.lowlevel.checkpoint()
        self.answer(jsonrpc_error(REQUEST_CANCELLED, "Request cancelled", request_id))

    def end(self) -> None:
        """Record that no more answers will come: the session is over."""
        self._ended = True
        self._wake()

    # ── the response ────────────────────────────────────────────────────────────────────────────────────────────────

    async def respond(self, receive: Receive, send: Send, timing: Timing, *headers: Header) -> None:
        """Send the response as its parts come, until all requests are answered, or the client hangs up.

        When the session ends before anything was sent, the response is 404, as for every request to it from then on.
        """
        streamed = here = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, receive, nursery.cancel_scope)
            with trio.move_on_after(timing.stream_after):
                while self.unanswered and not self._streams and not self._ended:
                    await self._change()
            if self._streams or (self.unanswered and not self._ended):
                streamed = True
                await send({"type": "http.response.start", "status": 200, "headers": [*HEADERS, *headers]})
                await write_events(self, send, timing.comment_interval)
            here = True
            nursery.cancel_scope.cancel("answered")
        # The end of the response is sent outside the watch's scope, because sending it makes the server report a
        # hang-up.
        if streamed:
            await end_response(send)
        elif here and self.unanswered:
            message = "This session is over; initialize a new one."
            await refuse_message(send, 404, "unknown_session", message, request_id=self.request_id)
        elif here:
            body = b"[" + b",".join(self._unsent) + b"]" if self.is_batch else b"".join(self._unsent)
            await answer(send, 200, body, (b"content-type", b"application/json"), *headers)

    async def _watch(self, receive: Receive, responding: trio.CancelScope) -> None:
        await hang_up(receive)
        responding.cancel("the client hung up")

    @property
    def closed(self) -> bool:
        """Whether everything was sent."""
        return not self._unsent and (self._ended or not self.unanswered)

    async def take(self) -> bytes:
        """Wait for messages and return them as events, or nothing at the end."""
        while not self._unsent and not self.closed:
            await self._change()
        chunk = b"".join(message_event(each) for each in self._unsent)
        self._unsent.clear()
        self._size = 0
        return chunk

    def _add(self, text: bytes) -> None:
        self._unsent.append(text)
        self._size += len(text)
        self._wake()

    def _wake(self) -> None:
        self._changed.set()

    async def _change(self) -> None:
        self._changed = trio.Event()
        await self._changed.wait()
