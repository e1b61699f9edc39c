"""Recovery of a SQLite file that was deleted, moved or replaced while the daemon has it open.

    path ──other inode, or none──▶ save: the whole database, out of the connection that is still open
                                     ├─ nothing is there, or a database without contents ──▶ put back under its name
                                     └─ another database ──▶ carry over what is missing there; the saved file stays

The system keeps a deleted file for as long as it is open, so nothing is lost yet; it would be when the daemon ends.
To start with an empty database, stop the daemon first. Everything here blocks and belongs into the writer's thread.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from sqlite3 import Connection as SqliteConnection
from typing import TypeAlias

from sqlalchemy import Table

from relay.store.schema import call_lines, call_states, calls, do_not_call, held_words, messages, recent_lines, runs
from relay.store.trouble import DatabaseInTrouble

Identity: TypeAlias = tuple[int, int]


def identity(path: Path) -> Identity | None:
    """Return the identity of a file, other than its name; None if there is none."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DatabaseInTrouble(f"the database file cannot be looked at: {error.strerror}") from error
    return status.st_dev, status.st_ino


def has_contents(path: Path) -> bool:
    """Return whether the database at `path` has contents, and is not one that a command has just made there.

    Raises `DatabaseInTrouble` for a file that is no database.
    """
    try:
        if path.stat().st_size == 0:
            return False
        # Immutable: a log that lies there may still be that of the file before it.
        with closing(sqlite3.connect(f"file:{_quoted(path)}?immutable=1", uri=True)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            ours = sorted(tables & {"agents", "calls", "messages"})
            # The names are our own.
            rows = (connection.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchone() for name in ours)  # noqa: S608
            return any(rows) if ours else bool(tables)
    except FileNotFoundError:
        return False
    except (sqlite3.Error, OSError) as error:
        raise DatabaseInTrouble("the database file was replaced by something that is no database") from error


def save(connection: SqliteConnection, path: Path) -> Path:
    """Write the whole database of an open connection into a new file beside `path`, for its owner alone."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    saved = path.with_name(f"{path.name}.saved-{stamp}")
    try:
        os.close(os.open(saved, os.O_CREAT | os.O_EXCL, 0o600))  # SQLite takes an empty file, and keeps its mode
        connection.execute("VACUUM INTO ?", (str(saved),))
        with saved.open("rb") as file:
            os.fsync(file.fileno())
    except (sqlite3.Error, OSError) as error:
        saved.unlink(missing_ok=True)
        reason = error.strerror if isinstance(error, OSError) else error
        raise DatabaseInTrouble(f"the database file is gone and cannot be put back: {reason}") from error
    return saved


def put_back(saved: Path, path: Path) -> None:
    """Rename a saved database to `path`. No connection of ours may have that file open any more."""
    try:
        # What was left beside a deleted file belongs to no other. SQLite would apply it all the same: the journal of a
        # new database, which another program is just writing, says that there was nothing before.
        for suffix in ("-wal", "-shm", "-journal"):
            path.with_name(f"{path.name}{suffix}").unlink(missing_ok=True)
        saved.replace(path)
    except OSError as error:
        raise DatabaseInTrouble(f"the database file cannot be put back: {error.strerror}") from error


def carry_over(saved: Path, connection: SqliteConnection) -> None:
    """Insert into the database of `connection` what only a saved one holds.

    That is: unconfirmed messages, held utterances, live calls and the calls of those, with what was said in them and
    the runs that have them, and the do-not-call list. Agents are not carried over: the operator who put another
    database in place chose its agents.
    """
    try:
        connection.execute("ATTACH DATABASE ? AS saved", (str(saved),))
        try:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                _copy(connection, messages, "acknowledged_at IS NULL", without="position")
                _copy(
                    connection,
                    calls,
                    "ended_at IS NULL OR line_ended_at IS NULL AND connected_at IS NOT NULL"
                    " OR call_sid IN (SELECT call_sid FROM saved.held_words)",
                )
                _copy(connection, held_words, "true")
                _copy(connection, runs, "true")
                _copy(connection, call_states, "true")
                _copy(connection, call_lines, "call_sid IN (SELECT call_sid FROM main.calls)")
                _copy(connection, recent_lines, "call_sid IN (SELECT call_sid FROM main.calls)", without="position")
                _copy(connection, do_not_call, "true")
        finally:
            connection.execute("DETACH DATABASE saved")
    except sqlite3.Error as error:
        raise DatabaseInTrouble(f"what was saved cannot be carried over: {error}") from error


def _copy(connection: SqliteConnection, table: Table, which: str, *, without: str = "") -> None:
    names = ", ".join(column.name for column in table.columns if column.name != without)
    into, out_of = f"main.{table.name} ({names})", f"saved.{table.name}"
    # The names are our own.
    connection.execute(f"INSERT OR IGNORE INTO {into} SELECT {names} FROM {out_of} WHERE {which}")  # noqa: S608


def _quoted(path: Path) -> str:
    return str(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
