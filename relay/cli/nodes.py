"""`relay nodes`: the daemons that share one database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from relay.cli.groups import HelpGroup
from relay.cli.opened_database import with_database
from relay.cli.printing import example, json_option, print_json, print_table

if TYPE_CHECKING:
    from relay.settings import Settings
    from relay.store.database import Database

_COLUMNS = ("node", "url", "version", "since", "seen", "homes", "calls", "leaving")


@click.group(cls=HelpGroup, epilog=example("relay nodes list"))
def nodes() -> None:
    """Look at the nodes of a cluster."""


@nodes.command("list", epilog=example("relay nodes list"))
@json_option
def list_nodes(as_json: bool) -> None:
    """List the nodes: how many agents are at home at each, how many calls it has, and when it was seen."""

    from relay.store.members import Members

    async def work(database: Database, _settings: Settings) -> list[dict[str, Any]]:
        return [each.as_json() for each in await Members(database).report()]

    found = with_database(work)
    if as_json:
        print_json({"nodes": found})
    else:
        rows = [
            each | {"seen": f"{each['seen']} s ago", "leaving": "yes" if each["leaving"] else "no"} for each in found
        ]
        print_table(rows, _COLUMNS, empty="No nodes. A daemon is one when it is started with RELAY_NODE_URL.")
