"""The end of keeping: what is over for long enough is deleted, what is still owed never is.

    run, once an hour ──purge(now − days)──▶ ended calls with their transcripts, confirmed messages, operators' actions

A message that no client has confirmed stays however old it is, and so does a call whose words are still held: the next
start makes a message of them. Rows go in small batches, each a write like any other and with a pause behind it, so that
what a call has to write seldom waits for one of them, and never for all.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import attrs
import structlog
import trio
from sqlalchemy import Connection, Select, delete, not_, select, update

from actors.call_values import CallOutcome
from actors.errors import StoreFailed
from relay.store.call_record import record_of, row_of
from relay.store.database import Database
from relay.store.schema import LINE_IS_OPEN, calls, held_words, messages, operator_actions, transcripts, utc_now

log = structlog.get_logger(__name__)

# Rows in one transaction: with their transcripts some tens of milliseconds on a busy machine. Nothing hurries the next.
BATCH_ROWS = 500
PAUSE_SECONDS = 0.1
# The carrier ends a call that was passed on after four hours at the latest (the default of Dial's `timeLimit`,
# https://www.twilio.com/docs/voice/twiml/dial#timelimit), and then says so. An hour later it will not any more.
TRANSFER_HOURS = 5

_Batch: TypeAlias = Callable[[Connection], "Purged"]


@attrs.frozen
class Purged:
    """What was deleted; and in `abandoned` how many calls were ended of which the carrier never said that they were."""

    calls: int = 0
    messages: int = 0
    transcripts: int = 0
    abandoned: int = 0
    actions: int = 0

    def __add__(self, other: Purged) -> Purged:
        """Add two counts up."""
        mine, others = attrs.astuple(self), attrs.astuple(other)
        return Purged(*(one + another for one, another in zip(mine, others, strict=True)))


@attrs.frozen(eq=False)
class Retention:
    """Deletes what need not be kept any longer. `now` is the wall clock, with a zone."""

    database: Database
    now: Callable[[], datetime] = utc_now

    async def purge(self, before: datetime) -> Purged:
        """Delete what ended, was confirmed, or was done by an operator before a time; return how much.

        Also ends the records of calls that were passed on and of which nobody told the end. Raises `StoreFailed`, and
        may be cancelled at any point: the batches that are committed stay done, the rest is done by the next purge.
        """
        abandoned_at = self.now() - timedelta(hours=TRANSFER_HOURS)
        steps: tuple[_Batch, ...] = (
            lambda connection: _end_abandoned(connection, abandoned_at),
            lambda connection: _delete_calls(connection, before),
            lambda connection: _delete_messages(connection, before),
            lambda connection: _delete_actions(connection, before),
        )
        purged = Purged()
        for step in steps:
            while (batch := await self.database.write(step)) != Purged():
                purged += batch
                await trio.sleep(PAUSE_SECONDS if max(attrs.astuple(batch)) == BATCH_ROWS else 0)
        return purged

    async def run(self, days: int, every: float = 3600.0) -> None:
        """Purge what is over for `days`, now and then every so many seconds. Runs until cancelled, at any point.

        With 0 days all is kept for ever, and only the transfers of which nobody tells the end are ended. A database
        that refuses is logged and asked again the next time.
        """
        while True:
            try:
                purged = await self.purge(self._limit(days))
            except StoreFailed as error:
                log.warning("retention_failed", cause=str(error))
            else:
                if purged != Purged():
                    log.info("retention_purged", days=days, **attrs.asdict(purged))
            await trio.sleep(every)

    def _limit(self, days: int) -> datetime:
        for_ever = datetime.min.replace(tzinfo=UTC)
        try:
            return self.now() - timedelta(days=days) if days else for_ever
        except OverflowError:
            # More days than the calendar has.
            return for_ever


def _end_abandoned(connection: Connection, before: datetime) -> Purged:
    is_passed_on = calls.c.outcome.in_([CallOutcome.TRANSFERRED.value, CallOutcome.MOVED.value])
    passed_on = calls.c.ended_at.is_(None), is_passed_on, calls.c.line_ended_at < before
    wanted = select(calls).where(*passed_on).limit(BATCH_ROWS).with_for_update(skip_locked=True)
    rows = connection.execute(wanted).mappings().all()
    for row in rows:
        # The end of its line is the last that is known of it.
        ended = record_of(row).ended(row["line_ended_at"])
        connection.execute(update(calls).where(calls.c.call_sid == ended.call_sid).values(row_of(ended)))
    return Purged(abandoned=len(rows))


def _delete_calls(connection: Connection, before: datetime) -> Purged:
    has_utterances = select(held_words.c.call_sid).where(held_words.c.call_sid == calls.c.call_sid).exists()
    old = select(calls.c.call_sid).where(calls.c.ended_at < before, not_(LINE_IS_OPEN), ~has_utterances)
    sids = _some(connection, old.order_by(calls.c.ended_at))
    # Their foreign key would delete them too, but not count them.
    spoken = connection.execute(delete(transcripts).where(transcripts.c.call_sid.in_(sids))).rowcount
    return Purged(
        calls=connection.execute(delete(calls).where(calls.c.call_sid.in_(sids))).rowcount, transcripts=spoken
    )


def _delete_messages(connection: Connection, before: datetime) -> Purged:
    old = select(messages.c.position).where(messages.c.acknowledged_at < before).order_by(messages.c.acknowledged_at)
    positions = _some(connection, old)
    return Purged(messages=connection.execute(delete(messages).where(messages.c.position.in_(positions))).rowcount)


def _delete_actions(connection: Connection, before: datetime) -> Purged:
    old = select(operator_actions.c.position).where(operator_actions.c.at < before).order_by(operator_actions.c.at)
    done = delete(operator_actions).where(operator_actions.c.position.in_(_some(connection, old)))
    return Purged(actions=connection.execute(done).rowcount)


def _some(connection: Connection, wanted: Select[tuple[object]]) -> list[object]:
    """Choose rows for one batch and lock them; what another process has in hand is left for the next batch."""
    return list(connection.execute(wanted.limit(BATCH_ROWS).with_for_update(skip_locked=True)).scalars())
