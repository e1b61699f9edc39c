"""What can happen to a cluster under calls; each is over when the cluster is whole again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import click
import trio

from relay.simulator.load.local_daemon import DaemonFailed
from scripts.local_cluster import LocalCluster


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


async def restart_each(cluster: LocalCluster, _agents: Sequence[str]) -> None:
    """Stop each node as an operator does, and start it again."""
    for node in cluster.nodes.values():
        began = trio.current_time()
        status = await node.daemon.stop()
        note(f"{node.name} ended with {status} after {trio.current_time() - began:.1f} s")
        await node.start()
        note(f"{node.name} is back")
        await trio.sleep(5)


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
