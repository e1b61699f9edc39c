"""After calls nothing is left: no entry in a table, no task, no open file, no memory that grows with their number."""

from __future__ import annotations

import gc
from collections import Counter
from pathlib import Path

import pytest
import trio
import trio.testing
from hypercorn.protocol.http_stream import HTTPStream

from actors.call_session import CallSession
from relay.http.connection import Connection
from relay.simulator.load.echo_client import open_echo_client
from relay.simulator.load.inbound_load import LoadPlan, run_load
from relay.simulator.load.local_daemon import ACCOUNT, LocalDaemon
from tests.e2e.parties import Access, Daemon, carrier_url, eventually, metrics, register
from tests.e2e.relay_here import run_relay_here
from tests.forked_process import is_one_of_many, run_local_daemon

AT_ONCE = 25
"""Calls. Of more, a busy machine lets some wait for so long that they hear a filler first."""
KEPT_CONNECTIONS = 10
"""More than a client and a carrier keep open between their requests."""
GROWTH = 2_000_000
"""Bytes by which a process may grow over the last 200 calls. Measured: 0.8 MB over the 200 before, while pools fill,
and 0.3 over these; with every call object kept, 5 over each."""


async def play(daemon: Daemon, agent: Access, rounds: int) -> None:
    """Make so many rounds of calls at once: connect, one turn, hang up. Each is answered by the client."""
    plan = LoadPlan(
        url=daemon.url,
        agent_id=agent.agent_id,
        account_sid=ACCOUNT,
        auth_token=daemon.token,
        calls=AT_ONCE,
        turns=1,
        via=carrier_url(daemon),
    )
    for _ in range(rounds):
        report = await run_load(plan)
        assert report.clean, report
        assert report.answered == {"client": AT_ONCE}


async def at_rest(daemon: LocalDaemon) -> dict[str, float]:
    """Wait until no call is live, no place is taken and no connection is being closed; return the metrics."""
    files = 0.0
    while True:
        now = await metrics(daemon)
        busy = now["relay_live_calls"] or now["relay_places_taken"]
        if not busy and now["process_open_fds"] == files:
            return now
        files = now["process_open_fds"]
        await trio.sleep(0.1)


@pytest.mark.slow
async def test_hundreds_of_calls_leave_nothing_behind(tmp_path: Path) -> None:
    """Five hundred calls leave no place taken and no file open, and the last two hundred no memory."""
    async with run_local_daemon(tmp_path, open_process=trio.lowlevel.open_process) as daemon:
        agent = await register(daemon)
        async with open_echo_client(agent.sse_url):
            await play(daemon, agent, 4)  # caches and pools fill with the first calls
            begin = await at_rest(daemon)
            await play(daemon, agent, 8)
            half = await at_rest(daemon)
            await play(daemon, agent, 8)
            end = await at_rest(daemon)
    assert end['relay_calls_total{outcome="completed"}'] == 20 * AT_ONCE
    assert end["process_open_fds"] <= begin["process_open_fds"] + 2
    assert end["process_resident_memory_bytes"] - half["process_resident_memory_bytes"] < GROWTH


async def test_a_hundred_calls_leave_no_task_and_no_call(tmp_path: Path) -> None:
    """When a hundred calls are over, the relay has as many tasks as before them, and no call object is left.

    Nor have their requests and connections to wait for the collector, whose full passes are hours apart.
    """
    async with run_relay_here(tmp_path) as here:
        agent = await register(here)
        async with open_echo_client(agent.sse_url) as client:
            await client.call_tool("comms_list_calls", {})  # when it is answered, all tasks of its session are there
            if is_one_of_many():
                await play(here, agent, 4)  # the other nodes keep connections to this one for the next
            await trio.testing.wait_all_tasks_blocked()
            before = trio.lowlevel.current_statistics().tasks_living
            gc.collect()
            gc.disable()
            await play(here, agent, 4)

            async def settled() -> bool:  # the last connections are still being closed
                await trio.lowlevel.checkpoint()
                return trio.lowlevel.current_statistics().tasks_living <= before

            await eventually(settled)
            left = Counter(type(each) for each in gc.get_objects())
            gc.enable()
            assert left[HTTPStream] == 0
            assert left[Connection] < KEPT_CONNECTIONS or is_one_of_many()
            gc.collect()
            assert [each for each in gc.get_objects() if isinstance(each, CallSession)] == []


async def test_a_relay_that_is_ready_collects_garbage(tmp_path: Path) -> None:
    """The command line starts without the collector; what serves calls has it."""
    gc.disable()
    try:
        async with run_relay_here(tmp_path):
            assert gc.isenabled()
    finally:
        gc.enable()
