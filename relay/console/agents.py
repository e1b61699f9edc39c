"""The page of agents: who answers for each of them, over which sessions, and in what state those are.

A session belongs to the node that it came to: this page shows those of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from actors.call_values import Availability
from relay.agent import Agent
from relay.console.answers import Answer, Asked, Page, Redirect, Route, Section
from relay.console.audit import Audit
from relay.console.listing import moment
from relay.console.refused import Refused
from relay.console.words import in_units
from relay.mcp.client_sessions import ClientHere
from relay.store.agent_registry import AgentRegistry
from relay.store.outbound_switches import OutboundSwitches

PATH = "/console/agents"

# How the agent can be reached: words, tone and icon.
_PRESENCE = {
    Availability.HERE: ("a client answers", "good", "circle-check"),
    Availability.JUST_LOST: ("its client was lost a moment ago", "warn", "unplug"),
    Availability.WAKEABLE: ("a client can be woken", "warn", "megaphone"),
    Availability.AWAY: ("no client takes its calls", "", "unplug"),
}


@attrs.frozen(kw_only=True)
class AgentsPage:
    """`/console/agents`. `here` are the client sessions, `availability` is an agent's, `end` ends one of its sessions.

    `url` is where clients connect. `node` is the name of this node of a cluster, empty where there is none.
    """

    agents: AgentRegistry
    switches: OutboundSwitches
    here: Callable[[], Sequence[ClientHere]]
    availability: Callable[[str], Availability]
    end: Callable[[str, str], bool]
    audit: Audit
    url: str
    default_language: str
    has_answering_machine: bool
    node: str = ""

    def routes(self) -> Sequence[Route]:
        """Return its routes."""
        return [
            Route(rule="/agents", function=self.show),
            Route(rule="/agents/<agent_id>/sessions/<session>/end", function=self.end_session, method="POST"),
        ]

    async def show(self, asked: Asked) -> Answer:
        """Show each agent with its sessions, by id."""
        registered, stopped = await self.agents.list(), await self.switches.list()
        by_agent: dict[str, list[ClientHere]] = {}
        for each in self.here():
            by_agent.setdefault(each.agent_id, []).append(each)
        values = {
            "agents": [self._shown(each, by_agent.get(each.agent_id, []), stopped) for each in registered],
            "has_sessions": bool(by_agent),
            "has_answering_machine": self.has_answering_machine,
            "url": self.url,
            "node": self.node,
            "ended": asked.query.get("ended", "")[:_LONGEST_NOTE],
        }
        return Page(template="agents.html", title="Agents", section=Section.AGENTS, values=values)

    async def end_session(self, asked: Asked) -> Answer:
        """End one session. Its client is not locked out: it may connect again."""
        agent_id, session = asked.arguments["agent_id"], asked.arguments["session"]
        found = [each for each in self.here() if (each.agent_id, each.session) == (agent_id, session)]
        if not found:
            raise Refused(
                409, "session_over", "That session is over already. Go back to Agents for those that are here."
            )
        async with self.audit.recorded(asked.by, "end_session", agent_id=agent_id, detail=f"session {session}"):
            if not self.end(agent_id, session):
                raise Refused(409, "session_over", "That session ended by itself, a moment before.")
        return Redirect(f"{PATH}?ended={session}")

    def _shown(self, agent: Agent, sessions: Sequence[ClientHere], stopped: Mapping[str, str]) -> dict[str, Any]:
        words, tone, icon = _PRESENCE[self.availability(agent.agent_id)]
        return {
            "id": agent.agent_id,
            "name": agent.name or "",
            "number": agent.number or "",
            "language": agent.language or self.default_language,
            "is_own_language": bool(agent.language),
            "may_dial": agent.agent_id not in stopped,
            "why_not": stopped.get(agent.agent_id, ""),
            "presence": {"words": words, "tone": tone, "icon": icon},
            "sessions": [_session(each) for each in sessions],
        }


_LONGEST_NOTE = 40


def _session(client: ClientHere) -> dict[str, Any]:
    return {
        "session": client.session,
        "name": client.name or "(no name yet)",
        "version": client.version,
        "transport": client.transport,
        "way": _way(client),
        "since": moment(client.since),
        "heard": in_units(client.heard),
        "turns": client.turns,
        "unread": client.unread,
    }


def _way(client: ClientHere) -> str:
    """Return how its client gets a turn, in words."""
    if not client.ready:
        return "in its handshake"
    if client.is_silent:
        return "silent: it did not answer a ping"
    if client.answers_by == "sampling":
        return "is asked"
    if client.waits:
        return "waits in a tool call"
    return "can be woken" if client.wakes else "does not wait for calls"
