"""Two processes that write at the same time: what one reads and then changes, the other does not change meanwhile.

    first:  BEGIN, reads, writes ──held──▶ COMMIT
    second:                BEGIN, reads ── waits for the first, skips what it has, or is not concerned

Each test holds the first one at the worst moment, and lets it go on when the second one is done or waits for a lock.
SQLite has no such moments: a transaction that writes has the file to itself from its beginning.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import nullcontext, suppress
from datetime import timedelta
from typing import Any, TypeVar

import attrs
import psycopg
import pytest
import trio
from sqlalchemy import Connection, event, select

from actors.call_record import CallKind, CallProgress, CallRecord
from actors.call_values import CallSummary, Direction, Line, Speaker
from relay.errors import AgentError
from relay.store import engine as engine_module
from relay.store.agent_registry import AgentRegistry
from relay.store.call_journal import CallJournal
from relay.store.connections import Connections
from relay.store.database import Database, open_database
from relay.store.engine import open_engine
from relay.store.recovery import Recovery
from relay.store.retention import Purged, Retention
from relay.store.schema import calls
from relay.store.waiting_messages import WaitingMessages
from tests.contracts.message_store import call, draft
from tests.fakes_store import WallClock
from tests.limits import HANGING
from tests.postgresql_server import connected

pytestmark = pytest.mark.postgresql_only("a file has one writer at a time")

T = TypeVar("T")
U = TypeVar("U")
MINE = "my-client"


@attrs.frozen
class Process:
    """What one process has of the store."""

    database: Database
    clock: WallClock

    @property
    def messages(self) -> WaitingMessages:
        return WaitingMessages(self.database, self.clock)

    @property
    def journal(self) -> CallJournal:
        return CallJournal(self.database, self.clock, boot="same")

    @property
    def registry(self) -> AgentRegistry:
        return AgentRegistry(self.database, self.clock)


@attrs.define
class Hold:
    """Holds one transaction of a database, before its commit or before a statement that begins like `before`."""

    before: str = "COMMIT"
    reached: trio.Event = attrs.field(factory=trio.Event)
    _release: threading.Event = attrs.field(factory=threading.Event)

    def watch(self, database: Database) -> None:
        engine = database._connections._engine
        if self.before == "COMMIT":
            event.listen(engine, "commit", self._on_commit)
        else:
            event.listen(engine, "before_cursor_execute", self._on_statement)

    def release(self) -> None:
        self._release.set()

    def _on_commit(self, connection: Connection) -> None:
        # Now and then a database is only looked after.
        if connection.exec_driver_sql("SELECT pg_current_xact_id_if_assigned()").scalar_one() is not None:
            self._stop()

    def _on_statement(self, _connection: Connection, _cursor: object, statement: str, *_rest: object) -> None:
        if statement.startswith(self.before):
            self._stop()

    def _stop(self) -> None:
        if not self._release.is_set():
            trio.from_thread.run_sync(self.reached.set)
            assert self._release.wait(10)


@attrs.define
class Race:
    """Two processes with one database. `has_waited` says of the second one that it waited for a lock."""

    one: Process
    other: Process
    has_waited: bool = False

    async def run(
        self, first: Callable[[], Awaitable[T]], second: Callable[[], Awaitable[U]], *, before: str = "COMMIT"
    ) -> tuple[T, U]:
        """Run `first` up to `before`, then `second` as far as it comes, then the rest of both; return what they did.

        `first` is of the process `one`.
        """
        hold, results = Hold(before), dict[str, Any]()
        hold.watch(self.one.database)
        done = trio.Event()

        async def run(name: str, work: Callable[[], Awaitable[object]]) -> None:
            results[name] = await work()
            if name == "second":
                done.set()

        try:
            with trio.fail_after(HANGING):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(run, "first", first)
                    await hold.reached.wait()
                    nursery.start_soon(run, "second", second)
                    with connected(self.one.database.url) as looker:
                        while not done.is_set() and not waits_for_lock(looker):  # noqa: ASYNC110 - it is another process
                            await trio.sleep(0.005)
                    self.has_waited = not done.is_set()
                    hold.release()
        finally:
            hold.release()
        return results["first"], results["second"]


def waits_for_lock(looker: psycopg.Connection) -> bool:
    waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return looker.execute(waiting).fetchone() is not None


@pytest.fixture
async def race(database: Database, database_url: str, clock: WallClock) -> AsyncIterator[Race]:
    async with open_database(database_url) as other:
        yield Race(Process(database, clock), Process(other, clock))


async def test_a_message_is_handed_out_once(race: Race) -> None:
    """Of two clients that fetch at the same moment one gets the message, and the other is told that one waits."""
    await race.one.messages.leave(draft())
    first, second = await race.run(lambda: race.one.messages.fetch(MINE), lambda: race.other.messages.fetch(MINE))
    assert [each.deliveries for each in first.messages] == [1]
    assert (second.messages, second.remaining) == ((), 1)


async def test_fetching_at_once_gets_different_messages(race: Race) -> None:
    """Neither client waits for the other's transaction."""
    for sid in ("CA1", "CA2"):
        await race.one.messages.leave(draft(call_sid=sid))
    first, second = await race.run(lambda: race.one.messages.fetch(MINE, 1), lambda: race.other.messages.fetch(MINE, 1))
    assert [each.call_sid for each in first.messages + second.messages] == ["CA1", "CA2"]
    assert not race.has_waited


@pytest.mark.parametrize("show", ["fetch", "peek"])
@pytest.mark.parametrize("is_shown_first", [True, False])
async def test_what_is_shown_is_not_changed(race: Race, show: str, is_shown_first: bool) -> None:
    """However a call's message and its client come together, what the client was shown is what is stored."""
    await race.one.messages.leave(draft(body="one"))

    async def leave(process: Process) -> None:
        await process.messages.leave(draft(body="one, and two"))

    async def shown(process: Process) -> dict[str, str]:
        messages = process.messages
        seen = (await messages.fetch(MINE)).messages if show == "fetch" else await messages.peek(MINE)
        return {each.id: each.body for each in seen}

    if is_shown_first:
        seen, _ = await race.run(lambda: shown(race.one), lambda: leave(race.other))
        assert list(seen.values()) == ["one"]
    else:
        _, seen = await race.run(lambda: leave(race.one), lambda: shown(race.other))
    stored = {each.id: each.body for each in await race.one.messages.list_all()}
    assert seen.items() <= stored.items()
    assert "one, and two" in stored.values()


async def test_what_is_acknowledged_is_not_changed(race: Race) -> None:
    """What a call adds while its message is being acknowledged is a message of its own."""
    message_id = await race.one.messages.leave(draft(body="one"))
    await race.run(
        lambda: race.one.messages.acknowledge(MINE, [message_id]),
        lambda: race.other.messages.leave(draft(body="one, and two")),
    )
    assert [each.body for each in (await race.one.messages.fetch(MINE)).messages] == ["one, and two"]


async def test_a_call_leaves_one_message(race: Race) -> None:
    """Two processes that leave the same part of the same call leave one message: the later one."""
    await race.one.journal.open_call(call())
    await race.run(
        lambda: race.one.messages.leave(draft(body="one")),
        lambda: race.other.messages.leave(draft(body="one, and two")),
    )
    assert [each.body for each in await race.one.messages.list_all()] == ["one, and two"]


async def test_the_end_of_a_call_is_told_once(race: Race) -> None:
    """A status callback and its repeat leave one message about a voice message, and its client is told once."""
    await race.one.journal.announce_call(
        "CA1", MINE, Direction.OUTBOUND, "+15551230001", "+15551230002", kind=CallKind.VOICE_MESSAGE
    )
    told: list[str] = []

    async def report(process: Process) -> None:
        await process.journal.note_progress(
            MINE, CallProgress(call_sid="CA1", status="busy"), on_message_left=told.append
        )

    await race.run(lambda: report(race.one), lambda: report(race.other))
    assert (len(await race.one.messages.list_all()), told) == (1, [MINE])


@pytest.mark.parametrize("second", ["announce", "open", "progress"])
async def test_a_new_call_may_be_reported_twice(race: Race, second: str) -> None:
    """A webhook and its repeat, or what else says of a call that it exists, make one record and no error."""

    async def again() -> CallRecord | None:
        match second:
            case "announce":
                return await race.other.journal.announce_call("CA1", MINE, Direction.INBOUND, "+1", "+2")
            case "open":
                await race.other.journal.open_call(call())
            case _:
                ringing = CallProgress(call_sid="CA1", status="ringing", caller="+1", called="+2")
                await race.other.journal.note_progress(MINE, ringing)
        return None

    announced, known = await race.run(
        lambda: race.one.journal.announce_call("CA1", MINE, Direction.INBOUND, "", ""), again
    )
    assert announced is None
    assert (known is not None) == (second == "announce")
    (kept,) = await race.one.journal.list_calls()
    # What the second one knew is added to what the first one wrote.
    assert (kept.caller, kept.connected_at is None) == ("+15551230001" if second == "open" else "+1", second != "open")


def said(text: str, clock: WallClock) -> CallSummary:
    return CallSummary(outcome="completed", turns_by={"client": 1}, transcript=(Line(Speaker.CALLER, text, clock()),))


async def test_the_lines_of_a_call_add_up(race: Race, clock: WallClock) -> None:
    """A line that is opened at one process while another one closes the line before it loses nothing of either."""
    await race.one.journal.open_call(call())

    async def next_line() -> None:
        await race.other.journal.open_call(call())
        await race.other.journal.close_call("CA1", said("two", clock))

    await race.run(lambda: race.one.journal.close_call("CA1", said("one", clock)), next_line)
    kept = await race.one.journal.get("CA1")
    assert kept is not None
    assert (kept.answered_by, kept.line_ended_at is not None) == ({"client": 2}, True)
    assert [each.text for each in await race.one.journal.transcript("CA1")] == ["one", "two"]


async def test_notes_of_one_call_do_not_undo_each_other(race: Race) -> None:
    """What the carrier says of an error and what it says of the end are both kept, and the first error stays."""
    await race.one.journal.open_call(call())
    await race.run(
        lambda: race.one.journal.note_failure(MINE, "CA1", "sip_500"),
        lambda: race.other.journal.note_failure(MINE, "CA1", "21220"),
    )
    kept = await race.one.journal.get("CA1")
    assert kept is not None
    assert kept.carrier_error == "sip_500"


async def test_words_that_are_held_meanwhile_are_not_lost(race: Race) -> None:
    """While one process makes a message of a call's words another may hold more: they are in it, or still held."""
    await race.one.journal.open_call(call())
    await race.one.journal.hold_utterance("CA1", 1, "one")
    await race.run(
        lambda: race.one.journal.open_call(call()),
        lambda: race.other.journal.hold_utterance("CA1", 2, "two"),
        before="DELETE FROM held_words",
    )
    await CallJournal(race.one.database, race.one.clock).recover()
    assert " ".join(each.body for each in await race.one.messages.list_all()) == "one two"


async def test_two_starts_recover_a_call_once(race: Race) -> None:
    """What an earlier run held becomes one message, whoever finds it."""
    await race.one.journal.open_call(call())
    await race.one.journal.hold_utterance("CA1", 1, "hello?")
    found = await race.run(
        lambda: CallJournal(race.one.database, race.one.clock).recover(),
        lambda: CallJournal(race.other.database, race.other.clock).recover(),
    )
    assert found == (Recovery(messages=1, calls=1), Recovery(messages=0, calls=0))
    assert [each.body for each in await race.one.messages.list_all()] == ["hello?"]


async def test_an_agent_is_added_once(race: Race) -> None:
    """The second one to take an id is told that it is taken."""

    async def add_again() -> None:
        with pytest.raises(AgentError, match="exists already"):
            await race.other.registry.add(MINE)

    await race.run(lambda: race.one.registry.add(MINE), add_again)


async def test_a_message_for_an_agent_that_is_removed_stays(race: Race) -> None:
    """What a caller leaves after the messages were counted waits for the operator."""
    await race.one.registry.add(MINE)
    await race.run(
        lambda: race.one.registry.remove(MINE),
        lambda: race.other.messages.leave(draft()),
        before="DELETE FROM messages",
    )
    assert await race.one.registry.get(MINE) is None
    assert len(await race.one.messages.list_all()) == 1


async def test_words_of_an_agent_that_is_removed_are_counted_or_refused(race: Race) -> None:
    """Words that are held while an agent is removed are never taken and then deleted."""
    await race.one.registry.add(MINE)
    await race.one.journal.open_call(call())
    await race.one.journal.close_call("CA1", CallSummary(outcome="completed"))

    async def remove() -> bool:
        with suppress(AgentError):
            await race.other.registry.remove(MINE)
            return True
        return False

    _, is_removed = await race.run(lambda: race.one.journal.hold_utterance("CA1", 1, "wait"), remove)
    assert not is_removed


async def test_a_late_report_goes_before_giving_up(race: Race, clock: WallClock) -> None:
    """A call that is being ended as abandoned while the carrier reports its end has the end that was reported."""
    await race.one.journal.open_call(attrs.evolve(call(), started_at=clock()))
    await race.one.journal.close_call("CA1", CallSummary(outcome="transferred"))
    ended_at = clock() + timedelta(hours=4)
    clock.turn(seconds=6 * 3600)
    _, purged = await race.run(
        lambda: race.one.journal.note_progress(MINE, CallProgress(call_sid="CA1", status="completed", at=ended_at)),
        lambda: Retention(race.other.database, clock).purge(clock() - timedelta(days=30)),
    )
    kept = await race.one.journal.get("CA1")
    assert kept is not None
    assert (kept.ended_at, purged) == (ended_at, Purged())


def test_two_processes_may_migrate_at_once(new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one waits for the first, and finds nothing to do."""
    url, migrated, go_on, failures = new_database(), threading.Event(), threading.Event(), list[Exception]()
    real = engine_module._migrate

    def migrate(connection: Connection) -> None:
        real(connection)
        if not migrated.is_set():
            migrated.set()
            assert go_on.wait(10)

    def open_it() -> None:
        try:
            open_engine(url).dispose()
        except Exception as error:  # noqa: BLE001 - of whatever kind, it is what must not be
            failures.append(error)

    monkeypatch.setattr(engine_module, "_migrate", migrate)
    monkeypatch.setattr(engine_module, "_MIGRATING", nullcontext())  # which two processes do not share
    threads = [threading.Thread(target=open_it) for _ in range(2)]
    threads[0].start()
    assert migrated.wait(10)
    threads[1].start()
    with connected(url) as looker:
        while not waits_for_lock(looker):
            assert threads[1].is_alive()
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert failures == []


def test_writes_that_wait_for_each_other_are_made_one_by_one(database_url: str) -> None:
    """Two batches that take the same calls in opposite orders are both committed, and neither is trouble."""
    results: list[object] = []
    meeting = threading.Barrier(2)

    def lock(sid: str, *, meets: bool) -> Callable[[Connection], str]:
        def work(connection: Connection) -> str:
            connection.execute(select(calls.c.call_sid).where(calls.c.call_sid == sid).with_for_update()).one()
            if meets:
                # The second time the other one may not come; and the server ends who is silent for two seconds.
                with suppress(threading.BrokenBarrierError):
                    meeting.wait(1)
            return sid

        return work

    def settle(connections: Connections, *sids: str) -> None:
        outcomes, trouble = connections.settle([lock(sids[0], meets=True), lock(sids[1], meets=False)])
        results.append(([each.value for each in outcomes], trouble))

    async def prepare() -> None:
        async with open_database(database_url) as database:
            for sid in ("CA1", "CA2"):
                await CallJournal(database).open_call(call(sid))

    trio.run(prepare)
    pair = [Connections(database_url) for _ in range(2)]
    for each in pair:
        each.open()
    threads = [
        threading.Thread(target=settle, args=(pair[0], "CA1", "CA2")),
        threading.Thread(target=settle, args=(pair[1], "CA2", "CA1")),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(15)
    for each in pair:
        each.close()
    assert sorted(results, key=str) == [(["CA1", "CA2"], None), (["CA2", "CA1"], None)]
