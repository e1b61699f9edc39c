"""`relay operators`: who may use the console, and what they did there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from relay.cli.groups import HelpGroup
from relay.cli.opened_database import with_database
from relay.cli.printing import example, json_option, print_json, print_record, print_table

if TYPE_CHECKING:
    from relay.settings import Settings
    from relay.store.database import Database
    from relay.store.operator_actions import RecordedAction

# As `Role` has them: with it SQLAlchemy would be loaded for a help text.
ROLES = ("read", "act")
_NARROW = ("at", "operator", "action", "outcome")


@click.group(cls=HelpGroup, epilog=example("relay operators add ada --role act", "relay console"))
def operators() -> None:
    """Add and remove who may use the console, and look at what they did."""


@operators.command("add", epilog=example("relay operators add ada --role act"))
@click.argument("name", metavar="NAME")
@click.option(
    "--role",
    type=click.Choice(ROLES),
    required=True,
    help="read: look at everything. act: also speak, take over, transfer, hang up.",
)
@json_option
def add_operator(name: str, role: str, as_json: bool) -> None:
    """Register an operator and print its token, which is shown only now."""
    from relay.store.operators import Operators, Role

    async def work(database: Database, settings: Settings) -> dict[str, str]:
        _operator, token = await Operators(database).add(name, Role(role))
        return _access(settings, name, role, token)

    _print_access(with_database(work, creates=True), as_json=as_json)


@operators.command("rotate", epilog=example("relay operators rotate ada"))
@click.argument("name", metavar="NAME")
@json_option
def rotate_operator(name: str, as_json: bool) -> None:
    """Replace an operator's token; the old one, and its sessions, are invalid from then on."""
    from relay.store.operators import Operators

    async def work(database: Database, settings: Settings) -> dict[str, str]:
        operators = Operators(database)
        token = await operators.rotate(name)
        role = next((each.role.value for each in await operators.list() if each.name == name), "")
        return _access(settings, name, role, token)

    _print_access(with_database(work), as_json=as_json)


@operators.command("list", epilog=example("relay operators list"))
@json_option
def list_operators(as_json: bool) -> None:
    """List the operators."""
    from relay.store.operators import Operators
    from relay.store.schema import timestamp

    async def work(database: Database, _settings: Settings) -> list[dict[str, Any]]:
        return [
            {
                "name": each.name,
                "role": each.role.value,
                "createdAt": timestamp(each.created_at),
                "lastSignIn": None if each.last_sign_in is None else timestamp(each.last_sign_in),
            }
            for each in await Operators(database).list()
        ]

    found = with_database(work)
    if as_json:
        print_json({"operators": found})
    else:
        columns = ["name", "role", "createdAt", "lastSignIn"]
        print_table(found, columns, empty="No operators. Add one with: relay operators add NAME --role act")


@operators.command("remove", epilog=example("relay operators remove ada"))
@click.argument("name", metavar="NAME")
@json_option
def remove_operator(name: str, as_json: bool) -> None:
    """Shut an operator out, at once. What is on record of it stays."""
    from relay.store.operators import Operators

    async def work(database: Database, _settings: Settings) -> None:
        await Operators(database).remove(name)

    with_database(work)
    if as_json:
        print_json({"removed": name})
    else:
        click.echo(f"Operator {name} is removed.")


@operators.command("log", epilog=example("relay operators log", "relay operators log --call CA… --json"))
@click.option("--operator", "operator", metavar="NAME", help="What this operator did.")
@click.option("--call", "call_sid", metavar="SID", help="What was done in this call.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="The newest so many.")
@json_option
def show_log(operator: str | None, call_sid: str | None, limit: int, as_json: bool) -> None:
    """Show what operators did, newest last: sign-ins, and every action with its outcome.

    Numbers stand in it as in the records of calls, and what was said does not.
    """
    from relay.store.operator_actions import OperatorActions

    async def work(database: Database, _settings: Settings) -> list[dict[str, Any]]:
        found = await OperatorActions(database).list(operator=operator, call_sid=call_sid, limit=limit)
        return [_described(each) for each in reversed(found)]

    found = with_database(work)
    if as_json:
        print_json({"actions": found})
    else:
        columns = ["at", "operator", "action", "agentId", "callSid", "outcome", "detail"]
        print_table(found, columns, empty="Nothing is on record.", narrow=_NARROW, whole="--json")


def _described(recorded: RecordedAction) -> dict[str, Any]:
    from relay.store.schema import timestamp

    return {
        "at": timestamp(recorded.at),
        "operator": recorded.action.operator,
        "action": recorded.action.name,
        "agentId": recorded.action.agent_id,
        "callSid": recorded.action.call_sid,
        "outcome": recorded.outcome,
        "detail": recorded.action.detail,
    }


def _access(settings: Settings, name: str, role: str, token: str) -> dict[str, str]:
    from relay.daemon.address import find_daemon

    daemon = find_daemon(settings.database_url)
    origin = settings.public_url or f"http://{settings.relay_host}:{settings.relay_port}"
    return {
        "name": name,
        "role": role,
        "token": token,
        "console": f"{origin if daemon is None else daemon.url}/console",
    }


def _print_access(access: dict[str, str], *, as_json: bool) -> None:
    if not as_json:
        click.echo("Keep the token: it is not shown again. On this machine `relay console` signs in without it.\n")
    print_record(access, as_json=as_json)
