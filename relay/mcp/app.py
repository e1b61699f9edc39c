"""The MCP side as one ASGI app, with two transports over the same sessions, tools and presence.

    GET /sse, POST /messages    HTTP+SSE (MCP 2024-11-05), here and in `sse`
    /mcp                        Streamable HTTP (MCP 2025-03-26 and later), in `streamable`

Authorisation happens once, where a request comes in: the token names the agent, and from then on only the `Agent` is
passed on. A POST to `/messages` is authorised by the session id, which cannot be guessed; a token, if any, must be of
the same agent.

A POST to `/messages` is always answered 202: any other status stops a Python client's writer permanently, so there is
no rate limit here and a full inbox is no error (see `session.McpSession`). The limits are behind it: sessions for each
agent, tool calls for each session, bytes not yet read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import partial
from typing import Any

import structlog
import trio

from actors.call_values import CallInfo
from actors.clients import Presence
from actors.events import OwnerChanged
from actors.turn_queue import TurnQueueOptions, TurnQueues
from relay.agent import digest_of
from relay.errors import STORE_FAILURES
from relay.http.asgi import Head, Receive, Scope, Send, answer, refuse
from relay.http.rebinding_guard import RebindingGuard
from relay.mcp.client_sessions import ClientHere, ClientSessions
from relay.mcp.handshakes import HandshakeCache
from relay.mcp.plain_calls import PlainCalls
from relay.mcp.retirement import retire
from relay.mcp.returning_clients import ReturningClients
from relay.mcp.server import build_server, options_of
from relay.mcp.session import McpSession
from relay.mcp.tools.answer_calls import answer_calls_tool
from relay.mcp.tools.live_calls import AgentCalls, call_tools
from relay.mcp.tools.messages import AgentMessages, message_tools
from relay.mcp.tools.toolbox import Tool, Toolbox
from relay.mcp.tools.turns import WaitingTools, turn_tools
from relay.mcp.transports.event_stream import Timing
from relay.mcp.transports.http_body import Bodies, read_or_refuse
from relay.mcp.transports.http_session import HttpSession
from relay.mcp.transports.refusals import CHALLENGE, CREDENTIALS_UNKNOWN, refuse_batch
from relay.mcp.transports.sse import SseStream, come_back_later
from relay.mcp.transports.streamable import StreamableHttp
from relay.store.agent_registry import AgentRegistry
from relay.store.client_hellos import ClientHellos
from relay.store.waiting_messages import WaitingMessages

log = structlog.get_logger(__name__)


class McpApp:
    """Serve MCP clients. An ASGI app for `/sse`, `/messages` and `/mcp`; the last one needs `run`."""

    def __init__(
        self,
        *,
        agents: AgentRegistry,
        hellos: ClientHellos,
        messages: WaitingMessages,
        calls: AgentCalls,
        presence: Presence,
        turn_queue_options: TurnQueueOptions | None = None,
        timing: Timing | None = None,
        sessions: ClientSessions | None = None,
        more_tools: Iterable[Tool[Any]] = (),
        guard: RebindingGuard | None = None,
        secret: str | None = None,
        node: str = "",
    ) -> None:
        """Bundle the parts; `more_tools` are offered beside the message and call tools.

        With a `secret`, whatever other process knows it goes on with what a client was given to hand back.
        `guard` says by which names and from which web pages `/mcp` may be reached; without one, by loopback only.
        `node` is the name of this node of a cluster, with which the ids of its sessions begin.
        """
        self._agents = agents
        self._book = HandshakeCache(hellos)
        self._messages = AgentMessages(messages, calls.live)
        self._presence = presence
        self._queues = TurnQueues(presence, calls.live, turn_queue_options or TurnQueueOptions())
        self._timing = timing or Timing()
        self._bodies = Bodies(self._timing.body_patience)
        self._returning = ReturningClients()
        self._node = node
        self._registry = ClientSessions() if sessions is None else sessions
        self._waiting = WaitingTools(self._queues)
        tools = Toolbox(
            [
                *message_tools(self._messages),
                *call_tools(calls),
                *turn_tools(self._waiting, calls.live),
                answer_calls_tool(self._waiting, calls.live),
                *more_tools,
            ]
        )
        self._calls = PlainCalls(tools)
        self._server = build_server(tools, self._messages, calls.live, secret=secret)
        self._options = options_of(self._server)
        self._http = StreamableHttp(
            agents=agents,
            server=self._server,
            messages=self._messages,
            calls=self._calls,
            new_session=partial(HttpSession, queues=self._queues, returning=self._returning, node=node),
            registry=self._registry,
            timing=self._timing,
            guard=guard or RebindingGuard(None),
            bodies=self._bodies,
        )
        self._closing = False

    async def run(  # noqa: ASYNC128 - started in StreamableHttp.run
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Run the sessions of `/mcp`, until cancelled; without it that path answers 503. Meant for `nursery.start`."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._queues.run)
            await self._http.run(task_status=task_status)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request (no other scope); for a GET that takes as long as its stream lives."""
        head = Head(scope)
        match head.path, head.method:
            case "/sse", "GET":
                await self._open(head, scope, receive, send)
            case "/messages", "POST":
                await self._post(head, receive, send)
            case "/mcp", _:
                await self._http(head, scope, receive, send)
            case "/sse", _:
                await refuse(send, 405, "method_not_allowed", "Open /sse with GET.", (b"allow", b"GET"))
            case "/messages", _:
                await refuse(send, 405, "method_not_allowed", "Use POST on /messages.", (b"allow", b"POST"))
            case _:
                await refuse(send, 404, "not_found", "MCP clients connect to /mcp or /sse.")

    # ── for the rest of the relay ───────────────────────────────────────────────────────────────────────────────────

    def here(self) -> list[ClientHere]:
        """Describe the clients that have a session, ready or not, oldest first."""
        return [ClientHere.of(session) for session in self._registry.everyone()]

    def agents(self) -> frozenset[str]:
        """Name the agents that have open sessions."""
        return frozenset(session.agent_id for session in self._registry.everyone())

    def __len__(self) -> int:
        """Count the open sessions of all agents."""
        return len(self._registry)

    def all_waiting(self) -> dict[str, int]:
        """Count the tool calls that wait for callers, by agent, where there are any."""
        return self._waiting.under_way.counts()

    def announce(self, agent_id: str) -> None:
        """Notify an agent's clients that a message was left. Never waits."""
        for session in self._registry.of_agent(agent_id):
            session.announce()

    def wake(self, call: CallInfo) -> None:
        """Notify an agent's clients of a caller that they must fetch with a tool call. Never waits."""
        for session in self._registry.of_agent(call.agent_id):
            session.wake(call)

    def on_call_gone(self, agent_id: str) -> None:
        """Wake tool calls that wait for the utterances of a call, which is over. Never waits."""
        self._queues.on_call_gone(agent_id)

    def on_owner_changed(self, news: OwnerChanged) -> None:
        """Report to the turn queue that a client has claimed a call. Never waits."""
        self._queues.on_owner_changed(news)

    def close_agent(self, agent_id: str, *, but_of: bytes | None = None, why: str = "agent_changed") -> None:
        """End the sessions of an agent, but those of the token that has the digest `but_of`. Never waits."""
        for session in self._registry.of_agent(agent_id):
            if session.token_digest != but_of:
                session.close(why)

    async def retire_agent(self, agent_id: str, why: str) -> None:
        """Close the sessions of an agent, each when its client has nothing in hand; see `relay.mcp.retirement`."""
        self._queues.end_waits(agent_id)
        async with trio.open_nursery() as nursery:
            for session in self._registry.of_agent(agent_id):
                nursery.start_soon(retire, session, self._presence, why)

    def passing(self, nodes: Collection[str]) -> list[McpSession]:
        """Return the sessions that come by way of these nodes and are not being retired."""
        return [each for each in self._registry.everyone() if each.hop in nodes and not each.is_retiring]

    def end_waits(self) -> None:
        """End all tool calls that wait for callers; their clients call again, perhaps by another way. Never waits."""
        self._queues.end_all_waits()

    async def retire_passing(self, session: McpSession) -> None:
        """End what comes by way of a node that leaves when its client has nothing in hand, so that it comes anew."""
        await retire(session, self._presence, "node_leaves", keeps_session=True)

    def close_all(self) -> None:
        """Close every session and open no more, because the daemon stops. Never waits."""
        self._closing = True
        self._http.close()
        for session in self._registry.everyone():
            session.close("shutdown")

    # ── requests ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _open(self, head: Head, scope: Scope, receive: Receive, send: Send) -> None:
        token = head.token
        if token is None:
            needed = "A token is needed: /sse?token=… or Authorization: Bearer …."
            await refuse(send, 401, "unauthorized", needed, CHALLENGE)
            return
        try:
            agent = await self._agents.by_token(token)
        except STORE_FAILURES:
            log.warning("token_not_looked_up")
            await come_back_later(send)
            return
        if self._closing:  # while the token was looked up
            await come_back_later(send)
            return
        if agent is None:
            await refuse(send, 401, "unauthorized", CREDENTIALS_UNKNOWN, CHALLENGE)
            return
        if head.query.get("agentId", agent.agent_id) != agent.agent_id:
            await refuse(send, 403, "not_your_agent", "agentId is not the token's agent; leave it out or fix it.")
            return
        session = McpSession(
            agent=agent,
            queues=self._queues,
            returning=self._returning,
            token_digest=digest_of(token),
            node=self._node,
            hop=head.hop,
        )
        stream = SseStream(
            session=session,
            head=head,
            server=self._server,
            options=self._options,
            book=self._book,
            messages=self._messages,
            timing=self._timing,
        )
        self._registry.add(session)
        try:
            await stream.run(scope, receive, send)
        finally:
            self._registry.remove(session)

    async def _post(self, head: Head, receive: Receive, send: Send) -> None:
        session = self._registry.find(head.query.get("session_id", ""))
        if session is None or isinstance(session, HttpSession):
            await refuse(send, 404, "unknown_session", "This session is over; connect to /sse again.")
            return
        if not await self._may_post(head, session):
            await refuse(send, 403, "not_your_agent", "The token is not one of this session's agent.")
            return
        body = await self._bodies.receive(session.agent_id, head, receive, send, refuse)
        if body is None:
            return
        if session.deliver_body(body):
            await answer(send, 202)
        elif session.tasks is not None and (call := self._calls.read(session, body)) is not None:
            self._calls.start(session, call, session.tasks)
            await answer(send, 202)
        else:
            await self._deliver(session, body, send)

    async def _deliver(self, session: McpSession, body: bytes, send: Send) -> None:
        received = await read_or_refuse(body, send)
        if received is None:
            return
        (message, *_), is_batch = received
        if is_batch:
            await refuse_batch(send)
            return
        # In the inbox before the answer, so that a client which posts one after the other keeps its order.
        is_delivered = session.deliver_now(message)
        await answer(send, 202)
        if not is_delivered:
            await session.deliver_later(message)

    async def _may_post(self, head: Head, session: McpSession) -> bool:
        token = head.token
        if token is None or session.has_token(token):
            return True
        try:
            agent = await self._agents.by_token(token)
        except STORE_FAILURES:
            return False
        return agent is not None and agent.agent_id == session.agent_id
