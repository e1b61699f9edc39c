"""After calls nothing is left: no entry in a table, no task, no open file, and no memory that grows with their number."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
import trio
import trio.testing

from actors.call import Call
from relay.simulator.echo_client import open_echo_client
from relay.simulator.load import LoadPlan, run_load
from relay.simulator.local_daemon import ACCOUNT, LocalDaemon, run_local_daemon
from tests.e2e.parties import Access, Daemon, metrics, register
from tests.e2e.relay_here import run_relay_here

AT_ONCE = 50
GROWTH = 2_000_000
"""Bytes by which a process may grow over five hundred calls: four kilobytes each would be a leak. The allocator's own
wanderings are about half of it."""


async def play(daemon: Daemon, agent: Access, rounds: int) -> None:
    """Make so many rounds of calls at once: connect, one turn, hang up. Each is answered by the client."""
    plan = LoadPlan(
        url=daemon.url,
        agent_id=agent.agent_id,
        account_sid=ACCOUNT,
        auth_token=daemon.token,
        calls=AT_ONCE,
        turns=1,
    )
    for _ in range(rounds):
        report = await run_load(plan)
        assert report.clean, report
        assert report.answered == {"client": AT_ONCE}


async def at_rest(daemon: LocalDaemon) -> dict[str, float]:
    """Wait until no call is live and no connection but the client's own is open; return the metrics."""
    while True:
        now = await metrics(daemon)
        if not now["relay_live_calls"] and not now["relay_places_taken"]:
            return now
        await trio.sleep(0.1)


@pytest.mark.slow
async def test_a_thousand_calls_leave_nothing_behind(tmp_path: Path) -> None:
    """After a thousand calls no place is taken and no file is open; the second half needs no more memory than the first."""
    async with run_local_daemon(tmp_path) as daemon:
        agent = await register(daemon)
        async with open_echo_client(agent.sse_url):
            await play(daemon, agent, 2)  # caches and pools fill with the first calls
            begin = await at_rest(daemon)
            await play(daemon, agent, 9)
            half = await at_rest(daemon)
            await play(daemon, agent, 9)
            end = await at_rest(daemon)
    for name in ["process_open_fds","process_resident_memory_bytes"]: print(name, begin[name],half[name],end[name])
    assert end["relay_calls_total" + '{outcome="completed"}'] == 20 * AT_ONCE
    assert end["process_open_fds"] <= begin["process_open_fds"] + 2
    growth = [after["process_resident_memory_bytes"] - begin["process_resident_memory_bytes"] for after in (half, end)]
    assert growth[1] - growth[0] < GROWTH


async def test_a_hundred_calls_leave_no_task_and_no_call(tmp_path: Path) -> None:
    """When a hundred calls are over, the relay has as many tasks as before them, and no call object is left."""
    async with run_relay_here(tmp_path) as here:
        agent = await register(here)
        async with open_echo_client(agent.sse_url):
            await trio.testing.wait_all_tasks_blocked()
            before = trio.lowlevel.current_statistics().tasks_living
            await play(here, agent, 2)
            while trio.lowlevel.current_statistics().tasks_living > before:  # connections that are being closed
                await trio.sleep(0.02)
            gc.collect()
            assert [each for each in gc.get_objects() if isinstance(each, Call)] == []
