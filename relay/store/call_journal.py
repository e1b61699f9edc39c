"""The journal: open calls, utterances in flight, and the record of each call.

    webhook ──announce_call──▶ row ──open_call──▶ connected ──close_call──▶ outcome, duration, turns by who answered
    carrier ──note_progress, …──▶ the carrier's side of the same row, at any time and in any order
    caller's words ──hold_utterance──▶ held ──release_utterances: answered──▶ gone
                                     ├──MessageStore.leave: became a message──▶ gone
                                     ├──open_call, in another run──▶ asked again
                                     └──recover, when nobody came back──▶ a waiting message

Utterances are held before a client is asked, so that none is lost if the process ends. When a call is opened again, the
message of the session before is sealed, and utterances that it still held become a message unless the new session has
them in hand. What else was said is stored with them, and what the call was told when it was announced, so that a
run which never knew the call goes on with it.

A call is one run's (`calls.boot`), and goes to another only with a newer session. What else a run writes of a call that
is not its own is refused with `CallTaken`; what the carrier says of a call counts whichever run it is said to.

A record ends with the end of the line, unless the call is being transferred or moves, or by the carrier's report,
whichever comes first. Both are kept, so the record is the same in either order.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache, partial
from itertools import count
from typing import Any

import attrs
import structlog
from sqlalchemy import Connection, RowMapping, Select, bindparam, select, update

from actors.call_record import CallKind, CallProgress, CallRecord, CallState
from actors.call_values import Callee, CallInfo, CallSummary, Direction, Line, Reason, TakenOver, TranscriptChange
from actors.errors import CallTaken
from actors.trace import TurnRow
from actors.transfer import TransferOutcome
from relay.store import call_lines, call_states, recovery, runs, transcripts
from relay.store.call_record import record_of, row_of
from relay.store.call_states import Announcement, KeptCall
from relay.store.database import Database
from relay.store.recovery import Recovery
from relay.store.rows import RowStatement, execute_all
from relay.store.schema import call_turns, calls, insert_if_new, utc_now
from relay.store.waiting_messages import insert_message, new_message_id

log = structlog.get_logger(__name__)

# Made once, like all statements here: to make one, and to find what it was compiled to, costs more than to execute it.
_FIND = select(calls).where(calls.c.call_sid == bindparam("of_call"))
# Nobody else changes the call until the transaction ends, and no utterance of it is held meanwhile.
_FIND_AND_LOCK = _FIND.with_for_update(key_share=True)
_HELD_BY = select(calls.c.boot, calls.c.attempt).where(calls.c.call_sid == bindparam("of_call"))
_INSERT = RowStatement(insert_if_new(calls))
# A turn's number is never used again in its call, so one that is there is this one, written twice.
_INSERT_TURN = RowStatement(insert_if_new(call_turns))
_TURN_TIMES = ("arrived_ms", "stored_ms", "asked_ms", "first_ms", "out_ms", "last_ms", "heard_ms")
# What was said lately is looked through for calls that are forgotten once in so many times: a daemon recovers every few
# seconds, and this takes some milliseconds.
_RECOVERIES_TO_FORGET = 12


def _new_boot() -> str:
    return secrets.token_hex(8)


@attrs.frozen(eq=False)
class CallJournal:
    """The calls of all agents; implements `actors.ports.Journal`. `now` is the wall clock, with a zone.

    `boot` names this run of the daemon: one journal a run. Each method is one transaction. What changes something is
    durable when it returns, unless the database is in trouble: then it returns after a moment, and the database keeps
    the change until it can be made (`Database.keep`). It raises `StoreFailed` when there is no room for that, or the
    change is refused. Those that only read raise `DatabaseError`; cancelling never leaves anything half done.
    """

    database: Database
    now: Callable[[], datetime] = utc_now
    boot: str = attrs.field(factory=_new_boot)
    _recoveries: Iterator[int] = attrs.field(factory=partial(count, 1), init=False)

    async def announce_call(
        self,
        call_sid: str,
        agent_id: str,
        direction: Direction,
        caller: str,
        called: str,
        *,
        kind: CallKind = CallKind.CALL,
        announced: Announcement | None = None,
    ) -> CallRecord | None:
        """Record a call before its first session, and what it is told; return its record as it was before.

        That is None for a new call, and while the database cannot say. To a call that is known already only what was
        not known of it is added: the carrier may report on a call that we make before we can announce it. Of another
        agent's call nothing changes. Raises `StoreFailed` when there is no room to keep it.
        """
        new = CallRecord(
            call_sid=call_sid,
            agent_id=agent_id,
            kind=kind,
            direction=direction,
            caller=caller,
            called=called,
            started_at=self.now(),
        )

        def work(connection: Connection) -> CallRecord | None:
            known = self._find_or_insert(connection, new)
            if known is not None and known.agent_id == agent_id:
                _change(connection, known, known.announced(kind, caller, called))
            if announced is not None:
                call_states.keep_state(connection, announced)
            return known

        return await self.database.keep(work, for_new_call=True)

    async def expect_call(self, announced: Announcement) -> None:
        """Store what a call is told that we are about to order: it may be another run to which it is connected."""
        await self.database.keep(
            lambda connection: call_states.keep_state(connection, announced, is_order=True), for_new_call=True
        )

    async def forget_order(self, order: str) -> None:
        """Delete what was stored of an order that is not wanted any more. Waits for nothing."""
        await self.database.keep_later(lambda connection: call_states.forget(connection, [order]))

    async def find_state(self, call_sid: str, agent_id: str) -> KeptCall | None:
        """Return what is kept of an agent's call for a run that does not know it; None if nothing is.

        Raises `DatabaseError`.
        """
        return await self.database.read(lambda connection: call_states.find_state(connection, call_sid, agent_id))

    async def take_ticket(self, agent_id: str, call_sid: str, ticket: str) -> KeptCall | None:
        """Use up a ticket that this run has not given, and return its call; None if there is none, or not any more.

        Raises `StoreFailed`.
        """
        now = self.now()
        return await self.database.write(
            lambda connection: call_states.take_ticket(connection, agent_id, call_sid, ticket, now)
        )

    async def open_call(self, call: CallInfo, *, must_answer: bool = False) -> TakenOver | None:
        """Record that a session of a call has begun, its first or another, and make the call this run's.

        Where another run had it, what it has left is returned, as it is in that moment: from then on that run's writes
        are refused. To another agent nothing is passed on; then the utterances become a message for the first one.
        """
        now = self.now()
        new = CallRecord(
            call_sid=call.call_sid,
            agent_id=call.agent_id,
            direction=call.direction,
            caller=call.caller,
            called=call.called,
            started_at=now,
        )

        def work(connection: Connection) -> TakenOver | None:
            known, taken = self._find_or_insert(connection, new), None
            if known is not None and known.had_line:
                boot, attempt = _run_of(connection, call.call_sid)
                is_foreign = boot != self.boot
                if is_foreign and boot != recovery.NO_RUN and call.attempt <= attempt:
                    raise CallTaken("another run of the relay has a newer session of this call")
                recovery.seal_messages(connection, call.call_sid)
                is_another_agents = known.agent_id != call.agent_id
                # Or this was committed, and not answered.
                if not is_another_agents and (is_foreign or (must_answer and attempt == call.attempt)):
                    taken = call_lines.take_over(connection, call.call_sid)
                if taken is None and not call.unanswered:
                    # Else the words are in hand again, under the turns that they were held in.
                    recovery.settle_words(connection, known, Reason.UNANSWERED, now)
                if is_another_agents:
                    call_lines.forget_lines(connection, call.call_sid)
            call_states.use_ticket(connection, call.call_sid)
            known = known or new
            _change(connection, known, known.opened(call), boot=self.boot, attempt=call.attempt)
            return taken

        return await (self.database.write(work) if must_answer else self.database.keep(work))

    async def hold_utterance(self, call_sid: str, turn: int, text: str, said: TranscriptChange | None = None) -> None:
        """Store the caller's utterance of one turn, and what else was `said`; a repeat replaces either.

        Refused with `StoreFailed` for a call that was never opened: a message from it would belong to no agent.
        """
        await self.database.keep(call_lines.hold(call_sid, self.boot, turn, text, at=self.now(), said=said))

    async def release_utterances(self, call_sid: str, through_turn: int, said: TranscriptChange | None = None) -> None:
        """Release a call's utterances, up to and with a turn, and store what was `said` until then.

        Returns before that is durable: a crash in the next tenth of a second brings the words back as a message, which
        at least once allows, and a turn then costs one flush of the disk instead of two.
        """
        await self.database.keep_later(call_lines.release(call_sid, self.boot, through_turn, said))

    async def close_call(
        self,
        call_sid: str,
        summary: CallSummary,
        said: TranscriptChange | None = None,
        turns: Sequence[TurnRow] = (),
    ) -> None:
        """Record the end of a session, which ends the call too unless its outcome is `transferred` or `moved`.

        Done once a session; for one that is closed, and for an unknown call, nothing changes. Turns and transcripts
        of several connections of one call add up. A call that never had a line is closed with an outcome too.

        What was said is kept while the caller may come back: a call that the carrier has ended is forgotten. The times
        of `turns` are kept with the record, also where another run has the call by now: they were this one's.
        """
        now = self.now()

        def work(connection: Connection) -> bool:
            """Write it; return whether another run has the call, whose record is its own."""
            known = _find(connection, call_sid, _FIND_AND_LOCK)
            if known is None:
                return False
            if turns:
                _INSERT_TURN.execute(connection, [_row_of_turn(known, turn) for turn in turns])
            closed, (boot, _attempt) = known.closed(summary, now), _run_of(connection, call_sid)
            if boot == self.boot and known.is_over_for_carrier:
                call_states.forget(connection, [call_sid])
            elif boot == self.boot and said is not None:
                execute_all(connection, [call_lines.change_row(call_sid, self.boot, said)])
            if closed == known:
                return False
            if boot not in {self.boot, recovery.NO_RUN}:
                return True
            _change(connection, known, closed)
            if summary.transcript:
                transcripts.append(connection, call_sid, summary.transcript, now)
            return False

        if await self.database.keep(work):
            raise CallTaken("another run of the relay has this call")

    async def note_progress(
        self, agent_id: str, progress: CallProgress, *, on_message_left: Callable[[str], None] | None = None
    ) -> None:
        """Record what the carrier says of a call, in any order and any number of times.

        Opens the record of a call that is not known. Another agent's call is left as it is. The first word of the
        carrier that a voice message was not heard leaves a message, in the same transaction, and so do the words that a
        run held which is over; `on_message_left` is then called with the agent's id, and must not wait.
        """
        now, message_id = self.now(), new_message_id()
        new = CallRecord(
            call_sid=progress.call_sid,
            agent_id=agent_id,
            direction=progress.direction,
            caller=progress.caller,
            called=progress.called,
            started_at=now,
        )

        def work(connection: Connection) -> tuple[CallRecord, bool]:
            known = self._find_or_insert(connection, new) or new
            if known.agent_id != agent_id:
                return known, False
            if progress.order:
                call_states.name_order(connection, progress.order, progress.call_sid)
            if progress.is_over and not (known.had_line and known.line_ended_at is None):
                call_states.forget(connection, [progress.call_sid])
            _change(connection, known, known.progressed(progress, now))
            draft = known.undelivered(progress)
            if draft is not None:
                insert_message(connection, draft, part=draft.part, now=now, message_id=message_id)
            has_left_words = progress.is_over and recovery.settle_ended(connection, known, now)
            return known, has_left_words or draft is not None

        def written(outcome: tuple[CallRecord, bool]) -> None:
            known, has_left = outcome
            self._report(agent_id, progress.call_sid, known)
            if has_left and on_message_left is not None:
                on_message_left(agent_id)

        await self.database.keep(work, on_written=written)

    async def note_picked_up(self, agent_id: str, call_sid: str, callee: Callee) -> None:
        """Record who picked up a call that we made."""
        await self._note(agent_id, call_sid, lambda known: known.picked_up(callee))

    async def note_transfer(self, agent_id: str, call_sid: str, to: str | None, outcome: TransferOutcome) -> None:
        """Record how a transfer goes. With a number in `to` it is a new one, with None the one under way."""
        await self._note(agent_id, call_sid, lambda known: known.transferred(to, outcome))

    async def note_failure(self, agent_id: str, call_sid: str, code: str) -> None:
        """Record the code with which the carrier refused something, unless it has given one before."""
        await self._note(agent_id, call_sid, lambda known: known.failed(code))

    async def _note(self, agent_id: str, call_sid: str, change: Callable[[CallRecord], CallRecord]) -> None:
        """Change the record of an agent's own call; of one that is unknown, or another's, it is only logged."""

        def work(connection: Connection) -> CallRecord | None:
            known = _find(connection, call_sid, _FIND_AND_LOCK)
            if known is not None and known.agent_id == agent_id:
                _change(connection, known, change(known))
            return known

        await self.database.keep(work, on_written=lambda known: self._report(agent_id, call_sid, known))

    def _report(self, agent_id: str, call_sid: str, known: CallRecord | None) -> None:
        if known is None:
            log.info("note_of_an_unknown_call", agent_id=agent_id, call_sid=call_sid)
        elif known.agent_id != agent_id:
            log.warning("note_of_another_agents_call", agent_id=agent_id, call_sid=call_sid)

    async def begin_run(self, url: str = "") -> None:
        """Enter this run, before it takes any call; it is reached at `url`. All earlier ones are over then."""
        now = self.now()

        def work(connection: Connection) -> None:
            runs.begin(connection, self.boot, now, url=url)
            call_lines.file_recent(connection)

        await self.database.write(work)

    async def end_run(self) -> None:
        """Record that this run is over: it has no call any more, and takes none."""
        now = self.now()

        def work(connection: Connection) -> None:
            runs.end(connection, self.boot, now)
            call_lines.forget_recent(connection)

        await self.database.keep(work)

    async def recover(self, patience: float = 0.0) -> Recovery:
        """Take up what runs have left which are over for `patience` seconds, and forget calls that ended before that.

        Held utterances become messages, open calls are closed. Idempotent, and may happen in several processes at once.
        Raises `StoreFailed`.
        """
        now, waited = self.now(), timedelta(seconds=patience)
        is_last_of_some = next(self._recoveries) % _RECOVERIES_TO_FORGET == 0

        def work(connection: Connection) -> Recovery:
            recovered = recovery.recover(connection, self.boot, now, waited)
            call_states.forget_old(connection, now, waited)
            if is_last_of_some:
                call_lines.forget_recent(connection)
            return recovered

        return await self.database.write(work)

    async def list_calls(
        self, agent_id: str | None = None, state: CallState | None = None, limit: int = 50
    ) -> tuple[CallRecord, ...]:
        """List up to `limit` calls, newest first, of one agent unless none is named, and of one state if given."""
        if limit < 0:
            raise ValueError("limit must not be negative")

        def work(connection: Connection) -> tuple[CallRecord, ...]:
            wanted = select(calls).order_by(calls.c.opened_at.desc(), calls.c.call_sid).limit(limit)
            if agent_id is not None:
                wanted = wanted.where(calls.c.agent_id == agent_id)
            if state is not None:
                here = calls.c.ended_at.is_(None)
                wanted = wanted.where(here if state is CallState.LIVE else ~here)
            return tuple(record_of(row) for row in connection.execute(wanted).mappings())

        return await self.database.read_many(work)

    async def get(self, call_sid: str) -> CallRecord | None:
        """Find one call's record, of whichever agent."""
        return await self.database.read(lambda connection: _find(connection, call_sid))

    async def transcript(self, call_sid: str) -> tuple[Line, ...]:
        """Return the transcript of a call, empty if it was not kept."""
        return await self.database.read(lambda connection: transcripts.read(connection, call_sid))

    async def turns(self, call_sid: str) -> tuple[Mapping[str, Any], ...]:
        """Return the times of a call's turns, oldest first: its number, `by`, `outcome`, and milliseconds by name."""
        wanted = select(call_turns).where(call_turns.c.call_sid == call_sid).order_by(call_turns.c.turn)

        def work(connection: Connection) -> tuple[Mapping[str, Any], ...]:
            return tuple(_turn_of(row) for row in connection.execute(wanted).mappings())

        return await self.database.read_many(work)

    def _find_or_insert(self, connection: Connection, new: CallRecord) -> CallRecord | None:
        """Insert the record of a call that is not known and return None, or return the one that is there, locked."""
        # Most calls that are told of are known, and an insert that does nothing costs more than a look.
        known = _find(connection, new.call_sid, _FIND_AND_LOCK)
        if known is None and not _INSERT.execute(connection, [row_of(new) | {"boot": self.boot, "attempt": 0}]):
            known = _find(connection, new.call_sid, _FIND_AND_LOCK)
        return known


def _find(connection: Connection, call_sid: str, how: Select[Any] = _FIND) -> CallRecord | None:
    row = connection.execute(how, {"of_call": call_sid}).mappings().one_or_none()
    return None if row is None else record_of(row)


def _row_of_turn(call: CallRecord, turn: TurnRow) -> dict[str, Any]:
    """Return a turn's row. Its times count from the opening of the call's record, whichever run had the turn."""
    zero = round((turn.began - call.started_at).total_seconds() * 1000)
    times = {name: getattr(turn, name) for name in _TURN_TIMES}
    return {
        "call_sid": call.call_sid,
        "turn": turn.turn,
        "by": turn.by.value,
        "outcome": None if turn.outcome is None else turn.outcome.value,
        **{name: None if at is None else zero + at for name, at in times.items()},
    }


def _turn_of(row: RowMapping) -> Mapping[str, Any]:
    times = {name.removesuffix("_ms"): row[name] for name in _TURN_TIMES}
    return {"turn": row["turn"], "by": row["by"] or "", "outcome": row["outcome"] or "", **times}


def _run_of(connection: Connection, call_sid: str) -> tuple[str, int]:
    """Return the run that has a call, and which session of it."""
    row = connection.execute(_HELD_BY, {"of_call": call_sid}).one()
    return row.boot, row.attempt


def _change(connection: Connection, before: CallRecord, after: CallRecord, **more: object) -> None:
    old, new = row_of(before), row_of(after)
    changed = {column: value for column, value in new.items() if old[column] != value} | more
    if changed:
        _update(frozenset(changed)).execute(connection, [changed | {"of_call": before.call_sid}])


@lru_cache(maxsize=64)  # few are in use: one for each kind of report, and what it finds
def _update(columns: frozenset[str]) -> RowStatement:
    """Return the statement that changes these columns of a call, and no other."""
    of_call = calls.c.call_sid == bindparam("of_call")
    return RowStatement.standard(update(calls).where(of_call).values({each: bindparam(each) for each in columns}))
