"""A POST with requests: their answers are collected and sent as its response.

As plain JSON, if nothing else is to be said and it does not take long. A tool that reports progress, or takes longer
than a proxy may wait for the first byte, gets a stream of events, whose last one is the answer (MCP 2025-11-25,
basic/transports, "Sending Messages to the Server", items 5 and 6).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import attrs
import trio
from mcp.shared.dispatcher import coerce_request_id
from mcp_types import JSONRPCError, JSONRPCMessage, JSONRPCResponse, RequestId

from relay.http.asgi import Header, Receive, Send, answer
from relay.http.streaming import HEADERS, end_response, hang_up
from relay.mcp.transports.event_stream import Timing, write_events
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
    # Whether the response has to be a stream, whether that has begun, and whether the client is here to read it.
    _streams: bool = attrs.field(default=False, init=False)
    _is_begun: bool = attrs.field(default=False, init=False)
    _is_here: bool = attrs.field(default=True, init=False)
    _ended: bool = attrs.field(default=False, init=False)
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False)
    # As long as the response may still become a plain one.
    _patience: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)

    def answer(self, message: JSONRPCResponse | JSONRPCError) -> None:
        """Queue the answer to one of the requests. No-op for a second one, and after the end."""
        if message.id is not None:
            self.answer_encoded(message.id, encode(message))

    def answer_encoded(self, request_id: RequestId, text: bytes) -> None:
        """Do as `answer` with a message that is encoded."""
        key = coerce_request_id(request_id)
        if key in self.unanswered and not self._ended:
            self.unanswered.discard(key)
            self._add(text)

    def notify(self, message: JSONRPCMessage) -> None:
        """Queue a message that is sent before the answers."""
        self.notify_encoded(encode(message))

    def notify_encoded(self, text: bytes) -> None:
        """Do as `notify` with a message that is encoded."""
        self._streams = True
        self._patience.cancel("there is something to say before the answer")
        if self._size <= LIMIT:
            self._add(text)

    async def give_up(self, request_id: RequestId) -> None:
        """Answer a request that the client has cancelled, so that its response ends."""
        await trio.lowlevel.checkpoint()
        self.answer(jsonrpc_error(REQUEST_CANCELLED, "Request cancelled", request_id))

    def end(self) -> None:
        """Record that no more answers will come: the session is over."""
        self._ended = True
        self._wake()

    # ── the response ────────────────────────────────────────────────────────────────────────────────────────────────

    async def respond(
        self,
        receive: Receive,
        send: Send,
        timing: Timing,
        *headers: Header,
        run: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Send the response as its parts come, until all requests are answered, or the client hangs up.

        `run` is what answers them, if nothing else does; it is cancelled when the client hangs up. When the session
        ends before anything was sent, the response is 404, as for every request to it from then on.
        """
        self._patience.deadline = trio.current_time() + timing.stream_after
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(self._attend, receive, send, timing, headers, nursery.cancel_scope))
            await (self._wait_answered() if run is None else run())
            if not self._streams:
                nursery.cancel_scope.cancel("answered")
        # The end of the response is sent outside the watch's scope, because sending it makes the server report a
        # hang-up.
        if self._is_begun:
            await end_response(send)
        elif not self._is_here:
            return
        elif self.unanswered:
            message = "This session is over; initialize a new one."
            await refuse_message(send, 404, "unknown_session", message, request_id=self.request_id)
        else:
            body = b"[" + b",".join(self._unsent) + b"]" if self.is_batch else b"".join(self._unsent)
            await answer(send, 200, body, (b"content-type", b"application/json"), *headers)

    async def _attend(
        self, receive: Receive, send: Send, timing: Timing, headers: Sequence[Header], responding: trio.CancelScope
    ) -> None:
        """Watch for a hang-up, and stream once it takes long, or there is something to say before the answer."""
        with self._patience:
            await self._watch(receive, responding)
            return
        await trio.lowlevel.checkpoint_if_cancelled()  # it may have been answered in the same moment
        self._streams = self._is_begun = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, receive, responding)
            await send({"type": "http.response.start", "status": 200, "headers": [*HEADERS, *headers]})
            await write_events(self, send, timing.comment_interval)
            nursery.cancel_scope.cancel("answered")

    async def _wait_answered(self) -> None:
        while self.unanswered and not self._ended:
            await self._change()

    async def _watch(self, receive: Receive, responding: trio.CancelScope) -> None:
        await hang_up(receive)
        self._is_here = False
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
        if self._changed.is_set():  # else a task waits on it already and would miss a new one
            self._changed = trio.Event()
        await self._changed.wait()
