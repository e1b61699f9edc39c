"""The times of a call's turns, stored with its record and for as long."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest
from sqlalchemy import select

from actors.call_values import CallSummary
from actors.commands import By, TurnOutcome
from actors.errors import CallTaken
from actors.trace import TurnRow
from actors.turns import TURNS_PER_SESSION
from relay.store.call_journal import CallJournal
from relay.store.database import Database
from relay.store.retention import Retention
from relay.store.schema import call_turns
from tests.contracts.message_store import call
from tests.fakes_store import WallClock

DAY = 86_400.0
MOVED, COMPLETED = CallSummary(outcome="moved"), CallSummary(outcome="completed")


def turn(number: int, clock: WallClock, **times: int | None) -> TurnRow:
    answered: dict[str, int | None] = {
        "arrived_ms": 1000,
        "stored_ms": 1002,
        "asked_ms": 1003,
        "first_ms": 1413,
        "out_ms": 1414,
        "last_ms": 2000,
        "heard_ms": 4000,
    }
    return TurnRow(
        turn=number,
        by=By.CLIENT,
        outcome=TurnOutcome.ANSWERED,
        began=clock(),
        **(answered | times),  # type: ignore[arg-type]
    )


async def stored(database: Database) -> list[tuple[object, ...]]:
    wanted = select(call_turns).order_by(call_turns.c.call_sid, call_turns.c.turn)
    return [tuple(row) for row in await database.read_many(lambda connection: connection.execute(wanted).all())]


async def test_a_turn_s_times_count_from_the_opening_of_its_call(
    database: Database, journal: CallJournal, clock: WallClock
) -> None:
    """So those of all its sessions compare, whichever process had them; what did not happen is null."""
    await journal.open_call(call("CA1"))
    clock.turn(seconds=2)
    timed_out = attrs.evolve(
        turn(2, clock, first_ms=None, out_ms=None, heard_ms=None), outcome=TurnOutcome.CLIENT_TIMEOUT
    )
    await journal.close_call("CA1", COMPLETED, None, [turn(1, clock), timed_out])
    assert await stored(database) == [
        ("CA1", 1, "client", "answered", 3000, 3002, 3003, 3413, 3414, 4000, 6000),
        ("CA1", 2, "client", "client_timeout", 3000, 3002, 3003, None, None, 4000, None),
    ]


async def test_turns_are_stored_once(database: Database, journal: CallJournal, clock: WallClock) -> None:
    """Closing a session again changes nothing."""
    await journal.open_call(call("CA1"))
    for heard in (4000, 9000):
        await journal.close_call("CA1", COMPLETED, None, [turn(1, clock, heard_ms=heard)])
    ((*_turn, heard_ms),) = await stored(database)
    assert heard_ms == 4000


async def test_a_call_that_moved_keeps_its_earlier_turns(
    database: Database, journal: CallJournal, clock: WallClock
) -> None:
    """Also where the other run has opened it before this one could write: it is refused only the record."""
    await journal.begin_run()
    await journal.open_call(call("CA1"))
    await journal.close_call("CA1", MOVED, None, [turn(1, clock)])
    other = CallJournal(database, clock)
    await other.open_call(attrs.evolve(call("CA1"), attempt=1))
    with pytest.raises(CallTaken):
        await journal.close_call("CA1", COMPLETED, None, [turn(2, clock)])
    await other.close_call("CA1", COMPLETED, None, [turn(TURNS_PER_SESSION + 1, clock)])
    assert [row[1] for row in await stored(database)] == [1, 2, TURNS_PER_SESSION + 1]
    record = await other.get("CA1")
    assert record is not None
    assert record.outcome == "completed"


async def test_turns_of_an_unknown_call_are_not_stored(
    database: Database, journal: CallJournal, clock: WallClock
) -> None:
    """There is no record that they would belong to."""
    await journal.close_call("CA404", COMPLETED, None, [turn(1, clock)])
    assert await stored(database) == []


async def test_turns_are_deleted_with_their_call(database: Database, journal: CallJournal, clock: WallClock) -> None:
    """When it was kept for as long as calls are kept; those of later calls stay."""
    for sid in ("CA1", "CA2"):
        await journal.open_call(call(sid))
        await journal.close_call(sid, COMPLETED, None, [turn(1, clock)])
        clock.turn(seconds=DAY)
    purged = await Retention(database, clock).purge(clock() - timedelta(seconds=1.5 * DAY))
    assert purged.calls == 1
    assert [row[0] for row in await stored(database)] == ["CA2"]
