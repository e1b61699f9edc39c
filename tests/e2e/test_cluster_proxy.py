"""A cluster behind HAProxy, by the configuration that operators are given: a call is as with one daemon."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
import trio

from relay.simulator.carrier.exchange import open_carrier
from relay.simulator.load.local_daemon import ACCOUNT
from scripts.cluster_clients import ReturningClient
from scripts.local_cluster import LocalCluster, configure, run_local_cluster
from tests.e2e.parties import Access, ask, connected, register
from tests.e2e.proxies import marks_of
from tests.postgresql_server import programs

WORDS = ("Hello?", "What is the time?", "Thank you, goodbye.")
AT_ONCE = {"RELAY_DRAIN": "handover", "RELAY_DRAIN_SECONDS": "0"}


@asynccontextmanager
async def a_cluster(directory: Path) -> AsyncIterator[tuple[LocalCluster, Access]]:
    programs()
    async with run_local_cluster(directory, settings=AT_ONCE) as cluster:
        yield cluster, await register(cluster)


@pytest.mark.slow
@pytest.mark.parametrize("proxy", [pytest.param("haproxy", marks=marks_of("haproxy"))])
async def test_a_call_through_haproxy(proxy: str, tmp_path: Path) -> None:
    """A published client and the carrier come by the one address; the call's socket goes straight to the home."""
    async with (
        a_cluster(tmp_path) as (cluster, agent),
        connected(agent),
        open_carrier(ACCOUNT, cluster.token, cluster.url) as carrier,
    ):
        async with carrier.call(agent.agent_id) as call:
            for words in WORDS:
                assert await ask(call, words) == f"You said: {words}"
            assert len(call.sessions) == 1
        home = await cluster.home_of(agent.agent_id)
        assert f"/n/{home}/" in call.twiml
        async with httpx2.AsyncClient(base_url=cluster.url) as http:
            assert (await http.get("/metrics")).status_code == 403
            assert (await http.get("/health/ready")).status_code == 200


@pytest.mark.slow
@pytest.mark.parametrize("proxy", [pytest.param("haproxy", marks=marks_of("haproxy"))])
async def test_a_call_goes_on_when_its_home_is_killed(proxy: str, tmp_path: Path) -> None:
    """The carrier's next request, and the client's, are led past the dead node."""
    async with (
        a_cluster(tmp_path) as (cluster, agent),
        open_carrier(ACCOUNT, cluster.token, cluster.url) as carrier,
        carrier.call(agent.agent_id) as call,
    ):
        async with connected(agent):
            assert await ask(call, "One.") == "You said: One."
            home = await cluster.home_of(agent.agent_id)
            assert home is not None
            await cluster.nodes[home].daemon.kill()
            await call.until(lambda: len(call.sessions) == 2)
        await call.say("Two.")
        async with connected(agent):
            assert (await call.hear()).text == "You said: Two."
        assert await cluster.home_of(agent.agent_id) != home


@pytest.mark.slow
@pytest.mark.parametrize("proxy", [pytest.param("haproxy", marks=marks_of("haproxy"))])
async def test_a_call_goes_on_when_its_home_is_stopped(proxy: str, tmp_path: Path) -> None:
    """It moves, its client comes back elsewhere, and nothing new is sent to the node that leaves."""
    async with (
        a_cluster(tmp_path) as (cluster, agent),
        open_carrier(ACCOUNT, cluster.token, cluster.url) as carrier,
        trio.open_nursery() as clients,
    ):
        await clients.start(ReturningClient(cluster.url, agent.token).run)
        async with carrier.call(agent.agent_id) as call:
            assert await ask(call, "One.") == "You said: One."
            home = await cluster.home_of(agent.agent_id)
            assert home is not None
            assert await cluster.nodes[home].daemon.stop() == 0
            assert await ask(call, "Two.") == "You said: Two."
            assert len(call.sessions) == 2
        assert await cluster.home_of(agent.agent_id) != home
        clients.cancel_scope.cancel()


def test_nodes_that_are_not_there_are_left_out_of_the_configuration() -> None:
    """And nothing else is changed but addresses and the certificate."""
    text = configure(8000, {"relay-2": 8002})
    assert "server relay-1" not in text
    assert "use-server relay-2 if" in text
    assert "server relay-2 127.0.0.1:8002 check" in text
    assert "bind 127.0.0.1:8000\n" in text
    assert "10.0.0." not in text
