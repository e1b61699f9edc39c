"""The database misbehaves while ten calls talk: nobody is cut off, nothing is lost, and what waits is there afterwards.

A daemon in a process of its own; what is done to its database is done from here, as another process or an operator
would. How long is scaled to what the daemon can tell apart: a lock that is over before it is noticed, and one that is
not. `LOCK_SECONDS` names other times, separated by commas.
"""

from __future__ import annotations

import os
import resource
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import attrs
import httpx2
import pytest
import trio

from actors.turn_task import RECEIPT_SECONDS
from relay.simulator.carrier.simulated_call import SimulatedCall
from relay.simulator.claude.stand_in import ASK, CONFIRM, UNSURE
from relay.simulator.load.local_daemon import LocalDaemon
from tests.e2e.parties import (
    Access,
    ask,
    calling,
    connected,
    eventually,
    messages_of,
    register,
)
from tests.forked_process import run_local_daemon

pytestmark = pytest.mark.sqlite_only("it is about the file; of a server's troubles is tests/e2e/test_postgresql.py")

CALLS = 10
LOCK_SECONDS = [float(each) for each in os.environ.get("LOCK_SECONDS", "0.3,3").split(",")]
# Nothing in a call may wait for the database for longer than a moment. What waits does so for eight seconds or more,
# and a busy machine alone takes up to five for a turn.
LATE = 7.5


@attrs.define(eq=False)
class Talk:
    """Ten calls whose client repeats what it hears. `turns` counts the answers, `slowest` is in seconds."""

    daemon: LocalDaemon
    agent: Access
    over: bool = False
    turns: int = 0
    slowest: float = 0.0
    _started: int = 0
    all_started: trio.Event = attrs.field(factory=trio.Event)

    async def go_on(self) -> None:
        """Call, and talk until it is enough."""
        async with calling(self.daemon, self.agent) as call:
            number = 0
            while not self.over:
                number += 1
                began = trio.current_time()
                assert await ask(call, f"Question {number}.") == f"You said: Question {number}."
                self.slowest = max(self.slowest, trio.current_time() - began)
                self.turns += 1
                if number == 1:
                    self._started += 1
                    if self._started == CALLS:
                        self.all_started.set()
                await trio.sleep(0.3)
            assert len(call.sessions) == 1, call.outcomes


@asynccontextmanager
async def talking(daemon: LocalDaemon, agent: Access | None = None) -> AsyncIterator[Talk]:
    """Have ten calls talk for the length of the block, and check that each got all its answers, in one session."""
    talk = Talk(daemon, agent or await register(daemon))
    async with connected(talk.agent), trio.open_nursery() as nursery:
        for _ in range(CALLS):
            nursery.start_soon(talk.go_on)
        await talk.all_started.wait()
        yield talk
        turns = talk.turns
        await eventually(lambda: _has(talk, turns + CALLS))
        talk.over = True
    assert talk.slowest < LATE, talk.slowest


async def _has(talk: Talk, turns: int) -> bool:
    await trio.lowlevel.checkpoint()
    return talk.turns >= turns


async def fault(daemon: LocalDaemon) -> str:
    """Return what readiness says is wrong with the database, empty where nothing is."""
    async with httpx2.AsyncClient() as http:
        answer = (await http.get(f"{daemon.url}/health/ready")).json()
    return str(answer.get("failing", {}).get("database", ""))


async def is_ready(daemon: LocalDaemon) -> bool:
    return not await fault(daemon)


async def is_not_ready(daemon: LocalDaemon) -> bool:
    return bool(await fault(daemon))


async def leave_word(call: SimulatedCall, words: str) -> str:
    """Leave a message with the answering machine and return what it says of it; both are on the telephone still."""
    await call.say("Hello?")
    await _until(call, ASK)
    await call.say(words)
    return await _until(call, "anything else?")


async def _until(call: SimulatedCall, words: str) -> str:
    heard = ""
    while words not in heard:
        heard += (await call.hear()).text
    return heard


async def bodies(daemon: LocalDaemon, agent: Access) -> list[str]:
    return [each.body for each in await messages_of(daemon, agent)]


@asynccontextmanager
async def locked(path: Path) -> AsyncIterator[None]:
    """Hold the write lock from another connection, as a stuck process or a backup does."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            other.execute("ROLLBACK")


@pytest.mark.slow
@pytest.mark.parametrize("seconds", LOCK_SECONDS)
async def test_a_locked_database(tmp_path: Path, machine: dict[str, str], seconds: float) -> None:
    """Calls that are up go on, new ones are taken, and a message left meanwhile is there afterwards."""
    async with run_local_daemon(tmp_path, machine) as daemon:
        absent = await register(daemon)
        async with talking(daemon), calling(daemon, absent) as early:
            await ask(early, "Are you there?")
            async with locked(tmp_path / "relay.db"), trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep, seconds)
                nursery.start_soon(early.say, "The cat is on the mat.")
                async with calling(daemon, absent) as call:
                    said = await leave_word(call, "The key is under the mat.")
                    # One that is said while the lock is held is not claimed to be written down; the machine takes its
                    # time to find out.
                    assert said.endswith(UNSURE if seconds > RECEIPT_SECONDS + 1 else (CONFIRM, UNSURE))
            await eventually(lambda: is_ready(daemon))
        await eventually(lambda: _has_bodies(daemon, absent, 2))
        assert not await daemon.events("call_crashed")
        if seconds > RECEIPT_SECONDS:
            assert await daemon.events("database_in_trouble")


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["deleted", "moved"])
async def test_a_lost_database_file(tmp_path: Path, machine: dict[str, str], loss: str) -> None:
    """The file is put back with all that was in it, and what is confirmed afterwards is in the one that is there."""
    path = tmp_path / "relay.db"
    async with run_local_daemon(tmp_path, machine) as daemon:
        absent = await register(daemon)
        async with calling(daemon, absent) as call:
            assert (await leave_word(call, "Before.")).endswith(CONFIRM)
        async with talking(daemon):
            lose(path, loss)
            async with calling(daemon, absent) as call:
                said = await leave_word(call, "The key is under the mat.")
                await eventually(lambda: is_ready(daemon))
                assert said.endswith((CONFIRM, UNSURE))
            await eventually(lambda: is_ready(daemon))
        assert len(await daemon.events("database_file_put_back")) == 1
        await eventually(lambda: _has_bodies(daemon, absent, 2))
    # Nothing of it was in the process alone.
    async with run_local_daemon(tmp_path, machine) as daemon:
        assert await bodies(daemon, absent) == ["Before.", "The key is under the mat."]


def lose(path: Path, how: str) -> None:
    if how == "moved":
        path.rename(path.with_name("elsewhere.db"))
        return
    for each in path.parent.glob(f"{path.name}*"):
        if each.suffix in {".db", ".db-wal", ".db-shm"}:
            each.unlink()


@pytest.mark.slow
async def test_a_lost_directory(tmp_path: Path, machine: dict[str, str]) -> None:
    """Readiness names it for as long as the file cannot be put back, and calls go on."""
    home = tmp_path / "home"
    make(home)
    settings = machine | {"DATABASE_URL": f"sqlite:///{home / 'relay.db'}", "TWILIO_AUTH_TOKEN": "0" * 32}
    async with run_local_daemon(tmp_path, settings) as daemon:
        access = await daemon.register("my-client")
        async with talking(daemon, Access(access["agentId"], access["token"], access["sseUrl"])) as talk:
            move(home, tmp_path / "gone")
            await eventually(lambda: is_not_ready(daemon))
            assert "put back" in await fault(daemon)
            turns = talk.turns
            await eventually(lambda: _has(talk, turns + CALLS))
            make(home)
            await eventually(lambda: is_ready(daemon))
        assert not await daemon.events("call_crashed")


def make(directory: Path) -> None:
    directory.mkdir()


def move(directory: Path, to: Path) -> None:
    directory.rename(to)


@pytest.mark.slow
async def test_a_full_disk(tmp_path: Path, machine: dict[str, str]) -> None:
    """No file can grow any more, until it can again."""
    async with run_local_daemon(tmp_path, machine) as daemon:
        absent = await register(daemon)
        async with talking(daemon):
            limit = (tmp_path / "relay.db-wal").stat().st_size
            soft, hard = resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (limit, hard))
            async with calling(daemon, absent) as call:
                said = await leave_word(call, "The key is under the mat.")
            await eventually(lambda: is_not_ready(daemon))
            assert said.endswith(UNSURE)
            assert await bodies(daemon, absent) == []
            resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (soft, hard))
            await eventually(lambda: is_ready(daemon))
        await eventually(lambda: _has_bodies(daemon, absent, 1))
        assert not await daemon.events("call_crashed")


async def _has_bodies(daemon: LocalDaemon, agent: Access, number: int) -> bool:
    return len(await bodies(daemon, agent)) == number
