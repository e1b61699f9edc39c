"""Nodes that are restarted one after another, as for a deployment, and what is promised of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import trio

from relay.daemon.leaving import LEAVE_SECONDS
from scripts.cluster_callers import Tally
from scripts.local_cluster import LocalCluster

LONGEST_WAIT = 5.0
"""Seconds that a caller may wait for an answer while nodes are restarted."""

_PAUSE = 5.0
"""Seconds for which a node that is back is looked at, before it is the next one's turn."""


@attrs.frozen
class Exit:
    """A node that was told to stop: its exit status, and after how many seconds it ended."""

    node: str
    round: int
    status: int
    seconds: float


@attrs.define(eq=False)
class Restarts:
    """Restart each node in turn, so many times over. `exits` are those that there have been."""

    rounds: int
    drain_seconds: float
    note: Callable[[str], None]
    exits: list[Exit] = attrs.field(factory=list, init=False)

    @property
    def limit(self) -> float:
        """How many seconds a node may take to end."""
        return self.drain_seconds + LEAVE_SECONDS

    async def run(self, cluster: LocalCluster, _agents: Sequence[str]) -> None:
        """Stop each node as an operator does, and start it again."""
        for number in range(1, self.rounds + 1):
            for node in cluster.nodes.values():
                began = trio.current_time()
                status = await node.daemon.stop()
                self.exits.append(Exit(node.name, number, status, trio.current_time() - began))
                self.note(f"{node.name} ended with {status} after {self.exits[-1].seconds:.1f} s of {self.limit:g}")
                await node.start()
                self.note(f"{node.name} is back")
                await trio.sleep(_PAUSE)

    def rows(self) -> dict[str, str]:
        """Return the exits as a table shows them."""
        return {
            f"{each.node}, round {each.round}": f"exit {each.status} after {each.seconds:.2f} of {self.limit:g} s"
            for each in self.exits
        }

    def misses(self, tally: Tally) -> list[str]:
        """Return what was promised and not kept, beyond what no run may show."""
        missed = [
            f"{each.node} ended with {each.status} after {each.seconds:.2f} s, not with 0 within {self.limit:g} s"
            for each in self.exits
            if each.status or each.seconds > self.limit
        ]
        if tally.by_machine:
            missed.append(f"{tally.by_machine} turns were answered by the machine")
        if max(tally.waits, default=0.0) > LONGEST_WAIT:
            missed.append(f"a caller waited longer than {LONGEST_WAIT:g} s for an answer")
        return missed
