"""A session over Streamable HTTP: it outlives its streams, and each answer goes to the POST that asked for it.

    POST ──▶ deliver ──▶ dispatcher ──▶ _Router ─┬─▶ the exchange of the request that this belongs to   (http_exchange)
                                                 └─▶ the standing stream: our requests and notifications

It takes turns only while its standing stream, the client's GET, is open: what would be sent before that is lost, and
what is in hand when the stream ends is given up, because a client that died cannot be told from one that reconnects.
No stream can be resumed (MCP 2025-11-25, basic/transports, "Resumability and Redelivery" is optional): a turn that was
given up must not be asked again, and the answer to a request that broke off is had by asking anew.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial
from types import TracebackType
from typing import Self

import anyio
import attrs
import structlog
import trio
from mcp.shared.dispatcher import coerce_request_id
from mcp.shared.message import ServerMessageMetadata, SessionMessage
from mcp_types import JSONRPCError, JSONRPCMessage, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse, RequestId

from relay.http.asgi import Head, Receive, Send
from relay.http.streaming import HEADERS, end_response, hang_up
from relay.logs import report
from relay.mcp.notifications import notify_client
from relay.mcp.plain_calls import PlainCalls
from relay.mcp.session import McpSession
from relay.mcp.tools.messages import AgentMessages
from relay.mcp.transports.event_stream import Timing, ping_while_quiet, write_events
from relay.mcp.transports.http_exchange import Exchange
from relay.mcp.transports.outbox import MessageSink, Outbox
from relay.mcp.transports.posted_calls import PostedCall

log = structlog.get_logger(__name__)

# A comment, because some proxies and clients take a stream for open only when its first bytes are there.
_OPENED = b": open\n\n"


class RequestIdInUseError(Exception):
    """A request has the id of another one that is not answered yet. Has the id, unless it came in a batch."""

    def __init__(self, request_id: RequestId | None) -> None:
        super().__init__("The id of this request is that of one that is not answered yet; give each its own.")
        self.request_id = request_id


@attrs.define(eq=False, kw_only=True)
class HttpSession(McpSession):
    """A client's session over Streamable HTTP; `session_id` is what its requests carry as `Mcp-Session-Id`.

    `outbox` is that of its standing stream, and closed while it has none.
    """

    _exchanges: dict[RequestId, Exchange] = attrs.field(factory=dict, init=False)
    _uses: int = attrs.field(default=0, init=False)
    _used_at: float = attrs.field(factory=trio.current_time, init=False)
    _had_stream: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.outbox.close()

    def _message_sink(self) -> MessageSink:
        return _Router(self)

    async def room(self) -> None:
        """Return at once: an answer has a response of its own, with nothing before it that could be unread."""
        await trio.lowlevel.checkpoint()

    # ── its standing stream ─────────────────────────────────────────────────────────────────────────────────────────

    def attach(self) -> Outbox:
        """Start a standing stream in place of any other, and return what is to be written to it. Never waits.

        In place of, because a client that comes back is often here before its former connection is known to be dead.
        """
        if self.reachable:  # else there is nothing to lose, but a tool call may have words in hand already
            self.detach(self.outbox)
        outbox = Outbox(lambda: self.detach(outbox))
        if self.closed:
            outbox.close()
            return outbox
        self.outbox = outbox
        self._had_stream, self.is_retiring = True, False
        self.show_presence()
        self.announce()
        log.info("stream_opened", session=self.name, agent_id=self.agent_id, can_sample=self.can_sample)
        return outbox

    def detach(self, outbox: Outbox, *, is_expected: bool = False) -> None:
        """End the standing stream, unless another one has taken its place: see `lose_turns`. Never waits."""
        outbox.close()
        if outbox is self.outbox and not self.closed:  # else its end was handled already, perhaps in order
            self.show_presence()
            self.lose_turns(is_expected=is_expected)

    async def serve_stream(self, messages: AgentMessages, timing: Timing, receive: Receive, send: Send) -> None:
        """Serve a GET until either side ends it, another one takes its place, or the session ends. Lets no error out.

        What waits is announced on each new stream again: what was announced on the former one may not have arrived.
        """
        await send({"type": "http.response.start", "status": 200, "headers": list(HEADERS)})
        await send({"type": "http.response.body", "body": _OPENED, "more_body": True})
        outbox = self.attach()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, outbox, receive)
                nursery.start_soon(self._ping, timing)
                nursery.start_soon(notify_client, self, messages)
                await write_events(outbox, send, timing.comment_interval)
                nursery.cancel_scope.cancel("the stream is over")
        except* Exception as errors:  # noqa: BLE001 - a fault in one stream must not end others
            report("stream_crashed", errors, session=self.name, agent_id=self.agent_id)
        finally:
            self.detach(outbox)
            log.info("stream_ended", session=self.name, agent_id=self.agent_id)
        await end_response(send)

    async def _watch(self, outbox: Outbox, receive: Receive) -> None:
        self.detach(outbox, is_expected=not await hang_up(receive))

    async def _ping(self, timing: Timing) -> None:
        await self.ready.wait()
        await ping_while_quiet(self, timing)
        self.close("mute")

    # ── its requests ────────────────────────────────────────────────────────────────────────────────────────────────

    async def answer_call(
        self, call: PostedCall, calls: PlainCalls, timing: Timing, receive: Receive, send: Send
    ) -> None:
        """Run a plain tool call in the task of its POST, and send the response. Raises `RequestIdInUseError`."""
        exchange = self.begin_exchange([call], is_batch=False)

        async def run() -> None:
            response = await calls.answer(self, call, self.begin_tool_call(call.id), exchange.notify_encoded)
            if response is None:
                await exchange.give_up(call.id)
            else:
                exchange.answer_encoded(call.id, response)

        try:
            await exchange.respond(receive, send, timing, run=run)
        finally:
            self.end_exchange(exchange)

    def begin_exchange(self, requests: Sequence[JSONRPCRequest | PostedCall], *, is_batch: bool) -> Exchange:
        """Start to collect the answers to these requests, before they are delivered.

        Raises `RequestIdInUseError`, and then nothing is begun.
        """
        keys = [coerce_request_id(each.id) for each in requests]
        only = None if is_batch else next((each.id for each in requests), None)
        if len(set(keys)) < len(keys) or not self._exchanges.keys().isdisjoint(keys):
            raise RequestIdInUseError(only)
        exchange = Exchange(unanswered=set(keys), is_batch=is_batch, request_id=only)
        if self.closed:  # while the body of the request was read
            exchange.end()
        self._exchanges.update(dict.fromkeys(keys, exchange))
        return exchange

    def end_exchange(self, exchange: Exchange) -> None:
        """Remove an exchange whose connection is gone, and cancel its requests.

        The specification says that a disconnection should not be taken for a cancellation, for the sake of streams that
        are resumed. Ours are not resumed, so the result could not be delivered; and a waiting tool call must not take
        an utterance for a client that has died.
        """
        for key in [key for key, each in self._exchanges.items() if each is exchange]:
            del self._exchanges[key]
        for key in exchange.unanswered:
            self._enqueue(
                JSONRPCNotification(jsonrpc="2.0", method="notifications/cancelled", params={"requestId": key})
            )

    def _item(self, message: JSONRPCMessage) -> SessionMessage:
        item = super()._item(message)
        if isinstance(message, JSONRPCRequest) and isinstance(item.metadata, ServerMessageMetadata):
            exchange = self._exchanges.get(coerce_request_id(message.id))
            if exchange is not None:
                item.metadata.on_request_unanswered = partial(exchange.give_up, message.id)
        return item

    def exchange_of(self, request_id: RequestId) -> Exchange | None:
        """Find the exchange that waits for the answer to a request."""
        return self._exchanges.get(coerce_request_id(request_id))

    # ── its end ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def close(self, why: str, *, in_order: bool = False, is_expected: bool = False) -> None:
        """End the session: see `McpSession.close`. The responses that its requests wait for end too."""
        super().close(why, in_order=in_order, is_expected=is_expected)
        for exchange in set(self._exchanges.values()):
            exchange.end()

    def end_passing(self) -> None:
        """End what came by way of another node that leaves: the standing stream. Its client opens another one."""
        self.detach(self.outbox, is_expected=True)
        self.hop, self.is_retiring = "", False

    @contextlib.contextmanager
    def used(self, head: Head) -> Iterator[None]:
        """Count the session as in use by a request for the length of a block."""
        if head.method == "GET" or not self.reachable:
            self.hop = head.hop
        self._uses += 1
        try:
            yield
        finally:
            self._uses -= 1
            self._used_at = trio.current_time()

    @property
    def idle_since(self) -> float:
        """When its last request or stream ended; `inf` while there is one."""
        return super().idle_since if self._uses else self._used_at

    def expired(self, timing: Timing) -> str | None:
        """Return why it should be closed, or None if it should be kept."""
        idle = trio.current_time() - self.idle_since
        if not self.ready.is_set() and idle >= timing.handshake_timeout:
            return "no_handshake"
        if self._had_stream and self.declared_sampling and idle >= timing.stream_patience:
            return "stream_lost"
        return "idle" if idle >= timing.idle_timeout else None


@attrs.define(eq=False)
class _Router:
    """Where the dispatcher sends messages. What belongs to no request goes to the standing stream, or nowhere."""

    session: HttpSession

    async def send(self, item: SessionMessage, /) -> None:
        """Pass a message on, without a checkpoint. Raises as `Outbox.send` does when there is no standing stream."""
        message, metadata = item.message, item.metadata
        if isinstance(message, JSONRPCResponse | JSONRPCError):
            if message.id is not None and (exchange := self.session.exchange_of(message.id)) is not None:
                exchange.answer(message)
            return
        related = metadata.related_request_id if isinstance(metadata, ServerMessageMetadata) else None
        if related is None:
            await self.session.outbox.send(item)
        elif (exchange := self.session.exchange_of(related)) is not None:
            exchange.notify(message)
        elif isinstance(message, JSONRPCRequest):
            raise anyio.ClosedResourceError

    async def aclose(self) -> None:
        """Do nothing: streams and responses end with the session."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass
