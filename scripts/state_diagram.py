#!/usr/bin/env python3
"""Draw the states of a call from the table that the code obeys, as Mermaid.

    scripts/state_diagram.py            print the diagram
    scripts/state_diagram.py --write    put it into docs/states.md
    scripts/state_diagram.py --check    exit with 1 when docs/states.md shows another one

Run it with the project's environment: .venv/bin/python scripts/state_diagram.py …
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click

from actors.phases import TRANSITIONS, Phase

PAGE = Path(__file__).parents[1] / "docs" / "states.md"
# The table has moves only; the test holds these against a machine that was just made.
STARTS = {Phase.CLIENT_LISTENING: "connected", Phase.SCREENING: "connected, to be screened"}
BEGIN, END = "<!-- states: made by scripts/state_diagram.py -->", "<!-- states: end -->"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--write", "wanted", flag_value="write", help="Put the diagram into the page, between its markers.")
@click.option("--check", "wanted", flag_value="check", help="Exit with 1 when the page shows another diagram.")
@click.option(
    "--page", type=click.Path(path_type=Path, dir_okay=False), default=PAGE, help="The page. [default: docs/states.md]"
)
def main(wanted: str | None, page: Path) -> None:
    """Print the states of a call and the moves between them as a Mermaid diagram."""
    if wanted is None:
        click.echo(diagram())
        return
    try:
        there = page.read_text(encoding="utf-8")
        current = with_diagram(there)
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


def diagram() -> str:
    """Return the diagram: one state a phase, one arrow a move, labelled with the events that may cause it."""
    states = [f'    state "{phase}" as {phase.name}' for phase in Phase]
    order = list(Phase)
    moves = sorted(arrows().items(), key=lambda each: [order.index(phase) for phase in each[0]])
    lines = [f"    {phase.name} --> {target.name}: {events}" for (phase, target), events in moves]
    starts = [f"    [*] --> {phase.name}: {occasion}" for phase, occasion in STARTS.items()]
    ends = [f"    {phase.name} --> [*]" for phase in Phase if not any(TRANSITIONS[phase].values())]
    return "\n".join(["stateDiagram-v2", *states, *starts, *lines, *ends])


def with_diagram(page: str) -> str:
    """Return the page with the diagram between its markers. Raises `ValueError` when it has none."""
    between = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    if not between.search(page):
        raise ValueError(f"it has no markers {BEGIN} and {END}")
    return between.sub(lambda _old: f"{BEGIN}\n```mermaid\n{diagram()}\n```\n{END}", page, count=1)


if __name__ == "__main__":
    main()
