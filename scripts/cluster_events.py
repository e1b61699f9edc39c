"""What can happen to a cluster under calls; each is over when the cluster is whole again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

import attrs
import click
import trio

from relay.simulator.load.local_daemon import DaemonFailed
from scripts.cluster_callers import Tally
from scripts.local_cluster import LocalCluster


class Promise(Protocol):
    """What a command promises beyond what no run may show, with rows of its own for the table."""

    def rows(self) -> dict[str, str]:
        """Return the rows."""
        ...

    def misses(self, tally: Tally) -> list[str]:
        """Return what was not kept."""
        ...


@attrs.frozen
class Promised:
    """An `Outcome`: what callers noticed, and what was promised of it."""

    tally: Tally
    promise: Promise

    @property
    def missed(self) -> list[str]:
        """The rules that were missed."""
        return [*self.tally.missed, *self.promise.misses(self.tally)]

    def rows(self) -> dict[str, str]:
        """Return both as a table shows them."""
        return self.tally.rows() | self.promise.rows()


def note(text: str) -> None:
    """Print how it goes, beside the table."""
    click.echo(text, err=True)


async def _home_of_most(cluster: LocalCluster, agents: Sequence[str]) -> str:
    homes = Counter([await cluster.home_of(agent) for agent in agents])
    (home, count) = homes.most_common(1)[0]
    if home is None:
        raise DaemonFailed("no agent has a home")
    note(f"{home} is the home of {count} of {len(agents)} agents")
    return home


async def kill_home(cluster: LocalCluster, agents: Sequence[str]) -> None:
    """Kill the home of most agents, and start it again after a while."""
    node = cluster.nodes[await _home_of_most(cluster, agents)]
    note(f"{node.name} is killed")
    await node.daemon.kill()
    await trio.sleep(10)
    await node.start()
    note(f"{node.name} is back")


async def cut_off(between: str, seconds: float, cluster: LocalCluster, agents: Sequence[str]) -> None:
    """Shut the door before PostgreSQL, or before the node, for so long."""
    name = await _home_of_most(cluster, agents)
    door = (cluster.database_doors if between == "database" else cluster.node_doors)[name]
    note(f"{name} is cut off from {'PostgreSQL' if between == 'database' else 'the other nodes'} for {seconds:g} s")
    door.shut()
    await trio.sleep(seconds)
    door.open()
    note(f"{name} is connected again")
    await _start_what_ended(cluster)


async def take_database_away(hung: bool, seconds: float, cluster: LocalCluster, _agents: Sequence[str]) -> None:
    """Kill PostgreSQL, or stop it where it is, for so long."""
    note(f"PostgreSQL {'hangs' if hung else 'is killed'}")
    if hung:
        cluster.server.pause()
        await trio.sleep(seconds)
        cluster.server.go_on()
    else:
        cluster.server.kill()
        await trio.sleep(seconds)
        await trio.to_thread.run_sync(cluster.server.start)
    note("PostgreSQL is back")
    await _start_what_ended(cluster)


async def _start_what_ended(cluster: LocalCluster) -> None:
    """Do what a service manager does for a node that has ended by itself."""
    await trio.sleep(5)
    for node in cluster.nodes.values():
        if node.daemon.process.poll() is not None:
            note(f"{node.name} had ended with {node.daemon.process.returncode}, and is started again")
            await node.start()
