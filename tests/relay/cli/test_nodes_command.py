"""`relay nodes list`, on a PostgreSQL database with nodes, and on a file without."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner

from relay.cli.main import main
from relay.store.database import open_database
from relay.store.homes import Homes
from relay.store.members import Members
from tests.fakes_cluster import candidate
from tests.postgresql_server import PostgresqlServer


@pytest.fixture
def cluster(postgresql: PostgresqlServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """Return a runner of commands on a database with the nodes a and b; b leaves, and one agent is at home at a."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", url := postgresql.empty_database())

    async def join() -> None:
        async with open_database(url) as database:
            members = Members(database)
            for name in ("b", "a"):
                await members.enter(candidate(name))
            await members.beat("boot-b", is_leaving=True, had_client={})
            await Homes(database).take("my-client", "a", None)

    trio.run(join)
    return CliRunner()


def test_the_nodes_are_listed(cluster: CliRunner) -> None:
    """A row for each, by name, with what an operator asks of it."""
    listed = cluster.invoke(main, ["nodes", "list"])
    assert listed.exit_code == 0
    heads, first, second = (line.split() for line in listed.stdout.splitlines())
    assert heads == ["node", "url", "version", "since", "seen", "homes", "calls", "leaving"]
    assert (first[:3], first[-3:]) == (["a", "http://a.internal:8080", "1"], ["1", "0", "no"])
    assert (second[:3], second[-3:]) == (["b", "http://b.internal:8080", "1"], ["0", "0", "yes"])
    for name, said in zip("ab", listed.stderr.splitlines()[-2:], strict=True):
        assert said.startswith((f"{name} cannot be reached at http://{name}.internal:8080", f"{name} does not answer"))


def test_the_nodes_are_listed_for_programs(cluster: CliRunner) -> None:
    """As one JSON document; when a node was seen is in seconds."""
    listed = cluster.invoke(main, ["nodes", "list", "--json"])
    first, second = json.loads(listed.stdout)["nodes"]
    assert 0 <= first.pop("seen") < 60
    assert first.pop("since").endswith("Z")
    assert first == {
        "node": "a",
        "url": "http://a.internal:8080",
        "version": "1",
        "homes": 1,
        "calls": 0,
        "leaving": False,
    }
    assert second["leaving"]


def test_a_daemon_that_is_alone_is_no_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list is empty, and says what makes a node."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATABASE_URL", raising=False)

    async def create() -> None:
        async with open_database("sqlite:///relay.db"):
            pass

    trio.run(create)
    listed = CliRunner().invoke(main, ["nodes", "list"])
    assert (listed.exit_code, listed.stdout) == (
        0,
        "No nodes. A daemon is one when it is started with RELAY_NODE_URL.\n",
    )
