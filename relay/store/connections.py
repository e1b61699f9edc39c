"""The connections behind the database actor: one that writes, two that only read, and what is done when they break.

    settle(writes) ─▶ sound? (open, ours alone, still the file of that name) ─▶ BEGIN, work, work, …, COMMIT ─▶ sound?
                        └── no: opened anew, put back: `relay.store.lost_file`                                   │
                                                                      what is in no file any more counts as unwritten

Everything here blocks and runs in worker threads, one at a time for each connection; the two locks say so for the few
moments in which the writer's thread closes what the readers' threads use. Only `break_off` is for another thread: it
ends what waits for a server that does not answer.

What was handed over when a connection was lost is made again; `relay.store.commit_in_doubt` says what of it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from sqlite3 import Connection as SqliteConnection
from typing import Any, TypeAlias, TypeVar, cast

import attrs
import structlog
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from actors.errors import StoreFailed
from relay.errors import DatabaseError
from relay.store import lost_file
from relay.store.commit_in_doubt import CommitInDoubt, made_before
from relay.store.engine import RowTransaction, file_of, open_engine, read_only
from relay.store.reader import Reader, ReadLost
from relay.store.rows import Row, Rows, execute_all
from relay.store.server_socket import ServerSocket
from relay.store.tenure import hold_server
from relay.store.trouble import DatabaseInTrouble, cause, is_rolled_back, trouble_of, withhold_values

T = TypeVar("T")
log = structlog.get_logger(__name__)

# A read that takes longer holds up the opening anew, which is tried again.
_READ_ENDS_SECONDS = 2.0


Work: TypeAlias = Callable[[Connection], Any] | Row | Rows
"""Something to be written; it may run several times, until it is committed."""
_ROWS = (Row, Rows)


@attrs.frozen
class Outcome:
    """How one write went: its value, or why it was refused."""

    value: Any = None
    error: Exception | None = None


class Connections:
    """What is open of one database. With `sole` it is held against every other daemon; a server's lock says so.

    Without `migrate` its tables are up to date already.
    """

    def __init__(self, url: str, *, sole: bool = False, migrate: bool = True) -> None:
        self.url = url
        self._migrates = migrate
        self.lookups, self.lists = Reader(self._new_reader), Reader(self._new_reader)
        self._sole = sole
        self._path: Path | None = None
        self._identity: lost_file.Identity | None = None
        # What was saved of a lost file, until that is mended; whether the name was free for it, and it has it.
        self._saved: Path | None = None
        self._is_fresh = True
        self._is_placed = False
        # What was committed to a file that was lost meanwhile and is not back: it is in what is saved of that.
        self._committed: list[tuple[Work, Outcome]] = []
        self._engine: Engine | None = None
        self._writer: Connection | None = None
        # Whether other processes may be at it at the same time; known once it was opened.
        self.is_server = False
        self._socket: ServerSocket | None = None
        # Since when the writer's thread has the write that it has; infinite while it has none.
        self._since = math.inf
        # Whether it was broken off since its connection was opened.
        self._is_broken_off = False
        self._in_doubt: CommitInDoubt | None = None
        # Why it could not be opened anew, as the log has it.
        self._why_not_opened = ""

    def open(self) -> None:
        """Open the writer. Raises `DatabaseError`."""
        # Found anew, a server has the tables; a newer relay that has added some since is no reason to stop.
        self._engine = open_engine(self.url, migrate=self._migrates and not self.is_server)
        self.is_server = self._engine.dialect.name == "postgresql"
        self._path = file_of(self.url)
        self._identity = None if self._path is None else lost_file.identity(self._path)
        try:
            self._writer = self._engine.connect()
            self._socket = ServerSocket.of(self._writer)
            if self._sole and self.is_server:
                hold_server(self._writer)
        except SQLAlchemyError as error:
            self._abandon()
            withhold_values(error)
            raise DatabaseError(f"The database could not be opened: {cause(error)}.") from error
        except DatabaseError:
            self._abandon()
            raise

    def close(self) -> None:
        """Close all connections; the caller sees to it that none is used."""
        for reader in (self.lookups, self.lists):
            reader.close()
        if self._writer is not None:
            self._writer.close()
        self._writer = None
        self._close_socket()
        if self._engine is not None:
            self._engine.dispose()
        self._engine = None

    def break_off(self, seconds: float) -> None:
        """Break off each write and each read that a server has not answered for so long. For any thread; never waits.

        Its thread then finds the connection lost. Nothing is done where the database is a file.
        """
        held = self._socket
        if held is not None and time.monotonic() - self._since >= seconds:
            self._is_broken_off = True
            held.break_off()
        for reader in (self.lookups, self.lists):
            reader.break_off(seconds)

    def settle(self, writes: Sequence[Work]) -> tuple[list[Outcome], DatabaseInTrouble | None]:
        """Commit the writes, in order; return how the first of them went, and why the others must be tried again.

        Those are none, unless the database is in trouble. Without writes it only looks whether all is well.
        """
        self._since = time.monotonic()
        try:
            self._make_sound()
            outcomes, trouble = self._settle(writes) if writes else ([], self._probe())
            try:
                self._make_sound()
            except DatabaseInTrouble:
                # It is not safe before that file is back, and not to be written once more then.
                self._committed = list(zip(writes, outcomes, strict=False))
                raise
        except DatabaseInTrouble as error:
            outcomes, trouble = [], error
        except Exception as error:  # noqa: BLE001 - each asker gets its own; the actor serves all of them
            return [Outcome(error=_refusal(error)) for _each in writes], None
        finally:
            self._since = math.inf
        if trouble is not None and trouble.reopen:
            if self._is_broken_off:  # the driver says that the server has closed it
                trouble = DatabaseInTrouble("it did not answer in time", reopen=True, passes=trouble.passes)
            self._let_go()
        return outcomes, trouble

    def _let_go(self) -> None:
        """Close what is broken. A file that has no name any more lives in its connection: that one stays open."""
        with suppress(DatabaseInTrouble):
            if self._saved is not None or not self._is_lost():
                self._break()

    # ── sound ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _make_sound(self) -> None:
        """Open what is not open, and put a lost file back. Raises `DatabaseInTrouble`."""
        if self._path is not None and (self._saved is not None or self._is_lost()):
            self._heal(self._path)
        if self._writer is None:
            self._open_anew()

    def _is_lost(self) -> bool:
        return self._writer is not None and self._path is not None and lost_file.identity(self._path) != self._identity

    def _heal(self, path: Path) -> None:
        if self._saved is None:
            self._is_fresh = not lost_file.has_contents(path)
            self._saved, self._is_placed = lost_file.save(self._raw(), path), False
            log.error("database_file_lost", replaced=not self._is_fresh)
        with self._no_reads():
            # Before another file has the name: SQLite deletes the log of that name when it closes the last connection.
            self.close()
            if self._saved.exists():
                if self._is_fresh:
                    lost_file.put_back(self._saved, path)
                    self._is_placed = True
            elif not self._is_placed:
                self._committed = []  # somebody has deleted that file too
            self._open_anew()
            if not self._is_fresh:
                lost_file.carry_over(self._saved, self._raw())
        log.warning("database_file_put_back", kept_beside=None if self._is_fresh else self._saved.name)
        self._saved = None

    def _open_anew(self) -> None:
        self._since, self._is_broken_off = math.inf, False  # there is nothing to break off
        try:
            self.open()
        except DatabaseError as error:
            # Its text may name the file or the server, and what is in trouble is told to anybody.
            if (reason := str(error)) != self._why_not_opened:  # it is tried twice a second
                log.warning("database_not_opened", cause=reason)
            self._why_not_opened = reason
            why = "it cannot be opened, and the log says why"
            raise DatabaseInTrouble(why, reopen=True, passes=self.is_server) from error
        self._why_not_opened = ""
        self._since = time.monotonic()  # what is asked now has waited for nothing yet

    def _break(self) -> None:
        """Close everything, once no thread reads any more. Raises `DatabaseInTrouble` when one does not end."""
        if self.is_server:
            # A reader whose connection is lost notices by itself, and one that hangs must not hold up the writer.
            self._abandon()
            return
        with self._no_reads():
            self.close()

    @contextmanager
    def _no_reads(self) -> Iterator[None]:
        with ExitStack() as stack:
            for reader in (self.lookups, self.lists):
                if not reader.lock.acquire(timeout=_READ_ENDS_SECONDS):
                    raise DatabaseInTrouble("a read does not end", reopen=True)
                stack.callback(reader.lock.release)
            yield

    def _abandon(self) -> None:
        writer, engine, self._writer, self._engine = self._writer, self._engine, None, None
        if writer is not None:
            writer.invalidate()
            writer.close()
        self._close_socket()
        if engine is not None:
            engine.dispose()

    def _close_socket(self) -> None:
        held, self._socket = self._socket, None
        if held is not None:
            held.close()

    def _new_reader(self) -> Connection:
        engine = self._engine
        if engine is not None:
            return read_only(engine).connect()
        if self.is_server:
            raise ReadLost("The database is not open: its server cannot be reached.")
        raise DatabaseError("The database is not open.")

    def _raw(self) -> SqliteConnection:
        assert self._writer is not None
        return cast("SqliteConnection", self._writer.connection.driver_connection)

    # ── writing ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _probe(self) -> DatabaseInTrouble | None:
        assert self._writer is not None
        try:
            with self._writer.begin():
                self._writer.execute(text("SELECT 1"))
        except SQLAlchemyError as error:
            return trouble_of(error)
        return None

    def _settle(self, writes: Sequence[Work]) -> tuple[list[Outcome], DatabaseInTrouble | None]:
        """Commit what is not committed yet. Raises `DatabaseInTrouble` while it cannot be said what that is."""
        assert self._writer is not None
        done: list[Outcome] = made_before(writes, self._committed) if self._committed else []
        self._committed = []
        if self._in_doubt is not None:
            done = [Outcome(value) for value in self._in_doubt.committed(self._writer, writes)]
            self._in_doubt = None
        outcomes, trouble = self._commit(writes[len(done) :]) if len(done) < len(writes) else ([], None)
        return [*done, *outcomes], trouble

    def _commit(self, writes: Sequence[Work]) -> tuple[list[Outcome], DatabaseInTrouble | None]:
        assert self._writer is not None
        begun = False
        in_doubt: CommitInDoubt | None = None
        try:
            are_rows = all(isinstance(each, _ROWS) for each in writes)
            with RowTransaction(self._writer) if are_rows and not self.is_server else self._writer.begin():
                begun = True
                values = self._perform(self._writer, writes)
                if self.is_server and not are_rows:
                    in_doubt = CommitInDoubt.of(self._writer, writes, values)
                self._since = time.monotonic()
        except Exception as error:  # noqa: BLE001 - each asker gets its own; this thread serves all of them
            trouble = trouble_of(error)
            if trouble is not None and not (is_rolled_back(error) and len(writes) > 1):
                self._in_doubt = in_doubt if trouble.reopen else None
                return [], trouble
            if not begun or len(writes) == 1:
                return [Outcome(error=_refusal(error)) for _each in writes], None
        else:
            return [Outcome(value) for value in values], None
        return self._commit_singly(writes)

    def _commit_singly(self, writes: Sequence[Work]) -> tuple[list[Outcome], DatabaseInTrouble | None]:
        outcomes: list[Outcome] = []
        for write in writes:
            outcome, trouble = self._commit([write])
            if trouble is not None:
                return outcomes, trouble
            outcomes += outcome
        return outcomes, None

    def _perform(self, connection: Connection, writes: Sequence[Work]) -> list[Any]:
        """Make the writes and return their values. Rows change places only between two that are none."""
        values: list[Any] = []
        rows: list[Row] = []
        for write in writes:
            if isinstance(write, Row):
                rows.append(write)
                values.append(None)
            elif isinstance(write, Rows):
                rows += write.rows
                values.append(None)
            else:
                execute_all(connection, rows)
                rows = []
                self._since = time.monotonic()  # many writes may take long, if each of them is answered
                values.append(write(connection))
        execute_all(connection, rows)
        return values


def _refusal(error: Exception) -> Exception:
    if not isinstance(error, SQLAlchemyError):
        return error
    withhold_values(error)
    refusal = StoreFailed(f"the database refused the write: {cause(error)}")
    refusal.__cause__ = error
    return refusal
