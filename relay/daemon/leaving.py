"""How a node leaves its cluster, and what the others do meanwhile: nobody notices more than one reconnection.

    SIGTERM ──▶ leaving: the others and the balancer learn it
            ──▶ agents without a call move at once, those with one when they are quiet, all when it is time to move
                └─ their home is given to a node that stays, and their clients' sessions are retired
            ──▶ calls that are left: handed over, or told farewell (`life_cycle`)
            ──▶ the drain time is over: what still has a turn in hand moves all the same, what passes is cut off
    another node leaves ──▶ client sessions and lines that come by way of it: retired, and moved to a new session

A home is given before its client is sent away, so that the client finds the next one; and no client is sent away before
the balancer knows, so that it does not come back here. A call that moves in the middle of a turn loses nothing: the
utterance is held, and asked again at the next home.
"""

from __future__ import annotations

import math
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
# For calls that are handed over to move when their callers have just finished speaking; then they move at once.
MOVE_SECONDS = 8.0
# What a node that hands over takes after its drain time, at most: half of it for requests that are under way to end,
# the rest for the listener, for the database to take down that the run is over, and for the process.
LEAVE_SECONDS = 2.0
_LOOK_SECONDS = 0.25


@attrs.frozen(kw_only=True)
class Times:
    """When a node that leaves does what, by Trio's clock.

    Busy agents begin to move at `moves_at`, what is left moves at `forced_at`, connections are closed at `closed_at`,
    and the process has ended by `gone_at`.
    """

    moves_at: float
    forced_at: float = math.inf
    closed_at: float = math.inf
    gone_at: float = math.inf

    @classmethod
    def plan(cls, now: float, drain: float, *, hands_over: bool) -> Times:
        """Return the times of a node that is told to stop now, and has `drain` seconds.

        Where calls are handed over, the time that they may take for it is a part of the drain time; a farewell has to
        be heard after it, so then only the first is known. Before others know of it nothing can be sent to them.
        """
        if not hands_over:
            return cls(moves_at=now + drain)
        gone_at, forced_at = now + drain + LEAVE_SECONDS, now + max(drain, NOTICE_SECONDS)
        closed_at = max(gone_at - LEAVE_SECONDS / 2, forced_at + _LOOK_SECONDS)
        return cls(
            moves_at=max(forced_at - MOVE_SECONDS, now), forced_at=forced_at, closed_at=closed_at, gone_at=gone_at
        )


@attrs.frozen(eq=False)
class Leaving:
    """What a node does when it leaves, and when another one does."""

    directory: Directory
    calls: Calls
    clients: McpApp

    async def begin(self) -> bool:
        """Leave, and give the others and balancers the time to learn it; return whether another node stays.

        Cancelled, the node leaves all the same.
        """
        await self.directory.leave()
        if self.directory.can_give:
            await trio.sleep(NOTICE_SECONDS)
        return self.directory.can_give

    async def move_agents(self, moves_at: float, nursery: trio.Nursery) -> None:
        """Move all homes to nodes that stay, those of agents with calls when they have none or at `moves_at`.

        Their sessions are retired in the nursery. Returns when all are given, or there is no other node that stays.
        Safe to cancel.
        """
        trouble = ""
        while self.directory.can_give and (homes := self.directory.homes_here()):
            is_due, busy = trio.current_time() >= moves_at, self.calls.busy_agents()
            given, trouble = await self._give([each for each in homes if is_due or each not in busy], trouble)
            for agent_id in given:
                log.info("agent_moved", agent_id=agent_id, is_busy=agent_id in busy)
                nursery.start_soon(self.clients.retire_agent, agent_id, "home_moved")
            if is_due:
                break
            self._move_latecomers()
            await trio.sleep(_LOOK_SECONDS)

    async def _give(self, agent_ids: list[str], logged: str) -> tuple[list[str], str]:
        """Return whose homes were given, and what trouble there was, which is not logged where it was `logged`."""
        if not agent_ids:
            return [], logged
        before, trouble = set(self.directory.homes_here()), ""
        try:
            await self.directory.give(agent_ids)
        except STORE_FAILURES as error:
            trouble = type(error).__name__
            if trouble != logged:  # it is tried again at once
                log.warning("homes_not_given", error=trouble)
        return sorted(before.difference(self.directory.homes_here())), trouble

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
