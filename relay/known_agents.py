"""The agents as the carrier's webhooks look them up: in the database, and in memory while that does not answer.

A webhook cannot wait for a database: the carrier gives up after 15 s, and plays an error message of its own. An
agent that has been looked up before is known well enough to take a call; a change of it counts again once the database
answers.
"""

from __future__ import annotations

import attrs
import structlog
import trio

from relay.agent import Agent
from relay.errors import DatabaseError
from relay.store.agent_registry import AgentRegistry

log = structlog.get_logger(__name__)

# A look-up takes a millisecond.
PATIENCE_SECONDS = 2.0


@attrs.define(eq=False)
class KnownAgents:
    """Find agents. Remembers as many as are registered."""

    registry: AgentRegistry
    _known: dict[str, Agent] = attrs.field(factory=dict, init=False)

    async def load(self) -> None:
        """Load all agents that are registered now. Raises `DatabaseError`."""
        self._known = {agent.agent_id: agent for agent in await self.registry.list()}

    async def get(self, agent_id: str) -> Agent | None:
        """Return the agent, as it is or as it was last seen; None where there is none.

        Raises `DatabaseError` when the database cannot be asked and the agent was never seen.
        """
        if self.registry.database.trouble is not None and agent_id in self._known:
            return self._from_memory(agent_id)  # to wait for it would keep the caller waiting each time
        failure: DatabaseError | None = None
        with trio.move_on_after(PATIENCE_SECONDS):
            try:
                return self._remember(agent_id, await self.registry.get(agent_id))
            except DatabaseError as error:
                failure = error
        if agent_id not in self._known:
            raise failure or DatabaseError("The database did not say in time whether there is such an agent.")
        return self._from_memory(agent_id)

    def _from_memory(self, agent_id: str) -> Agent:
        log.warning("agent_from_memory", agent_id=agent_id)
        return self._known[agent_id]

    def _remember(self, agent_id: str, agent: Agent | None) -> Agent | None:
        if agent is None:
            self._known.pop(agent_id, None)
        else:
            self._known[agent_id] = agent
        return agent
