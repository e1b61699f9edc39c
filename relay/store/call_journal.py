"""The journal: calls that are open, words that are in flight, and the record that each call leaves.

    webhook ──announce_call──▶ row ──open_call──▶ connected ──close_call──▶ outcome, duration, turns by who answered
    caller's words ──hold_words──▶ held ──release_words: answered──▶ gone
                                     ├──MessageStore.leave: became a message──▶ gone
                                     └──recover, at the next start──▶ a waiting message

Words are held before a client is asked, so whatever ends the process in between, somebody still learns what was said.
A connection's turns and parts are its own: when a call is opened again, what the connection before it left is sealed
and words that it still held become a message, so a new connection that counts from 1 overwrites nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime

import attrs
from sqlalchemy import Connection, RowMapping, bindparam, delete, insert, select, update

from actors.messages import CallInfo, CallSummary, Direction, Line, MessageDraft, Reason, Speaker
from relay.store.call_record import CallRecord, CallState, record_of
from relay.store.database import Database
from relay.store.schema import calls, held_words, messages, upsert, utc_now
from relay.store.waiting_messages import insert_message

# The outcome of a call that an earlier run of the daemon left open.
OUTCOME_RELAY_RESTARTED = "relay_restarted"
# Drafts count their parts from 1, so nothing that a call leaves ever replaces a message with this one.
_RECOVERED_PART = 0

# The two that every turn of every call runs are built once.
_HOLD = upsert(held_words, ["text", "at"])
_RELEASE = delete(held_words).where(
    held_words.c.call_sid == bindparam("released_sid"), held_words.c.turn <= bindparam("through_turn")
)


@attrs.frozen
class Recovery:
    """What a start found: messages made of held words, and calls that had been left open."""

    messages: int
    calls: int


def _new_boot() -> str:
    return secrets.token_hex(8)


@attrs.frozen(eq=False)
class CallJournal:
    """The calls of all agents; implements `actors.ports.Journal`. `now` is the wall clock, with a zone.

    `boot` names this run of the daemon: one journal a run. Each method is one transaction. Those that change something
    raise `StoreFailed`, those that only read `DatabaseError`; cancelling never leaves anything half done.
    """

    database: Database
    now: Callable[[], datetime] = utc_now
    boot: str = attrs.field(factory=_new_boot)

    async def announce_call(self, call_sid: str, agent_id: str, direction: Direction, caller: str, called: str) -> None:
        """Record a call when it is first heard of, before its line is connected. Of a known call nothing changes."""
        row = self._facts(agent_id, direction, caller, called) | {
            "call_sid": call_sid,
            "opened_at": self.now(),
            "turns_by": {},
        }

        def work(connection: Connection) -> None:
            if _find(connection, call_sid) is None:
                connection.execute(insert(calls), row)

        await self.database.write(work)

    async def open_call(self, call: CallInfo) -> None:
        """Record that a call's line is connected, for the first time or again."""
        now = self.now()
        facts = self._facts(call.agent_id, call.direction, call.caller, call.called)

        def work(connection: Connection) -> None:
            known = _find(connection, call.call_sid)
            if known is None:
                fresh = {"call_sid": call.call_sid, "opened_at": now, "connected_at": call.started_at, "turns_by": {}}
                connection.execute(insert(calls), facts | fresh)
                return
            if known["connected_at"] is not None:
                _settle_connection(connection, known, Reason.UNANSWERED, now)
            again = {
                "connected_at": known["connected_at"] or call.started_at,
                "ended_at": None,
                "outcome": None,
                "duration_seconds": None,
            }
            connection.execute(update(calls).where(calls.c.call_sid == call.call_sid).values(facts | again))

        await self.database.write(work)

    async def hold_words(self, call_sid: str, turn: int, text: str) -> None:
        """Make the caller's words of one turn durable; the same turn again replaces them.

        Refused with `StoreFailed` for a call that was never opened: nobody could be told of its words.
        """
        row = {"call_sid": call_sid, "turn": turn, "text": text, "at": self.now()}

        def work(connection: Connection) -> None:
            connection.execute(_HOLD[connection.dialect.name], row)

        await self.database.write(work)

    async def release_words(self, call_sid: str, through_turn: int) -> None:
        """Let go of a call's words, up to and with a turn.

        Returns before that is durable: a crash in the next tenth of a second brings the words back as a message, which
        at least once allows, and a turn then costs one flush of the disk instead of two.
        """
        row = {"released_sid": call_sid, "through_turn": through_turn}

        def work(connection: Connection) -> None:
            connection.execute(_RELEASE, row)

        await self.database.write_later(work)

    async def close_call(self, call_sid: str, summary: CallSummary) -> None:
        """Close a call's record with its outcome and duration. For a call that is closed or unknown nothing changes.

        Turns of several connections of one call add up.
        """
        ended_at = self.now()

        def work(connection: Connection) -> None:
            row = _find(connection, call_sid)
            if row is None or row["ended_at"] is not None:
                return
            connected_at = row["connected_at"] or ended_at
            turns_by = dict(row["turns_by"])
            for answerer, turns in summary.turns_by.items():
                turns_by[answerer] = turns_by.get(answerer, 0) + turns
            closed = {
                "ended_at": ended_at,
                "outcome": summary.outcome,
                # The wall clock may have been set back meanwhile; a call never lasts less than nothing.
                "duration_seconds": max(0.0, round((ended_at - connected_at).total_seconds(), 3)),
                "turns_by": turns_by,
            }
            connection.execute(update(calls).where(calls.c.call_sid == call_sid).values(closed))

        await self.database.write(work)

    async def recover(self) -> Recovery:
        """Take over what earlier runs left: held words become messages, open calls are closed. Repeating is harmless.

        Call it at start, before any call is taken, and in one process only: every call that another boot has is
        treated as lost.
        """
        now = self.now()

        def work(connection: Connection) -> Recovery:
            lost = calls.c.boot != self.boot
            silenced = (
                select(calls)
                .where(lost, calls.c.call_sid.in_(select(held_words.c.call_sid)))
                .order_by(calls.c.opened_at)
            )
            rows = connection.execute(silenced).mappings().all()
            for row in rows:
                _settle_connection(connection, row, Reason.RELAY_RESTARTED, now)
            closed = connection.execute(
                update(calls)
                .where(lost, calls.c.ended_at.is_(None))
                .values(ended_at=now, outcome=OUTCOME_RELAY_RESTARTED)
            )
            return Recovery(messages=len(rows), calls=closed.rowcount)

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

        return await self.database.read(work)

    async def get(self, call_sid: str) -> CallRecord | None:
        """Find one call's record."""

        def work(connection: Connection) -> CallRecord | None:
            row = _find(connection, call_sid)
            return None if row is None else record_of(row)

        return await self.database.read(work)

    def _facts(self, agent_id: str, direction: Direction, caller: str, called: str) -> dict[str, object]:
        return {
            "agent_id": agent_id,
            "direction": direction.value,
            "caller": caller,
            "called": called,
            "boot": self.boot,
        }


def _find(connection: Connection, call_sid: str) -> RowMapping | None:
    return connection.execute(select(calls).where(calls.c.call_sid == call_sid)).mappings().one_or_none()


def _settle_connection(connection: Connection, call: RowMapping, reason: Reason, now: datetime) -> None:
    """Let nothing change any more that a lost connection left, and make a message of the words that it still held."""
    of_call = messages.c.call_sid == call["call_sid"]
    connection.execute(update(messages).where(of_call, messages.c.sealed.is_(False)).values(sealed=True))
    held = held_words.c.call_sid == call["call_sid"]
    words = connection.execute(select(held_words).where(held).order_by(held_words.c.turn)).mappings().all()
    if not words:
        return
    draft = MessageDraft(
        call_sid=call["call_sid"],
        part=1,
        agent_id=call["agent_id"],
        direction=Direction(call["direction"]),
        reason=reason,
        caller=call["caller"],
        called=call["called"],
        body=" ".join(row["text"] for row in words),
        transcript=tuple(Line(Speaker.CALLER, row["text"], row["at"]) for row in words),
    )
    insert_message(connection, draft, part=_RECOVERED_PART, now=now)
    connection.execute(delete(held_words).where(held))
