"""`relay consents`: who agreed to be called by which agent, for those who require it before they dial."""

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


@click.group(
    cls=HelpGroup, epilog=example("relay consents add +14155552671 --agent my-client --source 'form of 3 May 2026'")
)
def consents() -> None:
    """Record who agreed to be called."""


@consents.command(
    "add", epilog=example("relay consents add +14155552671 --agent my-client --source 'form of 3 May 2026'")
)
@click.argument("number")
@click.option("--agent", metavar="ID", required=True, help="The agent that may call.")
@click.option("--purpose", metavar="TEXT", help="What it may call for; any purpose unless given.")
@click.option("--source", metavar="TEXT", required=True, help="How the consent is known, such as 'form of 3 May 2026'.")
@json_option
def add_consent(number: str, agent: str, purpose: str | None, source: str, as_json: bool) -> None:
    """Record a consent."""
    from relay.dialling.numbers import normalise
    from relay.store.consents import ANY_PURPOSE, ConsentRegister

    e164 = normalise(number)
    purpose = ANY_PURPOSE if purpose is None else purpose

    async def work(database: Database, _settings: Settings) -> None:
        await require_agent(database, agent)
        await ConsentRegister(database).give(agent, e164, purpose=purpose, source=source, recorded_by="operator")

    with_database(work)
    if as_json:
        print_json({"number": e164, "agentId": agent, "purpose": purpose})
    else:
        click.echo(f"{e164} may be called by agent {agent}.")


@consents.command("withdraw", epilog=example("relay consents withdraw +14155552671 --agent my-client"))
@click.argument("number")
@click.option("--agent", metavar="ID", required=True, help="The agent that may call no longer.")
@click.option("--purpose", metavar="TEXT", help="Only the consent for this purpose, instead of all.")
@json_option
def withdraw_consent(number: str, agent: str, purpose: str | None, as_json: bool) -> None:
    """End a consent. It stays on record."""
    from relay.dialling.numbers import normalise
    from relay.store.consents import ConsentRegister

    e164 = normalise(number)

    async def work(database: Database, _settings: Settings) -> int:
        withdrawn = await ConsentRegister(database).withdraw(agent, e164, purpose=purpose)
        if not withdrawn:
            raise RelayError(
                f"No such consent is in force. See those on record with: relay consents list --agent {agent}"
            )
        return withdrawn

    withdrawn = with_database(work)
    if as_json:
        print_json({"number": e164, "agentId": agent, "withdrawn": withdrawn})
    else:
        click.echo(f"The consent of {e164} to calls of agent {agent} is withdrawn.")


@consents.command("list", epilog=example("relay consents list --agent my-client"))
@click.option("--agent", metavar="ID", help="Only those for this agent.")
@json_option
def list_consents(agent: str | None, as_json: bool) -> None:
    """List the consents, newest first, withdrawn ones included."""

    from relay.store.consents import ConsentRegister

    async def work(database: Database, _settings: Settings) -> list[dict[str, Any]]:
        listed = await ConsentRegister(database).list_all(agent)
        if not listed:
            await require_agent(database, agent)
        return [each.as_json() for each in listed]

    found = with_database(work)
    if as_json:
        print_json({"consents": found})
    else:
        columns = ["number", "agentId", "purpose", "source", "givenAt", "recordedBy", "withdrawnAt"]
        print_table(found, columns, empty="No consents.")
