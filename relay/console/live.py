"""The first page: the calls that are going on, and the figures above them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import attrs

from actors.calls import Calls
from relay.console.answers import Answer, Asked, Page, Route, Section
from relay.store.schema import timestamp


@attrs.frozen(kw_only=True)
class LivePage:
    """`/console`. `clients` counts the client sessions."""

    calls: Calls
    most_calls: int
    clients: Callable[[], int]

    def routes(self) -> Sequence[Route]:
        """Return its routes."""
        return [Route(rule="", function=self.show)]

    async def show(self, _asked: Asked) -> Answer:
        """Show the calls that are going on, oldest first."""
        live = sorted(self.calls.live(), key=lambda call: call.info.started_at)
        rows = [
            {
                "caller": call.info.caller or "withheld",
                "agent_id": call.info.agent_id,
                "phase": call.phase.value.replace("_", " "),
                "since": _time(call.info.started_at),
                "started_at": timestamp(call.info.started_at),
            }
            for call in live
        ]
        values = {"calls": rows, "most_calls": self.most_calls, "clients": self.clients()}
        title = f"({len(rows)}) Live" if rows else "Live"
        return Page(template="live.html", title=title, section=Section.LIVE, values=values)


def _time(value: datetime) -> str:
    return f"{value:%H:%M:%S}"
