"""The database actor: everything is written by one task, many writes to one commit.

    write(work) ──bounded channel──▶ serve: takes all that wait ──one thread hop──▶ BEGIN, work, work, …, COMMIT
         ◀──────────value or error, once committed───────────────────┘

A durable commit costs a disk flush however little is in it, so writes that arrive while one is under way share the
next. If a batch fails, each of its writes is tried again alone: only the guilty one fails. A `work` may therefore run
twice, and must do nothing but use its connection.

A write belongs to this actor from the moment it is handed over, not to the task that asked for it. That is why `write`
needs no shield: whoever is cancelled while waiting walks away, the transaction does not. A shield around the wait lost,
because it would make a stuck disk outlast every time limit of the asker.

What may be lost in a crash without harm need not flush the disk by itself: `write_later` lets it ride with the next
commit, which halves the flushes of a busy daemon.

    read(work)       ──▶ one thread with a connection of its own: what is found by a key
    read_many(work)  ──▶ another one: lists, however long they are

Reads wait for no write and hold none up, because SQLite's readers see the last commit while the next one is written
(https://www.sqlite.org/wal.html#concurrency), and PostgreSQL's do too. Look-ups and lists are apart, so that whoever
asks for many long lists holds up only those who ask for lists: a token or an agent is found at once. More threads lost,
because they would share one interpreter lock with the event loop.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Generic, TypeVar, cast

import attrs
import structlog
import trio
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from actors.errors import StoreFailed
from relay.errors import DatabaseError
from relay.store.engine import cause, open_engine, read_only

T = TypeVar("T")
log = structlog.get_logger(__name__)

# A call has at most one write under way and supervisors a few, so a hundred waiting writes are a busy daemon with a
# slow disk. More of them wait in `write`, where their own time limits hold.
WAITING_WRITES = 256
# Bounds the work that is repeated one by one when a batch fails.
BATCH_WRITES = 64
# For how long a write that may wait does so when no other comes along.
LINGER_SECONDS = 0.1
# How long writes that were handed over may take when the actor is cancelled, and then the last one out of the thread:
# what holds the thread for longer also holds the connections, and they end with the process.
FLUSH_SECONDS = 5.0
CLOSE_SECONDS = 5.0


@attrs.define(eq=False)
class _Write(Generic[T]):
    """One write on its way: what to do, and how it went once `settled` is set."""

    work: Callable[[Connection], T]
    may_wait: bool = False
    settled: trio.Event = attrs.field(factory=trio.Event)
    value: T | None = None
    error: Exception | None = None
    watched: bool = True


@attrs.define(eq=False)
class _Reader:
    """A connection that only reads, and the one thread at a time that may use it."""

    limiter: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1), init=False)
    connection: Connection | None = attrs.field(default=None, init=False)

    async def run(self, work: Callable[[Connection], T]) -> T:
        return await trio.to_thread.run_sync(self._run, work, limiter=self.limiter)

    def _run(self, work: Callable[[Connection], T]) -> T:
        if self.connection is None:
            raise DatabaseError("The database is not open.")
        try:
            with self.connection.begin():
                return work(self.connection)
        except SQLAlchemyError as error:
            raise DatabaseError(f"The database could not be read: {cause(error)}.") from error


@attrs.define(eq=False, init=False)
class Database:
    """The one door to the database. Everybody may read and `write` while one task is in `serve`."""

    url: str
    _sender: trio.MemorySendChannel[_Write[Any]]
    _receiver: trio.MemoryReceiveChannel[_Write[Any]]
    # Taken out of the channel and not settled yet: kept here so that a cancelled `serve` does not lose them.
    _batch: list[_Write[Any]]
    # One thread at a time for each connection: SQLite takes one writer, and connections are not made for several.
    _limiter: trio.CapacityLimiter
    _engine: Engine | None
    _writer: Connection | None
    _lookups: _Reader
    _lists: _Reader

    def __init__(self, url: str) -> None:
        self.url = url
        self._sender, self._receiver = trio.open_memory_channel[_Write[Any]](WAITING_WRITES)
        self._batch = []
        self._limiter = trio.CapacityLimiter(1)
        self._engine = self._writer = None
        self._lookups, self._lists = _Reader(), _Reader()

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction and return its value once that is committed.

        `work` runs in a worker thread, perhaps twice, perhaps in one transaction with others; what it raises undoes
        its own changes only. Raises `StoreFailed` when the database refuses, or whatever `work` raised. Cancelled
        before there was room to hand the write over, nothing is written; cancelled later, it is written or refused as
        a whole although nobody waits for it (a refusal is then logged).
        """
        write = _Write(work)
        await self._hand_over(write)
        try:
            await write.settled.wait()
        except trio.Cancelled:
            write.watched = False
            raise
        if write.error is not None:
            raise write.error
        return cast("T", write.value)

    async def write_later(self, work: Callable[[Connection], object]) -> None:
        """Hand `work` over without waiting for it: it is committed with the next write, or `LINGER_SECONDS` later.

        In order with all other writes. A crash until then undoes it, and a refusal is only logged. Raises `StoreFailed`
        when the database is closed. Cancelled before there was room to hand it over, nothing is written.
        """
        await self._hand_over(_Write(work, may_wait=True, watched=False))

    async def _hand_over(self, write: _Write[Any]) -> None:
        try:
            await self._sender.send(write)
        except (trio.ClosedResourceError, trio.BrokenResourceError) as error:
            raise StoreFailed("the database is closed; nothing was written") from error

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction that only reads, seeing all that is committed, and return its value.

        Meant for what is found by a key; `read_many` is for lists. Cancelling takes effect while it waits for its turn,
        not once it runs. Raises `DatabaseError`.
        """
        return await self._lookups.run(work)

    async def read_many(self, work: Callable[[Connection], T]) -> T:
        """Read as `read` does, in a thread of its own, where what takes long keeps nobody from looking something up."""
        return await self._lists.run(work)

    async def serve(self, *, task_status: trio.TaskStatus[Database] = trio.TASK_STATUS_IGNORED) -> None:
        """Open the database, then write until `close` or until cancelled; what was handed over is written before.

        Reports itself through `task_status` when the tables are up to date. Raises `DatabaseError` when the database
        cannot be opened. Runs once.
        """
        await trio.to_thread.run_sync(self._open, limiter=self._limiter)
        try:
            task_status.started(self)
            await self._write_all()
        finally:
            self.close()
            with trio.move_on_after(FLUSH_SECONDS, shield=True):
                await self._write_all()
            self._refuse_the_rest()
            with trio.move_on_after(CLOSE_SECONDS, shield=True):
                async with self._lookups.limiter, self._lists.limiter:
                    await trio.to_thread.run_sync(self._close, limiter=self._limiter)

    def close(self) -> None:
        """Take no more writes: `serve` ends when those that were handed over are committed. Twice is once."""
        self._sender.close()

    async def _write_all(self) -> None:
        while True:
            try:
                await self._take()
            except trio.EndOfChannel:
                break
            await self._commit()
        if self._batch:
            await self._commit()

    async def _take(self) -> None:
        """Fill the batch with what waits, at least one write. Raises `trio.EndOfChannel`; cancelling loses nothing."""
        if not self._batch:
            self._batch.append(await self._receiver.receive())
        with trio.move_on_after(LINGER_SECONDS):
            while self._batch[-1].may_wait and len(self._batch) < BATCH_WRITES:
                self._batch.append(await self._receiver.receive())
        while len(self._batch) < BATCH_WRITES:
            try:
                self._batch.append(self._receiver.receive_nowait())
            except trio.WouldBlock:
                break

    async def _commit(self) -> None:
        """Settle the batch. Cancelled before the thread runs, the batch stays; once it runs, it runs to its end."""
        await trio.to_thread.run_sync(self._settle, self._batch, limiter=self._limiter)
        self._answer()

    def _answer(self) -> None:
        for write in self._batch:
            if write.error is not None and not write.watched:
                log.warning("write_failed", error=type(write.error).__name__, cause=str(write.error))
            write.settled.set()
        self._batch = []

    def _refuse_the_rest(self) -> None:
        """Leave no asker without an answer when the flush took too long. Usually there is nothing left."""
        with self._receiver:
            with suppress(trio.WouldBlock, trio.EndOfChannel):
                while True:
                    self._batch.append(self._receiver.receive_nowait())
            for write in self._batch:
                write.error = StoreFailed("the database was closed before this was written")
            self._answer()

    # ── in the worker thread ────────────────────────────────────────────────────────────────────────────────────────

    def _open(self) -> None:
        self._engine = open_engine(self.url)
        self._writer = self._engine.connect()
        for each in (self._lookups, self._lists):
            each.connection = read_only(self._engine).connect()

    def _close(self) -> None:
        for connection in (self._writer, self._lookups.connection, self._lists.connection):
            if connection is not None:
                connection.close()
        self._writer = self._lookups.connection = self._lists.connection = None
        if self._engine is not None:
            self._engine.dispose()

    def _settle(self, batch: Sequence[_Write[Any]]) -> None:
        assert self._writer is not None
        begun = False
        try:
            with self._writer.begin():
                begun = True
                values = [write.work(self._writer) for write in batch]
        except Exception as error:  # noqa: BLE001 - each asker gets its own; this task serves all of them
            if begun and len(batch) > 1:
                for write in batch:
                    self._settle([write])
                return
            for write in batch:
                write.error = _refusal(error)
        else:
            for write, value in zip(batch, values, strict=True):
                write.value = value


def _refusal(error: Exception) -> Exception:
    if not isinstance(error, SQLAlchemyError):
        return error
    refusal = StoreFailed(f"the database refused the write: {cause(error)}")
    refusal.__cause__ = error
    return refusal


@asynccontextmanager
async def open_database(url: str) -> AsyncIterator[Database]:
    """Give a running `Database` for the length of the block; its end waits until all that was handed over is committed.

    Raises `DatabaseError` when it cannot be opened, and what the block raised as it is, not wrapped in a group.
    """
    database = Database(url)
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        try:
            await nursery.start(database.serve)
            yield database
        except Exception as error:  # noqa: BLE001 - raised again outside, where no nursery wraps it
            failure = error
        database.close()
    if failure is not None:
        raise failure
