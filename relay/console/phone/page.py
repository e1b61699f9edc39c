"""The page of the phone: whom to ring, and where the relay does not run with `--local`, what to do instead."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from relay.console.answers import Answer, Asked, Page, Route, Section
from relay.store.agent_registry import AgentRegistry


@attrs.frozen(kw_only=True)
class PhonePage:
    """`/console/phone`; `?agent=` chooses one."""

    agents: AgentRegistry
    is_local: bool

    def routes(self) -> Sequence[Route]:
        """Return its routes."""
        return [Route(rule="/phone", function=self.show)]

    async def show(self, asked: Asked) -> Answer:
        """Show the phone."""
        chosen = asked.query.get("agent", "")
        agents = [
            {"id": each.agent_id, "name": each.name or "", "is_chosen": each.agent_id == chosen}
            for each in await self.agents.list()
        ]
        values = {"agents": agents, "is_local": self.is_local, "acts": asked.by.acts}
        return Page(template="phone.html", title="Phone", section=Section.PHONE, values=values)
