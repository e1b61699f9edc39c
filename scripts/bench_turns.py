"""What a turn costs a whole daemon, and what it makes a caller wait, at several loads and over each way to a client.

for each way: a station for each contender, all running
    for each load: calls ─▶ warm-up ─▶ round: A, B, A, B … ─▶ one row a contender, one ratio a pair
    and once more with a probe in this tree's daemon, which counts and is not timed
"""

from __future__ import annotations

import statistics
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import attrs

from scripts.bench_daemon import (
    CALLGRIND,
    HERE,
    INSTRUCTIONS,
    SYSTEM_CALLS,
    Contender,
    Station,
    countable,
    counting,
    instructions,
    open_station,
)
from scripts.bench_generator import Way

SATURATED_CALLS = 50
CONVERSING = 20
"""Clients that answer by the turn tool; each has one turn in hand at a time."""

COUNTED_SECONDS = 4.0
CALLGRIND_CALLS, CALLGRIND_TURNS = 10, 200

COUNTS = {
    "steps": "steps",
    "tasks": "tasks",
    "scopes": "scopes",
    "handOvers": "hand-overs",
    "rounds": "rounds of the loop",
    "systemCalls": "system calls",
}
"""What the probe and the system count, as a table calls it."""

Tell = Callable[[str], None]


@attrs.frozen
class Load:
    """So many calls, each with a turn a second; or saturated, each with its next turn as soon as it has its answer."""

    calls: int
    is_saturated: bool = False

    @property
    def name(self) -> str:
        """Return what a table calls it."""
        return f"{self.calls} saturated" if self.is_saturated else f"{self.calls} calls"

    @property
    def interval(self) -> float:
        """Seconds between two turns of a call."""
        return 0.0 if self.is_saturated else 1.0


@attrs.frozen(kw_only=True)
class TurnsPlan:
    """What `bench turns` is to measure. `rounds` of `seconds` for each contender, in turn."""

    ways: Sequence[Way]
    loads: Sequence[Load]
    seconds: float
    rounds: int
    counts: bool
    instructions: bool
    contenders: Sequence[Contender]


@attrs.frozen
class TurnsBench:
    """Measures as a plan says. `events` is what perf(1) can count here."""

    plan: TurnsPlan
    tell: Tell
    events: Collection[str]

    async def run(self) -> list[dict[str, Any]]:
        """Return a JSON object for each way, load and contender. Raises what a station raises."""
        rows: list[dict[str, Any]] = []
        for way in self.plan.ways:
            async with AsyncExitStack() as stack:
                opening = [staffed(each, way, self.tell) for each in self.plan.contenders]
                stations = [await stack.enter_async_context(each) for each in opening]
                for load in self.plan.loads:
                    rows += await self._measure(way, load, stations)
            for contender in self.plan.contenders:
                if self.plan.counts:
                    await self._add_counts(way, rows, contender)
                if self.plan.instructions:
                    await self._add_instructions(way, rows, contender)
        return rows

    async def _measure(self, way: Way, load: Load, stations: Sequence[Station]) -> list[dict[str, Any]]:
        rounds: list[list[dict[str, Any]]] = [[] for _ in stations]
        for station in stations:
            self.tell(f"{station.contender.name}: {way}, {load.name}")
            await station.order("call", count=load.calls)
            await station.order("talk", seconds=warm_up(self.plan.seconds), interval=load.interval)
        for _ in range(self.plan.rounds):
            for taken, station in zip(rounds, stations, strict=True):
                taken.append(await self._round(station, load))
        for station in stations:
            await station.order("hang_up")
        rows = [
            {"way": way, "load": load.name, "who": station.contender.name, "rounds": len(taken), **_together(taken)}
            for station, taken in zip(stations, rounds, strict=True)
        ]
        for row, taken in zip(rows[1:], rounds[1:], strict=True):
            # Of pairs that ran one behind the other, because a shared machine is another machine a minute later.
            row["ratios"] = {
                key: _spread([ours[key] / theirs[key] for ours, theirs in zip(rounds[0], taken, strict=True)])
                for key in ("cpuMs", "turnsPerSecond")
                if all(each[key] for each in (*rounds[0], *taken))
            }
        return rows

    async def _round(self, station: Station, load: Load) -> dict[str, Any]:
        before = station.cpu_seconds()
        async with counting(station.pid, [each for each in self.events if each == INSTRUCTIONS]) as counts:
            result = await station.order("talk", seconds=self.plan.seconds, interval=load.interval)
        after = station.cpu_seconds()
        turns = max(1, result["answered"])
        cpu = None if before is None or after is None else (after - before) * 1000 / turns
        generator = result["generatorCpu"] / result["seconds"]
        counted = {"instructions": counts[INSTRUCTIONS] / turns} if INSTRUCTIONS in counts else {}
        return {**result, "cpuMs": cpu, "turnsPerSecond": turns / result["seconds"], "generator": generator, **counted}

    async def _add_counts(self, way: Way, rows: Sequence[dict[str, Any]], contender: Contender) -> None:
        """Count in a daemon with a probe, for each load; that daemon is not timed."""
        async with staffed(contender, way, self.tell, probe="counts") as station:
            for load in self.plan.loads:
                self.tell(f"{contender.name}: counting, {way}, {load.name}")
                await station.order("call", count=load.calls)
                await station.order("talk", seconds=warm_up(self.plan.seconds), interval=load.interval)
                before = await station.probe()
                seconds = min(self.plan.seconds, COUNTED_SECONDS)
                async with counting(station.pid, [each for each in self.events if each == SYSTEM_CALLS]) as counted:
                    result = await station.order("talk", seconds=seconds, interval=load.interval)
                after = await station.probe()
                await station.order("hang_up")
                seen = {key: after[key] - before.get(key, 0) for key in after if key != "longestPauseMs"}
                if SYSTEM_CALLS in counted:
                    seen["systemCalls"] = counted[SYSTEM_CALLS]
                _row(rows, way, load, contender)["counts"] = {
                    "perTurn": {key: seen[key] / max(1, result["answered"]) for key in COUNTS if key in seen},
                    "collections": [seen.get(f"collections{number}", 0) for number in range(3)],
                    "collectorMs": seen.get("collectorNs", 0) / 1e6,
                    "longestPauseMs": after["longestPauseMs"],
                }

    async def _add_instructions(self, way: Way, rows: Sequence[dict[str, Any]], contender: Contender) -> None:
        """Count the instructions of some saturated turns; they stand with the last load, and are of none."""
        self.tell(f"{contender.name}: under callgrind, which takes some minutes")
        async with staffed(contender, way, self.tell, wrapper=CALLGRIND) as station:
            await station.order("call", count=CALLGRIND_CALLS)
            await station.order("talk", turns=5 * CALLGRIND_CALLS)
            result, count = await instructions(station, "talk", turns=CALLGRIND_TURNS)
            _row(rows, way, self.plan.loads[-1], contender)["instructions"] = count / max(1, result["answered"])


async def measure_turns(plan: TurnsPlan, tell: Tell) -> list[dict[str, Any]]:
    """Measure as the plan says; see `TurnsBench.run`."""
    events = await countable()
    if plan.counts and SYSTEM_CALLS not in events:
        tell("system calls are not counted: perf(1) is missing, or not allowed to")
    return await TurnsBench(plan, tell, events).run()


@asynccontextmanager
async def staffed(
    contender: Contender, way: Way, tell: Tell, *, probe: str = "", wrapper: Sequence[str] = ()
) -> AsyncIterator[Station]:
    """Run a station whose agent has its clients."""
    tell(f"{contender.name}: starting a daemon, clients by {way}")
    async with open_station(contender, tell, probe=probe, wrapper=wrapper) as station:
        await station.order("connect", way=way, count=CONVERSING if way == "converse" else 1)
        yield station


def warm_up(seconds: float) -> float:
    """Return how long to talk before so many seconds of measuring, so that what is made once is made by then."""
    return min(max(1.0, seconds / 4), seconds)


def _together(rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the median of each figure of some rounds, the sum of what went wrong, and how far the CPU spread."""
    cpu = [each["cpuMs"] for each in rounds if each["cpuMs"] is not None]
    wrong = ("asked", "answered", "lost", "crossed", "duplicated", "other")
    return {
        "cpuMs": statistics.median(cpu) if cpu else None,
        "cpuMsSpread": _spread(cpu),
        "turnsPerSecond": statistics.median(each["turnsPerSecond"] for each in rounds),
        **{kind: _middle(each[kind] for each in rounds) for kind in ("turnMs", "firstWordMs", "lateMs")},
        **{key: sum(each[key] for each in rounds) for key in wrong},
        "ended": {why: count for each in rounds for why, count in each["ended"].items()},
        "generator": max(each["generator"] for each in rounds),
        **({"instructions": rounds[0]["instructions"]} if "instructions" in rounds[0] else {}),
    }


def _middle(distributions: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return the median of each percentile."""
    given = [*distributions]
    return {share: statistics.median(each.get(share, 0.0) for each in given) for share in ("p50", "p95", "p99")}


def _spread(values: Sequence[float]) -> list[float] | None:
    """Return the smallest, the median and the largest."""
    return [min(values), statistics.median(values), max(values)] if values else None


def _row(rows: Iterable[dict[str, Any]], way: Way, load: Load, contender: Contender) -> dict[str, Any]:
    wanted = (way, load.name, contender.name)
    return next(each for each in rows if (each["way"], each["load"], each["who"]) == wanted)


def plan_of(
    *,
    ways: Sequence[Way],
    calls: Sequence[int],
    saturated: bool,
    seconds: float,
    rounds: int | None,
    counts: bool,
    by_callgrind: bool,
    against: Contender | None,
) -> TurnsPlan:
    """Return the plan that some options ask for. Where two are compared, each has three rounds at least by itself."""
    return TurnsPlan(
        ways=ways,
        loads=[*(Load(each) for each in calls), *([Load(SATURATED_CALLS, is_saturated=True)] if saturated else [])],
        seconds=seconds,
        rounds=rounds or (3 if against else 1),
        counts=counts,
        instructions=by_callgrind,
        contenders=[HERE, *([against] if against else [])],
    )
