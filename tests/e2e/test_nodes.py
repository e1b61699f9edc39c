"""Daemons as the nodes of one cluster, each a process of its own: who may join, and who is seen."""

from __future__ import annotations

import signal
from pathlib import Path

import httpx2
import pytest
import trio

from relay.simulator.load.local_daemon import DaemonFailed, LocalDaemon
from tests.e2e.nodes import TOKEN, node, reports
from tests.e2e.parties import eventually
from tests.forked_process import run_local_daemon
from tests.postgresql_server import PostgresqlServer, connected

pytestmark = pytest.mark.slow


async def test_nodes_join_and_leave(tmp_path: Path, server: PostgresqlServer) -> None:
    """Each knows the others when it starts; one that is stopped is none any more."""
    async with node(tmp_path, server, "a"):
        async with node(tmp_path, server, "b") as second:
            (joined,) = await second.events("joined")
            assert joined["others"] == ["a"]
            assert [each.node.name for each in await reports(server)] == ["a", "b"]
        (left,) = await reports(server)
        assert left.node.name == "a"
        assert left.node.unseen < 3


async def test_a_node_that_is_killed_is_unseen_and_may_be_started_again(
    tmp_path: Path, server: PostgresqlServer
) -> None:
    """The next run of its name joins within a few seconds, and is the only one of it."""
    async with node(tmp_path, server, "a"), node(tmp_path, server, "b") as second:
        await second.kill()
        async with node(tmp_path, server, "b") as third:
            assert len(await third.events("joined")) == 1
            assert [each.node.name for each in await reports(server)] == ["a", "b"]


async def test_a_second_node_of_one_name_is_refused(tmp_path: Path, server: PostgresqlServer) -> None:
    """While the first one lives; its start says what to do, and the first one goes on."""
    async with node(tmp_path, server, "a") as first:
        with pytest.raises(DaemonFailed, match="RELAY_NODE to a name"):
            async with node(tmp_path, server, "a"):
                pass
        assert first.process.poll() is None
        assert len(await reports(server)) == 1


@pytest.mark.parametrize(
    ("more", "setting"), [({"TWILIO_AUTH_TOKEN": "1" * 32}, "TWILIO_AUTH_TOKEN"), ({"PUBLIC_URL": ""}, "PUBLIC_URL")]
)
async def test_a_node_that_does_not_agree_is_refused(
    tmp_path: Path, server: PostgresqlServer, more: dict[str, str], setting: str
) -> None:
    """All nodes have one account and one address; the token itself is shown to none."""
    async with node(tmp_path, server, "a"):
        with pytest.raises(DaemonFailed, match=setting) as refused:
            async with node(tmp_path, server, "b", **more):
                pass
        assert TOKEN not in str(refused.value)
        assert len(await reports(server)) == 1


async def test_a_daemon_that_is_alone_is_refused_beside_a_cluster(tmp_path: Path, server: PostgresqlServer) -> None:
    """And a first node beside a daemon that is alone; each is told of RELAY_NODE_URL."""
    alone = {"DATABASE_URL": server.url, "TWILIO_AUTH_TOKEN": TOKEN}
    async with node(tmp_path, server, "a"):
        with pytest.raises(DaemonFailed, match=r"A cluster serves.*RELAY_NODE_URL"):
            async with run_local_daemon(tmp_path, alone):
                pass
    async with run_local_daemon(tmp_path, alone):
        with pytest.raises(DaemonFailed, match=r"alone.*RELAY_NODE_URL"):
            async with node(tmp_path, server, "a"):
                pass


@pytest.mark.one_daemon("it is about the file")
async def test_a_file_has_no_nodes(tmp_path: Path) -> None:
    """SQLite serves one daemon, and the start of a node says what it needs."""
    with pytest.raises(DaemonFailed, match=r"PostgreSQL.*DATABASE_URL=postgresql://"):
        async with run_local_daemon(tmp_path, {"RELAY_NODE_URL": "http://127.0.0.1:1"}):
            pass


async def test_a_node_whose_name_was_taken_while_it_was_frozen_ends(tmp_path: Path, server: PostgresqlServer) -> None:
    """Two of one name would be two homes of one agent."""
    with pytest.raises(DaemonFailed, match="has taken this node's name"):
        await _replace_a_frozen_node(tmp_path, server)


async def _replace_a_frozen_node(directory: Path, server: PostgresqlServer) -> None:
    async with node(directory, server, "a") as first:
        first.process.send_signal(signal.SIGSTOP)
        async with node(directory, server, "a") as second:
            first.process.send_signal(signal.SIGCONT)
            assert await first.process.wait() == 1
            await eventually(lambda: _is_seen(server, "a"))
            assert second.process.poll() is None


async def test_a_node_whose_writes_stand_still_is_seen(tmp_path: Path, server: PostgresqlServer) -> None:
    """Longer than one that is silent may be unseen; its readiness tells of it, and the other nodes need not."""
    async with node(tmp_path, server, "a", RELAY_RETURN_SECONDS="1") as daemon:
        with connected(server.url) as other, other.transaction():
            other.execute("LOCK TABLE calls IN EXCLUSIVE MODE")  # where it looks for lost ones all the time
            await eventually(lambda: _stands_still(daemon))
            for _each in range(8):
                await trio.sleep(0.5)
                (report,) = await reports(server)
                assert report.node.unseen < 3
            assert await _stands_still(daemon)
            async with httpx2.AsyncClient() as http:
                assert (await http.get(f"{daemon.url}/health")).json()["seen"]
        assert not await daemon.events("not_beaten")


async def _stands_still(daemon: LocalDaemon) -> bool:
    async with httpx2.AsyncClient() as http:
        return "database" in (await http.get(f"{daemon.url}/health/ready")).json().get("failing", {})


async def _is_seen(server: PostgresqlServer, name: str) -> bool:
    return [each.node.name for each in await reports(server) if each.node.unseen < 2] == [name]
