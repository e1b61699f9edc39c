"""What calls cost the daemon they are made to: its processor time for each turn, its memory for each idle call.

    run_load ──calls──▶ daemon ──/metrics──▶ process_cpu_seconds_total, process_resident_memory_bytes

The numbers are the daemon's own, read before and after, so what the simulated carrier and the client cost is not among
them, wherever the daemon runs. They are its whole process's: a daemon that also serves other callers meanwhile is not
measured but guessed at. Where the daemon does not tell (its metrics know its process on Linux only), there is no cost.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import attrs
import httpx2
import trio
from prometheus_client.parser import text_string_to_metric_families

from relay.simulator.carrier.exchange import Carrier, open_carrier
from relay.simulator.load.inbound_load import LoadPlan, run_load
from relay.simulator.load.load_report import LoadReport, Progress

_Result = TypeVar("_Result")

FIRST_CALLS = 20
"""How many calls are made before memory is read first: what only the first of all calls need is no call's own."""


@attrs.frozen(kw_only=True)
class Costs:
    """What a load cost the daemon; None where it was not measured."""

    cpu_ms_per_turn: float | None
    kb_per_idle_call: float | None


@attrs.frozen
class DaemonMeter:
    """Read a daemon's own figures. `http` must have the daemon's origin as its base URL."""

    http: httpx2.AsyncClient

    async def cpu_seconds(self) -> float | None:
        """Return the processor time that it has used so far, in steps of the system's clock tick (10 ms, mostly)."""
        return await self._read("process_cpu_seconds_total")

    async def resident_bytes(self) -> float | None:
        """Return how much memory it has."""
        return await self._read("process_resident_memory_bytes")

    async def _read(self, name: str) -> float | None:
        """Return a sample, None where there is none. Raises `httpx2.HTTPError` when the page cannot be had."""
        page = (await self.http.get("/metrics")).raise_for_status().text
        samples = (each for family in text_string_to_metric_families(page) for each in family.samples)
        return next((float(each.value) for each in samples if each.name == name), None)


async def run_metered_load(
    plan: LoadPlan,
    meter: DaemonMeter,
    progress: Callable[[Progress], None] | None = None,
    stop: trio.Event | None = None,
) -> tuple[LoadReport, float | None]:
    """Carry out a plan as `run_load` does; return its report and the daemon's CPU for each turn, in milliseconds.

    The beginning and the end of each call are in it, shared out over the call's turns. Raises `httpx2.HTTPError` when
    the daemon's metrics cannot be had.
    """
    report, seconds = await cpu_of(meter, lambda: run_load(plan, progress, stop))
    return report, None if seconds is None or not report.turns else seconds * 1000 / report.turns


async def cpu_of(meter: DaemonMeter, work: Callable[[], Awaitable[_Result]]) -> tuple[_Result, float | None]:
    """Do some work; return what came of it and the seconds of CPU that the daemon used meanwhile.

    Raises what the work raises, and `httpx2.HTTPError` when the daemon's metrics cannot be had.
    """
    before = await meter.cpu_seconds()
    result = await work()
    after = await meter.cpu_seconds()
    return result, None if before is None or after is None else after - before


async def memory_of_idle_call(
    plan: LoadPlan, meter: DaemonMeter, rest: float, stop: trio.Event | None = None
) -> float | None:
    """Open all calls of a plan, let them rest for some seconds, and return how much each made the daemon grow, in kB.

    Memory that calls before had is used again, so only a daemon that was not yet called so often at once tells the
    truth. `stop` cuts it off, which measures nothing. Raises, in a group, what `Carrier.call` raises for a call that
    cannot be placed, and `httpx2.HTTPError` for the metrics.
    """
    memory: float | None = None
    async with trio.open_nursery() as nursery:
        if stop is not None:
            nursery.start_soon(_cancel_at, stop, nursery.cancel_scope)
        memory = await _memory_of_idle_call(plan, meter, rest)
        nursery.cancel_scope.cancel("measured")
    return memory


async def _cancel_at(stop: trio.Event, scope: trio.CancelScope) -> None:
    await stop.wait()
    scope.cancel("stopped")


async def _memory_of_idle_call(plan: LoadPlan, meter: DaemonMeter, rest: float) -> float | None:
    async with open_carrier(plan.account_sid, plan.auth_token, plan.url, via=plan.via) as carrier:
        async with _idle_calls(carrier, plan.agent_id, min(plan.calls, FIRST_CALLS)):
            pass
        before = await meter.resident_bytes()
        async with _idle_calls(carrier, plan.agent_id, plan.calls):
            await trio.sleep(rest)
            after = await meter.resident_bytes()
    return None if before is None or after is None else (after - before) / plan.calls / 1000


@asynccontextmanager
async def _idle_calls(carrier: Carrier, agent_id: str, calls: int) -> AsyncIterator[None]:
    """Keep so many silent calls open during the block."""
    over = trio.Event()

    async def rest(number: int, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with carrier.call(agent_id, caller=f"+1556{number:07d}"):
            task_status.started()
            await over.wait()

    async with trio.open_nursery() as callers:
        for number in range(calls):
            await callers.start(rest, number)
        yield
        over.set()
