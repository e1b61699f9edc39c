"""One daemon on PostgreSQL: a second one is refused, and a server that hangs or dies holds nothing up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
import trio

from relay.simulator.carrier.fault_plan import WebhookFailed
from relay.simulator.load.local_daemon import DaemonFailed, LocalDaemon
from relay.store.database import open_database
from relay.store.waiting_messages import WaitingMessages
from tests.e2e.parties import Access, ask, calling, carrier_of, eventually
from tests.e2e.test_database_trouble import CALLS, _has, is_not_ready, is_ready, leave_word, talking
from tests.forked_process import run_local_daemon
from tests.postgresql_server import PostgresqlServer

TOKEN = "0" * 32


@asynccontextmanager
async def running(
    directory: Path, server: PostgresqlServer, machine: dict[str, str]
) -> AsyncIterator[tuple[LocalDaemon, Access]]:
    settings = machine | {"DATABASE_URL": server.url, "TWILIO_AUTH_TOKEN": TOKEN, "RELAY_DRAIN_SECONDS": "1"}
    async with run_local_daemon(directory, settings) as daemon:
        yield daemon, await register(daemon, "my-client")


async def register(daemon: LocalDaemon, agent_id: str) -> Access:
    access = await daemon.register(agent_id)
    return Access(access["agentId"], access["token"], access["sseUrl"])


async def has_message(server: PostgresqlServer, agent: Access, words: str) -> bool:
    async with open_database(server.url) as database:
        return words in [each.body for each in await WaitingMessages(database).list_all(agent.agent_id)]


@pytest.mark.slow
async def test_a_second_daemon_is_refused(tmp_path: Path, server: PostgresqlServer, machine: dict[str, str]) -> None:
    """Its start says why and changes nothing: the call of the first one goes on. A killed one makes way."""
    (second := tmp_path / "second").mkdir()
    async with running(tmp_path, server, machine) as (daemon, _agent):
        async with talking(daemon, await register(daemon, "talker")) as talk:
            with pytest.raises(DaemonFailed, match="Another relay serves"):
                async with run_local_daemon(second, {"DATABASE_URL": server.url, "TWILIO_AUTH_TOKEN": TOKEN}):
                    pass
            turns = talk.turns
            await eventually(lambda: _has(talk, turns + CALLS))
        await daemon.kill()
    async with run_local_daemon(second, {"DATABASE_URL": server.url, "TWILIO_AUTH_TOKEN": TOKEN}) as third:
        assert await is_ready(third)


@pytest.mark.slow
async def test_a_server_that_hangs(tmp_path: Path, server: PostgresqlServer, machine: dict[str, str]) -> None:
    """Readiness says no in time, calls go on, a message is stored when the server is back, and draining ends."""
    async with running(tmp_path, server, machine) as (daemon, absent):
        async with talking(daemon, await register(daemon, "talker")) as talk, calling(daemon, absent) as call:
            await ask(call, "Are you there?")
            server.pause()
            await eventually(lambda: is_not_ready(daemon))
            turns = talk.turns
            await eventually(lambda: _has(talk, turns + CALLS))
            await call.say("The key is under the mat.")
            await call.hear()
            async with httpx2.AsyncClient(timeout=4) as http:
                assert (await http.get(f"{daemon.url}/health/ready")).status_code == 503
            server.go_on()
            await eventually(lambda: is_ready(daemon))
        await eventually(lambda: _has_any(server, absent))
        assert not await daemon.events("call_crashed")
        server.pause()
        with trio.fail_after(15):
            assert await daemon.stop() == 0


# What an operator's restart takes, and longer than anything waits for the database.
AWAY_SECONDS = [5.0, 14.0]


@pytest.mark.slow
@pytest.mark.parametrize("seconds", AWAY_SECONDS)
async def test_a_server_that_is_away(
    tmp_path: Path, server: PostgresqlServer, machine: dict[str, str], seconds: float
) -> None:
    """Those who talk go on, an agent that nobody has called before cannot be, and all heals when the server is back."""
    async with running(tmp_path, server, machine) as (daemon, _absent):
        stranger = await register(daemon, "stranger")
        async with talking(daemon, await register(daemon, "talker")) as talk:
            server.kill()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep, seconds)
                async with carrier_of(daemon) as carrier:
                    with pytest.raises(WebhookFailed) as refused:
                        async with carrier.call(stranger.agent_id):
                            pass
                assert (refused.value.status, "<Say" in refused.value.body) == (503, True)
                await eventually(lambda: is_not_ready(daemon))
            turns = talk.turns
            await trio.to_thread.run_sync(server.start)
            await eventually(lambda: is_ready(daemon))
            await eventually(lambda: _has(talk, turns + CALLS))
        async with calling(daemon, stranger) as call:
            await ask(call, "Are you there now?")
        assert not await daemon.events("call_crashed")
        assert await daemon.stop() == 0


async def _has_any(server: PostgresqlServer, agent: Access) -> bool:
    async with open_database(server.url) as database:
        return bool(await WaitingMessages(database).list_all(agent.agent_id))


@pytest.mark.slow
async def test_a_server_that_is_started_again(
    tmp_path: Path, server: PostgresqlServer, machine: dict[str, str]
) -> None:
    """Nobody is cut off while it is away, and what was kept is stored once it is back."""
    async with running(tmp_path, server, machine) as (daemon, absent):
        async with calling(daemon, absent) as call:
            await ask(call, "Are you there?")  # from here on the agent is known without the database
        async with talking(daemon, await register(daemon, "talker")):
            server.kill()
            async with calling(daemon, absent) as call:
                await leave_word(call, "The key is under the mat.")
            await eventually(lambda: is_not_ready(daemon))
            await trio.to_thread.run_sync(server.start)
            await eventually(lambda: is_ready(daemon))
        await eventually(lambda: has_message(server, absent, "The key is under the mat."))
        assert not await daemon.events("call_crashed")
