"""`relay messages`: read what callers left, without delivering it."""

from __future__ import annotations

from typing import Any

import click

from relay.commands.opened import require_agent, with_database
from relay.config import Settings
from relay.errors import RelayError
from relay.printing import json_option, print_json, print_record, print_table
from relay.store.database import Database
from relay.store.message_record import MessageStatus, WaitingMessage
from relay.store.waiting_messages import WaitingMessages


@click.group()
def messages() -> None:
    """Read what callers left for the agents."""


@messages.command("list")
@click.option("--agent", metavar="ID", help="Only this agent's.")
@click.option("--status", type=click.Choice([each.value for each in MessageStatus]), help="Only those of this status.")
@json_option
def list_messages(agent: str | None, status: str | None, as_json: bool) -> None:
    """List the messages, oldest first. Looking at them changes nothing."""

    async def work(database: Database, _settings: Settings) -> list[dict[str, Any]]:
        wanted = None if status is None else MessageStatus(status)
        listed = await WaitingMessages(database).list_all(agent, wanted)
        if not listed:
            await require_agent(database, agent)
        return [_message(each) for each in listed]

    found = with_database(work)
    if as_json:
        print_json({"messages": found})
    else:
        columns = ["id", "agentId", "status", "reason", "from", "createdAt", "body", "preferences"]
        print_table(found, columns, empty="No messages.")


@messages.command("show")
@click.argument("message_id", metavar="ID")
@json_option
def show_message(message_id: str, as_json: bool) -> None:
    """Show one message with its transcript."""

    async def work(database: Database, _settings: Settings) -> dict[str, Any]:
        found = await WaitingMessages(database).get(message_id)
        if found is None:
            raise RelayError(f"There is no message {message_id!r}. See those that there are with: relay messages list")
        return _message(found)

    print_record(with_database(work), as_json=as_json)


def _message(message: WaitingMessage) -> dict[str, Any]:
    return message.as_json() | {"status": message.status.value}
