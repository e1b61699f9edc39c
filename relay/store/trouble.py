"""What a database's error means: the write is wrong, or the database is in trouble and the same write works later.

A write that is wrong (a rule of a table, a bug) fails for ever and is its asker's. Everything else is the database's:
it is locked, full, broken, gone, or does not answer, and what must not be lost is kept until that is over.
"""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

# https://www.sqlite.org/rescode.html: what is said of the file or the disk, not of the statement.
_SQLITE = frozenset(
    {
        *("BUSY", "LOCKED", "FULL", "IOERR", "READONLY", "CANTOPEN", "PERM", "NOTADB", "CORRUPT", "NOMEM"),
        *("PROTOCOL", "INTERRUPT", "AUTH", "NOLFS", "SCHEMA"),
    }
)
# With these the connection is good, and only has to wait; a disk with a quota answers like a broken one.
_SQLITE_WAITS = frozenset({"BUSY", "LOCKED", "FULL", "IOERR", "NOMEM", "INTERRUPT"})
# A file that was emptied in place has lost our tables; SQLite has no name for that.
_NO_TABLE = "no such table"
# https://www.postgresql.org/docs/current/errcodes-appendix.html by class: connection, transaction, resources, operator,
# system, read-only. Without a state the connection broke.
_POSTGRESQL = ("08", "25006", "40", "53", "55P03", "57", "58", "XX")
_POSTGRESQL_WAITS = ("40", "53", "55P03", "57014")


class DatabaseInTrouble(Exception):
    """Why the database takes no write now. `reopen` if its connections cannot be used any more.

    `passes` if it is likely over in seconds: a server is restarted, or fails over to another, or undid a transaction
    for the sake of another one. A disk that is full, or a lock that somebody holds, is not.
    """

    def __init__(self, why: str, *, reopen: bool = False, passes: bool = False) -> None:
        super().__init__(why)
        self.reopen = reopen
        self.passes = passes


def trouble_of(error: BaseException) -> DatabaseInTrouble | None:
    """Return what is wrong with the database if `error` says so, None if the statement itself is refused."""
    if isinstance(error, DatabaseInTrouble):
        return error
    if not isinstance(error, DBAPIError) or error.orig is None:
        return None
    name = getattr(error.orig, "sqlite_errorname", None)
    is_trouble, is_lost = _of_sqlite(name, error) if name is not None else _of_postgresql(error)
    passes = name is None and (is_lost or is_rolled_back(error))
    return DatabaseInTrouble(cause(error), reopen=is_lost, passes=passes) if is_trouble else None


def _of_sqlite(name: str, error: DBAPIError) -> tuple[bool, bool]:
    kind = name.split("_")[1]
    return kind in _SQLITE or _NO_TABLE in str(error.orig), kind not in _SQLITE_WAITS


def _of_postgresql(error: DBAPIError) -> tuple[bool, bool]:
    state = sqlstate_of(error)
    if error.connection_invalidated or state is None:
        return error.connection_invalidated or isinstance(error, OperationalError | InterfaceError), True
    return state.startswith(_POSTGRESQL), not state.startswith(_POSTGRESQL_WAITS)


def is_rolled_back(error: BaseException) -> bool:
    """Return whether a server undid the transaction for the sake of another one: made again, it works.

    Two transactions of many writes each can wait for each other's rows; one of a single write hardly ever does.
    """
    return (sqlstate_of(error) or "").startswith("40")


def sqlstate_of(error: BaseException) -> str | None:
    """Return the code that a server gave its refusal; None for SQLite's, and where no statement reached a server."""
    return getattr(getattr(error, "orig", None), "sqlstate", None)


def cause(error: BaseException) -> str:
    """Return the driver's reason for an error in one line, without a value that was to be written."""
    orig = getattr(error, "orig", None)
    # A server may quote values in its texts; its code says enough.
    if state := sqlstate_of(error):
        return f"{type(orig).__name__}, SQLSTATE {state}"
    lines = str(orig or error).splitlines()
    return lines[0].strip() if lines else type(error).__name__


def withhold_values(error: BaseException) -> None:
    """Take a server's texts out of an error, which may quote what was to be written, and leave its type and code."""
    if sqlstate_of(error):
        said = (cause(error),)
        error.args = said
        if isinstance(error, DBAPIError) and error.orig is not None:
            error.orig.args = said
