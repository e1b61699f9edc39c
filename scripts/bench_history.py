"""What a turn costs with so many lines of its call behind it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

from scripts.bench_daemon import Contender, Station
from scripts.bench_generator import Way
from scripts.bench_turns import Tell, staffed

CALLS, TURNS = 20, 10
LINES_A_TURN = 2


async def measure_history(
    contenders: Sequence[Contender], ways: Sequence[Way], lines: Sequence[int], tell: Tell
) -> list[dict[str, Any]]:
    """Return the CPU of a turn for each way, contender and length; contenders take turns at each length."""
    return [row for way in ways for row in await _measure(contenders, way, lines, tell)]


async def _measure(contenders: Sequence[Contender], way: Way, lines: Sequence[int], tell: Tell) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    async with AsyncExitStack() as stack:
        stations = [await stack.enter_async_context(staffed(each, way, tell)) for each in contenders]
        for station in stations:
            await station.order("call", count=CALLS)
        reached = 0
        for length in sorted(lines):
            wanted = max(reached, length // LINES_A_TURN)
            for station in stations:
                tell(f"{station.contender.name}: {way}, {length} lines")
                await station.order("talk", turns=CALLS * (wanted - reached))
                rows.append({"way": way, "who": station.contender.name, "lines": length, "cpuMs": await _cpu(station)})
            reached = wanted + TURNS
    return rows


async def _cpu(station: Station) -> float | None:
    before = station.cpu_seconds()
    result = await station.order("talk", turns=CALLS * TURNS)
    after = station.cpu_seconds()
    return None if before is None or after is None else (after - before) * 1000 / max(1, result["answered"])
