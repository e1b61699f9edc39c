"""A server of PostgreSQL that is killed, away, or stopped where it is, under what reads and writes."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest
import structlog.testing
import trio
from sqlalchemy import Connection, text

from actors.errors import StoreFailed
from relay.errors import DatabaseError
from relay.store import database as database_module
from relay.store.commit_in_doubt import CommitInDoubt
from relay.store.connections import Connections
from relay.store.database import Database, open_database
from tests.limits import HANGING
from tests.postgresql_server import PostgresqlServer, connected, run_postgresql

# The server's own words for its processes that serve a connection of ours.
_OURS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'relay'"


@pytest.fixture(autouse=True)
def impatience(patience: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a server that does not answer noticed as soon as by a daemon."""
    monkeypatch.setattr(database_module, "STALL_SECONDS", 0.5)


@pytest.fixture(scope="module")
def running() -> Iterator[PostgresqlServer]:
    with run_postgresql() as server:
        yield server


@pytest.fixture
def server(running: PostgresqlServer) -> Iterator[PostgresqlServer]:
    """Yield a server that runs, whatever an earlier test has done to it."""
    yield running
    running.go_on()
    if not running.is_running:
        running.start()


@pytest.fixture
async def database(server: PostgresqlServer) -> AsyncIterator[Database]:
    async with open_database(server.new_database()) as database:
        await database.write(lambda connection: connection.execute(text("CREATE TABLE notes (name TEXT)")))
        yield database


def add(connection: Connection, name: str) -> str:
    connection.execute(text("INSERT INTO notes VALUES (:name)"), {"name": name})
    return name


def names(connection: Connection) -> list[str]:
    return list(connection.execute(text("SELECT name FROM notes ORDER BY name")).scalars())


async def until_well(database: Database) -> None:
    with trio.fail_after(HANGING):
        while database.trouble is not None or database.kept:  # noqa: ASYNC110
            await trio.sleep(0.05)


async def test_a_read_and_a_write_outlast_a_restart(
    server: PostgresqlServer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is asked while the server is away is answered when it is back, by both readers and the writer."""
    for name in ("AWAY_SECONDS", "READ_SECONDS", "WRITE_SECONDS"):  # a server takes some seconds to start, or more
        monkeypatch.setattr(database_module, name, HANGING)
    assert await database.read(names) == await database.read_many(names) == []
    server.kill()
    answers: list[object] = []

    async def ask(what: object) -> None:
        answers.append(await what)  # type: ignore[misc]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, database.write(lambda connection: add(connection, "written")))
        nursery.start_soon(ask, database.read(lambda connection: len(names(connection)) * 0))
        nursery.start_soon(ask, database.read_many(lambda connection: len(names(connection)) * 0))
        await trio.sleep(1)
        await trio.to_thread.run_sync(server.start)
    assert sorted(map(str, answers)) == ["0", "0", "written"]
    assert await database.read(names) == ["written"]


async def test_a_server_that_stays_away_fails_what_is_only_wanted(
    server: PostgresqlServer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused after its time and not made later; what is kept is made, once."""
    monkeypatch.setattr(database_module, "AWAY_SECONDS", 1.0)
    monkeypatch.setattr(database_module, "READ_SECONDS", 1.0)
    server.kill()
    assert await database.keep(lambda connection: add(connection, "kept")) is None
    with pytest.raises(StoreFailed, match="away for too long"):
        await database.write(lambda connection: add(connection, "wanted"))
    with pytest.raises(DatabaseError, match=r"could not be read|cannot be reached"):
        await database.read(names)
    await trio.to_thread.run_sync(server.start)
    await until_well(database)
    assert await database.read(names) == ["kept"]


@pytest.mark.parametrize("is_committed", [True, False])
async def test_a_commit_that_is_lost_is_made_once(
    server: PostgresqlServer, database: Database, is_committed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection breaks before the answer: what the server committed is not made again, and its value is known."""
    runs = 0

    def work(connection: Connection) -> str:
        nonlocal runs
        runs += 1
        return add(connection, f"run {runs}")

    commit = Connection._commit_impl

    def commit_and_break(connection: Connection) -> None:
        monkeypatch.setattr(Connection, "_commit_impl", commit)
        if is_committed:
            # By another door than the driver's, which would learn of it.
            driver = connection.connection.driver_connection
            assert driver is not None
            driver.pgconn.exec_(b"COMMIT")
        with connected(server.url) as other:
            other.execute(f"SELECT pg_terminate_backend(pid, 5000) FROM ({_OURS}) AS ours")
        commit(connection)

    monkeypatch.setattr(Connection, "_commit_impl", commit_and_break)
    assert await database.write(work) == f"run {1 if is_committed else 2}"
    assert await database.read(names) == [f"run {1 if is_committed else 2}"]


async def test_a_hung_server_is_let_go(
    server: PostgresqlServer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in trouble at once, its threads are free again after a while, and all is well once it goes on."""
    monkeypatch.setattr(database_module, "READ_SECONDS", 0.5)
    monkeypatch.setattr(database_module, "WRITE_SECONDS", 0.5)
    monkeypatch.setattr(database_module, "HANG_SECONDS", 1.0)
    assert await database.read(names) == []
    server.pause()
    began = time.monotonic()
    with pytest.raises(DatabaseError, match="did not answer"):
        await database.read(names)
    with pytest.raises(StoreFailed, match="does not answer"):
        await database.write(lambda connection: add(connection, "late"))
    assert database.trouble is not None
    with trio.fail_after(HANGING):
        while database.trouble == "it does not answer":  # noqa: ASYNC110
            await trio.sleep(0.05)
    assert time.monotonic() - began >= 1
    server.go_on()
    await until_well(database)
    monkeypatch.setattr(database_module, "READ_SECONDS", 8.0)
    assert set(await database.read(names)) <= {"late"}


async def test_one_hung_reader_is_let_go(
    server: PostgresqlServer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement that never ends costs its asker an error, and the next read gets a connection of its own."""
    monkeypatch.setattr(database_module, "READ_SECONDS", 0.5)
    monkeypatch.setattr(database_module, "HANG_SECONDS", 1.0)
    monkeypatch.setattr(database_module, "LOOK_SECONDS", 0.1)
    with pytest.raises(DatabaseError, match="did not answer"):
        await database.read(lambda connection: connection.execute(text("SELECT pg_sleep(9.5)")))
    await database.write(lambda connection: add(connection, "meanwhile"))
    monkeypatch.setattr(database_module, "READ_SECONDS", 8.0)
    with trio.fail_after(8):  # less than the statement would take
        assert await database.read(names) == ["meanwhile"]


async def test_the_end_does_not_wait_for_a_hung_server(
    server: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing takes what the last writes are given and no longer, whatever its threads wait for."""
    monkeypatch.setattr(database_module, "FLUSH_SECONDS", 0.5)
    began = time.monotonic()
    async with open_database(server.new_database()) as database:
        assert await database.read(lambda connection: connection.execute(text("SELECT 1")).scalar()) == 1
        server.pause()
        with trio.move_on_after(0.1):
            await database.read(lambda connection: connection.execute(text("SELECT 1")))
        await database.keep(lambda connection: connection.execute(text("SELECT 1")))
        began = time.monotonic()
    assert time.monotonic() - began < 3
    server.go_on()


async def test_a_beat_s_connection_that_hangs_is_replaced(server: PostgresqlServer) -> None:
    """Before the node is taken for silent: its beats go on over another one."""
    asked = 0

    def work(connection: Connection) -> int:
        nonlocal asked
        asked += 1
        connection.execute(text("SELECT pg_sleep(9.5)" if asked == 1 else "SELECT 1"))
        return asked

    async with open_database(server.new_database(), for_beats=True) as beats:
        with trio.fail_after(3), structlog.testing.capture_logs() as logged:
            assert await beats.write(work) == 2
        told = [(each["event"], each["of"], each.get("cause")) for each in logged]
        assert told == [
            ("database_in_trouble", "beats", "it did not answer in time"),  # and not that the server has closed it
            ("database_works_again", "beats", None),
        ]
        # Its tables are those of the node's first one.
        assert await beats.write(lambda connection: connection.scalar(text("SELECT to_regclass('runs')"))) is None


def test_a_connection_that_was_long_in_coming_is_not_broken_off(
    server: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is asked over it has waited for nothing yet; else beats would never reach a slow server again."""
    connections = Connections(server.new_database(), migrate=False)
    opened, commit, asked = Connections.open, Connection._commit_impl, CommitInDoubt.committed

    def open_slowly(itself: Connections) -> None:
        time.sleep(0.3)
        opened(itself)

    def be_impatient(itself: CommitInDoubt, connection: Connection, writes: Sequence[object]) -> list[Any]:
        connections.break_off(0.2)
        return asked(itself, connection, writes)

    def commit_and_break(connection: Connection) -> None:
        monkeypatch.setattr(Connection, "_commit_impl", commit)
        connections.break_off(0)
        commit(connection)

    monkeypatch.setattr(Connections, "open", open_slowly)
    monkeypatch.setattr(CommitInDoubt, "committed", be_impatient)
    monkeypatch.setattr(Connection, "_commit_impl", commit_and_break)
    assert connections.settle([nothing])[1] is not None
    outcomes, trouble = connections.settle([nothing])
    assert (trouble, [each.value for each in outcomes]) == (None, [0])
    connections.close()


def nothing(connection: Connection) -> int:
    value: int = connection.execute(text("SELECT 0")).scalar_one()
    return value


async def test_the_end_waits_for_no_last_beat(server: PostgresqlServer) -> None:
    """A node that has a hung server ends in its time all the same, and says nothing of a beat that was given up."""
    with structlog.testing.capture_logs() as logged:
        async with open_database(server.new_database(), for_beats=True) as beats:
            server.pause()
            with trio.move_on_after(0.1):
                await beats.write(lambda connection: connection.execute(text("SELECT 1")))
            began = time.monotonic()
        assert time.monotonic() - began < 2
    assert "write_failed" not in [each["event"] for each in logged]
    server.go_on()


async def test_both_sides_notice_that_the_other_one_has_vanished(server: PostgresqlServer) -> None:
    """Within ten seconds: also of a relay that is frozen in a transaction, whose locks are then free for others."""

    def limits(connection: Connection) -> dict[str, int]:
        shown = {
            name: connection.execute(text(f"SELECT setting FROM pg_settings WHERE name = '{name}'")).scalar_one()
            for name in ("idle_in_transaction_session_timeout", "statement_timeout", "tcp_user_timeout")
        }
        driver: Any = connection.connection.driver_connection
        with socket.socket(fileno=os.dup(driver.fileno())) as ours:
            here = ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            idle = ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
        return {name: int(value) for name, value in shown.items()} | {"here": here, "idle": 1000 * idle}

    async with open_database(server.new_database()) as database:
        reading, writing = await database.read(limits), await database.write(limits)
    assert max(reading.values()) <= 10_000
    assert min(reading.values()) > 0
    # A reader keeps nobody out, and a long list is made from what it has read.
    assert writing == reading | {"idle_in_transaction_session_timeout": 2_000}
