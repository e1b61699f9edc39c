"""`relay calls`: look at the records of calls."""

from __future__ import annotations

from typing import Any

import click

from actors.messages import Line
from relay.commands.opened import require_agent, with_database
from relay.config import Settings
from relay.errors import RelayError
from relay.printing import json_option, print_json, print_record, print_table
from relay.store.call_journal import CallJournal
from relay.store.call_record import CallRecord, CallState
from relay.store.database import Database
from relay.store.transcripts import lines_as_json

# Who picked up, what was answered and what the carrier says are for `show`: a row must fit a screen.
_COLUMNS = ("callSid", "agentId", "kind", "direction", "from", "to", "state", "startedAt", "durationSeconds", "outcome")


@click.group()
def calls() -> None:
    """Look at the records of calls."""


@calls.command("list")
@click.option("--agent", metavar="ID", help="Only this agent's.")
@click.option("--state", type=click.Choice([each.value for each in CallState]), help="Only those of this state.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many.")
@json_option
def list_calls(agent: str | None, state: str | None, limit: int, as_json: bool) -> None:
    """List the calls, newest first."""

    async def work(database: Database, _settings: Settings) -> list[dict[str, Any]]:
        wanted = None if state is None else CallState(state)
        listed = await CallJournal(database).list_calls(agent, wanted, limit)
        if not listed:
            await require_agent(database, agent)
        return [each.as_json() for each in listed]

    found = with_database(work)
    if as_json:
        print_json({"calls": found})
    else:
        print_table(found, _COLUMNS, empty="No calls.")


@calls.command("show")
@click.argument("call_sid", metavar="SID")
@json_option
def show_call(call_sid: str, as_json: bool) -> None:
    """Show the record of one call, and what was said in it where that was kept."""

    async def work(database: Database, _settings: Settings) -> tuple[CallRecord, tuple[Line, ...]]:
        journal = CallJournal(database)
        found = await journal.get(call_sid)
        if found is None:
            raise RelayError(f"There is no call {call_sid!r}. See those that there are with: relay calls list")
        return found, await journal.transcript(call_sid)

    record, transcript = with_database(work)
    shown = record.as_json()
    if transcript or as_json:
        shown["transcript"] = lines_as_json(transcript)
    print_record(shown, as_json=as_json)
