"""A cluster behind HAProxy, by the configuration that operators are given: a call is as with one daemon."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx2
import pytest
import trio

from relay.simulator.carrier.exchange import open_carrier
from relay.simulator.load.local_daemon import ACCOUNT
from scripts.cluster_clients import ReturningClient
from scripts.local_cluster import LocalCluster, configure, run_haproxy, run_local_cluster
from scripts.local_postgresql import free_port
from tests.e2e.parties import Access, ask, connected, register
from tests.e2e.proxies import marks_of
from tests.forked_process import RELAY, opener
from tests.postgresql_server import programs

WORDS = ("Hello?", "What is the time?", "Thank you, goodbye.")
# A client that a busy machine keeps from coming back has its time.
AT_ONCE = {"RELAY_DRAIN": "handover", "RELAY_DRAIN_SECONDS": "0", "RELAY_CLIENT_TIMEOUT": "30"}


@asynccontextmanager
async def a_cluster(directory: Path) -> AsyncIterator[tuple[LocalCluster, Access]]:
    programs()
    async with run_local_cluster(directory, settings=AT_ONCE, open_process=opener(RELAY)) as cluster:
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
            for closed in ("/metrics", "/console", "/console/api/live"):
                assert (await http.get(closed)).status_code == 403
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
            await call.until(lambda: len(call.sessions) == 2)  # what is said into the line that ends is heard by nobody
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


@pytest.mark.parametrize("proxy", [pytest.param("haproxy", marks=marks_of("haproxy"))])
async def test_a_webhook_in_hand_of_a_node_that_dies_goes_to_another(proxy: str, tmp_path: Path) -> None:
    """Also one whose body comes a moment after its head; and a request of a client does not."""
    asked: list[str] = []

    async def serve(name: str, stream: trio.SocketStream) -> None:
        async with stream:
            head = b""
            while not head.endswith(b"a=1") and not (head.startswith(b"GET") and head.endswith(b"\r\n\r\n")):
                head += await stream.receive_some()
            if head.startswith(b"POST"):
                asked.append(name)
                if name == "relay-1":
                    return
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine")

    async def post(path: str) -> bytes:
        async with await trio.open_tcp_stream("127.0.0.1", public) as stream:
            await stream.send_all(f"POST {path} HTTP/1.1\r\nHost: relay\r\nContent-Length: 3\r\n\r\n".encode())
            await trio.sleep(0.05)
            await stream.send_all(b"a=1")
            return bytes(await stream.receive_some())[:12]

    public, ports = free_port(), {}
    async with trio.open_nursery() as nursery:
        for name in ("relay-1", "relay-2"):
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            ports[name] = listener.socket.getsockname()[1]
            nursery.start_soon(trio.serve_listeners, partial(serve, name), [listener])
        async with run_haproxy(tmp_path, configure(public, ports), public):
            assert [await post("/webhooks/a/voice") for _ in range(4)] == [b"HTTP/1.1 200"] * 4
            assert "relay-1" in asked
            asked.clear()
            answers = [await post("/messages") for _ in range(4)]
        assert len(asked) == 4
        assert asked.count("relay-1") == 4 - answers.count(b"HTTP/1.1 200") > 0
        nursery.cancel_scope.cancel()
