"""`relay calls`: look at the records of calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from actors.call_record import CallState
from relay.cli.groups import HelpGroup
from relay.cli.opened_database import find_id, require_agent, with_database
from relay.cli.printing import example, json_option, print_json, print_record, print_table

if TYPE_CHECKING:
    from actors.call_record import CallRecord
    from actors.call_values import Line
    from relay.settings import Settings
    from relay.store.database import Database

# Who picked up, what was answered and what the carrier says are for `show`: a row must fit a screen.
_COLUMNS = ("callSid", "agentId", "kind", "direction", "from", "to", "state", "startedAt", "durationSeconds", "outcome")


# With these a row fits 80 columns: a call SID alone has 34 characters.
_NARROW = ("callSid", "from", "state", "outcome")
# An id that is not whole is looked for among so many of the newest.
MOST_LOOKED_THROUGH = 10_000


@click.group(cls=HelpGroup, epilog=example("relay calls list --state live"))
def calls() -> None:
    """Look at the records of calls."""


@calls.command("list", epilog=example("relay calls list --state live"))
@click.option("--agent", metavar="ID", help="Only this agent's.")
@click.option("--state", type=click.Choice([each.value for each in CallState]), help="Only those of this state.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many.")
@json_option
def list_calls(agent: str | None, state: str | None, limit: int, as_json: bool) -> None:
    """List the calls, newest first."""

    from relay.store.call_journal import CallJournal
    from relay.store.call_record import record_as_json

    async def work(database: Database, _settings: Settings) -> list[dict[str, Any]]:
        wanted = None if state is None else CallState(state)
        listed = await CallJournal(database).list_calls(agent, wanted, limit)
        if not listed:
            await require_agent(database, agent)
        return [record_as_json(each) for each in listed]

    found = with_database(work)
    if as_json:
        print_json({"calls": found})
    else:
        print_table(found, _COLUMNS, empty="No calls.", narrow=_NARROW)


@calls.command("show", epilog=example("relay calls show CA3f"))
@click.argument("call_sid", metavar="SID")
@json_option
def show_call(call_sid: str, as_json: bool) -> None:
    """Show the record of one call, and what was said in it where that was kept."""

    from relay.store.call_journal import CallJournal
    from relay.store.call_record import record_as_json
    from relay.store.transcripts import lines_as_json

    async def work(database: Database, _settings: Settings) -> tuple[CallRecord, tuple[Line, ...]]:
        journal = CallJournal(database)
        found = await journal.get(call_sid)
        if found is None:
            known = [each.call_sid for each in await journal.list_calls(None, None, MOST_LOOKED_THROUGH)]
            sid = find_id(call_sid, known, what="call", command="relay calls list")
            found = await journal.get(sid)
        assert found is not None
        return found, await journal.transcript(found.call_sid)

    record, transcript = with_database(work)
    shown = record_as_json(record)
    if transcript or as_json:
        shown["transcript"] = lines_as_json(transcript)
    print_record(shown, as_json=as_json)
