"""The registry of open client sessions, by id (for a POST) and by agent.

Presence knows those that can answer calls; this knows all of them, those without sampling and those still in their
handshake too. The number for each agent is bounded, so that a client which reconnects in a storm drops its own oldest
sessions instead of filling the process: unused ones first, because dead clients leave such sessions.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime

import attrs
import trio

from actors.clients import Reachability
from actors.ports import AnsweringSession
from actors.trace import Asked
from relay.mcp.session import LONGEST_CLIENT_NAME, McpSession
from relay.mcp.transports.http_session import HttpSession

SESSIONS_PER_AGENT = 32


@attrs.frozen(kw_only=True)
class ClientHere:
    """A client as its session shows it to the operator; `name` and `version` are its own words, empty before them.

    `session` names its session, and is no secret. `answers_by` is `sampling`, or `turn tools` for a client that has to
    call a tool to wait for callers; `waits` says that it does now, or has a turn, and `wakes` that it can be woken for
    one. `heard` is how many seconds ago it sent something. `turns` are in its hands, `unread` are bytes.
    """

    agent_id: str
    session: str
    name: str
    version: str
    transport: str
    answers_by: str
    since: datetime
    ready: bool
    waits: bool
    wakes: bool
    is_silent: bool
    heard: float
    turns: int
    unread: int

    @classmethod
    def of(cls, session: McpSession) -> ClientHere:
        """Describe the client of a session."""
        known = session.connection.client_params
        return cls(
            agent_id=session.agent_id,
            session=session.name,
            name=session.client_name,
            version=known.client_info.version[:LONGEST_CLIENT_NAME] if known is not None else "",
            transport="Streamable HTTP" if isinstance(session, HttpSession) else "SSE",
            answers_by="sampling" if session.can_sample else "turn tools",
            since=session.opened_at,
            ready=session.ready.is_set() and not session.closed,
            waits=session.queues.is_engaged(session.agent_id, session.queue_key),
            wakes=session.reachability is Reachability.WAKE_UP,
            is_silent=session.is_silent,
            heard=trio.current_time() - session.heard_at,
            turns=session.turns_in_hand,
            unread=session.outbox.size,
        )


def asked(session: AnsweringSession) -> Asked:
    """Return who is given a turn with a session: a client by its name, or those that wait for one in a turn tool."""
    if isinstance(session, McpSession):
        return Asked(session.client_name, "asked directly")
    return Asked("", "by its turn tools")


@attrs.define(eq=False)
class ClientSessions:
    """The open sessions, oldest first."""

    per_agent: int = SESSIONS_PER_AGENT
    _by_id: dict[str, McpSession] = attrs.field(factory=dict, init=False)
    _by_agent: dict[str, list[McpSession]] = attrs.field(factory=dict, init=False)

    def __len__(self) -> int:
        return len(self._by_id)

    def add(self, session: McpSession) -> None:
        """Count a session; one too many closes the one of its agent that was unused longest, else the oldest."""
        sessions = self._by_agent.setdefault(session.agent_id, [])
        if len(sessions) >= self.per_agent:
            surplus = min(sessions, key=lambda each: each.idle_since)
            surplus.close("too_many_sessions")
            self.remove(surplus)
        self._by_agent.setdefault(session.agent_id, []).append(session)
        self._by_id[session.session_id] = session

    def remove(self, session: McpSession) -> None:
        """Remove a session. Idempotent."""
        if self._by_id.pop(session.session_id, None) is None:
            return
        sessions = self._by_agent[session.agent_id]
        sessions.remove(session)
        if not sessions:
            del self._by_agent[session.agent_id]

    def find(self, session_id: str) -> McpSession | None:
        """Return the open session of that id, or None."""
        return self._by_id.get(session_id)

    def end(self, agent_id: str, name: str) -> bool:
        """End the session of an agent that has this name; False if it is not here any more. Never waits."""
        found = [each for each in self.of_agent(agent_id) if each.name == name and not each.closed]
        for session in found:
            session.close("ended_by_operator")
        return bool(found)

    def of_agent(self, agent_id: str) -> tuple[McpSession, ...]:
        """Return the sessions of an agent."""
        return tuple(self._by_agent.get(agent_id, ()))

    def by_reachability(self) -> Counter[tuple[str, str]]:
        """Count the sessions by transport (`sse`, `http`) and reachability; `none` is one that gets no turn now."""
        return Counter(
            ("http" if isinstance(each, HttpSession) else "sse", str(each.reachability or "none"))
            for each in self.everyone()
        )

    def most_unread(self) -> int:
        """Return the bytes that wait for the client of which the most do."""
        return max((each.outbox.size for each in self.everyone()), default=0)

    def everyone(self) -> tuple[McpSession, ...]:
        """Return all sessions."""
        return tuple(self._by_id.values())
