"""`relay top`: the calls that are going on, as a screen that keeps itself up to date, or once as a table."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING

import click

from relay.cli.printing import example, json_option, print_json, print_table, printable
from relay.cli.watching.options import entrance_options

if TYPE_CHECKING:
    from relay.cli.watching.console_api import State
    from relay.cli.watching.entrance import Entrance
    from relay.errors import RelayError

# On a narrow terminal: who calls, who answers, what was said last.
_NARROW = ("call", "caller", "answering", "for")


@click.command(epilog=example("relay top", "relay top --once --json | jq '.calls[].from'"))
@click.option("--once", is_flag=True, help="Print one table, and end; so it is without a terminal, too.")
@entrance_options
@json_option
def top(*, once: bool, url: str | None, operator: str | None, as_json: bool) -> None:
    """Show the calls that are going on, and who answers them.

    Enter opens a call: what was said, the times of its turns, what was decided. In it, with the role act, s says
    something, t takes it over or hands it back, x transfers it, h hangs up. / filters, ? lists the keys, q quits.
    Needs an operator: on the daemon's machine the command signs in by itself, for as long as it runs.
    """
    from relay.cli.watching.entrance import entered

    gc.enable()
    with entered(url, operator) as entrance:
        if once or as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
            import trio

            _print(trio.run(_look, entrance), as_json=as_json)
        # Textual takes as long to import as all the rest.
        elif trouble := _show(entrance):
            raise trouble


async def _look(entrance: Entrance) -> State:
    from relay.cli.watching.console_api import LIVE, Lost, console_api
    from relay.errors import RelayError

    async with console_api(entrance) as api:
        try:
            state = await api.get(LIVE)
            return {**state, "page": 1, "pages": 1, "calls": [*state["calls"], *await api.later_pages(state)]}
        except Lost as lost:
            raise RelayError(f"{lost}.") from lost


def _print(state: State, *, as_json: bool) -> None:
    from datetime import UTC, datetime

    from relay.cli.watching import shown
    from relay.cli.watching.tail_report import short

    if as_json:
        print_json(state)
        return
    now = datetime.now(UTC)
    click.echo(shown.facts(state, now))
    if state["banner"]:
        click.echo(printable(state["banner"]), err=True)
    names = ("call", *(each.lower() for each in shown.COLUMNS))
    rows = [
        dict(zip(names, (short(each["callSid"]), *map(str, shown.row(each, now))), strict=True))
        for each in state["calls"]
    ]
    print_table(rows, names, empty="No live calls.", narrow=_NARROW, whole="a pipe or --json")


def _show(entrance: Entrance) -> RelayError | None:
    """Show the screen until the reader quits; return why it ended otherwise."""
    import asyncio

    from relay.cli.watching.console_api import Lost, console_api
    from relay.cli.watching.top_screen import Top
    from relay.errors import RelayError

    async def run() -> RelayError | None:
        async with console_api(entrance) as api:
            try:
                me = await api.me()
            except Lost as lost:
                return RelayError(f"{lost}.")
            app = Top(api, me)
            await app.run_async()
            return app.trouble

    return asyncio.run(run())
