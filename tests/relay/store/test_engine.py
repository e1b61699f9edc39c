"""Opening a database: what it must be, and what is said when it is not."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import trio
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, insert, make_url, select, text

from relay.errors import DatabaseError
from relay.store import engine as engine_module
from relay.store.engine import open_engine, read_only, shown
from relay.store.schema import agents, metadata, utc_now
from tests.postgresql_server import connected


@contextmanager
def opened(url: str) -> Iterator[Engine]:
    engine = open_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()


def test_the_migrations_make_the_schema(database_url: str) -> None:
    """From nothing, the migrations create exactly the tables that the code works with."""
    with opened(database_url) as engine, engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_opening_again_changes_nothing(database_url: str) -> None:
    """A database that is up to date is left as it is."""
    with opened(database_url) as engine, engine.begin() as connection:
        connection.execute(insert(agents), {"agent_id": "a", "token_hash": "b", "created_at": utc_now()})
    with opened(database_url) as engine, engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM agents")).scalar_one() == 1


@pytest.mark.sqlite_only("a server's own settings decide that")
def test_commits_are_durable(database_url: str) -> None:
    """SQLite flushes each commit, writes ahead, and checks references."""
    with opened(database_url) as engine, engine.connect() as connection:
        settings = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]
    assert settings == ["wal", 2, 1, 5000]


def test_a_reading_view_takes_no_lock(database_url: str) -> None:
    """Two transactions may read at once, while a writing one has begun."""
    with opened(database_url) as engine:
        reading = read_only(engine)
        with engine.begin(), reading.begin() as one, reading.begin() as two:
            assert one.execute(text("SELECT 1")).scalar_one() == two.execute(text("SELECT 1")).scalar_one()


async def test_several_databases_open_at_once(tmp_path: Path) -> None:
    """Databases that are opened in several threads of one process do not disturb each other."""
    engines: list[Engine] = []

    async def open_one(name: str) -> None:
        engines.append(await trio.to_thread.run_sync(open_engine, f"sqlite:///{tmp_path / name}"))

    async with trio.open_nursery() as nursery:
        for name in ("a", "a", "b", "c", "d"):
            nursery.start_soon(open_one, name)
    assert len(engines) == 5
    for engine in engines:
        engine.dispose()


def test_the_file_is_the_owners_alone(tmp_path: Path) -> None:
    """Nobody else on the machine reads what callers said, whatever the umask."""
    path = tmp_path / "relay.db"
    with opened(f"sqlite:///{path}"):
        assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("relay.db", "DATABASE_URL is not a database URL"),
        ("nosuch://host/name", "DATABASE_URL is not a database URL"),
        ("mysql://host/name", "mysql"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:///file:relay?mode=memory&uri=true", "names no file"),
        ("postgresql+pg8000://host/name", "driver that is not installed"),
    ],
)
def test_a_wrong_url_says_what_to_give(url: str, said: str) -> None:
    """A URL that cannot be used is refused with what can."""
    with pytest.raises(DatabaseError, match=said) as caught:
        open_engine(url)
    assert "sqlite:///" in str(caught.value)


def test_a_password_is_not_shown() -> None:
    """A URL in a message has its password taken out, and one that is none is not repeated at all."""
    assert "secret" not in shown("postgresql+psycopg://relay:secret@host/name")
    assert "secret" not in shown("relay:secret")


def test_a_missing_directory_says_so(tmp_path: Path) -> None:
    """The directory of the database is not made by guess."""
    with pytest.raises(DatabaseError, match="directory does not exist"):
        open_engine(f"sqlite:///{tmp_path / 'none' / 'relay.db'}")


def test_a_place_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    """A path below a file can never be created, by no user."""
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseError, match="cannot be opened for writing"):
        open_engine(f"sqlite:///{tmp_path / 'file' / 'relay.db'}")


def test_a_directory_is_no_database(tmp_path: Path) -> None:
    """SQLite's own refusal is passed on with advice."""
    with pytest.raises(DatabaseError, match=r"unable to open database file.*DATABASE_URL"):
        open_engine(f"sqlite:///{tmp_path}")


def test_a_place_without_write_ahead_logging_is_refused(tmp_path: Path) -> None:
    """Where SQLite cannot share memory between processes, as on some network file systems, it says so."""
    # This way of locking files knows no shared memory (https://www.sqlite.org/vfs.html).
    with pytest.raises(DatabaseError, match=r"write-ahead logging.*local disk"):
        open_engine(f"sqlite:///file:{tmp_path / 'relay.db'}?vfs=unix-dotfile&uri=true")


def test_another_file_is_not_overwritten(tmp_path: Path) -> None:
    """A file that is no database is left alone, and its owner told."""
    path = tmp_path / "relay.db"
    path.write_text("my diary, all of it\n" * 100)
    with pytest.raises(DatabaseError, match=r"not a database.*backup"):
        open_engine(f"sqlite:///{path}")
    assert path.read_text().startswith("my diary")


def test_a_damaged_database_says_so(tmp_path: Path) -> None:
    """Pages that were overwritten are noticed at start, not in the first call."""
    path = tmp_path / "relay.db"
    with opened(f"sqlite:///{path}"):
        pass
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 4096)
    with pytest.raises(DatabaseError, match="backup"):
        open_engine(f"sqlite:///{path}")


def test_a_newer_database_is_refused(new_database: Callable[[], str]) -> None:
    """An old relay does not touch tables that it does not know."""
    url = new_database()
    with opened(url) as engine, engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseError, match="newer relay"):
        open_engine(url)


@pytest.mark.sqlite_only("it is one lock for all writes")
def test_a_locked_database_names_the_cause(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that cannot get the write lock says that another process has it."""
    monkeypatch.setattr(engine_module, "BUSY_SECONDS", 0.01)
    with opened(database_url):
        pass
    with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseError, match="Another process"):
            open_engine(database_url)
        other.execute("ROLLBACK")


def test_a_failed_migration_leaves_nothing(tmp_path: Path) -> None:
    """Tables that stand in the way stop the migration, and none of its own is left behind."""
    path = tmp_path / "relay.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE messages (diary TEXT)")
    with pytest.raises(DatabaseError, match="already exists"):
        open_engine(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall() == [("messages",)]


def query(url: str, said: str) -> str:
    """Return a URL of the same database with its address in the query, as one of several hosts."""
    address = make_url(url)
    return f"postgresql://{address.username}@/{address.database}?host=127.0.0.1:1&host=127.0.0.1:{address.port}&{said}"


@pytest.mark.postgresql_only("it is about servers")
def test_several_servers_may_be_named(new_database: Callable[[], str]) -> None:
    """The one is used that is there and takes writes."""
    with opened(query(new_database(), "target_session_attrs=read-write")) as engine, engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM agents")).scalar_one() == 0


@pytest.mark.postgresql_only("it is about servers")
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda url: query(url, "target_session_attrs=standby"), "Check that the server runs"),
        (lambda url: f"{url}_not_there", "database name in DATABASE_URL"),
        (lambda url: url.replace("relay@", "stranger@"), "Check that the server runs"),
    ],
)
def test_a_server_that_does_not_let_in(
    new_database: Callable[[], str], change: Callable[[str], str], says: str
) -> None:
    """Whatever the reason, the operator is told what to look at."""
    with pytest.raises(DatabaseError, match=says):
        open_engine(change(new_database()))


@pytest.mark.postgresql_only("it is about what a server refuses")
@pytest.mark.parametrize(
    ("before", "says"),
    [
        ("CREATE TABLE agents (diary TEXT)", r"42P07.*database of its own"),
        ("ALTER ROLE relay SET default_transaction_read_only = on", r"25006.*standby"),
        ("ALTER DATABASE {name} SET lock_timeout = 1", r"55P03.*Another process"),
        ("REVOKE CREATE ON SCHEMA public FROM public; CREATE ROLE guest LOGIN", r"42501.*own the database"),
    ],
    ids=["tables", "standby", "lock", "rights"],
)
def test_what_a_server_refuses_is_explained(new_database: Callable[[], str], before: str, says: str) -> None:
    """The reason is named by its code, with what to do; no text of the server, which may quote anything, is shown."""
    url = new_database()
    is_lock, is_right = "lock_timeout" in before, "guest" in before
    with connected(url) as other:
        other.execute(before.format(name=make_url(url).database))
        if is_lock:
            other.execute("SELECT pg_advisory_lock(%s)", [engine_module._MIGRATION_LOCK])
            url += "?options=-clock_timeout%3D10"
        with pytest.raises(DatabaseError, match=says) as refused:
            open_engine(url.replace("relay@", "guest@") if is_right else url)
        other.execute("SET default_transaction_read_only = off")
        other.execute("ALTER ROLE relay RESET default_transaction_read_only")
    assert "diary" not in f"{refused.value} {refused.value.__cause__}"


@pytest.mark.postgresql_only("two processes do not migrate one file at once")
def test_another_migration_is_waited_for(new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that is started while another one migrates waits for that, longer than for any other lock."""
    monkeypatch.setattr(engine_module, "BUSY_SECONDS", 0.05)
    url = new_database()
    with connected(url) as other, ThreadPoolExecutor() as starting:
        other.execute("SELECT pg_advisory_lock(%s)", [engine_module._MIGRATION_LOCK])
        started = starting.submit(open_engine, url)
        with pytest.raises(TimeoutError):
            started.result(timeout=0.5)
        other.execute("SELECT pg_advisory_unlock_all()")
        started.result().dispose()


@pytest.mark.postgresql_only("it is about the driver")
def test_nothing_is_prepared_at_the_server(database_url: str) -> None:
    """A pooler gives each transaction another connection, where a prepared statement would not be known."""
    with opened(database_url) as engine, engine.connect() as connection:
        for _each in range(20):
            connection.execute(select(agents))
        assert connection.execute(text("SELECT count(*) FROM pg_prepared_statements")).scalar_one() == 0


@pytest.mark.sqlite_only("it is about the file")
@pytest.mark.parametrize("mode", [0o644, 0o666, 0o640, 0o604, 0o600])
def test_a_file_that_others_may_read_is_closed_to_them(database_url: str, mode: int) -> None:
    """A file of an older version, or a copy, is its owner's alone once it was opened, with what lies beside."""
    path = Path(database_url.removeprefix("sqlite:///"))
    with opened(database_url) as engine, engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        connection.commit()
        files = [path, *path.parent.glob("relay.db-*")]
        for each in files:
            each.chmod(mode)
        with opened(database_url):
            assert {each.name: each.stat().st_mode & 0o777 for each in files} == dict.fromkeys(
                (each.name for each in files), 0o600
            )
