#!/usr/bin/env python3
"""Draw the states of a call, and of its transfer, from the tables that the code obeys, as Mermaid.

    scripts/state_diagram.py            print the diagrams
    scripts/state_diagram.py --write    put them into docs/states.md
    scripts/state_diagram.py --check    exit with 1 when docs/states.md shows others

Run it with the project's environment: .venv/bin/python scripts/state_diagram.py …
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import click

from actors.phases import TRANSITIONS, Phase
from actors.transfer import MOVES, Stage

_State = TypeVar("_State", bound=StrEnum)

PAGE = Path(__file__).parents[1] / "docs" / "states.md"
# The table has moves only; the test holds these against a machine that was just made.
STARTS = {Phase.CLIENT_LISTENING: "connected", Phase.SCREENING: "connected, to be screened"}
STARTS_OF_TRANSFER = {Stage.CHECKING: "requested"}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--write", "wanted", flag_value="write", help="Put the diagrams into the page, between their markers.")
@click.option("--check", "wanted", flag_value="check", help="Exit with 1 when the page shows other diagrams.")
@click.option(
    "--page", type=click.Path(path_type=Path, dir_okay=False), default=PAGE, help="The page. [default: docs/states.md]"
)
def main(wanted: str | None, page: Path) -> None:
    """Print the states of a call, and of its transfer, and the moves between them as Mermaid diagrams."""
    if wanted is None:
        click.echo("\n\n".join(diagrams().values()))
        return
    try:
        there = page.read_text(encoding="utf-8")
        current = with_diagrams(there)
    except (OSError, ValueError) as error:
        raise click.ClickException(f"{page} cannot be used: {error}") from error
    if wanted == "write":
        page.write_text(current, encoding="utf-8")
    elif there != current:
        click.echo(f"{page} is out of date; run scripts/state_diagram.py --write", err=True)
        sys.exit(1)


def arrows() -> dict[tuple[Phase, Phase], str]:
    """Return every move of the table, from where to where, with the events that may lead there in words."""
    found: dict[tuple[Phase, Phase], list[str]] = {}
    for phase, row in TRANSITIONS.items():
        for event, moves in row.items():
            for target in moves or ():
                found.setdefault((phase, target), []).append(re.sub("(?<=.)(?=[A-Z])", " ", event.__name__).lower())
    return {move: ", ".join(events) for move, events in found.items()}


def arrows_of_transfer() -> dict[tuple[Stage, Stage], str]:
    """Return every move of a transfer, from where to where, with its occasion."""
    return {(stage, target): occasion for stage, row in MOVES.items() for target, occasion in row.items()}


def diagrams() -> dict[str, str]:
    """Return the diagrams, by the name that is in their markers."""
    return {
        "states": _draw(Phase, STARTS, arrows()),
        "transfer": _draw(Stage, STARTS_OF_TRANSFER, arrows_of_transfer()),
    }


def _draw(states: type[_State], starts: Mapping[_State, str], moves: Mapping[tuple[_State, _State], str]) -> str:
    """Return a diagram: one state a member, one arrow a move, with its label."""
    order = list(states)
    ordered = sorted(moves.items(), key=lambda each: [order.index(state) for state in each[0]])
    begun = {state for state, _target in moves}
    return "\n".join(
        [
            "stateDiagram-v2",
            *(f'    state "{state}" as {state.name}' for state in order),
            *(f"    [*] --> {state.name}: {occasion}" for state, occasion in starts.items()),
            *(f"    {state.name} --> {target.name}: {label}" for (state, target), label in ordered),
            *(f"    {state.name} --> [*]" for state in order if state not in begun),
        ]
    )


def markers(name: str) -> tuple[str, str]:
    """Return what stands before and after a diagram in the page."""
    return f"<!-- {name}: made by scripts/state_diagram.py -->", f"<!-- {name}: end -->"


def with_diagrams(page: str) -> str:
    """Return the page with the diagrams between their markers. Raises `ValueError` when it has none of one."""
    for name, diagram in diagrams().items():
        begin, end = markers(name)
        before, found, rest = page.partition(begin)
        _old, closed, after = rest.partition(end)
        if not found or not closed:
            raise ValueError(f"it has no markers {begin} and {end}")
        page = f"{before}{begin}\n```mermaid\n{diagram}\n```\n{end}{after}"
    return page


if __name__ == "__main__":
    main()
