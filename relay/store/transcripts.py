"""What was said in calls, line by line: how a transcript is written as JSON, read again, and kept beside its call.

The functions that take a connection are parts of a transaction, not a store of their own: what was said is kept in the
same one in which the call's line is closed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, select

from actors.call_values import Line, Speaker
from relay.store.rows import RowStatement
from relay.store.schema import storable, timestamp, transcripts, upsert

_KEEP = RowStatement(upsert(transcripts, ["lines", "at"]))
_FIND = select(transcripts.c.lines).where(transcripts.c.call_sid == bindparam("of_call"))


def lines_as_json(lines: Iterable[Line]) -> list[dict[str, str]]:
    """Return a transcript as it is stored, and as it is on the wire."""
    return [{"speaker": each.speaker.value, "text": storable(each.text), "at": timestamp(each.at)} for each in lines]


def lines_of(kept: Iterable[dict[str, Any]]) -> tuple[Line, ...]:
    """Parse what `lines_as_json` returned."""
    return tuple(Line(Speaker(each["speaker"]), each["text"], datetime.fromisoformat(each["at"])) for each in kept)


def append(connection: Connection, call_sid: str, lines: Sequence[Line], at: datetime) -> None:
    """Append the transcript of one session of a call to that of the sessions before it; the call's row is locked."""
    kept = [*_kept(connection, call_sid), *lines_as_json(lines)]
    _KEEP.execute(connection, [{"call_sid": call_sid, "lines": kept, "at": at}])


def read(connection: Connection, call_sid: str) -> tuple[Line, ...]:
    """Return the transcript of a call, empty if it was not kept."""
    return lines_of(_kept(connection, call_sid))


def _kept(connection: Connection, call_sid: str) -> list[dict[str, Any]]:
    return connection.execute(_FIND, {"of_call": call_sid}).scalar_one_or_none() or []
