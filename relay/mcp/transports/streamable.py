"""Streamable HTTP, the transport at `/mcp`: authorisation, and the handling of POST, GET and DELETE.

    a version with handshake ─┬─ POST initialize ──▶ a new HttpSession, with a task of its own in `run`
    (2025-03-26 … 2025-11-25) ├─ POST            ──▶ a plain tool call runs at once, all else goes to its dispatcher;
                              │                      with requests in it, an Exchange answers
                              ├─ GET             ──▶ its standing stream
                              └─ DELETE          ──▶ its end
    2026-07-28                ─── POST           ──▶ StatelessRevision

Every request names its agent by a token in the `Authorization` header; in the address it would end up in logs and
histories, so there it does not count. A session of another agent is answered as one that does not exist.

The transport is our own, over the SDK's dispatcher, because the SDK's waits for its peers: a client that does not read
holds up the whole session, what is sent before there is a stream is lost, and a turn stays pending when the stream
ends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
import trio
from mcp.server.lowlevel import Server
from mcp.server.runner import serve_connection
from mcp_types import JSONRPCMessage, JSONRPCRequest, RequestId

from relay.agent import Agent, digest_of
from relay.errors import STORE_FAILURES
from relay.http.asgi import Head, Header, Receive, Scope, Send, answer, refuse
from relay.http.rebinding_guard import RebindingGuard
from relay.logs import report
from relay.mcp.client_sessions import ClientSessions
from relay.mcp.plain_calls import PlainCalls
from relay.mcp.server import options_of
from relay.mcp.session import McpSession
from relay.mcp.tools.messages import AgentMessages
from relay.mcp.transports.event_stream import Timing
from relay.mcp.transports.http_body import LONGEST_MESSAGE, Bodies, read_or_refuse
from relay.mcp.transports.http_session import HttpSession, RequestIdInUseError
from relay.mcp.transports.refusals import (
    CHALLENGE,
    CREDENTIALS_NEEDED,
    CREDENTIALS_UNKNOWN,
    RETRY_AFTER,
    answer_error,
    refuse_batch,
    refuse_invalid,
    refuse_message,
    refuse_request,
)
from relay.mcp.transports.stateless import StatelessRevision, is_stateless, steering
from relay.store.agent_registry import AgentRegistry

log = structlog.get_logger(__name__)

# The one revision with batches, which a server has to take (MCP 2025-03-26, basic, "Batching").
_REVISION_WITH_BATCHES = "2025-03-26"
_SESSION_HEADER = b"mcp-session-id"
_JSON = "application/json"
_EVENTS = "text/event-stream"


class StreamableHttp:
    """Serve `/mcp`. Opens sessions while `run` runs."""

    def __init__(
        self,
        *,
        agents: AgentRegistry,
        server: Server[Any],
        messages: AgentMessages,
        calls: PlainCalls,
        new_session: Callable[..., HttpSession],
        registry: ClientSessions,
        timing: Timing,
        guard: RebindingGuard,
        bodies: Bodies,
    ) -> None:
        """Bundle the parts; `new_session` takes an agent and a digest; `registry` and `bodies` serve all transports."""
        self._agents = agents
        self._server = server
        self._options = options_of(server)
        self._messages = messages
        self._calls = calls
        self._new_session = new_session
        self._registry = registry
        self._timing = timing
        self._guard = guard
        self._bodies = bodies
        self._stateless = StatelessRevision(server, LONGEST_MESSAGE)
        self._sessions: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the sessions, until cancelled; then they are closed. Meant for `nursery.start`."""
        try:
            async with self._stateless.running(), trio.open_nursery() as nursery:
                self._sessions = nursery
                task_status.started()
                await self._expire_sessions()
        finally:
            self._sessions = None

    def close(self) -> None:
        """Open no more sessions, and end the requests that have none. Never waits."""
        self._sessions = None
        self._stateless.close()

    async def _expire_sessions(self) -> None:
        timing = self._timing
        while True:
            await trio.sleep(min(timing.handshake_timeout, timing.stream_patience, timing.idle_timeout) / 4)
            for session in self._registry.everyone():
                if isinstance(session, HttpSession) and (why := session.expired(timing)) is not None:
                    session.close(why)

    # ── requests ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def __call__(self, head: Head, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request to `/mcp`; for a GET that takes as long as its stream lives."""
        if (refusal := self._guard.refusal(head)) is not None:
            await refuse_request(head, send, refusal.status, refusal.code, refusal.message)
            return
        if head.method not in {"GET", "POST", "DELETE"}:
            await refuse(send, 405, "method_not_allowed", "Use POST, GET or DELETE.", (b"allow", b"GET, POST, DELETE"))
            return
        session = self._registry.find(head.headers.get("mcp-session-id", ""))
        agent = await self._authorize(head, session, send)
        if agent is None:
            return
        if is_stateless(head):
            await self._serve_stateless(agent, head, scope, receive, send)
        elif "mcp-session-id" not in head.headers:
            await self._serve_newcomer(agent, head, receive, send)
        elif not isinstance(session, HttpSession) or session.agent_id != agent.agent_id or session.closed:
            await refuse_request(head, send, 404, "unknown_session", "There is no such session; initialize a new one.")
        else:
            with session.used(head):
                await self._serve_session(session, head, receive, send)

    async def _authorize(self, head: Head, session: McpSession | None, send: Send) -> Agent | None:
        """Return the agent of the request; None if it was refused."""
        token = head.bearer
        if token is None:
            await refuse_request(head, send, 401, "unauthorized", CREDENTIALS_NEEDED, CHALLENGE)
            return None
        # Not looked up each time: pieces of an answer come as a POST each. A changed token ends its sessions.
        if session is not None and session.has_token(token):
            return session.agent
        try:
            agent = await self._agents.by_token(token)
        except STORE_FAILURES:
            log.warning("token_not_looked_up")
            await _come_back_later(head, send)
            return None
        if agent is None:
            await refuse_request(head, send, 401, "unauthorized", CREDENTIALS_UNKNOWN, CHALLENGE)
        return agent

    async def _serve_stateless(self, agent: Agent, head: Head, scope: Scope, receive: Receive, send: Send) -> None:
        if self._sessions is None:
            await _come_back_later(head, send)
            return
        body = b""
        if head.method == "POST":
            # Read here too, for its bounds; the SDK reads what is within them once more.
            received = await self._receive(agent.agent_id, head, receive, send)
            messages = None if received is None else await read_or_refuse(received, send)
            if received is None or messages is None:
                return
            body, ((message, *_), is_batch) = received, messages
            if is_batch:
                await refuse_batch(send)
                return
            if (refusal := steering(head, message)) is not None:
                await answer_error(send, 400, refusal)
                return
        await self._stateless.serve(agent, body, scope, receive, send)

    async def _serve_newcomer(self, agent: Agent, head: Head, receive: Receive, send: Send) -> None:
        """Start a session for a client that sends `initialize`; refuse any other."""
        if head.method != "POST":
            await refuse(send, 400, "session_needed", "Mcp-Session-Id is missing; POST an initialize request first.")
            return
        body = await self._receive(agent.agent_id, head, receive, send)
        received = None if body is None else await read_or_refuse(body, send)
        if received is None:
            return
        messages, is_batch = received
        first = messages[0]
        if is_batch or not isinstance(first, JSONRPCRequest) or first.method != "initialize":
            message = "Mcp-Session-Id is missing; only an initialize request has none."
            # None where a refusal is looked for under no single id.
            request_id = first.id if isinstance(first, JSONRPCRequest) and not is_batch else None
            await refuse_invalid(send, message, request_id)
            return
        if self._sessions is None:
            await _come_back_later(head, send, first.id)
            return
        token = head.bearer or ""
        session = self._new_session(agent=agent, token_digest=digest_of(token))
        self._registry.add(session)
        self._sessions.start_soon(self._run_session, session)
        with session.used(head):
            header = (_SESSION_HEADER, session.session_id.encode())
            await self._exchange(session, messages, receive, send, header, is_batch=is_batch)
        if session.connection.client_params is None:
            session.close("no_handshake")

    async def _receive(self, agent_id: str, head: Head, receive: Receive, send: Send) -> bytes | None:
        """Receive a body as `Bodies.receive` does, if its headers are as they should be."""
        if head.headers.get("content-type", "").partition(";")[0].strip().lower() != _JSON:
            await refuse_message(send, 415, "unsupported_media_type", f"Content-Type must be {_JSON}.")
            return None
        if not head.accepts(_JSON, _EVENTS):
            await refuse_message(send, 406, "not_acceptable", f"Accept must name both {_JSON} and {_EVENTS}.")
            return None
        return await self._bodies.receive(agent_id, head, receive, send)

    async def _run_session(self, session: HttpSession) -> None:
        try:
            with session.scope:
                await serve_connection(
                    self._server,
                    session.dispatcher,
                    connection=session.connection,
                    lifespan_state={},
                    init_options=self._options,
                )
        except* Exception as errors:  # noqa: BLE001 - a fault in one session must not end the others
            report("session_crashed", errors, session=session.name, agent_id=session.agent_id)
        finally:
            session.close("over")
            self._registry.remove(session)

    async def _serve_session(self, session: HttpSession, head: Head, receive: Receive, send: Send) -> None:
        match head.method:
            case "DELETE":
                session.close("client_left", in_order=True)
                await answer(send, 204)
            case "GET" if head.accepts(_EVENTS):
                await session.serve_stream(self._messages, self._timing, receive, send)
            case "GET":
                await refuse(send, 406, "not_acceptable", f"Accept must name {_EVENTS}.")
            case _:
                try:
                    await self._take(session, head, receive, send)
                except RequestIdInUseError as error:
                    await refuse_invalid(send, str(error), error.request_id)

    async def _take(self, session: HttpSession, head: Head, receive: Receive, send: Send) -> None:
        body = await self._receive(session.agent_id, head, receive, send)
        if body is None:
            return
        if session.deliver_body(body):
            await answer(send, 202)
            return
        if (call := self._calls.read(session, body)) is not None:
            await session.answer_call(call, self._calls, self._timing, receive, send)
            return
        received = await read_or_refuse(body, send)
        if received is None:
            return
        messages, is_batch = received
        if is_batch and session.connection.protocol_version != _REVISION_WITH_BATCHES:
            await refuse_batch(send)
            return
        if any(isinstance(each, JSONRPCRequest) for each in messages):
            await self._exchange(session, messages, receive, send, is_batch=is_batch)
            return
        # In the inbox before the answer, so that a client which posts one after the other keeps its order.
        late = [each for each in messages if not session.deliver_now(each)]
        await answer(send, 202)
        for each in late:
            await session.deliver_later(each)

    async def _exchange(
        self,
        session: HttpSession,
        messages: list[JSONRPCMessage],
        receive: Receive,
        send: Send,
        *headers: Header,
        is_batch: bool,
    ) -> None:
        requests = [each for each in messages if isinstance(each, JSONRPCRequest)]
        exchange = session.begin_exchange(requests, is_batch=is_batch)
        try:
            for each in messages:
                if not session.deliver_now(each):
                    await session.deliver_later(each)
            await exchange.respond(receive, send, self._timing, *headers)
        finally:
            session.end_exchange(exchange)


async def _come_back_later(head: Head, send: Send, request_id: RequestId | None = None) -> None:
    message = "The relay cannot take this now; try again in a moment."
    await refuse_request(head, send, 503, "try_again", message, RETRY_AFTER, request_id=request_id)
