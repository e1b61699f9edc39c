"""A client session: what the client declared, how it can be reached, whether it is alive, its end.

A session over SSE is begun by a stream (see `sse`) and lives as long; one over Streamable HTTP outlives its streams
(see `http_session`). It is ready when the client said `initialized`, or when it is recognised as one that came back
without a handshake (see `hello`); ready, with a stream to ask over, it is in presence if it can sample, or be woken. It
ends by `close` only, which first removes it from presence: `close` may be called from anywhere, in a cancelled task
too, and fails every turn in hand at once.
"""

from __future__ import annotations

import contextlib
import hmac
import itertools
import math
import secrets
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import anyio
import attrs
import structlog
import trio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server.connection import Connection
from mcp.shared.dispatcher import coerce_request_id
from mcp.shared.exceptions import MCPError
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher, cancelled_request_id_from_params
from mcp.shared.message import ServerMessageMetadata, SessionMessage
from mcp_types import (
    CONNECTION_CLOSED,
    REQUEST_TIMEOUT,
    InitializeRequestParams,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    LoggingLevel,
    RequestId,
)

from actors.call_values import CallInfo, TurnRequest
from actors.clients import Reachability
from actors.ports import Answer
from actors.turn_queue import TurnQueues
from relay.agent import Agent, digest_of
from relay.mcp.returning_clients import ReturningClients, SessionUse
from relay.mcp.sampler import Sampler
from relay.mcp.transports.outbox import MessageSink, Outbox, message_event
from relay.mcp.transports.posted_answers import PostedPiece, read_answer

log = structlog.get_logger(__name__)

LONGEST_CLIENT_NAME = 100

# The dispatcher takes messages out without waiting for anything, so more than a few are there only when as many POSTs
# came within one round of the event loop. Answers to turns and plain tool calls do not pass here; 256 is more than else
# comes in one.
INBOX_CAPACITY = 256
INBOX_PATIENCE = 5.0

# More calls than this are not announced to one client at once.
CALLS_TO_WAKE_FOR = 32
# What Claude Code declares when messages may be pushed into its conversation (its documentation, "Channels").
CHANNEL = "claude/channel"

# How long a request waits for the database to say which messages wait, in seconds.
ANNOUNCE_SECONDS = 2.0

NODE_MARK = "~"
"""Between the name of a node and the rest, in the id of a session."""

_BOOT = secrets.token_hex(3)


@attrs.define(eq=False, kw_only=True)
class McpSession:
    """A client's session. `session_id` is a secret (it authorises POSTs); `name` is what logs and request ids show.

    `client_key` names the client beyond this session: it is the id of the stream's first event, which an EventSource
    gives back when it reconnects. `node` is the name of this node of a cluster, by which other nodes find the session;
    empty where there is none. `level` is the least severe log message that it wants, None if it never set one.
    """

    agent: Agent
    queues: TurnQueues
    token_digest: bytes = attrs.field(repr=False)
    node: str = ""
    session_id: str = attrs.field(init=False, repr=False)
    name: str = attrs.field(factory=lambda: secrets.token_hex(4), init=False)
    client_key: str = attrs.field(factory=lambda: secrets.token_urlsafe(16), init=False, repr=False)
    level: LoggingLevel | None = attrs.field(default=None, init=False)
    returning: ReturningClients = attrs.field(factory=ReturningClients)
    use: SessionUse = attrs.field(init=False)
    closed: bool = attrs.field(default=False, init=False)
    # The node by way of which its client is asked, if that is another one; and whether it gets no more turns, because
    # it ends as soon as none is in hand: see `relay.mcp.retirement`.
    hop: str = ""
    is_retiring: bool = attrs.field(default=False, init=False)
    opened_at: datetime = attrs.field(factory=lambda: datetime.now(UTC), init=False)
    heard_at: float = attrs.field(factory=trio.current_time, init=False)
    # When it last answered a request of ours, and since when it has not answered a ping (`inf` if it has).
    answered_at: float = attrs.field(default=-math.inf, init=False)
    silent_since: float = attrs.field(default=math.inf, init=False)
    ready: trio.Event = attrs.field(factory=trio.Event, init=False)
    # What the client is still to be notified of, and that there is something: see `relay.mcp.notifications`.
    news: trio.Event = attrs.field(factory=trio.Event, init=False)
    has_new_messages: bool = attrs.field(default=False, init=False)
    is_notified: trio.Event = attrs.field(factory=trio.Event, init=False)
    unheard: deque[CallInfo] = attrs.field(factory=lambda: deque(maxlen=CALLS_TO_WAKE_FOR), init=False)
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    outbox: Outbox = attrs.field(init=False)
    connection: Connection = attrs.field(init=False)
    dispatcher: JSONRPCDispatcher[Any] = attrs.field(init=False)
    sampler: Sampler = attrs.field(init=False)
    _inbox: MemoryObjectSendStream[SessionMessage | Exception] = attrs.field(init=False)
    _unread: MemoryObjectReceiveStream[SessionMessage | Exception] = attrs.field(init=False)
    # The nursery of its stream's tasks while there is one, and the tool calls that run beside the dispatcher.
    tasks: trio.Nursery | None = attrs.field(default=None, init=False)
    _tool_calls: dict[RequestId, trio.CancelScope] = attrs.field(factory=dict, init=False)
    _candidate: InitializeRequestParams | None = attrs.field(default=None, init=False)
    _numbers: Iterator[int] = attrs.field(factory=lambda: itertools.count(1), init=False)

    @session_id.default
    def _new_session_id(self) -> str:
        secret = secrets.token_urlsafe(24)
        return f"{self.node}{NODE_MARK}{secret}" if self.node else secret

    def __attrs_post_init__(self) -> None:
        self.use = SessionUse(self.returning)
        self.outbox = Outbox(lambda: self.close("slow_reader"))
        self._inbox, self._unread = anyio.create_memory_object_stream[SessionMessage | Exception](INBOX_CAPACITY)
        # `initialize` inline, so that a client which sends its next request along with it is not refused.
        self.dispatcher = JSONRPCDispatcher(
            self._unread, self._message_sink(), inline_methods=frozenset({"initialize"})
        )
        self.connection = Connection.for_loop(self.dispatcher, session_id=self.name)
        self.sampler = Sampler(self._send, self.name, self._request_id, self.show_presence)

    def _message_sink(self) -> MessageSink:
        """Return the stream that the dispatcher writes into."""
        return self.outbox

    @property
    def agent_id(self) -> str:
        """The agent it acts for."""
        return self.agent.agent_id

    def has_token(self, token: str) -> bool:
        """Whether it was opened with this token, in a time that does not tell how much of it is right."""
        return hmac.compare_digest(digest_of(token), self.token_digest)

    @property
    def queue_key(self) -> str:
        """The key of its client at the turn queue."""
        return f"session:{self.name}"

    @property
    def client_name(self) -> str:
        """What its client calls itself, at most `LONGEST_CLIENT_NAME` characters; empty before its handshake."""
        return name_of(self.connection.client_params)

    @property
    def reachable(self) -> bool:
        """Whether a stream is open over which the client can be asked and notified."""
        return not self.outbox.closed

    @property
    def idle_since(self) -> float:
        """Since when it is unused; `inf` here, because it ends with its stream."""
        return math.inf

    @property
    def can_sample(self) -> bool:
        """Whether it is ready, reachable, declared the sampling capability and has not turned out to lack it."""
        return self.declared_sampling and self.ready.is_set() and self.reachable and not self.closed

    @property
    def declared_sampling(self) -> bool:
        """Whether its handshake declared the sampling capability, and it has not turned out to lack it."""
        capabilities = self.connection.client_capabilities
        return capabilities is not None and capabilities.sampling is not None and not self.sampler.is_refused

    @property
    def takes_channel(self) -> bool:
        """Whether its client passes notifications on to its model."""
        capabilities = self.connection.client_capabilities
        return capabilities is not None and CHANNEL in (capabilities.experimental or {})

    @property
    def reachability(self) -> Reachability | None:
        """How its client can be given a turn now; None if it takes no turns and cannot be woken for one.

        A client that has not answered a ping gets no turn until it answers something: a turn would cost a caller the
        whole time limit.
        """
        if self.is_silent or self.is_retiring:
            return None
        if self.can_sample:
            return Reachability.SAMPLING
        is_up = self.ready.is_set() and self.reachable and not self.closed
        return Reachability.WAKE_UP if is_up and self.takes_channel else None

    @property
    def busy(self) -> bool:
        """Whether the client may be unable to answer a ping because it works on a turn."""
        return self.sampler.is_busy

    @property
    def has_work(self) -> bool:
        """Whether its client has a turn in hand, or waits for the answer to a request, or has not read one yet."""
        return self.turns_in_hand > 0 or bool(self._tool_calls) or self.outbox.size > 0

    @property
    def turns_in_hand(self) -> int:
        """How many turns its client has, by either way."""
        return self.sampler.turns_in_hand + self.queues.count_turns(self.agent_id, self.queue_key)

    @property
    def is_silent(self) -> bool:
        """Whether the client has not answered a ping in time, and nothing since."""
        return self.silent_since < math.inf

    async def room(self) -> None:
        """Wait until the client has read most of what was sent; a request's answer is prepared only then."""
        await self.outbox.room()

    async def messages_announced(self) -> None:
        """Wait, for `ANNOUNCE_SECONDS` at most, until the client was notified of the messages that waited.

        No-op if no stream is open to notify it over, or before its handshake, when its request is refused anyway. A
        client that opens a session for each request closes it at the result, and the SSE client of a 1.x Python SDK
        raises when anything arrives after that.
        """
        if self.reachable and self.connection.initialize_accepted and not self.is_notified.is_set():
            with trio.move_on_after(ANNOUNCE_SECONDS):
                await self.is_notified.wait()

    # ── its life ────────────────────────────────────────────────────────────────────────────────────────────────────

    def deliver_now(self, message: JSONRPCMessage) -> bool:
        """Hand a message of the client to the dispatcher; False when there is no room, see `deliver_later`.

        A message for a session that has ended goes nowhere.
        """
        self.heard_at = trio.current_time()
        if isinstance(message, JSONRPCResponse | JSONRPCError):
            self._note_answer()
        if isinstance(message, JSONRPCRequest) and message.method == "tools/call":
            self.use.tool_calls += 1
        if isinstance(message, JSONRPCNotification) and message.method == "notifications/cancelled":
            self._cancel_tool_call(cancelled_request_id_from_params(message.params))
        if self._candidate is not None:
            if isinstance(message, JSONRPCRequest) and message.method == "initialize":
                self._candidate = None  # a new client after all: it declares its capabilities itself
            else:
                self.recognise()
        return self.sampler.take(message) or self._enqueue(message)

    def deliver_body(self, body: bytes) -> bool:
        """Take the body of a POST if it is a plain answer, or a piece of one, to a turn in hand; return whether it is.

        It is settled without the dispatcher. Never waits.
        """
        answer = read_answer(body) if self.sampler.turns_in_hand else None
        turn = None if answer is None else self.sampler.find(answer.request_id)
        if answer is None or turn is None:
            return False
        self.heard_at = trio.current_time()
        if isinstance(answer, PostedPiece):
            turn.take_piece(answer.number, answer.text)
        else:
            self._note_answer()
            turn.finish(answer.text)
        return True

    # ── tool calls beside the dispatcher: see `relay.mcp.plain_calls` ───────────────────────────────────────────────

    @property
    def takes_plain_calls(self) -> bool:
        """Whether its handshake is behind it, and it is known for sure whose client this is."""
        return self.connection.initialize_accepted and self._candidate is None and not self.closed

    def begin_tool_call(self, request_id: RequestId) -> trio.CancelScope:
        """Register a tool call that was posted; return what its client cancels, or the session's end."""
        scope = trio.CancelScope()
        self.heard_at = trio.current_time()
        self.use.tool_calls += 1
        self._tool_calls[coerce_request_id(request_id)] = scope
        if self.closed:
            scope.cancel("the session is over")
        return scope

    def end_tool_call(self, request_id: RequestId, scope: trio.CancelScope) -> None:
        """Remove a tool call, which is over."""
        key = coerce_request_id(request_id)
        if self._tool_calls.get(key) is scope:  # else a later request has the same id
            del self._tool_calls[key]

    def _cancel_tool_call(self, request_id: RequestId | None) -> None:
        if request_id is not None and (scope := self._tool_calls.get(coerce_request_id(request_id))) is not None:
            scope.cancel("the client cancelled it")

    def send_message(self, text: bytes) -> None:
        """Queue an encoded message for its stream; no-op if there is none any more."""
        with contextlib.suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
            self.outbox.put(message_event(text))

    def _send(self, frame: bytes) -> None:
        """Queue a ready event; raises as `Outbox.put` does."""
        self.outbox.put(frame)

    def _enqueue(self, message: JSONRPCMessage) -> bool:
        try:
            self._inbox.send_nowait(self._item(message))
        except anyio.WouldBlock:
            return False
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return True
        return True

    async def deliver_later(self, message: JSONRPCMessage) -> None:
        """Wait for room and hand the message over; if there is none in time, the session is stuck and is closed."""
        with trio.move_on_after(INBOX_PATIENCE) as patience:
            with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                await self._inbox.send(self._item(message))
        if patience.cancelled_caught:
            self.close("inbox_full")

    def _item(self, message: JSONRPCMessage) -> SessionMessage:
        # The shared server's handlers find the session here, as `ctx.request`.
        return SessionMessage(message, ServerMessageMetadata(request_context=self))

    def expect(self, params: InitializeRequestParams) -> None:
        """Store which client this probably is; any message but a handshake confirms it. See `recognise`."""
        self._candidate = params

    def recognise(self) -> None:
        """Treat the client as the expected one, which sends no new handshake. No-op if none is expected."""
        if self._candidate is None:
            return
        params, self._candidate = self._candidate, None
        self.connection.client_params = params
        self.connection.protocol_version = params.protocol_version
        self.connection.initialized.set()
        log.info("client_recognised", session=self.name, agent_id=self.agent_id)
        self.become_ready()

    def become_ready(self) -> None:
        """Mark the client as ready for requests. Idempotent; what it declares now counts."""
        if self.closed:
            return
        self.ready.set()
        self.show_presence()
        log.info("session_ready", session=self.name, agent_id=self.agent_id, can_sample=self.can_sample)
        self.announce()

    def show_presence(self) -> None:
        """Register the session at presence if its client can take a turn, or be woken for one; else remove it."""
        reachability = self.reachability
        if reachability is None:
            # A silent client has not just been lost: it is not known when it will be done.
            self.queues.presence.leave(self, is_lost=not self.is_silent)
        else:
            self.queues.presence.arrive(self, reachability)

    def fall_silent(self) -> None:
        """Mark the client as silent: it has not answered a ping in time, and gets no turns until it answers."""
        if not self.is_silent:
            self.silent_since = trio.current_time()
            log.info("client_silent", session=self.name, agent_id=self.agent_id)
            self.show_presence()

    def _note_answer(self) -> None:
        self.answered_at = self.heard_at
        self.sampler.note_answer()
        if self.is_silent:
            self.silent_since = math.inf
            log.info("client_answers_again", session=self.name, agent_id=self.agent_id)
            self.show_presence()
            self.announce()

    def wake(self, call: CallInfo) -> None:
        """Notify the client that a caller waits for it. Never waits."""
        self.unheard.append(call)
        self.news.set()

    def announce(self) -> None:
        """Notify the client of the messages that wait. Never waits."""
        self.has_new_messages = True
        self.news.set()

    def retire(self) -> None:
        """Take no more turns, because it is to be closed when it has no work. Its tool calls wait no longer."""
        self.is_retiring = True
        self.queues.end_waits(self.agent_id, self.queue_key)
        self.show_presence()

    def close(self, why: str, *, in_order: bool = False, is_expected: bool = False) -> None:
        """End the session, whatever it is doing: no more turns, those in hand fail, its stream ends. Never waits.

        `in_order` is true if its client closed it by a message, `is_expected` if only the way to it is known to be
        broken: see `lose_turns`.
        """
        if self.closed:
            return
        self.closed = True
        self.queues.presence.leave(self)
        self.lose_turns(in_order=in_order, is_expected=is_expected)
        self.outbox.close()
        self._inbox.close()
        self._unread.close()
        for scope in self._tool_calls.values():
            scope.cancel(why)
        self.scope.cancel(why)
        log.info("session_closed", session=self.name, agent_id=self.agent_id, why=why)

    # ── asking the client ───────────────────────────────────────────────────────────────────────────────────────────

    async def respond(self, request: TurnRequest, answer: Answer) -> None:
        """Ask the client to answer a turn of a call; see `Sampler.sample`."""
        await self.sampler.sample(request, answer.say)

    def lose_turns(self, *, in_order: bool = False, is_expected: bool = False) -> None:
        """Fail every turn in hand, because the stream that shows that the client is there has ended. Never waits.

        An utterance that a tool call has taken stays taken if the session has ended in order, because the client may
        answer it in its next session. `in_order` says that it has; else `ReturningClients` decides by what the client
        did before. With `is_expected` the stream has broken at a node by way of which its client came; the client is
        waited for, and asked again.
        """
        self.sampler.lose_turns(is_expected=is_expected)
        hello = self.connection.client_params
        info = None if hello is None else hello.client_info
        is_engaged = self.queues.is_engaged(self.agent_id, self.queue_key)
        if self.use.is_over(self.agent_id, info, in_order=in_order, is_engaged=is_engaged):
            self.queues.detach(self.agent_id, self.queue_key)
        else:
            self.queues.leave(self.agent_id, self.queue_key)

    async def answers_ping(self, timeout: float) -> bool:
        """Send a ping; return whether anything, an error too, is answered within `timeout` seconds."""
        asked_at = trio.current_time()
        try:
            await self.connection.ping(opts={"request_id": self._request_id(), "timeout": timeout})
        except MCPError as error:
            return error.code not in {REQUEST_TIMEOUT, CONNECTION_CLOSED} or self.answered_at > asked_at
        return True

    def _request_id(self) -> str:
        # Never used twice, not by another session nor after a restart: a client that reconnects may still answer an
        # old request, and with the SDK's numbers one caller would hear the answer to another.
        return f"{_BOOT}-{self.name}-{next(self._numbers)}"


def name_of(client: InitializeRequestParams | None) -> str:
    """Return what a client calls itself in its handshake, at most `LONGEST_CLIENT_NAME` characters; empty for none."""
    return "" if client is None else client.client_info.name[:LONGEST_CLIENT_NAME]
