"""`relay dnc`: the do-not-call list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from relay.cli.groups import HelpGroup
from relay.cli.opened_database import require_agent, with_database
from relay.cli.printing import example, json_option, print_json, print_table
from relay.errors import RelayError

if TYPE_CHECKING:
    from relay.settings import Settings
    from relay.store.database import Database


@click.group(cls=HelpGroup, epilog=example("relay dnc add +14155552671 --reason 'asked on the telephone'"))
def dnc() -> None:
    """Keep the list of numbers that must not be called."""


@dnc.command("add", epilog=example("relay dnc add +14155552671 --reason 'asked on the telephone'"))
@click.argument("number")
@click.option("--agent", metavar="ID", help="Only this agent must not call it, instead of all.")
@click.option("--reason", metavar="TEXT", default="", help="Why; kept with the entry.")
@json_option
def add_number(number: str, agent: str | None, reason: str, as_json: bool) -> None:
    """Put a number on the list. It holds from the next call on; one that is up goes on."""
    from relay.dialling.numbers import normalise
    from relay.store.do_not_call import DoNotCallList

    e164 = normalise(number)

    async def work(database: Database, _settings: Settings) -> bool:
        await require_agent(database, agent)
        return await DoNotCallList(database).add(e164, agent_id=agent, reason=reason, added_by="operator")

    added = with_database(work, creates=True)
    if as_json:
        print_json({"number": e164, "agentId": agent, "added": added})
    else:
        click.echo(f"{e164} {'is' if added else 'was already'} on the list of {_whose(agent)}.")


@dnc.command("remove", epilog=example("relay dnc remove +14155552671"))
@click.argument("number")
@click.option("--agent", metavar="ID", help="Take it off this agent's list, instead of off that for all.")
@json_option
def remove_number(number: str, agent: str | None, as_json: bool) -> None:
    """Take a number off the list."""
    from relay.dialling.numbers import normalise
    from relay.store.do_not_call import DoNotCallList

    e164 = normalise(number)

    async def work(database: Database, _settings: Settings) -> None:
        if not await DoNotCallList(database).remove(e164, agent_id=agent):
            raise RelayError(f"{e164} is not on the list of {_whose(agent)}. See what is with: relay dnc list")

    with_database(work)
    if as_json:
        print_json({"number": e164, "agentId": agent, "removed": True})
    else:
        click.echo(f"{e164} is no longer on the list of {_whose(agent)}.")


@dnc.command("list", epilog=example("relay dnc list"))
@click.option("--agent", metavar="ID", help="Only what holds for this agent.")
@json_option
def list_numbers(agent: str | None, as_json: bool) -> None:
    """List the numbers, newest first."""

    from relay.store.do_not_call import DoNotCallList

    async def work(database: Database, _settings: Settings) -> list[dict[str, Any]]:
        listed = await DoNotCallList(database).list_all(agent)
        if not listed:
            await require_agent(database, agent)
        return [each.as_json() for each in listed]

    found = with_database(work)
    if as_json:
        print_json({"numbers": found})
    else:
        print_table(
            found,
            ["number", "agentId", "addedAt", "addedBy", "reason"],
            empty="No numbers. Every number may be called.",
        )


def _whose(agent: str | None) -> str:
    return "all agents" if agent is None else f"agent {agent}"
