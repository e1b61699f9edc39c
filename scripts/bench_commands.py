"""The commands of `scripts/bench` that measure whole daemons, with their options, progress and tables."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

import click
import trio
from rich.console import Console
from rich.table import Table

from relay import logs
from relay.cli.one_line import leaves_of
from relay.simulator.load.local_daemon import DaemonFailed
from scripts.bench_browser import find_browser
from scripts.bench_console import ConsolePlan, measure_console
from scripts.bench_daemon import HERE, BenchFailed, Contender, prepare
from scripts.bench_generator import Way
from scripts.bench_history import measure_history
from scripts.bench_memory import measure_memory
from scripts.bench_profile import profile as measure_profile
from scripts.bench_soak import soak as measure_soak
from scripts.bench_tables import (
    console_tables,
    counts_table,
    history_table,
    memory_table,
    plain_table,
    profile_table,
    tail_tables,
    turns_table,
)
from scripts.bench_tail import tail as measure_tail
from scripts.bench_turns import Load, Tell, measure_turns, plan_of

_Result = TypeVar("_Result")

WAYS = ("sse", "mcp", "converse")
CALLS, QUICK_CALLS = (1, 50, 200, 500), (50,)
SECONDS, QUICK_SECONDS = 10.0, 3.0
LINES = (5, 50, 200)

against_option = click.option(
    "--against", metavar="REV", help="Also run this revision of the project, in turn with this tree, and compare."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of a table.")
way_option = click.option(
    "--way",
    "ways",
    multiple=True,
    type=click.Choice(WAYS),
    help="How clients are asked: sampling over SSE, sampling over Streamable HTTP, comms_converse over the latter. "
    "Repeatable; all by default.",
)
one_way_option = click.option("--way", default="sse", show_default=True, type=click.Choice(WAYS), help="As for turns.")


def run(
    work: Callable[[Tell], Awaitable[_Result]], *, as_json: bool, tables: Callable[[_Result], Iterable[Table]]
) -> None:
    """Carry out a measurement, with its progress on standard error, and print what came of it.

    What it needs and cannot have is one line, and exit code 1.
    """
    logs.configure(logging.WARNING)
    progress = Console(stderr=True, highlight=False)
    try:
        with progress.status("starting") as status:
            tell: Tell = status.update if progress.is_terminal else progress.print
            result = trio.run(work, tell)
    except* (BenchFailed, DaemonFailed, OSError, trio.TooSlowError) as group:
        raise click.ClickException("; ".join(str(each) or type(each).__name__ for each in leaves_of(group))) from group
    if as_json:
        click.echo(json.dumps(result, indent=2))
        return
    console = Console()
    # In a pipe there is no width to keep to, and a table that is folded cannot be read.
    console.width = console.width if console.is_terminal else 160
    for table in tables(result):
        if table.row_count:
            console.print(table)


async def contender_of(revision: str | None, tell: Tell) -> Contender | None:
    """Return what to compare with, if anything. Raises `BenchFailed`."""
    return None if revision is None else await prepare(revision, tell)


@click.command()
@way_option
@click.option(
    "--calls", multiple=True, type=click.IntRange(1, 5000), help="Calls at once; repeatable.", show_default=True
)
@click.option("--saturated/--no-saturated", default=True, help="Also 50 calls that speak as soon as they are answered.")
@click.option("--seconds", type=click.FloatRange(min=0.2), help=f"Measure each for so long. [default: {SECONDS:g}]")
@click.option("--rounds", type=click.IntRange(min=1), help="Measure each so often. [default: 1, with --against 3]")
@click.option(
    "--counts/--no-counts", default=True, help="Also count steps, tasks, scopes, system calls, in a run of its own."
)
@click.option(
    "--instructions", "by_callgrind", is_flag=True, help="Also count instructions a turn; needs valgrind, and minutes."
)
@click.option(
    "--quick",
    is_flag=True,
    help=f"Over SSE only, {QUICK_CALLS[0]} calls, {QUICK_SECONDS:g} seconds each, with no counts.",
)
@against_option
@json_option
def turns(
    *,
    ways: tuple[Any, ...],
    calls: tuple[int, ...],
    saturated: bool,
    seconds: float | None,
    rounds: int | None,
    counts: bool,
    by_callgrind: bool,
    quick: bool,
    against: str | None,
    as_json: bool,
) -> None:
    """Measure what a turn costs and makes wait, at 1, 50, 200 and 500 calls with a turn a second, and saturated."""

    async def work(tell: Tell) -> list[dict[str, Any]]:
        plan = plan_of(
            ways=ways or (WAYS[:1] if quick else WAYS),
            calls=calls or (QUICK_CALLS if quick else CALLS),
            saturated=saturated,
            seconds=seconds or (QUICK_SECONDS if quick else SECONDS),
            rounds=rounds,
            counts=counts and not quick,
            by_callgrind=by_callgrind,
            against=await contender_of(against, tell),
        )
        return await measure_turns(plan, tell)

    run(work, as_json=as_json, tables=lambda rows: (turns_table(rows), counts_table(rows)))


@click.command()
@way_option
@click.option("--calls", default=200, show_default=True, type=click.IntRange(1, 15_000), help="Idle calls; 10000, say.")
@against_option
@json_option
def memory(*, ways: tuple[Any, ...], calls: int, against: str | None, as_json: bool) -> None:
    """Measure what an idle call and a client session keep, and how long so many calls take to arrive."""

    async def work(tell: Tell) -> list[dict[str, Any]]:
        other = await contender_of(against, tell)
        return await measure_memory([HERE, *([other] if other else [])], ways or WAYS, calls, tell)

    run(work, as_json=as_json, tables=lambda rows: [memory_table(rows)])


@click.command()
@way_option
@click.option(
    "--lines", multiple=True, type=click.IntRange(0, 2000), default=LINES, show_default=True, help="Repeatable."
)
@against_option
@json_option
def history(*, ways: tuple[Any, ...], lines: tuple[int, ...], against: str | None, as_json: bool) -> None:
    """Measure what a turn costs with so many lines of its call behind it."""

    async def work(tell: Tell) -> list[dict[str, Any]]:
        other = await contender_of(against, tell)
        return await measure_history([HERE, *([other] if other else [])], ways or WAYS, lines, tell)

    run(work, as_json=as_json, tables=lambda rows: [history_table(rows)])


@click.command()
@one_way_option
@click.option("--calls", default=200, show_default=True, type=click.IntRange(1, 5000), help="Calls at once.")
@click.option("--turns", default=100_000, show_default=True, type=click.IntRange(1), help="Turns in all.")
@click.option("--barge-ins", default=1000, show_default=True, type=click.IntRange(0), help="So many are talked over.")
@json_option
def soak(*, way: Way, calls: int, turns: int, barge_ins: int, as_json: bool) -> None:
    """Take many turns, some of them talked over; exits 1 when one was lost, crossed, or answered twice."""
    outcome: dict[str, Any] = {}

    async def work(tell: Tell) -> dict[str, Any]:
        outcome.update(await measure_soak(way, calls=calls, turns=turns, barge_ins=min(barge_ins, turns), tell=tell))
        return outcome

    run(work, as_json=as_json, tables=lambda result: [plain_table("A long run", result)])
    wrong = ("lost", "crossed", "duplicated", "unanswered", "other", "ended", "errorsLogged")
    sys.exit(1 if any(outcome[each] for each in wrong) else 0)


@click.command()
@one_way_option
@click.option("--calls", default=200, show_default=True, type=click.IntRange(1, 5000), help="Calls at once.")
@click.option("--saturated", is_flag=True, help="Each speaks as soon as it is answered, and not once a second.")
@click.option("--seconds", default=30.0, show_default=True, type=click.FloatRange(min=0.2), help="Look for so long.")
@json_option
def profile(*, way: Way, calls: int, saturated: bool, seconds: float, as_json: bool) -> None:
    """Show where the time of a turn goes, by layer, and how much of each is Trio's, anyio's and contextlib's own."""

    async def work(tell: Tell) -> dict[str, Any]:
        return await measure_profile(way, Load(calls, is_saturated=saturated), seconds, tell)

    run(work, as_json=as_json, tables=lambda result: [profile_table(result)])


@click.command()
@one_way_option
@click.option("--calls", default=200, show_default=True, type=click.IntRange(1, 5000), help="Calls at once.")
@click.option("--saturated", is_flag=True, help="Each speaks as soon as it is answered, and not once a second.")
@click.option(
    "--seconds", default=30.0, show_default=True, type=click.FloatRange(min=0.2), help="Follow turns for so long."
)
@json_option
def tail(*, way: Way, calls: int, saturated: bool, seconds: float, as_json: bool) -> None:
    """Show where the slowest turns lose their time: waiting, the collector, the journal, the client, or work."""

    async def work(tell: Tell) -> dict[str, Any]:
        return await measure_tail(way, Load(calls, is_saturated=saturated), seconds, tell)

    run(work, as_json=as_json, tables=tail_tables)


@click.command()
@click.option(
    "--calls", default=200, show_default=True, type=click.IntRange(1, 5000), help="Calls, each a turn a second."
)
@click.option("--readers", default=10, show_default=True, type=click.IntRange(1, 40), help="Streams that are read.")
@click.option("--browser/--no-browser", default=None, help="Also a browser with Live. [default: if Chromium is here]")
@click.option("--seconds", default=10.0, show_default=True, type=click.FloatRange(min=1), help="Length of a round.")
@click.option(
    "--rounds", default=6, show_default=True, type=click.IntRange(1), help="Watched ones, each between two not."
)
@json_option
def console(*, calls: int, readers: int, browser: bool | None, seconds: float, rounds: int, as_json: bool) -> None:
    """Measure what it costs the calls that operators look: streams and a browser, against nobody, in turn."""
    program = None if browser is False else find_browser()
    if browser and program is None:
        raise click.ClickException("--browser needs Chromium, and Playwright: pip install playwright")
    plan = ConsolePlan(calls=calls, readers=readers, browser=program, seconds=seconds, rounds=rounds)

    async def work(tell: Tell) -> dict[str, Any]:
        return await measure_console(plan, tell)

    run(work, as_json=as_json, tables=console_tables)
