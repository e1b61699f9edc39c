"""What was said in a call, and what nobody has answered yet: written line by line, by the run that has the call.

    hold, release ──rows, in the commit that is there anyway──▶ held_words, call_lines ──take_over──▶ the next run

Each row is written only if the run that writes it has the call: the statement itself looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, select

from actors.call_values import Line, NumberedLine, Speaker, TakenOver, UnansweredUtterance
from actors.errors import CallTaken, StoreFailed
from relay.store.rows import Row, RowStatement, Values
from relay.store.schema import UtcDateTime, Words, call_lines, calls, held_words, upsert_by_run

# More than any policy sends with a turn; the window of the transcript shortens it.
_NEWEST_LINES = 200
# How a note is marked, which neither party said: it is a speaker of its own here.
_NOTE = "note"
_SAID_BY = {**{each.value: each for each in Speaker}, _NOTE: Speaker.RELAY}


def _refusal(connection: Connection, values: Values) -> StoreFailed:
    """Return why a row about a call was not written: another run has it, or it never was."""
    owner = connection.execute(_OWNER, {"of_call": values["of_call"]}).scalar_one_or_none()
    if owner is None:
        return StoreFailed("this call was never opened, so what is said in it would belong to no agent")
    return CallTaken("another run of the relay has this call")


_OWNER = select(calls.c.boot).where(calls.c.call_sid == bindparam("of_call"))
_LINES = RowStatement(
    upsert_by_run(
        call_lines,
        {
            "number": bindparam("number", type_=call_lines.c.number.type),
            "speaker": bindparam("speaker", type_=call_lines.c.speaker.type),
            "text": bindparam("text", type_=Words()),
            "at": bindparam("at", type_=UtcDateTime()),
        },
        ["speaker", "text", "at"],
    ),
    refusal=_refusal,
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
_RELEASE = RowStatement.standard(
    delete(held_words).where(
        held_words.c.call_sid == bindparam("of_call"),
        held_words.c.turn <= bindparam("through_turn"),
        select(calls.c.call_sid)
        .where(calls.c.call_sid == bindparam("of_call"), calls.c.boot == bindparam("of_run"))
        .exists(),
    )
)


def line_rows(call_sid: str, boot: str, lines: Sequence[NumberedLine]) -> list[Row]:
    """Return the rows that store these lines of a call, if this run has it."""
    return [
        Row(
            _LINES,
            call_sid,
            {
                "of_call": call_sid,
                "of_run": boot,
                "number": each.number,
                "speaker": _NOTE if each.line.is_note else each.line.speaker.value,
                "text": each.line.text,
                "at": each.line.at,
            },
        )
        for each in lines
    ]


def hold_row(call_sid: str, boot: str, turn: int, text: str, at: datetime) -> Row:
    """Return the row that holds an utterance, if this run has the call."""
    return Row(_HOLD, call_sid, {"of_call": call_sid, "of_run": boot, "turn": turn, "text": text, "at": at})


def release_row(call_sid: str, boot: str, through_turn: int) -> Row:
    """Return the row that releases utterances, if this run has the call."""
    return Row(_RELEASE, call_sid, {"of_call": call_sid, "of_run": boot, "through_turn": through_turn})


def take_over(connection: Connection, call_sid: str) -> TakenOver:
    """Return what the run that had a call before has left of it. The caller has made the call its own."""
    held = select(held_words.c.turn, held_words.c.text).where(held_words.c.call_sid == call_sid)
    words = connection.execute(held.order_by(held_words.c.turn)).all()
    return TakenOver(
        lines=read_lines(connection, call_sid),
        unanswered=tuple(UnansweredUtterance(row.turn, row.text) for row in words if row.turn > 0),
    )


def read_lines(connection: Connection, call_sid: str) -> tuple[Line, ...]:
    newest = (
        select(call_lines.c.speaker, call_lines.c.text, call_lines.c.at)
        .where(call_lines.c.call_sid == call_sid)
        .order_by(call_lines.c.number.desc())
        .limit(_NEWEST_LINES)
    )
    return tuple(
        Line(_SAID_BY.get(row.speaker, Speaker.RELAY), row.text, row.at, is_note=row.speaker == _NOTE)
        for row in reversed(connection.execute(newest).all())
        if row.text.strip()
    )


def forget_lines(connection: Connection, call_sid: str) -> None:
    """Delete what was said in a call that goes on with another agent: it is private to the first one."""
    connection.execute(delete(call_lines).where(call_lines.c.call_sid == call_sid))
