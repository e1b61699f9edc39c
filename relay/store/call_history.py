"""The calls as an operator searches them: filtered, newest first, a page at a time; and what each day's came to.

A page is asked for by the call that the one before ended at, its time and its SID: calls that begin meanwhile move
nothing, and the last page of many is found as fast as the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs
from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    case,
    desc,
    func,
    literal,
    null,
    or_,
    select,
    tuple_,
)

from actors.call_record import CallKind, CallRecord, CarrierStatus
from actors.call_values import CallOutcome
from relay.store.call_record import record_of
from relay.store.database import Database
from relay.store.schema import call_turns, calls, storable

PAGE_ROWS = 50

# As `CallRecord.outcome` has it, which says why; a test compares the two.
_IS_OVER_FOR_CARRIER = func.coalesce(calls.c.carrier_status, "").in_(
    [each.value for each in CarrierStatus if each.is_over]
)
_HAD_LINE = calls.c.connected_at.is_not(None)
_UNANSWERED = {
    CarrierStatus.BUSY: CallOutcome.BUSY,
    CarrierStatus.NO_ANSWER: CallOutcome.NO_ANSWER,
    CarrierStatus.CANCELED: CallOutcome.CANCELED,
    CarrierStatus.FAILED: CallOutcome.FAILED,
}
OUTCOME: ColumnElement[str | None] = case(
    (or_(~_IS_OVER_FOR_CARRIER, and_(calls.c.outcome.is_not(None), _HAD_LINE)), calls.c.outcome),
    *(
        (calls.c.carrier_status == literal(status.value), literal(outcome.value))
        for status, outcome in _UNANSWERED.items()
    ),
    (calls.c.kind == literal(CallKind.VOICE_MESSAGE.value), literal(CallOutcome.COMPLETED.value)),
    (calls.c.outcome.is_not(None), calls.c.outcome),
    (~_HAD_LINE, literal(CallOutcome.NOT_CONNECTED.value)),
    else_=null(),
)
"""How a call ended; null while that is not known."""


@attrs.frozen(kw_only=True)
class CallFilter:
    """Which calls: with a text in one of their numbers, of one agent, that ended so, that began in a time.

    `since` is in it, `until` is not. Empty: all. `is_unknown` asks for those of which no end is known, such as live
    ones.
    """

    number: str = ""
    agent_id: str = ""
    outcome: CallOutcome | None = None
    is_unknown: bool = False
    since: datetime | None = None
    until: datetime | None = None


@attrs.frozen
class Place:
    """Where a page ends: at the call that began then, with this SID."""

    at: datetime
    call_sid: str


@attrs.frozen
class CallPage:
    """Some calls, newest first; `next` is where the next page begins, None where there is none."""

    calls: tuple[CallRecord, ...]
    next: Place | None


@attrs.frozen(kw_only=True)
class Day:
    """What the calls of a day (UTC, ISO 8601) came to: how many by outcome, and the first words in milliseconds.

    An outcome that is not known is named by an empty text. `p50` and `p95` are nearest-rank percentiles over `turns`,
    None for a day without any.
    """

    day: str
    outcomes: Mapping[str, int]
    turns: int = 0
    p50: float | None = None
    p95: float | None = None

    @property
    def calls(self) -> int:
        """How many calls there were."""
        return sum(self.outcomes.values())


@attrs.frozen(eq=False)
class CallHistory:
    """The records of all calls. Each method raises `DatabaseError`."""

    database: Database

    async def page(self, wanted: CallFilter, *, after: Place | None = None, rows: int = PAGE_ROWS) -> CallPage:
        """Return a page of calls, of those that come after a place."""
        query = select(calls).where(*_conditions(wanted))
        if after is not None:
            key = tuple_(calls.c.opened_at, calls.c.call_sid)
            query = query.where(
                key < tuple_(literal(after.at, calls.c.opened_at.type), literal(storable(after.call_sid)))
            )
        query = query.order_by(calls.c.opened_at.desc(), calls.c.call_sid.desc()).limit(rows + 1)

        def work(connection: Connection) -> CallPage:
            found = [record_of(row) for row in connection.execute(query).mappings()]
            shown = found[:rows]
            last = Place(shown[-1].started_at, shown[-1].call_sid) if len(found) > rows else None
            return CallPage(tuple(shown), last)

        return await self.database.read_many(work)

    async def days(self, wanted: CallFilter) -> tuple[Day, ...]:
        """Return the days that have calls of the filter, oldest first."""
        return await self.database.read_many(lambda connection: _days(connection, wanted))


def _conditions(wanted: CallFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.number:
        number = storable(wanted.number)
        conditions.append(or_(*(each.contains(number, autoescape=True) for each in (calls.c.caller, calls.c.called))))
    if wanted.agent_id:
        conditions.append(calls.c.agent_id == wanted.agent_id)
    if wanted.is_unknown:
        conditions.append(OUTCOME.is_(None))
    elif wanted.outcome is not None:
        conditions.append(literal(wanted.outcome.value) == OUTCOME)
    if wanted.since is not None:
        conditions.append(calls.c.opened_at >= wanted.since)
    if wanted.until is not None:
        conditions.append(calls.c.opened_at < wanted.until)
    return conditions


def _day(dialect: str) -> ColumnElement[str]:
    """Return the day of a call, in UTC whatever the zone of the database's session."""
    if dialect == "sqlite":
        return func.strftime("%Y-%m-%d", calls.c.opened_at)
    return func.to_char(func.timezone("UTC", calls.c.opened_at), "YYYY-MM-DD")


def _days(connection: Connection, wanted: CallFilter) -> tuple[Day, ...]:
    day, conditions = _day(connection.dialect.name).label("day"), _conditions(wanted)
    each = select(day, OUTCOME.label("outcome")).where(*conditions).subquery()
    counted = select(each.c.day, each.c.outcome, func.count().label("calls")).group_by(each.c.day, each.c.outcome)
    days: dict[str, dict[str, int]] = {}
    for row in connection.execute(counted.order_by(each.c.day, desc("calls"))):
        days.setdefault(row.day, {})[row.outcome or ""] = row.calls
    first = (call_turns.c.out_ms - call_turns.c.arrived_ms).label("first")
    turns = select(day, first).join(calls, calls.c.call_sid == call_turns.c.call_sid)
    turns_of = turns.where(
        call_turns.c.out_ms.is_not(None), call_turns.c.arrived_ms.is_not(None), *conditions
    ).subquery()
    ranked = select(
        turns_of.c.day,
        turns_of.c.first,
        func.row_number().over(partition_by=turns_of.c.day, order_by=turns_of.c.first).label("rank"),
        func.count().over(partition_by=turns_of.c.day).label("turns"),
    ).subquery()
    percentiles = select(
        ranked.c.day,
        func.max(ranked.c.turns).label("turns"),
        *(
            func.max(case((ranked.c.rank == (ranked.c.turns * percent + 99) // 100, ranked.c.first))).label(name)
            for name, percent in (("p50", 50), ("p95", 95))
        ),
    ).group_by(ranked.c.day)
    words: dict[str, dict[str, Any]] = {
        row.day: {"turns": row.turns, "p50": row.p50, "p95": row.p95} for row in connection.execute(percentiles)
    }
    return tuple(Day(day=name, outcomes=outcomes, **words.get(name, {})) for name, outcomes in days.items())
