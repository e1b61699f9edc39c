"""The benchmark measures each row, however short the time it is given, and says what went wrong with one."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trio
from click.testing import CliRunner

from relay.simulator.load.costs import DaemonMeter
from relay.simulator.load.local_daemon import DaemonFailed
from scripts.bench import ROWS, Row, Sample, in_batches, main, measure, median, one_by_one
from tests.forked_process import run_local_daemon

BENCH = Path(__file__).parents[1] / "scripts" / "bench.py"
OF_A_DAEMON = {"webhooks", "whole_turn"}
WAITS = {name for name in ROWS if name.startswith(("first_word", "killed"))}
"""The rows about how long a caller waits, which have no cost of their own."""


async def results_of(*names: str) -> dict[str, dict[str, Any]]:
    """Run the script as people do, in as little time as it takes, and return these rows by name."""
    chosen = (word for name in names for word in ("--only", name))
    with trio.fail_after(120):
        done = await trio.run_process(
            [sys.executable, str(BENCH), "--json", "--seconds", "0.01", *chosen],
            capture_stdout=True,
            stderr=subprocess.DEVNULL,
        )
    return {row["name"]: row for row in json.loads(done.stdout)}


async def test_each_part_is_measured() -> None:
    """Every row within one process has a cost, in microseconds and in comparison with the loop."""
    parts = [name for name in ROWS if name not in OF_A_DAEMON | WAITS]
    results = await results_of(*parts)
    assert list(results) == parts
    assert [name for name, row in results.items() if not (row["cpuUs"] > 0 and row["ratio"] > 0)] == []
    assert [name for name, row in results.items() if row["p50Us"] and row["p50Us"] > row["p99Us"]] == []


@pytest.mark.slow
async def test_a_daemon_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of a whole daemon time calls that went well, and tell its CPU and its memory."""
    monkeypatch.setattr("scripts.bench.run_local_daemon", run_local_daemon)
    results = {name: await measure(ROWS[name], 0.01) for name in OF_A_DAEMON}
    assert all(row["p99Us"] >= row["p50Us"] > 0 for row in results.values())
    assert results["whole_turn"]["cpuUs"] > 0
    assert results["whole_turn"]["kb"] is not None


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(WAITS))
async def test_waits_are_measured(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a caller waits for is timed, each time anew, and has no cost beside it."""
    monkeypatch.setattr("scripts.bench.run_local_daemon", run_local_daemon)
    row = await measure(ROWS[name], 0.01)
    assert row["name"] == name
    assert row["p99Us"] >= row["p50Us"] > 0
    assert row["cpuUs"] is None


async def test_a_row_is_the_median_of_its_rounds() -> None:
    """Rounds that a busy machine spoiled do not show, nor does the one that warms up; what is not measured is null."""
    cpu = iter([500.0, 2.0, 90.0, 3.0])

    async def work(_seconds: float) -> Sample:
        await trio.lowlevel.checkpoint()
        return Sample(units=1000, cpu=next(cpu), kb=7)

    result = await measure(Row("three", "unit", lambda _directory: nullcontext(work), rounds=3), 1)
    assert (result["cpuUs"], result["kb"], result["p50Us"]) == (3000, 7, None)
    assert result["ratio"] > 0


async def test_work_that_waits_is_timed_one_by_one() -> None:
    """Each task works until the time is over, and every unit of every task is one."""
    numbers: list[int] = []

    async def unit(number: int) -> None:
        numbers.append(number)
        await trio.lowlevel.checkpoint()

    sample = await one_by_one(unit, at_once=3)(0.001)
    assert set(numbers) == {0, 1, 2}
    assert sample.units == len(numbers)
    assert sample.p50 is not None
    assert sample.p99 is not None
    assert sample.p50 <= sample.p99


async def test_a_batch_is_done_however_short_the_time() -> None:
    """Work that never waits is measured at least once."""
    assert (await in_batches(lambda: 20)(0)).units == 20


async def test_what_a_daemon_does_not_tell_is_not_measured() -> None:
    """A figure that the metrics page lacks is None, and one that it has is read."""
    pages = httpx2.MockTransport(lambda _request: httpx2.Response(200, text="process_cpu_seconds_total 1.5\n"))
    async with httpx2.AsyncClient(transport=pages, base_url="http://relay") as http:
        meter = DaemonMeter(http)
        assert (await meter.cpu_seconds(), await meter.resident_bytes()) == (1.5, None)


def test_nothing_measured_has_no_median() -> None:
    """A median is of what was measured, in the unit asked for."""
    assert median([None, 0.002, None], 1e6) == 2000
    assert median([None]) is None


def test_a_row_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command says which row failed and why, without the nurseries in between, and exits with 1."""

    async def fail(_seconds: float) -> Sample:
        await trio.lowlevel.checkpoint()
        raise ExceptionGroup("a nursery", [DaemonFailed("the daemon did not start")])

    monkeypatch.setattr("scripts.bench.logs.configure", lambda _level: None)
    monkeypatch.setitem(ROWS, "sampling", Row("sampling", "turn", lambda _directory: nullcontext(fail)))
    result = CliRunner().invoke(main, ["--only", "sampling"])
    assert result.exit_code == 1
    assert "Error: sampling: the daemon did not start" in result.stderr


def test_the_table_is_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `--json` the rows come as a table, with a dash for what was not measured."""

    async def work(_seconds: float) -> Sample:
        await trio.lowlevel.checkpoint()
        return Sample(units=10, cpu=0.0123)

    monkeypatch.setattr("scripts.bench.logs.configure", lambda _level: None)
    monkeypatch.setitem(ROWS, "sampling", Row("sampling", "turn", lambda _directory: nullcontext(work)))
    result = CliRunner().invoke(main, ["--only", "sampling", "--quick"])
    assert result.exit_code == 0
    (line,) = [each for each in result.stdout.splitlines() if "sampling" in each]
    assert line.split()[:5] == ["sampling", "turn", "1,230", "–", "–"]
