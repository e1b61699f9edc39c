"""Stand-ins for what the nodes of a cluster share: members and homes in memory, by Trio's clock.

They pass the same checks as the real ones: see `tests/relay/store/test_cluster_contract.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import attrs
import trio

from actors.errors import StoreFailed
from relay.errors import ClusterError, DatabaseError
from relay.store.homes import Home
from relay.store.members import SILENT_SECONDS, Account, Beat, Candidate, Node
from relay.store.runs import GONE_SECONDS

ACCOUNT = Account("AC" + "0" * 32, "secret")
EPOCH = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


def candidate(
    name: str = "a",
    *,
    boot: str = "",
    url: str = "",
    account: Account = ACCOUNT,
    public_url: str = "https://voice.example.com",
) -> Candidate:
    """Describe a node that wants to become a member."""
    node = Node(name=name, url=url or f"http://{name}.internal:8080", boot=boot or f"boot-{name}", version="1")
    return Candidate(node=node, public_url=public_url, account=account)


def wall() -> datetime:
    """Return the time by the clock of the nodes."""
    return EPOCH + timedelta(seconds=trio.current_time())


@attrs.define(eq=False)
class MemoryCluster:
    """The members and homes of one cluster, as the database keeps them; a node in `cut_off` cannot reach it.

    Its clock is `ahead` of that of the nodes.
    """

    ahead: timedelta = timedelta()
    cut_off: set[str] = attrs.field(factory=set)
    seen: dict[str, datetime] = attrs.field(factory=dict)
    candidates: dict[str, Candidate] = attrs.field(factory=dict)
    leaving: set[str] = attrs.field(factory=set)
    homes: dict[str, Home] = attrs.field(factory=dict)
    over: set[str] = attrs.field(factory=set)
    beats: int = 0

    @property
    def now(self) -> datetime:
        return wall() + self.ahead

    async def can_beat(self, nodes: Sequence[Node]) -> bool:
        """Return whether any of the nodes is not cut off."""
        await trio.lowlevel.checkpoint()
        return any(node.name not in self.cut_off for node in nodes)

    def age(self, boot: str, seconds: float) -> None:
        """Have a member been seen so much earlier."""
        self.seen[boot] -= timedelta(seconds=seconds)

    def unseen(self, boot: str) -> float:
        return (self.now - self.seen[boot]).total_seconds()


@attrs.define(eq=False)
class MemoryMembers:
    """`Members`, of one node's view."""

    cluster: MemoryCluster
    of: str = ""

    async def enter(self, candidate: Candidate) -> datetime | None:
        await self._reach()
        cluster, node = self.cluster, candidate.node
        for boot, other in list(cluster.candidates.items()):
            if other.node.name == node.name:
                if cluster.unseen(boot) < SILENT_SECONDS:
                    return cluster.seen[boot]
                del cluster.candidates[boot]
            elif cluster.unseen(boot) < GONE_SECONDS:
                what = {
                    "TWILIO_AUTH_TOKEN": other.account != candidate.account,
                    "PUBLIC_URL": other.public_url != candidate.public_url,
                    "RELAY_NODE_URL": other.node.url == node.url,
                }
                for setting, is_wrong in what.items():
                    if is_wrong:
                        raise ClusterError(f"{setting} does not fit")
        cluster.candidates[node.boot], cluster.seen[node.boot] = candidate, cluster.now
        return None

    async def beat(self, boot: str, *, is_leaving: bool, had_client: Mapping[str, bool]) -> Beat:
        await self._reach()
        cluster = self.cluster
        cluster.beats += 1
        if boot not in cluster.candidates:
            raise ClusterError("Another relay has taken this node's name")
        cluster.seen[boot] = cluster.now
        cluster.over.discard(boot)
        (cluster.leaving.add if is_leaving else cluster.leaving.discard)(boot)
        name = cluster.candidates[boot].node.name
        homes = tuple(home for home in cluster.homes.values() if home.node == name)
        for home in homes:
            had = had_client.get(home.agent_id, home.had_client)
            cluster.homes[home.agent_id] = attrs.evolve(home, had_client=had)
        others = [
            attrs.evolve(each.node, is_leaving=other in cluster.leaving, unseen=cluster.unseen(other))
            for other, each in cluster.candidates.items()
            if other != boot and other not in cluster.over
        ]
        return Beat(now=cluster.now, offset=cluster.ahead, others=tuple(others), homes=homes)

    async def end(self, boots: Collection[str]) -> None:
        await self._reach()
        for boot in boots:
            if self.cluster.unseen(boot) >= GONE_SECONDS:
                self.cluster.over.add(boot)

    async def _reach(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.of in self.cluster.cut_off:
            raise StoreFailed("the database does not answer")


@attrs.define(eq=False)
class MemoryHomes:
    """`Homes`, of one node's view."""

    cluster: MemoryCluster
    of: str = ""
    looked_up: int = 0

    async def find(self, agent_id: str) -> Home | None:
        await trio.lowlevel.checkpoint()
        self.looked_up += 1
        if self.of in self.cluster.cut_off:
            raise DatabaseError("The database could not be read.")
        return self.cluster.homes.get(agent_id)

    async def take(self, agent_id: str, node: str, known: Home | None) -> Home:
        await trio.lowlevel.checkpoint()
        if self.of in self.cluster.cut_off:
            raise StoreFailed("the database does not answer")
        homes, epoch = self.cluster.homes, 0 if known is None else known.epoch
        now = homes.get(agent_id, Home(agent_id, node, 0))
        if now.epoch == epoch:
            homes[agent_id] = attrs.evolve(now, node=node, epoch=epoch + 1)
        return homes[agent_id]
