"""What commands print: a table or a record for people, one JSON document for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

WIDE = 140
"""Columns of a terminal that all columns of a table fit on, mostly."""

_LEAST_ROOM = 20
"""Columns; where fewer are left, it is the terminal that breaks the lines."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of a table.")


def print_json(value: object) -> None:
    """Print a value as one JSON document on standard output."""
    # Escaped to ASCII, so that no terminal or pipe encoding can stand in the way of what a caller said.
    click.echo(json.dumps(value, indent=2))


def print_beside(console: Console, head: Text, body: Text) -> None:
    """Print a body beside its head. On a terminal a long one goes on below its own beginning, and breaks between words.

    Elsewhere it is one line, for grep.
    """
    from rich.text import Text

    room = console.width - head.cell_len
    if console.is_terminal and room >= _LEAST_ROOM:
        lines = body.wrap(console, room)
        for line in lines:
            line.rstrip()
        body = Text("\n" + " " * head.cell_len).join(lines)
    console.print(Text.assemble(head, body), soft_wrap=True)


def warn(text: str) -> None:
    """Print a warning on standard error, where it spoils no data."""
    click.echo(f"Warning: {printable(text)}", err=True)


def print_record(record: dict[str, Any], *, as_json: bool) -> None:
    """Print one thing, a line for each of its fields; a list is a transcript of `at`, `speaker` and `text`."""
    if as_json:
        print_json(record)
        return
    width = max(len(name) for name in record) + 2
    for name, value in record.items():
        if isinstance(value, list):
            click.echo(name)
            for line in value:
                click.echo(printable(f"  {line['at']}  {line['speaker']}: {line['text']}"))
        else:
            click.echo(f"{name:<{width}}{_cell(value)}")


def print_table(
    records: Sequence[dict[str, Any]],
    columns: Sequence[str],
    *,
    empty: str,
    narrow: Sequence[str] = (),
    whole: str = "show ID or --json",
) -> None:
    """Print a row for each record, or the sentence `empty` when there is none. The first column is never cut or folded.

    `narrow` are the columns that fit a terminal of fewer than `WIDE` columns; the others are for wider ones and pipes.
    `whole` is how all of them can be seen anyway.
    """
    # A third of what most commands take to start, and needed by tables alone.
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not records:
        click.echo(empty)
        return
    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        # Not a terminal: a row stays one line for grep and cut, however long.
        console.width = 10_000
    shown = narrow if narrow and console.width < WIDE else columns
    table = Table(box=None, pad_edge=False)
    for index, name in enumerate(shown):
        # An id is for copying: whole, and on one line.
        table.add_column(
            name, no_wrap=index == 0, min_width=max(len(_cell(each[name])) for each in records) if index == 0 else None
        )
    for record in records:
        table.add_row(*(Text(_cell(record[name]), overflow="fold") for name in shown))
    console.print(table)
    if shown is not columns:
        hidden = len(columns) - len(shown)
        click.echo(f"(Narrow terminal: {hidden} columns are left out; {whole} has all.)", err=True)


def _cell(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {each}" for name, each in value.items())
    return "" if value is None else printable(str(value))


def example(*lines: str) -> str:
    """Return the end of a help text: commands that can be pasted. Not wrapped by click, which `\b` asks of it."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


def printable(text: str) -> str:
    """Replace control characters: what a caller said must not steer the operator's terminal."""
    return "".join(each if each.isprintable() else " " for each in text)
