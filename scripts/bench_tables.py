"""What the measurements of whole daemons come to, as tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from scripts.bench_turns import COUNTS

BUSY = 0.8
"""The share of a core from which on the generator's own work is in the waiting times."""


def turns_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return the figures of a run as a table for people."""
    table = Table(
        box=SIMPLE_HEAD,
        title="What a turn costs, and makes wait (ms)",
        caption="First word: from the client's first piece on. Generator: share of a core; from "
        f"{BUSY:.0%} on it is saturated (!), and the waiting times are its own as well.",
    )
    table.add_column("way")
    table.add_column("load")
    table.add_column("who")
    for title in ("turns/s", "CPU", "p50", "p95", "p99", "word p50", "p99", "lost", "crossed", "twice", "generator"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        turn, word, generator = row["turnMs"], row["firstWordMs"], row["generator"]
        table.add_row(
            *(row["way"], row["load"], row["who"], f"{row['turnsPerSecond']:,.0f}"),
            "–" if row["cpuMs"] is None else f"{row['cpuMs']:.2f}",
            *(f"{turn[share]:.1f}" for share in ("p50", "p95", "p99")),
            *(f"{word[share]:.1f}" for share in ("p50", "p99")),
            *(str(row[key]) for key in ("lost", "crossed", "duplicated")),
            f"{generator:.0%}{' !' if generator >= BUSY else ''}",
        )
        for key, (least, middle, most) in row.get("ratios", {}).items():
            what = "CPU" if key == "cpuMs" else "turns/s"
            table.add_row("", "", f"here / {row['who']}", f"{what} ×{middle:.2f} ({least:.2f}–{most:.2f})")
    return table


def counts_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return what was counted as a table for people."""
    table = Table(
        box=SIMPLE_HEAD, title="What a turn is made of", caption="Counted in a run of its own, set-up left out."
    )
    for title in ("way", "load", "who"):
        table.add_column(title)
    for title in (*COUNTS.values(), "Minstr.", "collections", "longest (ms)"):
        table.add_column(title, justify="right")
    for row in rows:
        counts = row.get("counts", {})
        if not counts and "instructions" not in row:
            continue
        per_turn = counts.get("perTurn", {})
        table.add_row(
            *(row["way"], row["load"], row["who"]),
            *(f"{per_turn[key]:.2f}" if key in per_turn else "–" for key in COUNTS),
            f"{row['instructions'] / 1e6:.2f}" if "instructions" in row else "–",
            "/".join(str(each) for each in counts.get("collections", ())) or "–",
            f"{counts['longestPauseMs']:.1f}" if counts else "–",
        )
    return table


def memory_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return what idle things keep as a table for people."""
    table = Table(box=SIMPLE_HEAD, title="What is kept, and what it takes to arrive")
    table.add_column("way")
    table.add_column("who")
    for title in (
        "calls",
        "kB an idle call",
        "kB a client session",
        "seconds to accept all",
        "CPU ms a call",
        "MB in all",
    ):
        table.add_column(title, justify="right")
    for row in rows:
        figures = [
            row[key] for key in ("kbAnIdleCall", "kbAClientSession", "acceptSeconds", "cpuMsACall", "residentMb")
        ]
        table.add_row(row["way"], row["who"], f"{row['calls']:,}", *map(_figure, figures))
    return table


def history_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return the CPU of a turn by the length of its history as a table for people."""
    lines = sorted({int(row["lines"]) for row in rows})
    table = Table(box=SIMPLE_HEAD, title="CPU of a turn (ms), by lines of its call so far")
    table.add_column("way")
    table.add_column("who")
    for each in lines:
        table.add_column(str(each), justify="right")
    for key in dict.fromkeys((row["way"], row["who"]) for row in rows):
        table.add_row(*key, *(_figure(row["cpuMs"]) for row in rows if (row["way"], row["who"]) == key))
    return table


def profile_table(result: Mapping[str, Any]) -> Table:
    """Return the budget by layer as a table for people."""
    table = Table(
        box=SIMPLE_HEAD,
        title=f"The budget by layer: {result['way']}, {result['load']}, {result['turns']:,} turns",
        caption="Machinery: how much of a layer is Trio, anyio, contextlib. The looking itself takes some percent.",
    )
    table.add_column("layer")
    for title in ("share", "ms a turn", "machinery"):
        table.add_column(title, justify="right")
    table.add_column("of it, in percent of all")
    for layer in result["layers"]:
        parts = ", ".join(f"{name} {share * 100:.1f}" for name, share in layer["parts"].items())
        share, machinery = f"{layer['share']:.1%}", f"{layer['ofItMachinery']:.0%}"
        table.add_row(layer["layer"], share, f"{layer['msATurn']:.3f}", machinery, parts)
    return table


def tail_tables(result: Mapping[str, Any]) -> Sequence[Table]:
    """Return what the usual and the slowest turns are made of as tables for people."""
    turn = result["turnMs"]
    pauses = ", ".join(
        f"{each['count']} of generation {generation}, at most {each['longestMs']:.1f} ms"
        for generation, each in enumerate(result["pauses"])
    )
    title = f"Where the p99 goes: {result['way']}, {result['load']}, {result['turns']:,} turns"
    longest = f"The journal's longest batch took {result['longestBatchMs']:.1f} ms."
    captions = [
        f"p50 {turn['p50']:.1f}, p95 {turn['p95']:.1f}, p99 {turn['p99']:.1f} ms, probe included. Collector: {pauses}.",
        f"Mean ms of the middle tenth and of the {result['slow']} slowest. {longest}",
    ]
    if result["notSeenWhole"]:
        captions[1] += f" {result['notSeenWhole']} turns were not seen whole."
    tables = []
    for name, rows, caption in zip(("kind", "stage"), (result["kinds"], result["stages"]), captions, strict=True):
        total = sum(slow for _usual, slow in rows.values())
        table = Table(box=SIMPLE_HEAD, title=title, caption=caption)
        table.add_column(name)
        for column in ("usual", "slowest 1 %", "share"):
            table.add_column(column, justify="right")
        for each, (usual, slow) in rows.items():
            table.add_row(each, f"{usual:.2f}", f"{slow:.2f}", f"{slow / total:.0%}" if total else "–")
        tables.append(table)
    return tables


def console_tables(result: Mapping[str, Any]) -> Sequence[Table]:
    """Return what it costs that somebody looks, and what is looked at, as tables for people."""
    who = f"{result['readers']} readers{' and a browser' if result['browser'] else ''}"
    generator = f"{result['generator']:.0%}{' !' if result['generator'] >= BUSY else ''}"
    table = Table(
        box=SIMPLE_HEAD,
        title=f"What it costs to look: {result['calls']} calls, {who} against nobody, {result['turns']:,} turns",
        caption=f"Medians of the rounds; compared each with those around it: median (least to most), ! above its aim. "
        f"Lost or mixed up: {result['lost']}. Generator: {generator}.",
    )
    for title in ("", "alone", "watched", "compared", "aim"):
        table.add_column(title, justify="right" if title else "left", no_wrap=True)
    for row in result["figures"]:
        sign = "{:+.2f}" if row["isDifference"] else "×{:.2f}"
        least, middle, most = (sign.format(each) for each in row["compared"] or (0, 0, 0))
        compared = f"{middle} ({least} to {most})" if row["compared"] else ""
        missed = " !" if row["isMissed"] else ""
        aim = "" if row["aim"] is None else sign.format(row["aim"]) if row["compared"] else _figure(row["aim"])
        table.add_row(row["name"], _figure(row["alone"]), _figure(row["watched"]), f"{compared}{missed}", aim)
    views = Table(
        box=SIMPLE_HEAD, title="What is looked at", caption="Of each reader; what has not changed is not sent."
    )
    for title in ("view", "readers", "views", "events/s", "kB an event"):
        views.add_column(title, justify="left" if title == "view" else "right")
    for name, view in result["views"].items():
        views.add_row(name, *map(_figure, (view[key] for key in ("readers", "views", "eventsPerSecond", "kbAnEvent"))))
    return [table, views]


def plain_table(title: str, result: Mapping[str, Any]) -> Table:
    """Return what came of something as a table of names and values."""
    table = Table(box=SIMPLE_HEAD, title=title, show_header=False)
    for name, value in result.items():
        shown = value if not isinstance(value, dict) else ", ".join(f"{key} {each}" for key, each in value.items())
        table.add_row(name, _figure(shown) if isinstance(shown, float) else str(shown or 0))
    return table


def _figure(value: float | None) -> str:
    """Return a number as people read it."""
    return "–" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
