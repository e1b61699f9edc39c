"""What a call was told of itself, kept for another run of the daemon that goes on with it.

    announce, order ──keep_state──▶ call_states ──take_ticket, find_state──▶ the run that the carrier asks next
    the end of the call ──forget──▶ gone, and what was said in it too

A state that cannot be read, because a newer or an older version has written it, counts as none: the call then goes on
as its agent's, with what was said.

The functions that take a connection are parts of a transaction of the journal's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta

import attrs
import msgspec
import structlog
from sqlalchemy import Connection, RowMapping, and_, bindparam, delete, false, func, not_, null, or_, select, update

from actors.call_values import Callee, CallInfo, Line, Speaker
from relay.store.call_lines import read_lines
from relay.store.rows import RowStatement
from relay.store.schema import (
    IS_DIALLING,
    LINE_IS_OPEN,
    UtcDateTime,
    call_lines,
    call_states,
    calls,
    held_words,
    storable,
    upsert,
)

log = structlog.get_logger(__name__)

_FORGOTTEN_AT_ONCE = 500
_HAS_ENDED = and_(
    calls.c.ended_at < bindparam("ended_before", type_=UtcDateTime()),
    not_(LINE_IS_OPEN),
    not_(func.coalesce(IS_DIALLING, false())),
)
_CAME_TO_NOTHING = and_(
    calls.c.call_sid.is_(None), call_states.c.expires_at < bindparam("expired_before", type_=UtcDateTime())
)
_OLD = (
    select(call_states.c.call_sid)
    .outerjoin(calls, calls.c.call_sid == call_states.c.call_sid)
    .where(or_(_HAS_ENDED, _CAME_TO_NOTHING))
    .limit(_FORGOTTEN_AT_ONCE)
)
_KEEP = RowStatement(upsert(call_states, ["agent_id", "is_order", "ticket_hash", "expires_at", "info"]))
_USE_TICKET = RowStatement.standard(
    update(call_states).where(call_states.c.call_sid == bindparam("of_call")).values(ticket_hash=null())
)
_FORGET = tuple(
    RowStatement.standard(delete(table).where(table.c.call_sid == bindparam("of_call")))
    for table in (call_states, call_lines)
)


@attrs.frozen(kw_only=True)
class Announcement:
    """What a call is told, to be kept for a run that may go on with it.

    `ticket` is for its next socket, until `expires_at`; empty if it is used already. `order` is ours, of a call that
    the carrier has just named: its state is kept under the call SID from now on.
    """

    info: CallInfo
    ticket: str = attrs.field(default="", repr=False)
    expires_at: datetime
    order: str = ""


@attrs.frozen(kw_only=True)
class KeptCall:
    """A call as another run knew it.

    `lines` is what was said, `callee` who picked up a call that we made, as far as the carrier has said. `had_client`
    says that a client was answering it, so that it is likely to come back.
    """

    info: CallInfo
    lines: tuple[Line, ...] = ()
    callee: Callee | None = None
    had_client: bool = False


def keep_state(connection: Connection, announced: Announcement, *, is_order: bool = False) -> None:
    """Store what a call was told, in place of what it was told before."""
    if announced.order:
        forget(connection, [announced.order])
    row = {
        "call_sid": announced.info.call_sid,
        "agent_id": announced.info.agent_id,
        "is_order": is_order,
        "ticket_hash": _digest(announced.ticket) if announced.ticket else None,
        "expires_at": announced.expires_at,
        "info": encode_info(announced.info),
    }
    _KEEP.execute(connection, [row])


def find_state(connection: Connection, call_sid: str, agent_id: str) -> KeptCall | None:
    """Return what is kept of an agent's call; None if nothing is, or if it cannot be read."""
    found = select(call_states).where(call_states.c.call_sid == call_sid, call_states.c.agent_id == agent_id)
    row = connection.execute(found).mappings().one_or_none()
    return None if row is None else _kept(connection, row, call_sid)


def take_ticket(connection: Connection, agent_id: str, call_sid: str, ticket: str, now: datetime) -> KeptCall | None:
    """Use up a ticket, and return the call that it is for; None if it is unknown, used, too old, or another's.

    An order gets the SID of the call by it.
    """
    wanted = select(call_states).where(
        call_states.c.ticket_hash == _digest(ticket),
        call_states.c.agent_id == agent_id,
        call_states.c.expires_at > now,
    )
    row = connection.execute(wanted.with_for_update()).mappings().one_or_none()
    if row is None or not (row["is_order"] or row["call_sid"] == call_sid):
        return None
    name_order(connection, row["call_sid"], call_sid)
    use_ticket(connection, call_sid)
    return _kept(connection, row, call_sid)


def use_ticket(connection: Connection, call_sid: str) -> None:
    """Use up the ticket of a call whose session has begun, in whichever run."""
    _USE_TICKET.execute(connection, [{"of_call": call_sid}])


def name_order(connection: Connection, order: str, call_sid: str) -> None:
    """Keep the state of an order under the call SID that the carrier has given it. No-op if there is no such order."""
    is_it = call_states.c.call_sid == order, call_states.c.is_order.is_(True)
    if order != call_sid and connection.execute(select(call_states.c.call_sid).where(*is_it)).first() is not None:
        forget(connection, [call_sid])
        connection.execute(update(call_states).where(*is_it).values(call_sid=call_sid, is_order=False))


def encode_info(info: CallInfo) -> str:
    """Return a `CallInfo` as JSON, without what was said: that is kept line by line."""
    values = attrs.asdict(info, recurse=False) | {"opened_by": (), "unanswered": ()}
    return msgspec.json.encode(
        {name: storable(value) if type(value) is str else value for name, value in values.items()}
    ).decode()


def decode_info(text: str) -> CallInfo | None:
    """Read what `encode_info` has written; None if another version of the relay has, and it means nothing here."""
    try:
        return msgspec.json.decode(text, type=CallInfo)
    except (msgspec.MsgspecError, ValueError) as error:
        # The text of the error may quote the state.
        log.warning("call_state_not_read", error=type(error).__name__)
        return None


def _kept(connection: Connection, row: RowMapping, call_sid: str) -> KeptCall | None:
    info = decode_info(row["info"])
    if info is None:
        return None
    picked_up = connection.execute(
        select(calls.c.picked_up_by).where(calls.c.call_sid == call_sid)
    ).scalar_one_or_none()
    lines = read_lines(connection, call_sid)
    is_asked = connection.execute(select(held_words.c.turn).where(held_words.c.call_sid == call_sid)).first()
    return KeptCall(
        info=attrs.evolve(info, call_sid=call_sid),
        lines=lines,
        callee=None if picked_up is None else Callee(picked_up),
        had_client=is_asked is not None or _was_answered_by_client(lines),
    )


def _was_answered_by_client(lines: Sequence[Line]) -> bool:
    """Return whether the last answer was a client's; what was said before the caller's first line is the greeting."""
    asked = next((place for place, line in enumerate(lines) if line.speaker is Speaker.CALLER), len(lines))
    answers = [line.speaker for line in lines[asked:] if line.speaker in {Speaker.AGENT, Speaker.ANSWERING_MACHINE}]
    return bool(answers) and answers[-1] is Speaker.AGENT


def _digest(ticket: str) -> str:
    return hashlib.sha256(ticket.encode("utf-8", "surrogatepass")).hexdigest()


def forget(connection: Connection, call_sids: Sequence[str]) -> None:
    """Delete what calls were told and what was said in them: they do not come back."""
    for statement in _FORGET if call_sids else ():
        statement.execute(connection, [{"of_call": call_sid} for call_sid in call_sids])


def forget_old(connection: Connection, now: datetime, patience: timedelta) -> None:
    """Forget the calls that ended before `patience`, and the orders that came to nothing.

    A call that is being passed on may come back when nobody answers, however long that takes.
    """
    given = {"ended_before": now - patience, "expired_before": now}
    forget(connection, connection.execute(_OLD, given).scalars().all())
