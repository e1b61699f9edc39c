"""`relay messages`: read what callers left, confirm it in the client's place, take it along."""

from __future__ import annotations

import csv
import sys
from typing import TYPE_CHECKING, Any

import click

from relay.cli.groups import HelpGroup
from relay.cli.opened_database import find_id, require_agent, with_database
from relay.cli.printing import example, json_option, print_json, print_record, print_table
from relay.spreadsheets import without_formulas

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.settings import Settings
    from relay.store.database import Database
    from relay.store.message_record import WaitingMessage

# As `MessageStatus` has them: with it SQLAlchemy would be loaded for a help text.
STATUSES = ("waiting", "held", "acknowledged")

_LIST = "relay messages list"
_COLUMNS = ("id", "agentId", "status", "reason", "from", "createdAt", "body", "preferences")
_NARROW = ("id", "status", "from", "body")
_EXPORTED = (
    "id", "agentId", "status", "channel", "direction", "reason", "callSid", "from", "to", "createdAt", "deliveries",
    "body", "preferences", "transcript",
)  # fmt: skip

_agent = click.option("--agent", metavar="ID", help="Only this agent's.")
_status = click.option("--status", type=click.Choice(STATUSES), help="Only those of this status.")


@click.group(cls=HelpGroup, epilog=example("relay messages list --status waiting"))
def messages() -> None:
    """Read, confirm and export what callers left for the agents."""


@messages.command("list", epilog=example("relay messages list --agent my-client --status waiting"))
@_agent
@_status
@json_option
def list_messages(agent: str | None, status: str | None, as_json: bool) -> None:
    """List the messages, oldest first. Looking changes nothing."""
    found = [_message(each) for each in _listed(agent, status)]
    if as_json:
        print_json({"messages": found})
    else:
        print_table(found, _COLUMNS, empty="No messages.", narrow=_NARROW)


@messages.command("show", epilog=example("relay messages show msg_3f", "# as much of an id as tells it apart"))
@click.argument("message_id", metavar="ID")
@json_option
def show_message(message_id: str, as_json: bool) -> None:
    """Show one message with its transcript."""

    async def work(database: Database, _settings: Settings) -> dict[str, Any]:
        (found,) = await _named(database, [message_id])
        return _message(found)

    print_record(with_database(work), as_json=as_json)


@messages.command("confirm", epilog=example("relay messages confirm msg_3f msg_9a"))
@click.argument("message_ids", metavar="ID...", nargs=-1, required=True)
@json_option
def confirm_messages(message_ids: tuple[str, ...], as_json: bool) -> None:
    """Confirm messages, as their client would.

    They are not offered to the client any more. None is confirmed unless all are found. Repeating it is harmless.
    """
    from relay.store.waiting_messages import WaitingMessages

    async def work(database: Database, _settings: Settings) -> list[str]:
        found = await _named(database, message_ids)
        for each in found:
            await WaitingMessages(database).acknowledge(each.agent_id, [each.id], by="relay messages")
        return list(dict.fromkeys(each.id for each in found))

    confirmed = with_database(work)
    if as_json:
        print_json({"acknowledged": confirmed})
    else:
        for each in confirmed:
            click.echo(f"{each} is confirmed.")


@messages.command("export", epilog=example("relay messages export --csv > messages.csv"))
@_agent
@_status
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values, for a spreadsheet.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document (the default).")
def export_messages(agent: str | None, status: str | None, as_csv: bool, as_json: bool) -> None:
    """Print all messages whole, transcripts included. Changes nothing."""
    if as_csv and as_json:
        raise click.UsageError("give --csv or --json, not both")
    found = [_message(each) for each in _listed(agent, status)]
    if not as_csv:
        print_json({"messages": found})
        return
    writer = csv.DictWriter(sys.stdout, _EXPORTED, lineterminator="\r\n")  # RFC 4180, section 2
    writer.writeheader()
    for each in found:
        said = "\n".join(f"{line['speaker']}: {line['text']}" for line in each["transcript"])
        writer.writerow({name: without_formulas(str(value)) for name, value in (each | {"transcript": said}).items()})


def _listed(agent: str | None, status: str | None) -> Sequence[WaitingMessage]:
    from relay.store.message_record import MessageStatus
    from relay.store.waiting_messages import WaitingMessages

    async def work(database: Database, _settings: Settings) -> Sequence[WaitingMessage]:
        wanted = None if status is None else MessageStatus(status)
        listed = await WaitingMessages(database).list_all(agent, wanted)
        if not listed:
            await require_agent(database, agent)
        return listed

    return with_database(work)


async def _named(database: Database, given: Sequence[str]) -> list[WaitingMessage]:
    """Return the messages with these ids or beginnings of ids. Raises `RelayError` unless each is one message."""
    from relay.store.waiting_messages import WaitingMessages

    by_id = {each.id: each for each in await WaitingMessages(database).list_all()}
    return [by_id[find_id(each, list(by_id), what="message", command=_LIST)] for each in given]


def _message(message: WaitingMessage) -> dict[str, Any]:
    return message.as_json() | {"status": message.status.value}
