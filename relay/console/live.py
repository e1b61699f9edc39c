"""The first page: the calls that are going on, and the figures above them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import attrs

from relay.console.answers import Answer, Asked, Page, Route, Section
from relay.console.asked_calls import filter_of, query_of
from relay.console.board import Board
from relay.console.fragments import Fragments


@attrs.frozen(kw_only=True)
class LivePage:
    """`/console`. `agents` lists the ids that a filter may name."""

    board: Board
    agents: Callable[[], Awaitable[Sequence[str]]]

    def routes(self) -> Sequence[Route]:
        """Return its routes."""
        return [Route(rule="", function=self.show)]

    async def show(self, asked: Asked) -> Answer:
        """Show the calls that are going on, oldest first."""
        wanted = filter_of(asked.query)
        await self.board.look_at_messages()
        state = await self.board.live(wanted)
        query = query_of(wanted)
        values = {
            "parts": await Fragments(self.board.renderer, self.board.pace).live(state, webhook=self.board.webhook),
            "filter": wanted,
            "agents": sorted({*await self.agents(), *filter(None, [wanted.agent_id])}),
            "stream": "/console/stream?view=live" + (f"&{query}" if query else ""),
        }
        title = f"({state.facts.live}) Live" if state.facts.live else "Live"
        return Page(template="live.html", title=title, section=Section.LIVE, values=values)
