"""The database actor: everything is written by one thread, many writes to one commit.

    write(work) ──bounded queue──▶ all that wait ──as soon as it is free──▶ thread: BEGIN, work, row, row, …, COMMIT
         ◀──────────value or error, once committed──────────────────────────┘
    keep(work) ──the same queue──▶ tried until it is committed, even if its task is gone

A durable commit costs a disk flush however little is in it, so writes that arrive while one is under way share the
next. If a batch fails, each of its writes is tried again alone: only the guilty one fails. A `work` may therefore run
several times, and must do nothing but use its connection.

A write that is handed to an idle thread starts a batch, and the end of a batch starts the next one, in no task: a
write wakes its asker and nobody else. A task in between lost: to be woken twice for each batch made a caller wait twice
as long where calls are few, and the writes of one moment that it brought together cost less than the waking. The task
in `serve` is there for the rest: it waits out trouble, and raises what goes wrong in a callback.

A write belongs to this actor from the moment it is handed over, not to the task that asked for it. That is why `write`
needs no shield: a cancelled task stops waiting, and the transaction goes on. A shield around the wait lost, because a
stuck disk would then outlast every time limit of the task.

A database can be locked, full, gone, or not answer (`relay.store.trouble`). Then what is only wanted (`write`) fails,
and what must not be lost (`keep`: words, messages, records, opt-outs) stays here, in order, and is tried again until it
is committed. A call waits for that only a moment, then goes on. There is room for `KEPT_WRITES`; the second
half of it is for calls that are up, so that new ones are refused before the words of old ones are. What is kept is lost
only with the process: at its end the database gets `FLUSH_SECONDS`, and what is still here then is counted in the log.

A server that is restarted, or fails over, is away for seconds: for `AWAY_SECONDS` what is only wanted is tried again,
too, and so is a read. From one that does not answer nobody learns anything; its connections are broken off after
`HANG_SECONDS`, because the threads that wait in them would wait for ever.

What may be lost in a crash without harm need not flush the disk by itself: `keep_later` lets it ride with the next
commit, which halves the flushes of a busy daemon.

One task keeps the time for all writes: it ends the lingering of some and the waiting of others. A cancel scope with a
deadline around each wait lost: it costs more than the wait.

    read(work)       ──▶ one thread with a connection of its own: what is found by a key
    read_many(work)  ──▶ another one: lists, however long they are

Reads wait for no write and hold none up, because SQLite's readers see the last commit while the next one is written
(https://www.sqlite.org/wal.html#concurrency), and PostgreSQL's do too. Look-ups and lists are apart, so that long lists
delay only other lists: a token or an agent is found at once. More threads lost, because they would share one
interpreter lock with the event loop.

A node of a cluster has a second actor, for its beats alone (`relay.store.members`): what stands still for the calls, in
a lock or in one slow statement, is then no reason for the other nodes to take it for dead.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import chain, islice, repeat
from typing import Any, Generic, TypeVar, cast

import attrs
import structlog
import trio
from sqlalchemy import Connection

from actors.errors import CallError, StoreFailed
from relay.errors import DatabaseError
from relay.store.connections import Connections, Outcome, Work
from relay.store.reader import Reader, ReadLost
from relay.store.rows import Row, Rows
from relay.store.trouble import DatabaseInTrouble
from relay.store.writer_thread import WriterThread

T = TypeVar("T")
log = structlog.get_logger(__name__)

# Supervisors, tools and commands have a few writes under way, so a hundred are a busy daemon with a slow disk. More of
# them wait in `write`, where their own time limits hold.
WAITING_WRITES = 256
# Some 1 kB each: what ten calls that talk without a pause leave in an hour, or a thousand in half a minute.
KEPT_WRITES = 20_000
# Bounds the work that is repeated one by one when a batch fails.
BATCH_WRITES = 64
# For how long a write that may wait does so when no other comes along.
LINGER_SECONDS = 0.1
# After how long a commit counts as stuck: a disk flushes in milliseconds, and a caller waits for it.
STALL_SECONDS = 0.5
# How long all but calls wait for a write or a read before it fails.
WRITE_SECONDS = 12.0
READ_SECONDS = 8.0
# For how long a server that is away is tried again for what is only wanted: longer than a restart, and shorter than the
# carrier waits for an answer (15 s).
AWAY_SECONDS = 8.0
# After how long a statement that is not answered is broken off: the server would have ended it before that, by the
# `statement_timeout` that it was given.
HANG_SECONDS = 12.0
# How often a database in trouble is tried again, and an idle one is looked after.
RETRY_SECONDS = 0.5
LOOK_SECONDS = 2.0
# How long writes that were handed over may take when the actor is cancelled, and then the last one out of the thread:
# what holds the thread for longer also holds the connections, and they end with the process.
FLUSH_SECONDS = 5.0
CLOSE_SECONDS = 5.0
# The same of beats. One is answered in milliseconds, and the next is due a second later: a connection that hangs is to
# be replaced before the node is taken for silent. At the end none of them is worth waiting for.
BEAT_HANG_SECONDS = 1.5
BEAT_FLUSH_SECONDS = 0.3
BEAT_CLOSE_SECONDS = 0.3


@attrs.define(eq=False)
class _Write(Generic[T]):
    """One write on its way: what to do, and how it went once it is settled."""

    work: Callable[[Connection], T] | Row | Rows
    kept: bool = False
    may_wait: bool = False
    on_written: Callable[[T], None] | None = None
    since: float = attrs.field(factory=trio.current_time)
    # Its asker waits until it is settled, or until that takes too long.
    answered: trio.Event | None = None
    value: T | None = None
    error: Exception | None = None
    watched: bool = True


@attrs.define(eq=False, init=False)
class Database:
    """The one access to the database. Any task may read and write while one task is in `serve`."""

    url: str
    _is_for_beats: bool
    _connections: Connections
    # What was handed over and is not settled, in order.
    _queue: deque[_Write[Any]]
    _room: trio.Semaphore
    _kept: int
    # Set by whatever is handed over.
    _arrived: trio.Event
    # Whether the next batch is to start as soon as the thread is free.
    _is_due: bool
    # Whether the thread may be given a batch: it is there, has none in hand, and no trouble is waited out.
    _is_free: bool
    # Set when there is something to do for the actor's task: to wait out trouble, to raise a fault, or to end.
    _called: trio.Event
    _is_to_pause: bool
    # What was raised where no task was: in a callback of the event loop.
    _fault: Exception | None
    _closed: bool
    # Bounds what is still done after `close`.
    _work: trio.CancelScope
    _trouble: str | None
    _stall_is_logged: bool
    # Since when the thread has what it has; infinite while it has nothing.
    _busy_since: float
    # One thread at a time for each connection: SQLite takes one writer, and connections are not made for several.
    _writing: trio.CapacityLimiter
    # Gets how long each commit, look-up and list took, in seconds; it must neither wait nor raise.
    note_seconds: Callable[[str, float], None]
    _thread: WriterThread
    _looking_up: trio.CapacityLimiter
    _listing: trio.CapacityLimiter

    def __init__(self, url: str, *, sole: bool = False, for_beats: bool = False) -> None:
        self.url = url
        self._is_for_beats = for_beats
        self._connections = Connections(url, sole=sole, migrate=not for_beats)
        self._queue = deque()
        self._room = trio.Semaphore(WAITING_WRITES)
        self._kept = 0
        self._arrived = trio.Event()
        self._is_due = False
        self._is_free = False
        self._called = trio.Event()
        self._is_to_pause = False
        self._fault = None
        self._closed = False
        self._work = trio.CancelScope(shield=True, deadline=math.inf)  # `close` sets an end to it
        self._trouble = None
        self._stall_is_logged = False
        self._busy_since = math.inf
        self.note_seconds = _not_noted
        self._writing, self._looking_up, self._listing = (trio.CapacityLimiter(1) for _each in range(3))
        self._thread = WriterThread(self._connections, self._writing, self._on_settled)

    @property
    def trouble(self) -> str | None:
        """Why nothing can be written now; None if writing works."""
        if self._trouble is None and self._is_stalled(STALL_SECONDS):
            return "it does not answer"
        return self._trouble

    @property
    def is_server(self) -> bool:
        """Whether it is a server's, which several nodes may share, and not a file of this one; known once it serves."""
        return self._connections.is_server

    @property
    def queued(self) -> int:
        """How many writes were handed over and are not settled."""
        return len(self._queue)

    @property
    def kept(self) -> int:
        """How many writes are not committed yet that must not be lost."""
        return self._kept

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction and return its value once that is committed.

        `work` runs in a worker thread, perhaps several times, perhaps in one transaction with others; what it raises
        undoes its own changes only. Raises `StoreFailed` when the database refuses, is in trouble, or has been away for
        `AWAY_SECONDS`, or whatever `work` raised; after `WRITE_SECONDS` without an answer it may be written all the
        same. Cancelled before there was room to hand the write over, nothing is written; cancelled later, it is written
        or refused as a whole although no task waits for it (a refusal is then logged).
        """
        with trio.move_on_after(WRITE_SECONDS):
            await self._room.acquire()
            try:
                write = self._hand_over(_Write(work))
            except StoreFailed:
                self._room.release()
                raise
            return cast("T", await self._answer(write))
        raise StoreFailed("the database does not answer; perhaps it is written later")

    async def keep(
        self,
        work: Callable[[Connection], T] | Row | Rows,
        *,
        on_written: Callable[[T], None] | None = None,
        for_new_call: bool = False,
    ) -> T | None:
        """Write what must not be lost; return its value once it is committed, or None when that takes long.

        With None it is tried until it is written, even if the task is cancelled. `on_written` gets the value once it
        is; it must neither wait nor raise. Raises `StoreFailed` when there is no room to keep it (only half the room is
        `for_new_call`), or when the database refuses it as it would at any time. Cancelled before it was handed over,
        nothing is written; later it is written all the same.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        write = self._hand_over(_Write(work, kept=True, on_written=on_written), for_new_call=for_new_call)
        if self.trouble is None:
            return await self._answer(write)
        write.watched = False
        self._note_stall()
        await trio.lowlevel.checkpoint()
        return None

    async def keep_later(self, work: Work) -> None:
        """Hand `work` over as `keep` does, but wait for nothing: it is committed with the next write, or soon.

        That is `LINGER_SECONDS` later. In order with all other writes. A crash until then undoes it, and a refusal is
        only logged. Raises `StoreFailed` when the database is closed, or there is no room.
        """
        await trio.lowlevel.checkpoint_if_cancelled()  # all that there is to wait for
        self._hand_over(_Write(work, kept=True, may_wait=True, watched=False))

    def _hand_over(self, write: _Write[T], *, for_new_call: bool = False) -> _Write[T]:
        if self._closed:
            raise StoreFailed("the database is closed; nothing was written")
        if write.kept:
            if self._kept >= (KEPT_WRITES // 2 if for_new_call else KEPT_WRITES):
                raise StoreFailed("too much waits for the database already; nothing was written")
            self._kept += 1
        self._queue.append(write)
        self._arrived.set()
        if not write.may_wait or len(self._queue) >= BATCH_WRITES:
            self._is_due = True
            self._start_batch()
        return write

    async def _answer(self, write: _Write[T]) -> T | None:
        """Wait until the write is settled and return its value; None for one that is kept and takes too long."""
        write.answered = trio.Event()
        try:
            await write.answered.wait()
        except trio.Cancelled:
            write.watched = False
            raise
        if write.error is not None:
            raise write.error
        return write.value

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction that only reads, seeing all that is committed, and return its value.

        Meant for what is found by a key; `read_many` is for lists. Raises `DatabaseError`, also when there is no answer
        within `READ_SECONDS`; until then a server that is lost is asked again. Cancelling takes effect at once; the
        thread then ends by itself.
        """
        return await self._read("look_up", self._connections.lookups, self._looking_up, work)

    async def read_many(self, work: Callable[[Connection], T]) -> T:
        """Read as `read` does, in a thread of its own, so that a long read does not delay look-ups."""
        return await self._read("list", self._connections.lists, self._listing, work)

    async def _read(
        self, kind: str, reader: Reader, limiter: trio.CapacityLimiter, work: Callable[[Connection], T]
    ) -> T:
        lost: ReadLost | None = None
        began = trio.current_time()
        with trio.move_on_after(READ_SECONDS):
            # At once the first time: a connection of before a restart is noticed when it is used.
            for pause in chain([0.0], repeat(RETRY_SECONDS)):
                try:
                    found = await trio.to_thread.run_sync(reader.run, work, limiter=limiter, abandon_on_cancel=True)
                except ReadLost as error:
                    if self._closed:
                        raise
                    lost = error
                else:
                    self.note_seconds(kind, trio.current_time() - began)
                    return found
                await trio.sleep(pause)
        raise lost or DatabaseError(f"The database did not answer within {READ_SECONDS:g} seconds.")

    async def serve(self, *, task_status: trio.TaskStatus[Database] = trio.TASK_STATUS_IGNORED) -> None:
        """Open the database, then write until `close` or until cancelled; what was handed over is written before.

        Reports itself through `task_status` when the tables are up to date. Raises `DatabaseError` when the database
        cannot be opened. Runs once. Cancelled, it ends within `FLUSH_SECONDS` and `CLOSE_SECONDS`.
        """
        await trio.to_thread.run_sync(self._connections.open, limiter=self._writing, abandon_on_cancel=True)
        try:
            task_status.started(self)
            done = trio.Event()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write_all, done)
                try:
                    await done.wait()
                finally:
                    self.close()
        finally:
            self._refuse_the_rest()
            self._connections.break_off(0)  # what has had its time, and would hold the thread for longer
            with trio.move_on_after(BEAT_CLOSE_SECONDS if self._is_for_beats else CLOSE_SECONDS, shield=True):
                async with self._looking_up, self._listing:
                    await trio.to_thread.run_sync(
                        self._connections.close, limiter=self._writing, abandon_on_cancel=True
                    )

    def close(self) -> None:
        """Refuse further writes: `serve` ends when those that were handed over are committed, or in `FLUSH_SECONDS`."""
        if not self._closed:
            self._closed = True
            self._work.deadline = trio.current_time() + (BEAT_FLUSH_SECONDS if self._is_for_beats else FLUSH_SECONDS)
            self._is_due = bool(self._queue)
            self._start_batch()
            self._called.set()

    async def _write_all(self, done: trio.Event) -> None:
        with self._work:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._thread.run)
                nursery.start_soon(self._keep_time)
                await self._pause_in_trouble()
                nursery.cancel_scope.cancel()
        done.set()

    async def _pause_in_trouble(self) -> None:
        """Wait out each trouble, until all is committed that was handed over before `close`. Raises a fault."""
        self._is_free = True
        self._start_batch()
        while self._queue or not self._closed:
            await self._called.wait()
            self._called = trio.Event()
            if self._fault is not None:
                raise self._fault
            if self._is_to_pause:
                await trio.sleep(RETRY_SECONDS)
                self._is_to_pause, self._is_free = False, True
                self._is_due = self._is_due or bool(self._queue)
                self._start_batch()

    async def _keep_time(self) -> None:
        """Start the batch for what lingers, answer those who have waited long enough, look after an idle database."""
        while True:
            self._connections.break_off(BEAT_HANG_SECONDS if self._is_for_beats else HANG_SECONDS)
            if self._queue:
                left = self._queue[0].since + LINGER_SECONDS - trio.current_time()
                # What is older than that is in the thread's hands, or waits out trouble.
                await trio.sleep(left if left > 0 else LINGER_SECONDS)
                self._end_waits()
                if not self._queue or self._queue[0].since + LINGER_SECONDS > trio.current_time():
                    continue  # it went with another write
            else:
                self._arrived = trio.Event()
                with trio.move_on_after(LOOK_SECONDS) as look:
                    await self._arrived.wait()
                if not look.cancelled_caught:
                    continue
            self._is_due = True
            self._start_batch()

    def _end_waits(self) -> None:
        """Answer those who have waited for `STALL_SECONDS` until what they want kept is written."""
        latest = trio.current_time() - STALL_SECONDS
        for write in self._queue:
            if write.since > latest:
                return
            if write.kept and write.watched and write.answered is not None:
                write.watched = False
                write.answered.set()
                self._note_stall()

    def _start_batch(self) -> None:
        """Hand the head of the queue to the thread, if it is due and the thread is free; without writes it looks."""
        if not (self._is_due and self._is_free):
            return
        batch = [write.work for write in islice(self._queue, BATCH_WRITES)]
        self._is_due = len(batch) < len(self._queue)
        self._is_free = False
        self._busy_since = trio.current_time()
        self._thread.settle(batch)

    def _on_settled(self, outcomes: Sequence[Outcome], trouble: DatabaseInTrouble | None) -> None:
        """Settle the writes of a batch, and start the next one. Never raises: that would end the event loop."""
        began, self._busy_since = self._busy_since, math.inf
        if outcomes:  # else it only looked whether the database is there
            self.note_seconds("commit", trio.current_time() - began)
        try:
            self._note(trouble)
            self._settle_head(outcomes)
            if trouble is not None:
                self._refuse_what_is_only_wanted(trouble)
        except Exception as error:  # noqa: BLE001 - the actor's task raises it
            self._fault = error
        else:
            self._is_to_pause = trouble is not None
            self._is_free = not self._is_to_pause
            self._is_due = self._is_due and bool(self._queue)
            self._start_batch()
        if self._fault is not None or self._is_to_pause or self._closed:
            self._called.set()

    def _settle_head(self, outcomes: Sequence[Outcome]) -> None:
        """Settle the first writes of the queue; what is to be tried again stays there."""
        settled = [self._queue.popleft() for _each in outcomes]
        for write, outcome in zip(settled, outcomes, strict=True):
            self._settle(write, outcome)
        for write in settled:
            if write.error is None and write.on_written is not None:
                write.on_written(write.value)

    def _refuse_what_is_only_wanted(self, trouble: DatabaseInTrouble) -> None:
        if trouble.passes:
            # What was lost in the middle of a commit may have been committed.
            refusal = f"the database has been away for too long, and perhaps it is written: {trouble}"
        else:
            refusal = f"the database refused the write: {trouble}"
        latest = trio.current_time() - (AWAY_SECONDS if trouble.passes else 0)
        refused = [write for write in self._queue if not write.kept and write.since <= latest]
        self._queue = deque(write for write in self._queue if write.kept or write.since > latest)
        for write in refused:
            self._settle(write, Outcome(error=StoreFailed(refusal)))

    def _settle(self, write: _Write[Any], outcome: Outcome) -> None:
        if write.kept:
            self._kept -= 1
        else:
            self._room.release()
        write.value, write.error = outcome.value, outcome.error
        # A beat that nobody waits for any more is worth nothing, and the next one says how it is.
        if write.error is not None and not write.watched and not self._is_for_beats:
            log.warning("write_failed", error=type(write.error).__name__, cause=_loggable(write.error))
        if write.answered is not None:
            write.answered.set()

    def _note(self, trouble: DatabaseInTrouble | None) -> None:
        text = None if trouble is None else str(trouble)
        if text is not None and text != self._trouble:
            self._log.error("database_in_trouble", cause=text, kept=self._kept)
        elif text is None and (self._trouble is not None or self._stall_is_logged):
            self._log.warning("database_works_again", kept=self._kept)
        self._trouble = text
        self._stall_is_logged = False

    def _note_stall(self) -> None:
        if self._trouble is None and not self._stall_is_logged and self._is_stalled(STALL_SECONDS):
            self._stall_is_logged = True
            log.error("database_in_trouble", cause="it does not answer", kept=self._kept)

    @property
    def _log(self) -> Any:
        return log.bind(of="beats") if self._is_for_beats else log

    def _is_stalled(self, seconds: float) -> bool:
        return trio.current_time() - self._busy_since >= seconds

    def _refuse_the_rest(self) -> None:
        """Refuse the writes that are left when the flush took too long. Usually there are none."""
        if self._kept:
            log.error("kept_writes_lost", writes=self._kept)
        while self._queue:
            write = self._queue.popleft()
            write.watched = write.watched or write.kept
            self._settle(write, Outcome(error=StoreFailed("the database was closed before this was written")))


def _not_noted(_kind: str, _seconds: float) -> None:
    """Note nothing: only a daemon counts."""


def _loggable(error: Exception) -> str:
    # Ours hold no value that was to be written; what else a `work` raises may.
    return str(error) if isinstance(error, CallError) else ""


@asynccontextmanager
async def open_database(url: str, *, sole: bool = False, for_beats: bool = False) -> AsyncIterator[Database]:
    """Yield a running `Database`; the end of the block waits until all that was handed over is committed.

    With `sole` a PostgreSQL database is held against every other daemon; for SQLite `relay.store.tenure` does that.
    With `for_beats` it is the second one of a node, whose first has brought the tables up to date: what it is given is
    worth nothing a moment later, so no connection that hangs is waited for, nor is the end.
    Raises `DatabaseError` when it cannot be opened, and what the block raised as it is, not wrapped in a group.
    """
    database = Database(url, sole=sole, for_beats=for_beats)
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
