"""What commands print: a table or a record for people, one JSON document for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of a table.")


def print_json(value: object) -> None:
    """Print a value as one JSON document on standard output."""
    # Escaped to ASCII, so that no terminal or pipe encoding can stand in the way of what a caller said.
    click.echo(json.dumps(value, indent=2))


def print_line(text: str) -> None:
    """Print one line, whatever is in the text."""
    click.echo(_printable(text))


def warn(text: str) -> None:
    """Print a warning on standard error, where it spoils no data."""
    click.echo(f"Warning: {_printable(text)}", err=True)


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
                click.echo(_printable(f"  {line['at']}  {line['speaker']}: {line['text']}"))
        else:
            click.echo(f"{name:<{width}}{_cell(value)}")


def print_table(records: Sequence[dict[str, Any]], columns: Sequence[str], *, empty: str) -> None:
    """Print a row for each record, or the sentence `empty` when there is none."""
    if not records:
        click.echo(empty)
        return
    table = Table(*columns, box=None, pad_edge=False)
    for record in records:
        table.add_row(*(Text(_cell(record[name]), overflow="fold") for name in columns))
    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        # Nobody looks: a row stays one line for grep and cut, however long.
        console.width = 10_000
    console.print(table)


def _cell(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {each}" for name, each in value.items())
    return "" if value is None else _printable(str(value))


def _printable(text: str) -> str:
    """Replace control characters: what a caller said must not steer the operator's terminal."""
    return "".join(each if each.isprintable() else " " for each in text)
