"""`relay tail`: what is said and decided in calls, as it happens."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import click

from relay.cli.printing import example
from relay.cli.watching.options import entrance_options

if TYPE_CHECKING:
    from relay.cli.watching.entrance import Entrance
    from relay.cli.watching.following import Wanted
    from relay.cli.watching.tail_report import Report

INTERRUPTED = 130
"""The exit status of a program that Ctrl-C has ended, as shells have it."""


@click.command(epilog=example("relay tail", "relay tail c2a8f1d3", "relay tail --agent my-client --json | jq -r .text"))
@click.argument("call", metavar="[CALL]", required=False)
@click.option("--agent", metavar="ID", help="The calls of this agent only.")
@click.option("--no-follow", is_flag=True, help="Print what is known of the calls by now, and end.")
@entrance_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def tail(
    *, call: str | None, agent: str | None, no_follow: bool, url: str | None, operator: str | None, as_json: bool
) -> None:
    """Print what is said and decided in calls, as it happens, line by line.

    CALL is a call SID, or the beginning of one that is going on: that call is printed from its beginning, until it is
    over. Without it all calls are followed from now on, until Ctrl-C, which exits 130. Times are UTC.
    """
    if call is not None and agent is not None:
        raise click.UsageError("give CALL or --agent, not both")
    # What it takes to sign in and to connect takes a while to import, which a help text need not wait for.
    import trio

    from relay.cli.one_line import in_one_line
    from relay.cli.watching.entrance import entered
    from relay.cli.watching.following import Wanted
    from relay.cli.watching.tail_report import JsonReport, PersonReport

    report = JsonReport() if as_json else PersonReport()
    wanted = Wanted(call=call, agent_id=agent or "", follows=not no_follow)
    gc.enable()
    try:
        with in_one_line(), entered(url, operator) as entrance:
            trio.run(_run, entrance, wanted, report)
    except KeyboardInterrupt:
        raise click.exceptions.Exit(INTERRUPTED) from None


async def _run(entrance: Entrance, wanted: Wanted, report: Report) -> None:
    from relay.cli.watching.console_api import console_api
    from relay.cli.watching.following import follow

    async with console_api(entrance) as api:
        await follow(api, wanted, report)
