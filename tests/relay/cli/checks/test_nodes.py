"""What the doctor says of the nodes of a cluster."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest

from relay.cli.checks.check import CheckFailed
from relay.cli.checks.nodes import nodes
from relay.errors import DatabaseError
from relay.settings import Settings
from relay.store.database import open_database
from relay.store.members import Account, Candidate, Members
from tests.fakes_cluster import ACCOUNT, candidate
from tests.postgresql_server import PostgresqlServer
from tests.relay.cli.checks.small_server import Reply, small_server

pytestmark = pytest.mark.usefixtures("time_limit")

PUBLIC = "https://voice.example.com"
WELL = {"/health": Reply(200, b'{"status": "ok", "version": "1"}', {"content-type": "application/json"})}


@pytest.fixture
def settings(postgresql: PostgresqlServer) -> Settings:
    return Settings(
        database_url=postgresql.empty_database(),
        relay_node_url="http://127.0.0.1:1",
        public_url=PUBLIC,
        twilio_account_sid=ACCOUNT.sid,
        twilio_auth_token=ACCOUNT.token,
    )


async def enter(settings: Settings, *candidates: Candidate) -> None:
    async with open_database(settings.database_url) as database:
        for each in candidates:
            assert await Members(database).enter(each) is None


async def refused(settings: Settings) -> str:
    with pytest.raises(CheckFailed) as failed:
        await nodes(settings)
    assert failed.value.fix
    return failed.value.detail


async def test_nodes_that_are_well(settings: Settings) -> None:
    """Each is named."""
    async with small_server(WELL) as first, small_server(WELL) as second:
        await enter(settings, candidate("b", url=second.url), candidate("a", url=first.url))
        assert await nodes(settings) == "Each is seen, reached from here, and agrees: a, b."


async def test_nodes_are_asked_as_they_ask_each_other(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Directly, whatever proxy leads out of their network."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    async with small_server(WELL) as only:
        await enter(settings, candidate("a", url=only.url))
        assert await nodes(settings) == "Each is seen, reached from here, and agrees: a."


async def test_versions_that_differ_are_named(settings: Settings) -> None:
    """That is so while one node after the other is upgraded, and no fault."""
    newer = {"/health": Reply(200, b'{"status": "ok", "version": "2"}', {"content-type": "application/json"})}
    async with small_server(WELL) as first, small_server(newer) as second:
        b = candidate("b", url=second.url)
        b = attrs.evolve(b, node=attrs.evolve(b.node, version="2"))
        await enter(settings, candidate("a", url=first.url), b)
        assert "versions differ (1, 2)" in await nodes(settings)


async def test_a_node_that_cannot_be_reached(settings: Settings) -> None:
    """Where it was asked is said, and of something else that answers there."""
    async with small_server({"/health": Reply(200, b"hello")}) as other:
        await enter(settings, candidate("a", url="http://127.0.0.1:9"), candidate("b", url=other.url))
        detail = await refused(settings)
    assert "a cannot be reached at http://127.0.0.1:9: Connection refused." in detail
    assert f"Something else than b answers at {other.url} (status 200)." in detail


async def test_an_address_that_leads_to_another_node(settings: Settings) -> None:
    """Which one answers there is said: what belongs to the one would be served by the other."""
    text = b'{"status": "ok", "version": "1", "node": "b"}'
    async with small_server({"/health": Reply(200, text, {"content-type": "application/json"})}) as b:
        await enter(settings, candidate("a", url=b.url))
        assert await refused(settings) == f"The RELAY_NODE_URL of a, {b.url}, leads to node b."


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda: candidate("a", account=Account(ACCOUNT.sid, "another")), "a has another TWILIO_ACCOUNT_SID or"),
        (lambda: candidate("a", public_url="https://b.example"), "a has the PUBLIC_URL https://b.example."),
    ],
)
async def test_a_node_with_other_settings(settings: Settings, change: Callable[[], Candidate], why: str) -> None:
    """These settings are not those that the node was started with."""
    await enter(settings, change())
    assert why in await refused(settings)


async def test_no_node_runs(settings: Settings) -> None:
    """There is none, although the settings name one."""
    assert await refused(settings) == "No node of this cluster runs."


async def test_a_file_has_no_nodes(settings: Settings) -> None:
    """As at a start, it is said what nodes need."""
    with pytest.raises(DatabaseError, match="RELAY_NODE_URL"):
        await nodes(settings.model_copy(update={"database_url": "sqlite:///relay.db"}))
