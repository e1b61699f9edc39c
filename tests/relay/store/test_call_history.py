"""The calls as an operator searches them, on both engines."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import product

import attrs
import pytest
from sqlalchemy import insert, select

from actors.call_record import CallKind, CallRecord, CarrierStatus
from actors.call_values import CallOutcome, Direction
from relay.store.call_history import OUTCOME, CallFilter, CallHistory, Day, Place
from relay.store.call_record import row_of
from relay.store.database import Database
from relay.store.schema import call_turns, calls
from tests.fakes_store import WallClock

BEGAN = WallClock().time
CALL = CallRecord(
    call_sid="CA1",
    agent_id="anna",
    direction=Direction.INBOUND,
    caller="+14155550123",
    called="+15551230002",
    started_at=BEGAN,
    connected_at=BEGAN,
    line_ended_at=BEGAN,
    ended_at=BEGAN,
    line_outcome=CallOutcome.COMPLETED,
    line_seconds=12.0,
)


@pytest.fixture
def history(database: Database) -> CallHistory:
    return CallHistory(database)


async def store(history: CallHistory, *records: CallRecord) -> None:
    rows = [row_of(each) | {"boot": "b", "attempt": 0} for each in records]
    await history.database.write(lambda connection: connection.execute(insert(calls), rows))


async def found(history: CallHistory, wanted: CallFilter) -> list[str]:
    return [each.call_sid for each in (await history.page(wanted)).calls]


async def test_an_outcome_is_that_of_the_record(history: CallHistory) -> None:
    """What the database says of every kind of record is what the record itself says."""
    kinds = product(CallKind, [None, *CallOutcome], [None, *CarrierStatus], [None, BEGAN])
    records = [
        attrs.evolve(CALL, call_sid=f"CA{number}", kind=kind, line_outcome=line, carrier_status=status, connected_at=at)
        for number, (kind, line, status, at) in enumerate(kinds)
    ]
    await store(history, *records)
    wanted = select(calls.c.call_sid, OUTCOME.label("outcome"))
    said = await history.database.read_many(
        lambda connection: {row.call_sid: row.outcome for row in connection.execute(wanted)}
    )
    assert said == {each.call_sid: each.outcome for each in records}
    unknown = (await history.page(CallFilter(is_unknown=True), rows=1000)).calls
    assert {each.call_sid for each in unknown} == {each.call_sid for each in records if each.outcome is None}


@pytest.mark.parametrize(
    ("number", "finds"),
    [
        ("555012", True),
        ("+1415", True),
        ("230002", True),
        ("%", False),
        ("_", False),
        ("555%", False),
        ("\\", False),
        ("'; DROP TABLE calls; --", False),
        ("\x00\ud800", False),
    ],
)
async def test_by_number(history: CallHistory, number: str, finds: bool) -> None:
    """A part of either number; signs that SQL knows are themselves."""
    await store(history, CALL)
    assert bool(await found(history, CallFilter(number=number))) is finds


async def test_by_agent_outcome_and_time(history: CallHistory) -> None:
    """Each narrows what the others let through; the end of a time is not in it."""
    busy = attrs.evolve(
        CALL, call_sid="CA2", agent_id="ben", line_outcome=None, connected_at=None, carrier_status=CarrierStatus.BUSY
    )
    later = attrs.evolve(CALL, call_sid="CA3", started_at=BEGAN + timedelta(days=1))
    await store(history, CALL, busy, later)
    assert await found(history, CallFilter(agent_id="ben")) == ["CA2"]
    assert await found(history, CallFilter(outcome=CallOutcome.BUSY)) == ["CA2"]
    assert await found(history, CallFilter(outcome=CallOutcome.BUSY, agent_id="anna")) == []
    assert await found(history, CallFilter(since=BEGAN + timedelta(days=1))) == ["CA3"]
    assert await found(history, CallFilter(until=BEGAN + timedelta(days=1))) == ["CA2", "CA1"]
    assert await found(history, CallFilter(since=BEGAN + timedelta(days=2), until=BEGAN)) == []


async def test_pages_follow_without_a_gap(history: CallHistory) -> None:
    """Calls of one moment are neither left out nor shown twice; beyond the end there is nothing."""
    records = [attrs.evolve(CALL, call_sid=f"CA{n}", started_at=BEGAN + timedelta(seconds=n // 3)) for n in range(7)]
    await store(history, *records)
    seen, place = [], None
    for _ in range(4):
        page = await history.page(CallFilter(), after=place, rows=2)
        seen += [each.call_sid for each in page.calls]
        place = page.next
    assert seen == [f"CA{n}" for n in (6, 5, 4, 3, 2, 1, 0)]
    assert place is None


async def test_a_place_may_be_anything(history: CallHistory) -> None:
    """It stands in an address: what no database takes is a place like any other."""
    await store(history, CALL)
    page = await history.page(CallFilter(), after=Place(BEGAN + timedelta(days=1), "a\0b"))
    assert [each.call_sid for each in page.calls] == [CALL.call_sid]


async def test_days(history: CallHistory) -> None:
    """Calls by outcome and day of UTC, and percentiles of the first words by nearest rank."""
    late = datetime.fromisoformat("2026-11-22T23:59:59.999999+00:00")
    records = [
        CALL,
        attrs.evolve(CALL, call_sid="CA2", started_at=late, line_outcome=CallOutcome.FAILED),
        attrs.evolve(CALL, call_sid="CA3", started_at=late + timedelta(microseconds=1), line_outcome=None),
    ]
    await store(history, *records)
    turns = [
        {
            "call_sid": "CA1",
            "turn": n,
            "by": "client",
            "outcome": "spoken",
            "arrived_ms": 1000.0,
            "out_ms": 1000.0 + n * 10,
        }
        for n in range(1, 21)
    ]
    turns.append({"call_sid": "CA2", "turn": 1, "by": "client", "outcome": None, "arrived_ms": 5.0, "out_ms": None})
    await history.database.write(lambda connection: connection.execute(insert(call_turns), turns))
    assert await history.days(CallFilter()) == (
        Day(day="2026-11-22", outcomes={"completed": 1, "failed": 1}, turns=20, p50=100.0, p95=190.0),
        Day(day="2026-11-23", outcomes={"": 1}),
    )
    assert await history.days(CallFilter(outcome=CallOutcome.FAILED)) == (
        Day(day="2026-11-22", outcomes={"failed": 1}),
    )
    assert await history.days(CallFilter(number="%")) == ()
