"""A host that vanishes under calls: a node's own network namespace, whose link goes down without a word."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import trio

from relay.simulator.load.local_daemon import DaemonFailed
from scripts.cluster_callers import Tally
from scripts.local_cluster import LocalCluster

NEXT_SESSION = 5.0
"""Seconds that the next session of a call may take, from when the carrier asks how it goes on."""

GONE_SECONDS = 15.0
"""How long the host is away."""


@attrs.define(eq=False)
class Vanishing:
    """Have the home of the calls vanish, or a host by way of which its client or its calls come."""

    what: str
    note: Callable[[str], None]

    async def run(self, cluster: LocalCluster, agents: Sequence[str]) -> None:
        """Take the link down for a while."""
        home = await cluster.home_of(agents[0])
        if home is None or cluster.hosts is None:
            raise DaemonFailed("no agent has a home")
        hosts, name = cluster.hosts.by_name, home
        if self.what == "entry":
            others = [each for each in hosts if each != home]
            counts = {each: hosts[each].connections_to(hosts[home]) for each in others}
            name = max(others, key=counts.__getitem__)
            self.note(f"{counts[name]} connections lead from {name} to the home")
        self.note(f"{name} vanishes, {'the home' if name == home else f'while the home is {home}'}")
        hosts[name].vanish()
        await trio.sleep(GONE_SECONDS)
        hosts[name].come_back()
        self.note(f"{name} is back")
        await trio.sleep(5)
        node = cluster.nodes[name]
        if node.daemon.process.poll() is not None:
            self.note(f"{name} had ended with {node.daemon.process.returncode}, and is started again")
            await node.start()

    def rows(self) -> dict[str, str]:
        """Return nothing: the table of the callers says all."""
        return {}

    def misses(self, tally: Tally) -> list[str]:
        """Return what was promised and not kept."""
        late = [gap for gap in tally.sessions if gap > NEXT_SESSION]
        return (
            [f"{len(late)} sessions came later than {NEXT_SESSION:g} s, the last after {max(late):.2f} s"]
            if late
            else []
        )
