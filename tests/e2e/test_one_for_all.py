"""What is one for all nodes on one database, asked of whole daemons."""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import httpx2
import pytest
import trio
from sqlalchemy import func, select

from relay.simulator.carrier.callee import Unanswered
from relay.simulator.carrier.exchange import open_carrier
from relay.simulator.carrier.rest_service import RestApi, open_rest
from relay.simulator.load.local_daemon import ACCOUNT, LocalDaemon
from relay.speech.engines.port import audio_of
from relay.store.agent_registry import AgentRegistry
from relay.store.audio_table import PIECE_BYTES, AudioTable
from relay.store.database import open_database
from relay.store.schema import dials
from tests.clock_ahead import AHEAD
from tests.e2e.calling_out import CALLEE, OWN_NUMBER
from tests.e2e.nodes import TOKEN, home_of, node, open_cable, reports
from tests.e2e.parties import Access, AiClient, connected, eventually
from tests.e2e.test_database_trouble import is_ready
from tests.postgresql_server import PostgresqlServer

# Three pieces and a bit.
AUDIO = audio_of(bytes(range(250)) * (3 * PIECE_BYTES // 250 + 40))


@pytest.mark.slow
async def test_every_node_serves_the_audio(tmp_path: Path, server: PostgresqlServer) -> None:
    """The carrier may ask any of them, for the whole or a part, also when another one was killed."""
    async with open_database(server.url) as database:
        path = f"/audio/{await AudioTable(database).put(AUDIO)}.wav"
    async with (
        node(tmp_path, server, "a") as first,
        node(tmp_path, server, "b") as second,
        httpx2.AsyncClient() as http,
    ):
        assert (await http.get(f"{first.url}{path}")).content == AUDIO.wav
        await first.kill()
        assert (await http.get(f"{second.url}{path}")).content == AUDIO.wav
        part = await http.get(f"{second.url}{path}", headers={"Range": f"bytes={PIECE_BYTES - 2}-{PIECE_BYTES + 1}"})
        assert (part.status_code, part.content) == (206, AUDIO.wav[PIECE_BYTES - 2 : PIECE_BYTES + 2])
        assert (await http.get(f"{second.url}/audio/{'A' * 43}.wav")).status_code == 404


@pytest.mark.slow
async def test_nodes_outlast_a_restart_of_their_database(tmp_path: Path, server: PostgresqlServer) -> None:
    """While it is away for five seconds no node gives up what it has, and both are seen again afterwards."""
    async with node(tmp_path, server, "a") as first, node(tmp_path, server, "b") as second:
        server.kill()
        await trio.sleep(5)
        await trio.to_thread.run_sync(server.start)
        for each in (first, second):
            await eventually(lambda daemon=each: is_ready(daemon))  # type: ignore[misc]
            assert not await each.events("node_lost")
        assert [each.node.name for each in await reports(server)] == ["a", "b"]


WISHES, ALLOWED, STARTS_A_SECOND = 20, 5, 2.0
CLOCK_AHEAD = Path(__file__).parents[1] / "clock_ahead.py"


async def starts_seen(rest: RestApi, starts: list[float]) -> None:
    """Note when the carrier is asked for each call. Runs until cancelled."""
    while True:
        await rest.next_call()
        starts.append(trio.current_time())


async def wish(client: AiClient, results: list[dict[str, Any]]) -> None:
    results.append(await client.tool("comms_make_call", to=CALLEE))


@pytest.mark.slow
async def test_all_nodes_dial_as_often_and_as_fast_as_one(tmp_path: Path, server: PostgresqlServer) -> None:
    """Of twenty wishes at each of three nodes as many are dialled as one number may be called, at the pace of all.

    The clock of one node is five minutes ahead, which counts nowhere: what it dials is dated by the database's.
    """
    starts: list[float] = []
    results: list[dict[str, Any]] = []
    options = {"program": (sys.executable, str(CLOCK_AHEAD)), "open_process": trio.lowlevel.open_process}
    async with AsyncExitStack() as stack:
        door = await stack.enter_async_context(open_cable(0))
        carrier = await stack.enter_async_context(open_carrier(ACCOUNT, TOKEN, door.url))
        rest = await stack.enter_async_context(open_rest(carrier))
        rest.callee(CALLEE, Unanswered("no-answer"))
        settings = {
            "PUBLIC_URL": door.url,
            "TWILIO_ACCOUNT_SID": ACCOUNT,
            "TWILIO_API_BASE_URL": rest.url,
            "RELAY_CALLS_PER_NUMBER_PER_DAY": str(ALLOWED),
            "RELAY_CALLS_PER_AGENT_PER_MINUTE": "0",
            "RELAY_CALLS_PER_SECOND": str(STARTS_A_SECOND),
        }
        nodes: dict[str, LocalDaemon] = {}

        async def start(name: str, options: dict[str, Any]) -> None:
            running = node(tmp_path, server, name, options, **settings)
            nodes[name] = await stack.enter_async_context(running)

        async with trio.open_nursery() as nursery:
            for name in "abc":
                nursery.start_soon(start, name, options if name == "c" else {})
        door.lead_to(int(nodes["a"].url.rpartition(":")[2]))
        clients: dict[str, AiClient] = {}
        for name, daemon in nodes.items():
            async with open_database(server.url) as database:
                _agent, token = await AgentRegistry(database).add(name, number=OWN_NUMBER)
            access = Access(name, token, f"{daemon.url}/sse?token={token}")
            clients[name] = await stack.enter_async_context(connected(access))
        homes = [await home_of(server, name) for name in "abc"]
        assert [each and each.node for each in homes] == ["a", "b", "c"]
        async with trio.open_nursery() as watching:
            watching.start_soon(starts_seen, rest, starts)
            await wish(clients["c"], results)
            async with trio.open_nursery() as wishing:
                for name, client in clients.items():
                    for _ in range(WISHES - (name == "c")):
                        wishing.start_soon(wish, client, results)
            watching.cancel_scope.cancel("all are answered")
        async with open_database(server.url) as database:
            now, times = await database.read(
                lambda connection: (
                    connection.scalar(select(func.clock_timestamp())),
                    connection.scalars(select(dials.c.at)).all(),
                )
            )
        assert all(each.node.unseen < 3 for each in await reports(server))
    refused = [each["error"]["code"] for each in results if "error" in each]
    assert (len(results), len(refused), len(starts)) == (3 * WISHES, 3 * WISHES - ALLOWED, ALLOWED)
    assert set(refused) == {"number_daily_limit"}
    # On a busy machine a start is late now and then, and the next one seems early.
    assert median(after - before for before, after in pairwise(starts)) > 0.8 / STARTS_A_SECOND
    assert starts[-1] - starts[0] > (ALLOWED - 2) / STARTS_A_SECOND
    assert [each for each in times if abs(now - each) > AHEAD / 2] == []
