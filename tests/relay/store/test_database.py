"""The database actor: group commit, guilt, cancellation, closing, and what a broken disk does."""

from __future__ import annotations

import re
import sqlite3
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager, closing, suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio
import trio.testing
from sqlalchemy import Connection, insert, select

from actors.errors import StoreFailed
from relay.errors import AgentError, DatabaseError
from relay.store import database as database_module
from relay.store import engine as engine_module
from relay.store import lost_file
from relay.store.database import BATCH_WRITES, WAITING_WRITES, Database, open_database
from relay.store.do_not_call import DoNotCallList
from relay.store.schema import agents, dials
from relay.store.waiting_messages import WaitingMessages
from tests.contracts.message_store import draft
from tests.limits import HANGING
from tests.relay.store.other_program import LOCKED, writing_elsewhere

_BEGIN = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
_order = count()

Work = Callable[[Connection], None]
Hold = Callable[[Work], Awaitable[None]]


def note(name: str) -> Work:
    """Make a write of one row; the same name twice is refused."""
    return lambda connection: _note(connection, name)


def _note(connection: Connection, name: str) -> None:
    at = _BEGIN + timedelta(microseconds=next(_order))
    connection.execute(insert(agents), {"agent_id": name, "token_hash": name, "created_at": at})


def names(connection: Connection) -> list[str]:
    """Read the rows that are there, in the order in which they were written."""
    return list(connection.execute(select(agents.c.agent_id).order_by(agents.c.created_at)).scalars())


async def commits(database: Database) -> None:
    """Wait until what was handed over so far is committed: writes are in order."""
    await database.write(lambda _connection: None)


@asynccontextmanager
async def busy(hold: Hold) -> AsyncIterator[None]:
    """Keep one of a database's threads busy, that of `hold`, for the length of the block."""
    started, release = trio.Event(), threading.Event()

    def work(_connection: Connection) -> None:
        trio.from_thread.run_sync(started.set)
        release.wait(10)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold, work)
        await started.wait()
        try:
            yield
        finally:
            release.set()


async def test_what_was_written_is_read(database: Database) -> None:
    """A write returns what its work returned, once a read sees it."""

    def work(connection: Connection) -> str:
        _note(connection, "a")
        return "done"

    assert await database.write(work) == "done"
    assert await database.read(names) == ["a"]


async def test_writes_that_wait_share_a_commit(database: Database) -> None:
    """What arrives while the thread is busy is committed together."""
    transactions: list[Any] = []

    async def write(index: int) -> None:
        def work(connection: Connection) -> None:
            transactions.append(connection.get_transaction())
            _note(connection, str(index))

        await database.write(work)

    async with trio.open_nursery() as nursery, busy(database.write):
        for index in range(20):
            nursery.start_soon(write, index)
        await trio.testing.wait_all_tasks_blocked()
    assert len(await database.read(names)) == 20
    # The first was taken alone, before the others came.
    assert len({id(each) for each in transactions}) <= 2


async def test_a_write_wakes_its_asker_and_no_other_task(database: Database) -> None:
    """Handing over starts the commit, and its end starts the next: two steps of the event loop a write."""
    steps: Counter[str] = Counter()

    class Steps(trio.abc.Instrument):
        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            steps[task.name] += 1

    await commits(database)
    instrument = Steps()
    trio.lowlevel.add_instrument(instrument)
    for index in range(20):
        await database.keep(note(str(index)))
    trio.lowlevel.remove_instrument(instrument)
    keeps_time = f"{Database.__module__}.{Database._keep_time.__qualname__}"  # now and then, however many writes
    assert sum(steps.values()) - steps[keeps_time] == 2 * 20


async def test_what_a_callback_raises_ends_the_actor(database_url: str) -> None:
    """It is a fault of ours: `serve` raises it, and whoever waited for the same commit has an answer first."""
    answered: list[str] = []

    def fault(_value: None) -> None:
        raise ZeroDivisionError

    async def keep(name: str, on_written: Callable[[None], None] | None) -> None:
        await database.keep(note(name), on_written=on_written)
        answered.append(name)

    async def work() -> None:
        async with trio.open_nursery() as nursery, busy(database.write):
            for name, on_written in (("a", None), ("b", fault), ("c", None)):
                nursery.start_soon(keep, name, on_written)
            await trio.testing.wait_all_tasks_blocked()

    database = Database(database_url)
    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            await nursery.start(database.serve)
            nursery.start_soon(work)
    async with open_database(database_url) as again:
        assert sorted(await again.read(names)) == sorted(answered) == ["a", "b", "c"]


async def test_only_the_guilty_write_fails(database: Database) -> None:
    """One write that breaks a rule fails; those that shared its transaction are committed."""
    failed: list[str] = []

    async def write(name: str) -> None:
        try:
            await database.write(note(name))
        except StoreFailed:
            failed.append(name)

    async with trio.open_nursery() as nursery, busy(database.write):
        for name in ("a", "b", "twice", "twice", "c", "d"):
            nursery.start_soon(write, name)
        await trio.testing.wait_all_tasks_blocked()
    assert failed == ["twice"]
    assert sorted(await database.read(names)) == ["a", "b", "c", "d", "twice"]


async def test_more_writes_than_there_is_room_for_wait(database: Database) -> None:
    """A flood of writes is bounded in memory, and each is written."""
    async with trio.open_nursery() as nursery, busy(database.write):
        for index in range(WAITING_WRITES + 3 * BATCH_WRITES):
            nursery.start_soon(database.write, note(str(index)))
        await trio.testing.wait_all_tasks_blocked()
    assert len(await database.read(names)) == WAITING_WRITES + 3 * BATCH_WRITES


async def test_an_error_of_the_work_is_the_askers(database: Database) -> None:
    """What the work raises comes back as it is, and undoes what the work did."""

    def work(connection: Connection) -> None:
        _note(connection, "a")
        raise AgentError("not like this")

    with pytest.raises(AgentError, match="not like this"):
        await database.write(work)
    assert await database.read(names) == []


async def test_a_failure_does_not_show_what_was_written(database: Database) -> None:
    """The text of a failure, and of its cause, holds no parameters: they are numbers and message bodies."""
    await database.write(note("my secret"))
    with pytest.raises(StoreFailed) as caught:
        await database.write(note("my secret"))
    assert "unique" in str(caught.value).lower()
    assert "secret" not in f"{caught.value} {caught.value.__cause__}"


async def test_a_write_goes_on_without_its_asker(database: Database) -> None:
    """A task that is cancelled in mid-write leaves a whole row behind, not half of it."""
    started, release = trio.Event(), threading.Event()

    def work(connection: Connection) -> None:
        _note(connection, "first half")
        trio.from_thread.run_sync(started.set)
        release.wait(10)
        _note(connection, "second half")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.write, work)
        await started.wait()
        nursery.cancel_scope.cancel()
    release.set()
    await commits(database)
    assert await database.read(names) == ["first half", "second half"]


async def test_the_askers_time_limit_holds(database: Database) -> None:
    """A stuck disk holds an asker for no longer than it wants to wait, even in a shield of its own."""
    async with busy(database.write):
        with trio.move_on_after(0.01, shield=True) as box:
            await database.write(note("a"))
    assert box.cancelled_caught


async def test_a_failure_that_nobody_waits_for_is_logged(database: Database) -> None:
    """When the asker has gone, its refused write is reported, without what it carried."""
    await database.write(note("secret"))
    with structlog.testing.capture_logs() as logs:
        async with busy(database.write):
            with trio.move_on_after(0):
                # Handing over is a checkpoint, and this one is cancelled at it: nothing is written or logged.
                await database.write(note("secret"))
            with trio.move_on_after(0.01):
                await database.write(note("secret"))
        await database.write(note("other"))
    assert [(each["event"], each["error"]) for each in logs] == [("write_failed", "StoreFailed")]
    assert "secret" not in str(logs)


async def test_a_later_write_keeps_its_place(database: Database) -> None:
    """Writes that may wait are committed in order with those that do not."""
    await database.keep_later(note("a"))
    await database.write(note("b"))
    await database.keep_later(note("c"))
    await database.write(note("d"))
    assert await database.read(names) == ["a", "b", "c", "d"]


async def test_a_later_write_does_not_wait_for_ever(database: Database) -> None:
    """A write that may wait is committed although no other comes."""
    written = trio.Event()

    def work(connection: Connection) -> None:
        _note(connection, "a")
        trio.from_thread.run_sync(written.set)

    await database.keep_later(work)
    with trio.fail_after(HANGING):
        await written.wait()
    await commits(database)
    assert await database.read(names) == ["a"]


async def test_a_later_write_holds_up_none_before_it(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """What somebody waits for is committed as soon as the thread is free, also when the last to come may wait."""
    monkeypatch.setattr(database_module, "LINGER_SECONDS", 600)
    with trio.fail_after(HANGING):
        async with trio.open_nursery() as nursery, busy(database.write):
            nursery.start_soon(database.write, note("a"))
            await trio.testing.wait_all_tasks_blocked()
            await database.keep_later(note("b"))
    assert await database.read(names) == ["a", "b"]


async def test_a_later_write_that_is_refused_is_logged(database: Database) -> None:
    """Nobody waits for it, so the log is the only one to tell."""
    with structlog.testing.capture_logs() as logs:
        await database.keep_later(note("twice"))
        await database.keep_later(note("twice"))
        await database.write(note("a"))
    assert [each["event"] for each in logs] == ["write_failed"]
    assert await database.read(names) == ["twice", "a"]


async def test_closing_commits_what_was_handed_over(database_url: str) -> None:
    """The end of the block waits for the writes that nobody else waits for."""
    async with open_database(database_url) as database:
        await database.keep_later(note("a"))
    async with open_database(database_url) as database:
        assert await database.read(names) == ["a"]


@pytest.mark.parametrize("lingering", [False, True])
async def test_cancelling_commits_what_was_handed_over(database_url: str, lingering: bool) -> None:
    """A daemon that is cancelled loses no write, taken or not."""
    database = Database(database_url)
    async with trio.open_nursery() as nursery:
        await nursery.start(database.serve)
        for name in ("a", "b"):
            await database.keep_later(note(name))
        if lingering:
            await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    async with open_database(database_url) as again:
        assert await again.read(names) == ["a", "b"]


async def test_a_closed_database_takes_nothing(database_url: str) -> None:
    """After the end there is a clear refusal instead of a wait."""
    async with open_database(database_url) as database:
        pass
    with pytest.raises(StoreFailed, match="closed"):
        await database.write(note("a"))
    with pytest.raises(StoreFailed, match="closed"):
        await database.keep_later(note("a"))
    with pytest.raises(DatabaseError, match="not open"):
        await database.read(names)


async def test_the_block_raises_what_it_raised(database_url: str) -> None:
    """An error inside the block is not wrapped in a group."""
    with pytest.raises(AgentError):
        async with open_database(database_url):
            raise AgentError("as it is")


@pytest.mark.sqlite_only("a server's disk is not to be filled here")
async def test_a_full_disk_fails_the_write_and_nothing_else(database: Database) -> None:
    """What does not fit is refused; once there is room again, writing goes on."""

    def no_room(connection: Connection) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages + 1}")

    def room(connection: Connection) -> None:
        connection.exec_driver_sql("PRAGMA max_page_count=1000000")

    await database.write(no_room)
    with pytest.raises(StoreFailed, match="full"):
        await database.write(note("x" * 100_000))
    await database.write(room)
    await database.write(note("x" * 100_000))
    assert len(await database.read(names)) == 1


async def test_a_read_of_what_is_not_there_is_a_database_error(database: Database) -> None:
    """A failing read says that the database could not be read."""
    with pytest.raises(DatabaseError, match=r"no such table|UndefinedTable"):
        await database.read(lambda connection: connection.exec_driver_sql("SELECT * FROM no_table"))


async def test_another_process_with_the_write_lock(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another holds the lock, reads go on, and writes are refused once the patience is over."""
    monkeypatch.setattr(engine_module, "BUSY_SECONDS", 0.01)
    async with open_database(database_url) as database:
        await database.write(note("a"))
        with writing_elsewhere(database_url):
            assert await database.read(names) == ["a"]
            with pytest.raises(StoreFailed, match=LOCKED):
                await database.write(note("b"))
        await database.write(note("c"))
        assert await database.read(names) == ["a", "c"]


@pytest.mark.parametrize("held", ["read", "read_many"])
async def test_a_read_that_takes_long_holds_up_no_write(database: Database, held: str) -> None:
    """While one reads for long, writes are committed, and reads of the other kind see them."""
    hold, other = (database.read, database.read_many) if held == "read" else (database.read_many, database.read)
    with trio.fail_after(HANGING):
        async with busy(hold):
            await database.write(note("a"))
            assert await other(names) == ["a"]
        assert await hold(names) == ["a"]


async def test_a_write_that_takes_long_holds_up_no_read(database: Database) -> None:
    """Reads of both kinds go on while a write is under way, and see what was committed before it."""
    await database.write(note("a"))
    with trio.fail_after(HANGING):
        async with busy(database.write):
            assert await database.read(names) == ["a"]
            assert await database.read_many(names) == ["a"]


async def test_a_flush_that_takes_too_long_answers_all(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a busy database is cancelled and has no time left, whoever still waits is told that nothing was written."""
    monkeypatch.setattr(database_module, "FLUSH_SECONDS", 0)
    database = Database(database_url)
    refused: list[str] = []

    async def write(name: str) -> None:
        try:
            await database.write(note(name))
        except StoreFailed as error:
            refused.append(str(error))

    async def held(work: Work) -> None:
        with suppress(StoreFailed):  # it may be done in time
            await database.write(work)

    stop = trio.CancelScope()

    async def serve(*, task_status: trio.TaskStatus[Database]) -> None:
        with stop:
            async with trio.open_nursery() as actor:
                task_status.started(await actor.start(database.serve))

    async with trio.open_nursery() as nursery:
        await nursery.start(serve)
        async with trio.open_nursery() as askers, busy(held):
            for index in range(3):
                askers.start_soon(write, str(index))
            await trio.testing.wait_all_tasks_blocked()
            stop.cancel()
    assert refused == ["the database was closed before this was written"] * 3


# ── what must not be lost ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a database that is in trouble be noticed, and tried again, soon."""
    monkeypatch.setattr(engine_module, "BUSY_SECONDS", 0.01)
    monkeypatch.setattr(database_module, "STALL_SECONDS", 0.02)
    monkeypatch.setattr(database_module, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(database_module, "LOOK_SECONDS", 0.05)


def file_of(database: Database) -> Path:
    return Path(database.url.removeprefix("sqlite:///"))


async def until_kept(database: Database, number: int) -> None:
    """Wait until only so many writes are kept."""
    with trio.fail_after(HANGING):
        while database.kept > number:  # noqa: ASYNC110 - nobody announces it
            await trio.sleep(0.01)


async def until_well(database: Database) -> None:
    with trio.fail_after(HANGING):
        while database.trouble is not None:  # noqa: ASYNC110 - nobody announces it
            await trio.sleep(0.01)


@pytest.mark.usefixtures("quick")
async def test_what_must_not_be_lost_outlasts_a_lock(database_url: str) -> None:
    """Its asker goes on at once, what is only wanted is refused, and all that was kept is committed in order."""
    written: list[None] = []
    async with open_database(database_url) as database:
        with writing_elsewhere(database_url):
            for index in range(3 * BATCH_WRITES):
                await database.keep(note(f"{index:03}"), on_written=written.append)
            await database.keep_later(note("later"))
            with pytest.raises(StoreFailed, match=LOCKED):
                await database.write(note("only wanted"))
            assert re.search(LOCKED, database.trouble or "")
            assert (database.kept, written) == (3 * BATCH_WRITES + 1, [])
        await until_kept(database, 0)
        assert await database.read(names) == [*(f"{index:03}" for index in range(3 * BATCH_WRITES)), "later"]
        assert len(written) == 3 * BATCH_WRITES
        await until_well(database)


@pytest.mark.sqlite_only("a server ends every transaction whose COMMIT fails")
@pytest.mark.usefixtures("quick")
async def test_a_commit_that_fails_leaves_nothing_open(database_url: str) -> None:
    """What SQLite has not committed, and has not undone either, does not become a part of what is written next."""
    unread: list[Any] = []

    def work(connection: Connection) -> None:
        _note(connection, f"try {len(unread)}")
        if unread:
            unread[0].close()
        else:
            # While a statement that writes is not read to its end, nothing is committed.
            driver: Any = connection.connection.driver_connection
            unread.append(driver.execute("UPDATE agents SET token_hash = agent_id RETURNING agent_id"))

    async with open_database(database_url) as database:
        await database.write(note("before"))
        await database.keep(work)
        await until_kept(database, 0)
        await database.write(note("after"))
        assert await database.read(names) == ["before", "try 1", "after"]


@pytest.mark.sqlite_only("a server's disk is not to be filled here")
@pytest.mark.usefixtures("quick")
async def test_what_must_not_be_lost_outlasts_a_full_disk(database_url: str) -> None:
    """A write that finds no room is tried until there is some; those behind it keep their place."""
    room = threading.Event()

    def work(connection: Connection) -> None:
        pages = 1_000_000 if room.is_set() else connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        _note(connection, "x" * 100_000)

    async with open_database(database_url) as database:
        await database.keep(work)
        await database.keep(note("b"))
        with pytest.raises(StoreFailed, match="full"):
            await database.write(note("only wanted"))
        room.set()
        await until_kept(database, 0)
        assert [name[0] for name in await database.read(names)] == ["x", "b"]


@pytest.mark.sqlite_only("a server's disk is not to be filled here")
@pytest.mark.usefixtures("quick")
async def test_closing_while_trouble_is_tried_again_starts_nothing_else(database_url: str) -> None:
    """One batch is under way at a time, also when the end comes in the middle of another try."""
    tries: list[None] = []
    again, release = trio.Event(), threading.Event()

    def work(connection: Connection) -> None:
        tries.append(None)
        if len(tries) == 1:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        else:
            connection.exec_driver_sql("PRAGMA max_page_count=1000000")
            trio.from_thread.run_sync(again.set)
            release.wait(10)
        _note(connection, "x" * 100_000)

    async with open_database(database_url) as database:
        await database.keep(work)
        await again.wait()
        database.close()
        await trio.sleep(3 * database_module.RETRY_SECONDS)
        release.set()
    assert len(tries) == 2
    async with open_database(database_url) as reopened:
        assert len(await reopened.read(names)) == 1


@pytest.mark.usefixtures("quick")
async def test_the_room_for_what_is_kept_is_bounded(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of it is for new calls, all of it for those that are up; then there is a refusal."""
    monkeypatch.setattr(database_module, "KEPT_WRITES", 6)
    async with open_database(database_url) as database:
        with writing_elsewhere(database_url):
            for index in range(3):
                await database.keep(note(str(index)), for_new_call=True)
            with pytest.raises(StoreFailed, match="too much waits"):
                await database.keep(note("new"), for_new_call=True)
            for index in range(3, 6):
                await database.keep(note(str(index)))
            for refused in (database.keep, database.keep_later):
                with pytest.raises(StoreFailed, match="too much waits"):
                    await refused(note("no room"))
        await until_kept(database, 0)
        assert await database.read(names) == ["0", "1", "2", "3", "4", "5"]


async def test_what_breaks_a_rule_is_refused_and_not_kept(database: Database) -> None:
    """A write that can never be made is its asker's error, at once, and nothing waits behind it."""
    await database.keep(note("twice"))
    with pytest.raises(StoreFailed, match=r"(?i)unique"):
        await database.keep(note("twice"))
    assert (database.kept, database.trouble) == (0, None)


@pytest.mark.usefixtures("quick")
async def test_what_is_kept_at_the_end_is_counted(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that ends while its database is locked says how much is lost with it, once, and does not hang."""
    monkeypatch.setattr(database_module, "FLUSH_SECONDS", 0.1)
    with structlog.testing.capture_logs() as logs, ExitStack() as elsewhere, trio.fail_after(HANGING):
        async with open_database(database_url) as database:
            elsewhere.enter_context(writing_elsewhere(database_url))
            for index in range(3):
                await database.keep(note(str(index)))
    assert [each for each in logs if each["event"] == "kept_writes_lost"] == [
        {"event": "kept_writes_lost", "writes": 3, "log_level": "error"}
    ]


# ── the file is gone ────────────────────────────────────────────────────────────────────────────────────────────────

of_a_file = pytest.mark.sqlite_only("it is about the file")


def delete_all(path: Path) -> None:
    for each in path.parent.glob(f"{path.name}*"):
        each.unlink()


def move_away(path: Path) -> None:
    path.rename(path.with_name("elsewhere.db"))


def leave_the_log(path: Path) -> None:
    path.unlink()


def empty_one(path: Path) -> None:
    delete_all(path)
    path.touch()


def fresh_one(path: Path) -> None:
    """As a command does that is run in between."""
    delete_all(path)
    engine_module.open_engine(f"sqlite:///{path}").dispose()


def one_with_a_journal(path: Path) -> None:
    """As a program leaves it that is killed, or still at work, in the first transaction of a new database."""
    delete_all(path)
    journal = path.with_name(f"{path.name}-journal")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA cache_size = 2")
        other.execute("BEGIN")
        other.execute("CREATE TABLE more (body)")
        other.executemany("INSERT INTO more VALUES (?)", [("x" * 3000,)] * 20)
        content = journal.read_bytes()
        other.execute("ROLLBACK")
    journal.write_bytes(content)


def take_directory(path: Path) -> None:
    path.rename(path.with_name(f"{path.name}-gone"))


def give_directory(path: Path) -> None:
    path.mkdir()


def truncate(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(0)


def saved_files(database: Database) -> list[Path]:
    return list(file_of(database).parent.glob("*.saved-*"))


@of_a_file
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("loss", [delete_all, move_away, leave_the_log, empty_one, fresh_one, one_with_a_journal])
@pytest.mark.parametrize("idle", [False, True])
async def test_a_lost_file_is_put_back(database_url: str, loss: Callable[[Path], None], idle: bool) -> None:
    """Whatever was in it is there again, with what was written after the loss, also for another process."""
    async with open_database(database_url) as database:
        path = file_of(database)
        await database.write(note("before"))
        assert await database.read(names) == ["before"]
        with structlog.testing.capture_logs() as logs:
            loss(path)
            if idle:
                with trio.fail_after(HANGING):
                    while not any(each["event"] == "database_file_put_back" for each in logs):  # noqa: ASYNC110
                        await trio.sleep(0.01)
            await database.keep(note("after"))
            await until_kept(database, 0)
        assert {"database_file_lost", "database_file_put_back"} <= {each["event"] for each in logs}
        assert await database.read(names) == await database.read_many(names) == ["before", "after"]
        assert path.stat().st_mode & 0o777 == 0o600
        with closing(sqlite3.connect(path)) as other:
            assert other.execute("SELECT count(*) FROM agents").fetchone() == (2,)
    async with open_database(database_url) as again:
        assert await again.read(names) == ["before", "after"]
    assert saved_files(database) == []


@of_a_file
@pytest.mark.usefixtures("quick")
async def test_a_file_that_cannot_be_put_back_is_trouble_until_it_can(database_url: str, tmp_path: Path) -> None:
    """Without its directory nothing counts as written; with it, all that was kept is."""
    async with open_database(database_url) as database:
        await database.write(note("before"))
        take_directory(tmp_path)
        await database.keep(note("after"))
        await trio.sleep(0.1)
        assert (database.kept, "put back" in (database.trouble or "")) == (1, True)
        give_directory(tmp_path)
        await until_kept(database, 0)
        await until_well(database)
        assert await database.read(names) == ["before", "after"]


@of_a_file
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("attempts", [1, 3])
async def test_a_commit_to_a_lost_file_is_not_made_again(
    database_url: str, monkeypatch: pytest.MonkeyPatch, attempts: int
) -> None:
    """Its file was deleted under it, and locked by another program when it was back: it was committed all the same."""
    runs: list[str] = []
    with ExitStack() as stack:
        other = stack.enter_context(closing(sqlite3.connect(":memory:")))
        put_back = lost_file.put_back

        def put_back_and_lock(saved: Path, path: Path) -> None:
            nonlocal other
            put_back(saved, path)
            other = stack.enter_context(closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)))
            other.execute("BEGIN EXCLUSIVE")

        monkeypatch.setattr(lost_file, "put_back", put_back_and_lock)
        async with open_database(database_url) as database:

            def lose(connection: Connection) -> None:
                runs.append("run")
                connection.execute(insert(dials), {"agent_id": "a", "number": "+1", "kind": "call", "at": _BEGIN})
                delete_all(file_of(database))

            await database.keep(lose)
            for _attempt in range(attempts):
                await database.keep(note(f"after {_attempt}"))
            await trio.sleep(0.1)
            assert database.kept == 1 + attempts
            other.execute("ROLLBACK")
            await until_kept(database, 0)
            assert await database.read(lambda each: len(each.execute(select(dials)).all())) == 1
            assert await database.read(names) == [f"after {each}" for each in range(attempts)]
    assert runs == ["run"]


@of_a_file
@pytest.mark.usefixtures("quick")
async def test_a_file_that_is_no_database_is_not_touched(database_url: str) -> None:
    """What somebody put in its place stays, nothing counts as written, and a database in its place heals it."""
    async with open_database(database_url) as database:
        path = file_of(database)
        await database.write(note("before"))
        path.unlink()
        path.write_text("this is no database " * 1000)
        await database.keep(note("after"))
        await trio.sleep(0.1)
        assert (database.kept, "no database" in (database.trouble or "")) == (1, True)
        assert path.read_text().startswith("this is no database")
        path.unlink()
        await until_kept(database, 0)
        assert await database.read(names) == ["before", "after"]


@of_a_file
@pytest.mark.usefixtures("quick")
async def test_another_database_in_its_place_gets_what_waits(database_url: str, tmp_path: Path) -> None:
    """Its agents are kept, messages that nobody has confirmed come over, and the old database stays beside it."""
    async with open_database(f"sqlite:///{tmp_path / 'other.db'}") as other:
        await other.write(note("theirs"))
    async with open_database(database_url) as database:
        await database.write(note("ours"))
        waiting = WaitingMessages(database)
        await waiting.leave(draft(body="confirmed"))
        await until_kept(database, 0)
        (confirmed,) = await waiting.list_all()
        await waiting.acknowledge("my-client", [confirmed.id])
        await waiting.leave(draft(call_sid="CA2", body="waits"))
        await DoNotCallList(database).add("+14155552671", agent_id=None, reason="asked", added_by="caller")
        await until_kept(database, 0)
        delete_all(file_of(database))
        (tmp_path / "other.db").rename(file_of(database))
        await waiting.leave(draft(call_sid="CA3", body="later"))
        await until_kept(database, 0)
        assert await database.read(names) == ["theirs"]
        assert [each.body for each in await waiting.list_all()] == ["waits", "later"]
        assert len(await DoNotCallList(database).list_all()) == 1
    (saved,) = saved_files(database)
    with closing(sqlite3.connect(saved)) as old:
        assert old.execute("SELECT count(*) FROM messages").fetchone() == (2,)


@of_a_file
@pytest.mark.usefixtures("quick")
async def test_a_file_that_was_emptied_in_place_gets_its_tables_again(database_url: str) -> None:
    """What was in it is gone with it; what is kept is stored as soon as there are tables."""
    async with open_database(database_url) as database:
        await database.write(note("before"))
        truncate(file_of(database))
        await database.keep(note("after"))
        await until_kept(database, 0)
