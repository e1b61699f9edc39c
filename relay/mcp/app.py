"""The MCP side as one ASGI app: `GET /sse` begins a session, `POST /messages` carries what its client says.

Who may do what is decided here, once: the token names the agent, and from then on only the `Agent` is passed on. A
POST is authorised by the session id, which nobody can guess; a token that comes along must be of the same agent.

A POST is answered 202 whatever becomes of it: any other status stops a Python client's writer for good, so there is no
rate limit here and a full inbox is no error (see `session.McpSession`). What a client does too much of is
bounded behind it: sessions for each agent, tool calls for each session, bytes not yet read.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from typing import Any

import structlog
from mcp_types import jsonrpc_message_adapter
from pydantic import ValidationError

from actors.presence import Presence
from relay.mcp.asgi import BodyTooLarge, Disconnected, Head, Receive, Scope, Send, answer, read_body, refuse
from relay.mcp.call_tools import call_tools
from relay.mcp.hello import HelloBook
from relay.mcp.message_tools import message_tools
from relay.mcp.ports import STORE_FAILURES, Calls, Hellos, Messages, TokenDirectory
from relay.mcp.registry import Registry
from relay.mcp.server import build_server
from relay.mcp.session import McpSession
from relay.mcp.sse import SseStream, Timing, come_back_later
from relay.mcp.tools import Tool, Toolbox

log = structlog.get_logger(__name__)

SESSIONS_PER_AGENT = 32
LONGEST_MESSAGE = 1 << 20


class McpApp:
    """Serve MCP clients over HTTP+SSE. An ASGI app for `/sse` and `/messages`; needs no task of its own."""

    def __init__(
        self,
        directory: TokenDirectory,
        hellos: Hellos,
        messages: Messages,
        calls: Calls,
        presence: Presence[McpSession],
        *,
        timing: Timing | None = None,
        sessions_per_agent: int = SESSIONS_PER_AGENT,
        more_tools: Iterable[Tool[Any]] = (),
    ) -> None:
        """Bundle the parts; `more_tools` are offered beside the message and call tools."""
        self._directory = directory
        self._book = HelloBook(hellos)
        self._messages = messages
        self._presence = presence
        self._timing = timing or Timing()
        self._registry = Registry(sessions_per_agent)
        self._server = build_server(Toolbox([*message_tools(messages), *call_tools(calls), *more_tools]), messages)
        self._options = self._server.create_initialization_options()
        self._closing = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request (no other scope); for `GET /sse` that takes as long as the session lives."""
        head = Head.of(scope)
        match head.path, head.method:
            case "/sse", "GET":
                await self._open(head, scope, receive, send)
            case "/messages" | "/messages/", "POST":
                await self._post(head, receive, send)
            case "/sse", _:
                await refuse(send, 405, "method_not_allowed", "Open /sse with GET.", (b"allow", b"GET"))
            case "/messages" | "/messages/", _:
                await refuse(send, 405, "method_not_allowed", "Use POST on /messages.", (b"allow", b"POST"))
            case _:
                await refuse(send, 404, "not_found", "MCP clients connect to /sse.")

    # ── for the rest of the relay ───────────────────────────────────────────────────────────────────────────────────

    def sessions_of(self, agent_id: str) -> tuple[McpSession, ...]:
        """Return the open sessions of an agent, oldest first, ready or not."""
        return self._registry.of_agent(agent_id)

    def agents(self) -> frozenset[str]:
        """Name the agents that have open sessions."""
        return frozenset(session.agent_id for session in self._registry.everyone())

    def __len__(self) -> int:
        """Count the open sessions of all agents."""
        return len(self._registry)

    def announce(self, agent_id: str) -> None:
        """Note that a message was left for an agent; each of its sessions tells its client. Never waits."""
        for session in self._registry.of_agent(agent_id):
            session.waiting_changed.set()

    def close_agent(self, agent_id: str) -> None:
        """End the sessions of an agent whose token was changed, or who was removed. Never waits."""
        for session in self._registry.of_agent(agent_id):
            session.close("agent_changed")

    def close_all(self) -> None:
        """End every session and begin no more, because the daemon stops. Never waits."""
        self._closing = True
        for session in self._registry.everyone():
            session.close("shutdown")

    # ── requests ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _open(self, head: Head, scope: Scope, receive: Receive, send: Send) -> None:
        token = head.token
        if token is None:
            await _unauthorized(send, "A token is needed: /sse?token=… or Authorization: Bearer ….")
            return
        try:
            agent = await self._directory.by_token(token)
        except STORE_FAILURES:
            log.warning("token_not_looked_up")
            await come_back_later(send)
            return
        if self._closing:  # while the token was looked up
            await come_back_later(send)
            return
        if agent is None:
            await _unauthorized(send, "This token is not known. `relay agents rotate ID` gives an agent a new one.")
            return
        if head.query.get("agentId", agent.agent_id) != agent.agent_id:
            await refuse(send, 403, "not_your_agent", "agentId is not the token's agent; leave it out or mend it.")
            return
        session = McpSession(agent=agent, presence=self._presence, token_digest=_digest(token))
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
        if session is None:
            await refuse(send, 404, "unknown_session", "This session is over; connect to /sse again.")
            return
        if not await self._may_post(head, session):
            await refuse(send, 403, "not_your_agent", "The token is not one of this session's agent.")
            return
        try:
            message = jsonrpc_message_adapter.validate_json(await read_body(receive, LONGEST_MESSAGE), by_name=False)
        except Disconnected:
            return
        except BodyTooLarge:
            await refuse(send, 413, "too_large", f"A message may have at most {LONGEST_MESSAGE} bytes.")
            return
        except ValidationError:
            await refuse(send, 400, "malformed", "The body must be one JSON-RPC 2.0 message.")
            return
        # In the inbox before the answer, so that a client which posts one after the other keeps its order.
        if session.deliver_now(message):
            await answer(send, 202)
            return
        await answer(send, 202)
        await session.deliver_later(message)

    async def _may_post(self, head: Head, session: McpSession) -> bool:
        token = head.token
        if token is None or hmac.compare_digest(_digest(token), session.token_digest):
            return True
        try:
            agent = await self._directory.by_token(token)
        except STORE_FAILURES:
            return False
        return agent is not None and agent.agent_id == session.agent_id


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


async def _unauthorized(send: Send, message: str) -> None:
    await refuse(send, 401, "unauthorized", message, (b"www-authenticate", b"Bearer"))
