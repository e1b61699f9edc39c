"""Opening a database: check the URL, set SQLite up for durability, bring the tables up to date.

Everything here blocks and belongs into a worker thread. All that can go wrong with a file, a server or a URL becomes a
`DatabaseError` that says what to do, because the operator has to fix it.

SQLite runs in WAL mode with `synchronous=FULL`: a commit that returned survives the loss of power, and the command line
reads while the daemon writes (https://www.sqlite.org/wal.html, https://www.sqlite.org/pragma.html#pragma_synchronous).
"""

from __future__ import annotations

import threading
from pathlib import Path
from sqlite3 import Connection as SqliteConnection
from sqlite3 import Error as SqliteError
from typing import Any, cast

import structlog
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from relay.errors import DatabaseError
from relay.store.files import exposed
from relay.store.trouble import cause, sqlstate_of, withhold_values

log = structlog.get_logger(__name__)

# How long one process waits for another's lock. A command writes for milliseconds; only a stuck one takes longer.
BUSY_SECONDS = 5.0
# How long a start waits for another's migration, which of large tables takes its time: nodes may be started at once.
MIGRATED_SECONDS = 60.0
_READS_ONLY = "relay_reads_only"
# SQLite gives what lies beside a database the mode of the database.
_BESIDE = ("", "-wal", "-shm")
# A server that accepts no connection for so many seconds is down; one whose host has gone is noticed after eight.
_POSTGRESQL = {
    "connect_timeout": 5,
    "application_name": "relay",
    "keepalives_idle": 4,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "tcp_user_timeout": 8000,
    # A pooler may give each transaction another connection of the server, which knows nothing that was prepared. The
    # lock of the one daemon does need a connection of its own: PgBouncer in session mode, told to ignore `options`.
    "prepare_threshold": None,
}
# How long a statement may take, and how long a relay may be out of reach, before the server ends it.
_SERVER_SECONDS = 10.0
# How long a relay may be silent in a transaction that writes: what one has locked whose host has vanished is to be free
# before its calls are taken over, three seconds after its last beat. A relay says all of it in some milliseconds. What
# only reads locks nobody out, and may be worked on for as long as a statement may take.
_IDLE_SECONDS = 2.0
# The locks are in PostgreSQL's own number space, by database. Any number works that no other program uses.
SOLE_LOCK, _MIGRATION_LOCK, JOIN_LOCK = 7_352_901, 7_352_902, 7_352_903
_ADVICE = "Check DATABASE_URL, and that the database is there and may be used."
# By code or by class (https://www.postgresql.org/docs/current/errcodes-appendix.html).
_ADVICE_BY_SQLSTATE = {
    "25006": "The server is a standby. Name the primary in DATABASE_URL, or all of them with "
    "?host=a:5432&host=b:5432&target_session_attrs=read-write.",
    "40": "Another process has held a lock for seconds; end that process, then try again.",
    "42501": "Let the user in DATABASE_URL own the database, or grant it CREATE on the schema public.",
    "42P07": "Another program's tables are in the way: give the relay a database of its own.",
    "53": "The server has not the memory or disk for it; its own log says more.",
    "53100": "Free some disk space at the server, then try again.",
    "53300": "The server has no free connection: raise its max_connections, or end other programs that hold some.",
    "55P03": "Another process has held a lock for seconds; end that process, then try again.",
    "57": "The server is being stopped or started, or takes too long; its own log says more. Then try again.",
    "58": "The server's disk or system fails; its own log says more.",
    "XX": "The server's data may be damaged; its own log says more. Restore the database from a backup.",
}
# Alembic hands a migration its context through module globals, so one process migrates one database at a time.
_MIGRATING = threading.Lock()


def open_engine(url: str, *, migrate: bool = True) -> Engine:
    """Open the database at a SQLAlchemy URL and bring its tables up to date; a SQLite file is created when missing.

    Each connection must stay in one thread at a time. Transactions of `engine` take SQLite's write lock when they
    begin; those of `read_only(engine)` never take it. Raises `DatabaseError`. Close it with `Engine.dispose`.

    Without `migrate` nothing is connected yet, and a newer relay may have added to the tables.
    """
    parsed = _parse(url)
    if parsed.get_backend_name() == "sqlite":
        _prepare_file(parsed)
    try:
        # Parameters are numbers and message bodies: they must not reach a log by way of an exception's text.
        engine = create_engine(parsed, hide_parameters=True, connect_args=_connect_arguments(parsed))
    except ImportError as error:
        raise DatabaseError(
            f"DATABASE_URL needs a driver that is not installed ({error}). For postgresql:// install the relay's "
            "extra: pip install '.[postgresql]'. Without one: sqlite:///relay.db."
        ) from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        event.listen(engine, "commit", _commit_sqlite)
    else:
        event.listen(engine, "begin", _begin_on_server)
    if not migrate:
        return engine
    try:
        with engine.begin() as connection, _MIGRATING:
            if engine.dialect.name == "postgresql":
                connection.execute(text("SET LOCAL statement_timeout = 0"))
                connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
                if "options" not in parsed.query:
                    connection.execute(text(f"SET LOCAL lock_timeout = {MIGRATED_SECONDS * 1000:.0f}"))
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
                # Not for a table's lock: behind who waits for that, the statements of live calls wait.
                connection.execute(text("SET LOCAL lock_timeout TO DEFAULT"))
            _migrate(connection)
    except DatabaseError:
        engine.dispose()
        raise
    except CommandError as error:
        engine.dispose()
        raise DatabaseError(
            f"The database {shown(url)} was written by a newer relay ({error}); upgrade the relay, "
            "or point DATABASE_URL to another database."
        ) from error
    except SQLAlchemyError as error:
        engine.dispose()
        withhold_values(error)
        raise DatabaseError(f"The database {shown(url)} cannot be used: {cause(error)}. {_advice(error)}") from error
    return engine


def read_only(engine: Engine) -> Engine:
    """Return a view of the engine whose transactions only read, and so never wait for another process's write."""
    return engine.execution_options(**{_READS_ONLY: True})


def shown(url: str) -> str:
    """Return a database URL without its password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "in DATABASE_URL"


def name_of(url: str) -> str:
    """Return what a person knows a database by: its absolute path, or its URL without the password."""
    path = file_of(url)
    return str(path.absolute()) if path is not None else shown(url)


def require_database(url: str) -> None:
    """Raise `DatabaseError` where `url` names a SQLite file that does not exist."""
    path = file_of(url)
    # Where the directory is missing too, opening says so.
    if path is not None and path.parent.is_dir() and not path.exists():
        raise DatabaseError(
            f"There is no database at {path.absolute()}; start `relay serve` here, or set DATABASE_URL to the one that "
            "the daemon uses."
        )


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
        dialect = parsed.get_dialect().name
    except (ArgumentError, NoSuchModuleError) as error:
        raise DatabaseError(
            "DATABASE_URL is not a database URL that is understood here; "
            "give one such as sqlite:///relay.db or postgresql+psycopg://user:password@host/name."
        ) from error
    if dialect not in {"sqlite", "postgresql"}:
        raise DatabaseError(f"DATABASE_URL names {dialect}; use sqlite:///… or postgresql+psycopg://… instead.")
    in_memory = parsed.database in {None, "", ":memory:"} or parsed.query.get("mode") == "memory"
    if dialect == "sqlite" and in_memory:
        raise DatabaseError("DATABASE_URL names no file, so nothing would be kept; give one: sqlite:///relay.db")
    return parsed


def _prepare_file(url: URL) -> None:
    """Create a missing file readable by its owner alone: it holds what callers said."""
    if url.query.get("uri"):
        # Not a path but a URI of SQLite's own, which creates the file or does not, as it says.
        return
    path = Path(url.database or "")
    try:
        path.touch(mode=0o600, exist_ok=True)
    except FileNotFoundError as error:
        raise DatabaseError(
            f"The database {path} cannot be created: its directory does not exist. "
            "Create it, or set DATABASE_URL to a place that does exist."
        ) from error
    except OSError as error:
        raise DatabaseError(
            f"The database {path} cannot be opened for writing ({error.strerror}). "
            "Give the relay's user the right to write there, or set DATABASE_URL to another place."
        ) from error
    _tighten(path)


def file_of(url: str) -> Path | None:
    """Return the file of a SQLite database; None for a server, a URI of SQLite's own, and what is no URL."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        return None  # which opening it explains
    is_file = parsed.get_backend_name() == "sqlite" and parsed.database not in {None, "", ":memory:"}
    # A URI of SQLite's own is no path, and says by itself whether to create the file.
    return Path(parsed.database or "") if is_file and not parsed.query.get("uri") else None


def exposed_files(path: Path) -> list[Path]:
    """Return what of a database's files others than their owner may look into."""
    return list(exposed(path.with_name(f"{path.name}{suffix}") for suffix in _BESIDE))


def _tighten(path: Path) -> None:
    """Close files that an older version, or a copy, has left open to others: they hold what callers said."""
    for each in exposed_files(path):
        try:
            each.chmod(0o600)
        except OSError as error:
            log.warning("file_open_to_others", file=each.name, why=error.strerror)
        else:
            log.warning("file_closed_to_others", file=each.name)


def _connect_arguments(url: URL) -> dict[str, Any]:
    if url.get_backend_name() != "sqlite":
        own = _SERVER_SECONDS * 1000
        limits = {
            "lock_timeout": BUSY_SECONDS * 1000,
            **dict.fromkeys(("statement_timeout", "tcp_user_timeout"), own),
            "idle_in_transaction_session_timeout": _IDLE_SECONDS * 1000,
            "tcp_keepalives_idle": 4,
            "tcp_keepalives_interval": 2,
            "tcp_keepalives_count": 2,
        }
        options = " ".join(f"-c {name}={value:.0f}" for name, value in limits.items())
        # What the URL says itself goes first.
        return {key: value for key, value in (_POSTGRESQL | {"options": options}).items() if key not in url.query}
    # `Database` uses each connection in one thread at a time, but Trio may give each job another one of its threads.
    return {"check_same_thread": False, "timeout": BUSY_SECONDS}


def _set_up_sqlite(connection: SqliteConnection, _record: object) -> None:
    # No implicit transactions: the driver would begin one only before a write, after the reads that led to it.
    connection.isolation_level = None
    (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != "wal":
        connection.close()
        raise DatabaseError(
            f"The database cannot do write-ahead logging where it is (SQLite stays in {mode} mode). "
            "Set DATABASE_URL to a file on a local disk."
        )
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin_on_server(connection: Connection) -> None:
    if connection.get_execution_options().get(_READS_ONLY, False):
        connection.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = {_SERVER_SECONDS * 1000:.0f}")


def _begin_sqlite(connection: Connection) -> None:
    # IMMEDIATE: a transaction that reads first and asks for the write lock later is refused at once, without the busy
    # timeout, when another process wrote in between.
    reads = connection.get_execution_options().get(_READS_ONLY, False)
    driver = _driver_of(connection)
    if not driver.in_transaction:  # else it only looks why a row of a `RowTransaction` is refused
        # Not `exec_driver_sql`, which costs more than the rows of a turn do.
        _execute(connection, driver, "BEGIN" if reads else "BEGIN IMMEDIATE")


def _commit_sqlite(connection: Connection) -> None:
    # SQLAlchemy takes a transaction for over whose COMMIT failed, and SQLite may have left it open. The next one would
    # be a part of it, and would commit what was refused, or a second time what is made again.
    driver = _driver_of(connection)
    try:
        _execute(connection, driver, "COMMIT")
    finally:
        _roll_back(connection, driver)


def _roll_back(connection: Connection, driver: SqliteConnection) -> None:
    """Undo what is open, if anything: SQLite ends a transaction by itself with some errors, and not with others."""
    if driver.in_transaction:
        _execute(connection, driver, "ROLLBACK")


def _driver_of(connection: Connection) -> SqliteConnection:
    return cast("SqliteConnection", connection.connection.driver_connection)


def _execute(connection: Connection, driver: SqliteConnection, statement: str) -> None:
    try:
        driver.execute(statement)
    except SqliteError as error:
        raise DBAPIError.instance(
            statement, None, error, SqliteError, hide_parameters=True, dialect=connection.dialect
        ) from error


class RowTransaction:
    """A transaction of SQLite for rows alone, see `relay.store.rows`: SQLAlchemy knows nothing of it.

    Only where a row is refused it is asked why, and then begins what it takes for its own, see `_begin_sqlite`. One of
    its transactions costs three times as much, 8 microseconds, and each turn has one or two. Raises `DBAPIError`.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._driver = _driver_of(connection)

    def __enter__(self) -> None:
        """Begin, with the write lock."""
        _execute(self._connection, self._driver, "BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        """Commit, or roll back what failed or could not be committed."""
        if kind is None:
            _commit_sqlite(self._connection)
        else:
            self._connection.rollback()  # what SQLAlchemy has begun, if anything
            _roll_back(self._connection, self._driver)


def _migrate(connection: Connection) -> None:
    """Apply what is missing, all or nothing: the connection's transaction goes around every step."""
    config = Config()
    # A percent sign would be read as an interpolation by Alembic's configuration parser.
    location = str(Path(__file__).with_name("migrations")).replace("%", "%%")
    config.set_main_option("script_location", location)
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _advice(error: SQLAlchemyError) -> str:
    """Return what to do about a database that cannot be used."""
    state = sqlstate_of(error)
    if state is not None:
        return _advice_of_server(state)
    if getattr(getattr(error, "orig", None), "sqlite_errorname", None) is not None:
        return _advice_of_sqlite(error)
    # The server was not reached, or did not let us in: its reason has no code.
    return "Check that the server runs, and the host, port, user, password and database name in DATABASE_URL."


def _advice_of_server(state: str) -> str:
    """Return what to do by the longest known beginning of a SQLSTATE."""
    known = max((each for each in _ADVICE_BY_SQLSTATE if state.startswith(each)), key=len, default="")
    return _ADVICE_BY_SQLSTATE.get(known, _ADVICE)


def _advice_of_sqlite(error: SQLAlchemyError) -> str:
    """Go by the names that SQLite gives its errors (https://www.sqlite.org/rescode.html)."""
    name = getattr(getattr(error, "orig", None), "sqlite_errorname", "")
    match name.split("_")[1:2]:
        case ["NOTADB"] | ["CORRUPT"]:
            return "Restore the file from a backup, or move it away: the relay then makes a new one."
        case ["BUSY"] | ["LOCKED"]:
            return "Another process has held its write lock for seconds; end that process, then try again."
        case ["FULL"]:
            return "Free some disk space, then try again."
        case ["READONLY"] | ["CANTOPEN"] | ["PERM"]:
            return "Give the relay's user the right to write the file and its directory, or set DATABASE_URL."
        case _:
            return _ADVICE
