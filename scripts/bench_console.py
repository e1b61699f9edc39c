"""What it costs the calls that operators look: streams of the console and a browser, against nobody who looks.

    one daemon, its calls ─▶ alone, watched, alone, watched … alone     a ratio for each watched round

A call costs more with every turn behind it, so that each watched round is compared with the mean of the two around it.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from scripts.bench_daemon import HERE, REPOSITORY, BenchFailed, Station
from scripts.bench_turns import Load, Tell, staffed

OPERATOR = "bench"
BROWSER_SECONDS = 60.0
SHARES = ("p50", "p95", "p99")
WAITS = {"firstWordMs": "first word", "turnMs": "turn"}
LATER, POINTS, RENDERINGS = 1.1, 2.0, 2.5
"""What looking may do at most: to p95 and p99 of a wait, to the daemon's share of a core, and renderings a second."""


@attrs.frozen(kw_only=True)
class ConsolePlan:
    """What `bench console` is to measure: `rounds` watched ones of `seconds`. `browser` is a program, None for none."""

    calls: int
    readers: int
    browser: str | None
    seconds: float
    rounds: int


async def measure_console(plan: ConsolePlan, tell: Tell) -> dict[str, Any]:
    """Return the figures of both, their ratios, and what was shown. Raises what a station raises."""
    load = Load(plan.calls)
    async with staffed(HERE, "sse", tell) as station:
        access = json.loads(await station.daemon.command("operators", "add", OPERATOR, "--role", "read", "--json"))
        tell(f"{plan.calls} calls")
        await station.order("call", count=plan.calls)
        await station.order("talk", seconds=max(1.0, plan.seconds / 4), interval=load.interval)
        async with _browser(plan.browser, station.daemon.url, access["token"], tell) as window:
            alone, watched = [await _round(station, plan, load)], []
            for _ in range(plan.rounds):
                await station.order("watch", count=plan.readers, token=access["token"])
                await window.order("open")
                taken = await _round(station, plan, load)
                watched.append(taken | await window.order("leave") | await station.order("leave"))
                alone.append(await _round(station, plan, load))
        await station.order("hang_up")
    return {
        "calls": plan.calls,
        "readers": plan.readers,
        "browser": plan.browser is not None,
        "turns": sum(each["answered"] for each in (*alone, *watched)),
        "lost": sum(each["lost"] + each["crossed"] + each["duplicated"] for each in (*alone, *watched)),
        "generator": max(each["generator"] for each in (*alone, *watched)),
        "figures": figures(alone, watched),
        "views": _views(watched),
    }


async def _round(station: Station, plan: ConsolePlan, load: Load) -> dict[str, Any]:
    before = station.cpu_seconds()
    result = await station.order("talk", seconds=plan.seconds, interval=load.interval)
    after = station.cpu_seconds()
    cpu = None if before is None or after is None else after - before
    return {
        **result,
        "cpuShare": None if cpu is None else cpu / result["seconds"] * 100,
        "cpuMs": None if cpu is None else cpu * 1000 / max(1, result["answered"]),
        "generator": result["generatorCpu"] / result["seconds"],
    }


# ── what came of it ─────────────────────────────────────────────────────────────────────────────────────────────────


def figures(alone: Sequence[Mapping[str, Any]], watched: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return each figure of rounds in turn, with one more of the first kind: medians, and how the second compares.

    `compared` is a ratio, for the share of a core a difference: the least, the median, the most. `isMissed` says
    whether its median is above the `aim`, where there is one.
    """
    rows = []
    for key, name in WAITS.items():
        for share in SHARES:
            of_both = [[each[key].get(share) for each in rounds] for rounds in (alone, watched)]
            rows.append(_row(f"{name} {share} (ms)", *of_both, aim=None if share == "p50" else LATER))
    shares = [[each["cpuShare"] for each in rounds] for rounds in (alone, watched)]
    rows.append(_row("CPU, % of a core", *shares, aim=POINTS, is_difference=True))
    rows.append(_row("CPU ms a turn", *([each["cpuMs"] for each in rounds] for rounds in (alone, watched))))
    made = [each["renderingsPerSecond"] for each in watched]
    rendered = _row("renderings a second a view", [], made)
    rows.append(rendered | {"aim": RENDERINGS, "isMissed": statistics.median(made) > RENDERINGS})
    return rows


def _row(
    name: str,
    alone: Sequence[float | None],
    watched: Sequence[float | None],
    *,
    aim: float | None = None,
    is_difference: bool = False,
) -> dict[str, Any]:
    compared = []
    for before, here, after in zip(alone, watched, alone[1:], strict=False):
        if before and here and after:
            around = (before + after) / 2
            compared.append(here - around if is_difference else here / around)
    middle = statistics.median(compared) if compared else None
    return {
        "name": name,
        "alone": _median(alone),
        "watched": _median(watched),
        "compared": [min(compared), middle, max(compared)] if compared else None,
        "isDifference": is_difference,
        "aim": aim,
        "isMissed": aim is not None and middle is not None and middle > aim,
    }


def _median(values: Sequence[float | None]) -> float | None:
    known = [each for each in values if each is not None]
    return statistics.median(known) if known else None


def _views(watched: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Return what each kind of view was shown, as the mean of the rounds."""
    return {
        name: {key: statistics.mean(each["views"][name][key] for each in watched) for key in view}
        for name, view in watched[0]["views"].items()
    }


# ── the browser ─────────────────────────────────────────────────────────────────────────────────────────────────────


@attrs.define(eq=False)
class _Window:
    """The browser's process; without one its orders are no-ops."""

    process: trio.Process | None = None
    _unread: bytes = b""

    async def order(self, do: str) -> dict[str, Any]:
        if self.process is None:
            return {}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        await self.process.stdin.send_all(f"{do}\n".encode())
        with trio.move_on_after(BROWSER_SECONDS):
            while b"\n" not in self._unread:
                chunk = await self.process.stdout.receive_some()
                if not chunk:
                    raise BenchFailed("the browser has ended; --no-browser measures without one")
                self._unread += chunk
            line, _newline, self._unread = self._unread.partition(b"\n")
            return dict(json.loads(line))
        raise BenchFailed("the browser does not answer; --no-browser measures without one")


@asynccontextmanager
async def _browser(program: str | None, url: str, token: str, tell: Tell) -> AsyncIterator[_Window]:
    if program is None:
        yield _Window()
        return
    tell("starting a browser")
    command = [sys.executable, "-m", "scripts.bench_browser", program, url, token]
    process = await trio.lowlevel.open_process(
        command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        yield _Window(process)
    finally:
        with trio.move_on_after(BROWSER_SECONDS, shield=True):
            assert process.stdin is not None
            await process.stdin.aclose()  # it closes its windows then, which killing it would leave open
            await process.wait()
        if process.returncode is None:
            process.kill()
