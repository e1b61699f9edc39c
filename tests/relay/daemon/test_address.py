"""The address that a running daemon leaves beside its database, and what it says to a command that has its secret."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import attrs
import httpx2
import pytest
import trio

from relay.daemon.address import RunningDaemon, address_path, announce, find_daemon
from relay.simulator.load.local_daemon import LocalDaemon
from tests.e2e.parties import calling, connected, register
from tests.forked_process import run_local_daemon

SECONDS = 60


def announced(directory: Path) -> dict[str, Any]:
    """Read the file that a daemon in this directory has left."""
    return dict(json.loads((directory / "relay.db.daemon").read_text()))


def daemon_database(directory: Path) -> str:
    """Name the database of a daemon in this directory."""
    return f"sqlite:///{directory / 'relay.db'}"


async def status_of(daemon: LocalDaemon) -> dict[str, Any]:
    """Run `relay status`, whatever it exits with."""
    return dict(json.loads(await daemon.command("status", "--json")))


@pytest.mark.e2e
async def test_a_daemon_is_found_while_it_runs(tmp_path: Path) -> None:
    """Its address, process and version stand in a file for its user alone, which goes when the daemon stops."""
    with trio.fail_after(SECONDS):
        async with run_local_daemon(tmp_path) as daemon:
            file = announced(tmp_path)
            assert stat.S_IMODE((tmp_path / "relay.db.daemon").stat().st_mode) == 0o600
            assert (file["url"], file["pid"], file["is_local"]) == (daemon.url, daemon.process.pid, True)
            await daemon.command("agents", "add", "ada")
            added = json.loads(await daemon.command("agents", "add", "bob", "--json"))
            assert added["mcpUrl"] == f"{daemon.url}/mcp"
        assert not (tmp_path / "relay.db.daemon").exists()


@pytest.mark.e2e
async def test_the_status_names_who_is_connected_by_what(tmp_path: Path) -> None:
    """`relay status` shows each client with its name, version, transport and way of answering, and the live calls."""
    with trio.fail_after(SECONDS):
        async with run_local_daemon(tmp_path) as daemon:
            agent = await register(daemon)
            other = await register(daemon)
            async with connected(agent), calling(daemon, agent) as call:
                status = await status_of(daemon)
                table = await daemon.command("status")
            agents = {each["agentId"]: each for each in status["agents"]}
            (client,) = agents[agent.agent_id]["clients"]
            assert (client["name"], client["transport"], client["answersBy"]) == ("mcp", "SSE", "sampling")
            assert client["since"] >= status["started"].removesuffix("Z")
            assert agents[other.agent_id]["clients"] == []
            assert [each["callSid"] for each in status["liveCalls"]] == [call.call_sid]
            assert (status["url"], status["database"]) == (daemon.url, str(tmp_path / "relay.db"))
            assert daemon.url in table
            assert call.call_sid in table


@pytest.mark.e2e
async def test_what_a_killed_daemon_left_is_recognised(tmp_path: Path) -> None:
    """After SIGKILL the address counts for nothing, and `relay status` says that no daemon serves the database."""
    with trio.fail_after(SECONDS):
        async with run_local_daemon(tmp_path) as daemon:
            await register(daemon)
            await daemon.kill()
            assert announced(tmp_path)["url"] == daemon.url
            assert await trio.to_thread.run_sync(find_daemon, daemon_database(tmp_path)) is None
            with pytest.raises(subprocess.CalledProcessError) as failed:
                await daemon.command("status")
    assert failed.value.returncode == 1
    assert b"No daemon serves this database" in failed.value.stderr


def left(**changes: Any) -> str:
    """Write a file as a daemon does that is this process and listens where nobody does."""
    daemon = RunningDaemon(pid=os.getpid(), url="http://127.0.0.1:1", public_url="http://127.0.0.1:1", is_local=True)
    return json.dumps(attrs.asdict(daemon, filter=attrs.filters.exclude("live")) | changes)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        "\x00",
        "{}",
        left(pid="1"),
        left(pid=0),
        left(pid=-1),
        left(pid=2**40),
        left(pid=2**22 + 1),
        left(url=""),
        left(url="nonsense"),
        left(url="http://[::1"),
        left(secret=5),
        left(more="than known"),
        left(),
    ],
)
def test_a_file_that_is_no_daemons_counts_for_nothing(tmp_path: Path, content: str) -> None:
    """Half a file, somebody else's, or the address of nobody is no daemon, and no error."""
    (tmp_path / "relay.db.daemon").write_text(content)
    assert find_daemon(daemon_database(tmp_path)) is None


def test_a_daemon_removes_only_its_own_address(tmp_path: Path) -> None:
    """Where another daemon has written its address since, that one stays."""
    database = daemon_database(tmp_path)
    with announce(database, RunningDaemon(pid=1, url="http://a", public_url="http://a", is_local=False)):
        (tmp_path / "relay.db.daemon").write_text(left())
    assert address_path(database).exists()


def test_a_place_that_cannot_be_written_is_no_reason_to_fail(tmp_path: Path) -> None:
    """A daemon runs without leaving its address where its directory is gone."""
    with announce(daemon_database(tmp_path / "none"), RunningDaemon(pid=1, url="", public_url="", is_local=False)):
        assert not (tmp_path / "none").exists()


@pytest.mark.e2e
async def test_only_the_operator_learns_it(tmp_path: Path) -> None:
    """Without the secret of the file nothing is said."""
    with trio.fail_after(SECONDS):
        async with run_local_daemon(tmp_path) as daemon, httpx2.AsyncClient() as http:
            secret = announced(tmp_path)["secret"]
            for given in (None, "", "Bearer", "Bearer wrong", "Bearer ü", "Basic x", f"Bearer {secret}x", secret[:-1]):
                headers = [] if given is None else [(b"authorization", given.encode("latin-1"))]
                answer = await http.get(f"{daemon.url}/operator/status", headers=headers)
                assert (answer.status_code, answer.json()["error"]["code"]) == (403, "not_the_operator"), given
