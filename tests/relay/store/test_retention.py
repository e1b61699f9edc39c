"""The end of keeping: what goes, what stays, and that nobody waits for it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

import attrs
import pytest
import structlog
import trio
from sqlalchemy import Connection, insert, select

from actors.call_record import CallProgress
from actors.call_values import CallSummary, Line, Speaker
from actors.errors import StoreFailed
from relay.store import retention as retention_module
from relay.store.call_journal import CallJournal
from relay.store.database import Database, open_database
from relay.store.operator_actions import Action, OperatorActions
from relay.store.retention import Purged, Retention
from relay.store.schema import calls, held_words, transcripts
from relay.store.waiting_messages import WaitingMessages
from tests.contracts.message_store import call, draft
from tests.fakes_store import WallClock

T = TypeVar("T")
DAY = 86_400.0
COMPLETED = CallSummary(outcome="completed")


@pytest.fixture
def retention(database: Database, clock: WallClock) -> Retention:
    return Retention(database, clock)


async def end_calls(journal: CallJournal, *sids: str, transcript: tuple[Line, ...] = ()) -> None:
    for sid in sids:
        await journal.open_call(call(sid))
        await journal.close_call(sid, attrs.evolve(COMPLETED, transcript=transcript))


async def sids(journal: CallJournal) -> set[str]:
    return {each.call_sid for each in await journal.list_calls()}


async def test_old_calls_go_with_what_was_said(retention: Retention, journal: CallJournal, clock: WallClock) -> None:
    """Calls that ended before the day are deleted with their transcripts; later ones and live ones stay."""
    said = (Line(Speaker.CALLER, "Hello?", clock()),)
    await end_calls(journal, "CA1", transcript=said)
    await end_calls(journal, "CA2")
    await journal.open_call(call("CA3"))
    clock.turn(seconds=DAY)
    await end_calls(journal, "CA4", transcript=said)
    assert await retention.purge(clock()) == Purged(calls=2, transcripts=1)
    assert await sids(journal) == {"CA3", "CA4"}
    assert (await journal.transcript("CA1"), await journal.transcript("CA4")) == ((), said)
    assert await retention.purge(clock()) == Purged()


async def test_only_confirmed_messages_go(retention: Retention, waiting: WaitingMessages, clock: WallClock) -> None:
    """A message goes so long after it was confirmed; one that no client has confirmed stays however old it is."""
    ids = [await waiting.leave(draft(part=part)) for part in (1, 2, 3, 4)]
    await waiting.acknowledge("my-client", ids[:1])
    clock.turn(seconds=DAY)
    before = clock()
    await waiting.acknowledge("my-client", ids[1:2])
    await waiting.fetch("my-client", 1)
    clock.turn(seconds=1000 * DAY)
    assert await retention.purge(before) == Purged(messages=1)
    assert [each.id for each in await waiting.list_all()] == ids[1:]
    assert await retention.purge(clock()) == Purged(messages=1)
    assert [each.id for each in await waiting.list_all()] == ids[2:]


async def test_what_operators_did_goes_too(retention: Retention, database: Database, clock: WallClock) -> None:
    """Numbers may stand in the record of actions, so it is kept as long as the calls."""
    actions = OperatorActions(database, clock)
    await actions.begin(Action(operator="ada", name="transfer", detail="+14155550123"))
    clock.turn(seconds=DAY)
    await actions.begin(Action(operator="ada", name="hang_up"))
    assert await retention.purge(clock()) == Purged(actions=1)
    assert [each.action.name for each in await actions.list()] == ["hang_up"]


async def test_held_utterances_keep_their_call(
    retention: Retention, journal: CallJournal, waiting: WaitingMessages, clock: WallClock
) -> None:
    """Words that the next start makes a message of are not deleted, and neither is what is known of their caller."""
    await journal.open_call(call())
    await journal.hold_utterance("CA1", 1, "hello?")
    await journal.close_call("CA1", CallSummary(outcome="failed"))
    clock.turn(seconds=DAY)
    assert await retention.purge(clock()) == Purged()
    await CallJournal(journal.database, clock).recover()
    assert [each.body for each in await waiting.list_all()] == ["hello?"]
    assert await retention.purge(clock()) == Purged(calls=1)


async def test_an_open_line_keeps_its_call(retention: Retention, journal: CallJournal, clock: WallClock) -> None:
    """A call that is over for the carrier stays until its line is closed: it may have words yet to hold."""
    await journal.open_call(call())
    await journal.note_progress("my-client", CallProgress(call_sid="CA1", status="completed", at=clock()))
    clock.turn(seconds=DAY)
    assert await retention.purge(clock()) == Purged()
    await journal.close_call("CA1", COMPLETED)
    assert await retention.purge(clock()) == Purged(calls=1)


@pytest.mark.parametrize("outcome", ["transferred", "moved"])
async def test_a_call_that_went_elsewhere_and_of_which_nobody_tells_the_end_is_ended(
    retention: Retention, journal: CallJournal, clock: WallClock, outcome: str
) -> None:
    """Once the carrier would have ended it, a call that was passed on is over, as of the last that is known of it."""
    await journal.open_call(attrs.evolve(call(), started_at=clock()))
    clock.turn(seconds=30)
    left_at: datetime = clock()
    await journal.close_call("CA1", CallSummary(outcome=outcome))
    clock.turn(seconds=5 * 3600)
    assert await retention.purge(left_at) == Purged()
    clock.turn(seconds=1)
    assert await retention.purge(left_at) == Purged(abandoned=1)
    ended = await journal.get("CA1")
    assert ended is not None
    assert (ended.ended_at, ended.duration_seconds, ended.outcome) == (left_at, 30, outcome)
    assert await retention.purge(left_at + timedelta(seconds=1)) == Purged(calls=1)


class CountingDatabase(Database):
    """A database that remembers how many calls each write left."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.left: list[int] = []

    async def write(self, work: Callable[[Connection], T]) -> T:
        def counted(connection: Connection) -> T:
            value = work(connection)
            self.left.append(len(connection.execute(select(calls.c.call_sid)).all()))
            return value

        return await super().write(counted)


async def test_much_goes_in_small_batches(database_url: str, clock: WallClock) -> None:
    """No transaction deletes more than a batch, so a call that writes meanwhile waits for one batch at most."""
    ended_at = clock() - timedelta(days=1)
    row = {"agent_id": "a", "direction": "inbound", "caller": "", "called": "", "boot": "b", "turns_by": {}}
    many = [row | {"call_sid": f"CA{each}", "opened_at": ended_at, "ended_at": ended_at} for each in range(1201)]
    database = CountingDatabase(database_url)
    async with trio.open_nursery() as nursery:
        await nursery.start(database.serve)
        await database.write(lambda connection: connection.execute(insert(calls), many))
        database.left.clear()
        assert await Retention(database, clock).purge(clock()) == Purged(calls=1201)
        database.close()
    assert database.left == [1201, 701, 201, 0, 0, 0, 0]


async def test_a_cancelled_purge_is_done_by_the_next(
    retention: Retention, journal: CallJournal, clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches that were committed stay done, and nothing is left in between."""
    monkeypatch.setattr(retention_module, "BATCH_ROWS", 2)
    monkeypatch.setattr(retention_module, "PAUSE_SECONDS", 0)
    await end_calls(journal, *(f"CA{each}" for each in range(7)))
    clock.turn(seconds=1)
    for patience in range(20):
        with trio.move_on_after(patience / 2000):
            await retention.purge(clock())
    await retention.purge(clock())
    assert await sids(journal) == set()


async def test_two_nodes_delete_each_call_once(
    retention: Retention, journal: CallJournal, clock: WallClock, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both purge at the same moment: neither waits for the other or fails, and together they are done."""
    monkeypatch.setattr(retention_module, "BATCH_ROWS", 3)
    monkeypatch.setattr(retention_module, "PAUSE_SECONDS", 0)
    said = (Line(Speaker.CALLER, "Hello?", clock()),)
    await end_calls(journal, *(f"CA{each}" for each in range(20)), transcript=said)
    clock.turn(seconds=1)
    purged = Purged()

    async def purge(node: Retention) -> None:
        nonlocal purged
        mine = await node.purge(clock())
        purged += mine

    async with open_database(database_url) as other, trio.open_nursery() as nursery:
        nursery.start_soon(purge, retention)
        nursery.start_soon(purge, Retention(other, clock))
    assert purged == Purged(calls=20, transcripts=20)
    assert await sids(journal) == set()


class StubbornDatabase(Database):
    """A database that refuses the next `refusals` writes."""

    refusals = 0

    async def write(self, work: Callable[[Connection], T]) -> T:
        if self.refusals:
            self.refusals -= 1
            await trio.lowlevel.checkpoint()
            raise StoreFailed("the disk is full")
        return await super().write(work)


async def test_a_refused_purge_is_tried_again(database_url: str, clock: WallClock) -> None:
    """A database that is in trouble does not end the task; it is logged, and tried again."""
    database = StubbornDatabase(database_url)
    journal = CallJournal(database, clock)
    asked, fourth_time = 0, trio.Event()

    def now() -> datetime:
        nonlocal asked
        asked += 1
        # A purge asks twice: for what is old, and for which transfers are.
        if asked == 7:
            fourth_time.set()
        return clock()

    async with trio.open_nursery() as nursery:
        await nursery.start(database.serve)
        await end_calls(journal, "CA1")
        clock.turn(seconds=2 * DAY)
        database.refusals = 2
        with structlog.testing.capture_logs() as logs, trio.fail_after(5):
            nursery.start_soon(Retention(database, now).run, 1, 0)
            await fourth_time.wait()
        assert await sids(journal) == set()
        nursery.cancel_scope.cancel()
    assert [each["event"] for each in logs] == ["retention_failed", "retention_failed", "retention_purged"]
    assert (logs[2]["calls"], logs[2]["messages"], logs[2]["days"]) == (1, 0, 1)


@pytest.mark.parametrize("days", [0, 10**10])
async def test_no_days_and_more_than_there_are_delete_nothing(
    retention: Retention, journal: CallJournal, clock: WallClock, days: int
) -> None:
    """None is for ever, and so is a number of days that leads before the calendar."""
    await end_calls(journal, "CA1")
    clock.turn(seconds=1000 * DAY)
    with trio.move_on_after(0.05) as scope:
        await retention.run(days)
    assert scope.cancelled_caught
    assert await sids(journal) == {"CA1"}


async def test_the_utterances_of_no_call_are_ever_deleted(
    retention: Retention, journal: CallJournal, clock: WallClock
) -> None:
    """Beside old calls, a call's words stay word for word."""
    await end_calls(journal, "CA1")
    await journal.open_call(call("CA2"))
    await journal.hold_utterance("CA2", 1, "hello?")
    clock.turn(seconds=DAY)
    await retention.purge(clock())
    kept = await journal.database.read(lambda connection: connection.execute(select(held_words.c.text)).scalars().all())
    assert kept == ["hello?"]
    left = await journal.database.read(lambda connection: connection.execute(select(transcripts)).all())
    assert left == []
