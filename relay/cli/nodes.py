"""`relay nodes`: the daemons that share one database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import trio

from relay.cli.groups import HelpGroup
from relay.cli.opened_database import with_database
from relay.cli.printing import example, json_option, print_json, print_table

if TYPE_CHECKING:
    from relay.settings import Settings
    from relay.store.database import Database

# As long as nodes wait for each other.
_ANSWER_SECONDS = 1.5
_COLUMNS = ("node", "url", "version", "since", "seen", "homes", "calls", "leaving")


@click.group(cls=HelpGroup, epilog=example("relay nodes list"))
def nodes() -> None:
    """Look at the nodes of a cluster."""


@nodes.command("list", epilog=example("relay nodes list"))
@json_option
def list_nodes(as_json: bool) -> None:
    """List the nodes: how many agents are at home at each, how many calls it has, and when it was seen.

    On standard error is said of which nobody answers at its RELAY_NODE_URL, or another node.
    """

    from relay.cli.checks.nodes import ask_node
    from relay.store.members import Members, Node

    async def work(database: Database, _settings: Settings) -> tuple[list[dict[str, Any]], dict[str, str | None]]:
        reports = await Members(database).report()
        faults: dict[str, str | None] = {}

        async def ask(node: Node) -> None:
            faults[node.name] = f"{node.name} does not answer at {node.url}."
            with trio.move_on_after(_ANSWER_SECONDS):
                faults[node.name] = await ask_node(node)

        async with trio.open_nursery() as nursery:
            for report in reports:
                nursery.start_soon(ask, report.node)
        return [each.as_json() for each in reports], faults

    found, faults = with_database(work)
    for fault in sorted(filter(None, faults.values())):
        click.echo(fault, err=True)
    if as_json:
        print_json({"nodes": found})
    else:
        rows = [
            each | {"seen": f"{each['seen']} s ago", "leaving": "yes" if each["leaving"] else "no"} for each in found
        ]
        print_table(rows, _COLUMNS, empty="No nodes. A daemon is one when it is started with RELAY_NODE_URL.")
