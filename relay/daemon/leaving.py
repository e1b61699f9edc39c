"""How a node leaves its cluster, and what the others do meanwhile: nobody notices more than one reconnection.

    SIGTERM ──▶ leaving: the others and the balancer learn it
            ──▶ agents without a call move at once, those with one when they are quiet, all when the drain time is over
                └─ their home is given to a node that stays, and their clients' sessions are retired
            ──▶ calls that are left: handed over, or told farewell (`life_cycle`)
    another node leaves ──▶ client sessions and lines that come by way of it: retired, and moved to a new session

A home is given before its client is sent away, so that the client finds the next one; and no client is sent away before
the balancer knows, so that it does not come back here.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import structlog
import trio

from actors.calls import Calls
from relay.cluster.directory import BEAT_SECONDS, Directory
from relay.errors import STORE_FAILURES
from relay.mcp.app import McpApp
from relay.twilio.handoff_data import Moving, encode_handoff_data

log = structlog.get_logger(__name__)

# For all nodes to beat once, and for a balancer that checks twice a second to notice.
NOTICE_SECONDS = BEAT_SECONDS + 0.25
_LOOK_SECONDS = 0.25


@attrs.frozen(eq=False)
class Leaving:
    """What a node does when it leaves, and when another one does."""

    directory: Directory
    calls: Calls
    clients: McpApp

    async def move_agents(self, patience: float, nursery: trio.Nursery) -> float:
        """Leave: give all homes away, of agents with calls when they have none or after `patience` seconds.

        Their sessions are retired in the nursery. Returns what is left of the patience when all are given, or there is
        no other node that stays. Safe to cancel.
        """
        due = trio.current_time() + patience
        await self.directory.leave()
        if self.directory.can_give:
            await trio.sleep(NOTICE_SECONDS)
        while self.directory.can_give and (homes := self.directory.homes_here()):
            is_due, busy = trio.current_time() >= due, self.calls.busy_agents()
            given = await self._give([each for each in homes if is_due or each not in busy])
            for agent_id in given:
                log.info("agent_moved", agent_id=agent_id, is_busy=agent_id in busy)
                nursery.start_soon(self.clients.retire_agent, agent_id, "home_moved")
            if is_due:
                break
            self._move_latecomers()
            await trio.sleep(_LOOK_SECONDS)
        return max(due - trio.current_time(), 0)

    async def _give(self, agent_ids: list[str]) -> list[str]:
        if not agent_ids:
            return []
        before = set(self.directory.homes_here())
        try:
            await self.directory.give(agent_ids)
        except STORE_FAILURES as error:
            log.warning("homes_not_given", error=type(error).__name__)
        return sorted(before.difference(self.directory.homes_here()))

    def _move_latecomers(self) -> None:
        """Move calls that came in the very moment in which their agent's home was given away."""
        for agent_id in self.calls.busy_agents():
            if not self.directory.is_here(agent_id):
                self.calls.move_away(agent_id, encode_handoff_data(Moving()))

    async def retire_what_passes(self, moving: float) -> None:
        """Retire what comes by way of nodes that leave, once balancers know of it. Runs until cancelled.

        Calls whose lines do move to new ones: for `moving` seconds when their callers have spoken, then at once.
        """
        since: dict[str, float] = {}
        known: frozenset[str] = frozenset()
        async with trio.open_nursery() as nursery:
            while True:
                now = trio.current_time()
                since = {each.name: since.get(each.name, now) for each in self.directory.others() if each.is_leaving}
                leaving = frozenset(name for name, at in since.items() if at + NOTICE_SECONDS <= now)
                if leaving - known:
                    # Some may have come that way without a session, and then nothing shows it; to call again is cheap.
                    self.clients.end_waits()
                known = leaving
                if leaving:
                    for session in self.clients.passing(leaving):
                        nursery.start_soon(self.clients.retire_passing, session)
                    if due := self.calls.move_lines(leaving, encode_handoff_data(Moving())):
                        nursery.start_soon(_after, moving, due)
                await trio.sleep(_LOOK_SECONDS)


async def _after(seconds: float, work: Callable[[], None]) -> None:
    await trio.sleep(seconds)
    work()
