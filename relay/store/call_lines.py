"""What was said in a call, and what nobody has answered yet: written turn by turn, by the run that has the call.

    hold ──row──▶ held_words ─────────────────────────────────────────────────┐
    release ──rows, in one write──▶ held_words: gone; call_lines: a change ───┴──take_over──▶ the next run

On SQLite a change is added to `recent_lines` first, which costs a third, and read there by looking through all of it;
the next run moves what is there (`file_recent`). To move it now and then lost: that costs as much as to write it there.

A turn costs one row of what was said, with its release: until then the utterance is in what is held, and counts as the
last that was said. Each write is made only if the run that makes it has the call: the statement itself looks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import attrs
import msgspec
import structlog
from sqlalchemy import Connection, bindparam, delete, insert, select
from sqlalchemy.dialects import sqlite

from actors.call_values import Line, Speaker, TakenOver, TranscriptChange, UnansweredUtterance
from actors.errors import CallError, CallTaken, StoreFailed
from relay.store.rows import Row, Rows, RowStatement, Values
from relay.store.schema import (
    UtcDateTime,
    Words,
    call_lines,
    call_states,
    calls,
    held_words,
    recent_lines,
    storable,
    upsert_by_run,
)

log = structlog.get_logger(__name__)

# More than any policy sends with a turn; the window of the transcript shortens it. A change has a line at least.
_NEWEST_LINES = 200
# How a note is marked, which neither party said: it is a speaker of its own here.
_NOTE = "note"
_SAID_BY = {**{each.value: each for each in Speaker}, _NOTE: Speaker.RELAY}

# The number of the first line that changes, the turn up to which utterances are in it, and the lines.
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(tuple[int, int, list[tuple[str, str, datetime]]]).decode


def _refusal(connection: Connection, values: Values) -> CallError:
    """Return why a row about a call was not written: another run has it, or it never was."""
    owner = connection.execute(_OWNER, {"of_call": values["of_call"]}).scalar_one_or_none()
    if owner is None:
        return StoreFailed("this call was never opened, so what is said in it would belong to no agent")
    return CallTaken("another run of the relay has this call")


_OWNER = select(calls.c.boot).where(calls.c.call_sid == bindparam("of_call"))
_NUMBER = bindparam("number", type_=call_lines.c.number.type)
_SAID = bindparam("said", type_=call_lines.c.said.type)
_OF_RUN = select(calls.c.call_sid, _NUMBER, _SAID).where(
    calls.c.call_sid == bindparam("of_call", type_=calls.c.call_sid.type),
    calls.c.boot == bindparam("of_run", type_=calls.c.boot.type),
)
_CHANGE = RowStatement(
    {
        "sqlite": insert(recent_lines).from_select(["call_sid", "number", "said"], _OF_RUN),
        "postgresql": upsert_by_run(call_lines, {"number": _NUMBER, "said": _SAID}, ["said"])["postgresql"],
    },
    refusal=_refusal,
)
_FILE_RECENT = sqlite.insert(call_lines).from_select(
    ["call_sid", "number", "said"],
    select(recent_lines.c.call_sid, recent_lines.c.number, recent_lines.c.said)
    .join(calls, calls.c.call_sid == recent_lines.c.call_sid)
    .order_by(recent_lines.c.call_sid, recent_lines.c.position),
)
_HOLD = RowStatement(
    upsert_by_run(
        held_words,
        {
            "turn": bindparam("turn", type_=held_words.c.turn.type),
            "text": bindparam("text", type_=Words()),
            "at": bindparam("at", type_=UtcDateTime()),
        },
        ["text", "at"],
    ),
    refusal=_refusal,
)
# Whether it finds anything says nothing: what was released may be released again.
_LET_GO = delete(held_words).where(
    held_words.c.call_sid == bindparam("of_call"), held_words.c.turn <= bindparam("through_turn")
)
# For what is written with a change: that is refused as a whole where another run has the call.
_RELEASE_WITH_CHANGE = RowStatement.standard(_LET_GO)
_RELEASE = RowStatement.standard(
    _LET_GO.where(
        select(calls.c.call_sid)
        .where(calls.c.call_sid == bindparam("of_call"), calls.c.boot == bindparam("of_run"))
        .exists(),
    )
)


def change_row(call_sid: str, boot: str, said: TranscriptChange) -> Row:
    """Return the row that stores a change of a call's transcript, if this run has the call."""
    values = {"of_call": call_sid, "of_run": boot, "number": said.number, "said": _text_of(said)}
    return Row(_CHANGE, call_sid, values)


def _text_of(said: TranscriptChange) -> str:
    lines = [(_NOTE if each.is_note else each.speaker, storable(each.text), each.at) for each in said.lines]
    return _encode((said.first, said.through_turn, lines)).decode()


def hold(call_sid: str, boot: str, turn: int, text: str, *, at: datetime, said: TranscriptChange | None) -> Row | Rows:
    """Return the write that holds an utterance and stores what was said, if this run has the call."""
    held = Row(_HOLD, call_sid, {"of_call": call_sid, "of_run": boot, "turn": turn, "text": text, "at": at})
    return held if said is None else Rows((held, change_row(call_sid, boot, said)))


def release(call_sid: str, boot: str, through_turn: int, said: TranscriptChange | None) -> Row | Rows:
    """Return the write that releases utterances and stores what was said, if this run has the call."""
    if said is None:
        return Row(_RELEASE, call_sid, {"of_call": call_sid, "of_run": boot, "through_turn": through_turn})
    released = Row(_RELEASE_WITH_CHANGE, call_sid, {"of_call": call_sid, "through_turn": through_turn})
    return Rows((change_row(call_sid, boot, said), released))


def take_over(connection: Connection, call_sid: str) -> TakenOver:
    """Return what the run that had a call before has left of it. The caller has made the call its own."""
    keep_held(connection, call_sid)
    return TakenOver(
        lines=read_lines(connection, call_sid),
        unanswered=tuple(
            UnansweredUtterance(turn, line.text) for turn, line in _read_held(connection, call_sid) if turn > 0
        ),
    )


def read_lines(connection: Connection, call_sid: str) -> tuple[Line, ...]:
    """Return what was said in a call, oldest first; the newest of it, where that is much."""
    said = _Said.read(connection, call_sid)
    lines = [*said.lines.values(), *(line for _turn, line in said.only_held)]
    return tuple(line for line in lines[-_NEWEST_LINES:] if line.text.strip())


def keep_held(connection: Connection, call_sid: str) -> None:
    """Store the utterances that are held as what was said: the next run does not, whatever becomes of them.

    Only where the session that holds them is over: its own changes have the same numbers.
    """
    if not _read_held(connection, call_sid):
        return
    said = _Said.read(connection, call_sid)
    if said.only_held:
        lines = tuple(line for _turn, line in said.only_held)
        first = max(said.lines, default=0) + 1
        text = _text_of(TranscriptChange(said.newest + 1, first, lines, said.only_held[-1][0]))
        connection.execute(insert(call_lines).values(call_sid=call_sid, number=said.newest + 1, said=text))


def forget_lines(connection: Connection, call_sid: str) -> None:
    """Delete what was said in a call that goes on with another agent: it is private to the first one."""
    for table in (call_lines, recent_lines):
        connection.execute(delete(table).where(table.c.call_sid == call_sid))


def file_recent(connection: Connection) -> None:
    """Move what was said in the calls of earlier runs to where it is found by the call. No-op on PostgreSQL."""
    if connection.dialect.name != "sqlite":
        return
    forget_recent(connection)
    connection.execute(_FILE_RECENT.on_conflict_do_update(set_={"said": _FILE_RECENT.excluded.said}))
    connection.execute(delete(recent_lines))


def forget_recent(connection: Connection) -> None:
    """Delete what was said lately in calls that are forgotten: to look for it at the end of each costs too much."""
    here = recent_lines.c.call_sid
    has_state = select(call_states.c.call_sid).where(call_states.c.call_sid == here).exists()
    is_open = select(calls.c.call_sid).where(calls.c.call_sid == here, calls.c.ended_at.is_(None)).exists()
    connection.execute(delete(recent_lines).where(~has_state, ~is_open))


@attrs.frozen(kw_only=True)
class _Said:
    """The lines of a call by their numbers, the number of the newest change, and what is not among the lines yet."""

    lines: Mapping[int, Line]
    newest: int
    only_held: Sequence[tuple[int, Line]]

    @classmethod
    def read(cls, connection: Connection, call_sid: str) -> _Said:
        wanted = select(call_lines.c.number, call_lines.c.said).where(call_lines.c.call_sid == call_sid)
        filed = connection.execute(wanted.order_by(call_lines.c.number.desc()).limit(_NEWEST_LINES)).all()
        recent = connection.execute(_RECENT, {"of_call": call_sid}).all()
        changes = {row.number: row.said for row in (*filed, *recent)}
        newest = sorted(changes)[-_NEWEST_LINES:]
        lines: dict[int, Line] = {}
        through = 0
        for change in newest:
            try:
                first, through_turn, changed = _decode(changes[change])
            except msgspec.MsgspecError as error:
                # Another version's. The text of the error may quote it.
                log.warning("call_lines_not_read", error=type(error).__name__)
                continue
            through = max(through, through_turn)
            for number in [each for each in lines if each >= first]:
                del lines[number]
            for number, (speaker, text, at) in enumerate(changed, first):
                lines[number] = Line(_SAID_BY.get(speaker, Speaker.RELAY), text, at, is_note=speaker == _NOTE)
        only_held = [(turn, line) for turn, line in _read_held(connection, call_sid) if turn > through]
        return cls(lines=lines, newest=newest[-1] if newest else 0, only_held=only_held)


_RECENT = (
    select(recent_lines.c.number, recent_lines.c.said)
    .where(recent_lines.c.call_sid == bindparam("of_call"))
    .order_by(recent_lines.c.position)
)


def _read_held(connection: Connection, call_sid: str) -> list[tuple[int, Line]]:
    held = select(held_words.c.turn, held_words.c.text, held_words.c.at).where(held_words.c.call_sid == call_sid)
    rows = connection.execute(held.order_by(held_words.c.turn)).all()
    return [(row.turn, Line(Speaker.CALLER, row.text, row.at)) for row in rows]
