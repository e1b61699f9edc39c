"""`relay console`: a link that signs an operator in to the running daemon's console, once."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING
from urllib.parse import quote

import click

from relay.cli.opened_database import choose_operator, with_database
from relay.cli.origin import origin_option
from relay.cli.printing import example, json_option, print_json
from relay.errors import RelayError

if TYPE_CHECKING:
    from relay.settings import Settings
    from relay.store.database import Database

_SECONDS = 60


@click.command(epilog=example("relay console", "relay console ada --url https://relay.example"))
@click.argument("name", metavar="[NAME]", required=False)
@click.option(
    "--url",
    metavar="ORIGIN",
    callback=origin_option,
    help="Where your browser reaches the relay, if not at the daemon's own address.",
)
@click.option("--no-open", is_flag=True, help="Print the link only.")
@json_option
def console(name: str | None, url: str | None, no_open: bool, as_json: bool) -> None:
    """Print a link that signs you in to the console, and open it.

    NAME is the operator; it may be left out where there is only one. The link works once, within a minute.
    """
    from relay.daemon.address import find_daemon
    from relay.store.console_sessions import ConsoleSessions

    async def work(database: Database, settings: Settings) -> tuple[str, str]:
        operator = await choose_operator(database, name, how="relay console NAME")
        origin = url
        if origin is None:
            daemon = find_daemon(settings.database_url)
            if daemon is None:
                raise RelayError("No daemon serves this database. Start one with `relay serve`, or name it with --url.")
            origin = daemon.url
        link = await ConsoleSessions(database).make_link(operator)
        return operator, f"{origin}/console/sign-in?link={quote(link, safe='')}"

    operator, link = with_database(work)
    if as_json:
        print_json({"operator": operator, "url": link, "seconds": _SECONDS})
        return
    click.echo(link)
    click.echo(f"Signs {operator} in, once, within {_SECONDS} seconds.", err=True)
    if not no_open and _has_a_screen():
        click.launch(link)


def _has_a_screen() -> bool:
    """Return whether a browser would open in a window. In a terminal one would take the terminal over."""
    if not sys.stdout.isatty():
        return False
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
