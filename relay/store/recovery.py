"""What becomes of the calls that a run of the daemon has left, when nobody has come back: parts of a transaction.

    a run is over ──RETURN seconds──▶ recover: held utterances become messages, records are closed
         ├── the carrier says that a call of it is over ──▶ the same at once
         └── the carrier asks for a call before that: another run takes it, and it is no business of this any more

Several processes may do so at once: each row is locked, and skipped by the others.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from operator import itemgetter

import attrs
from sqlalchemy import Connection, and_, bindparam, case, delete, false, func, not_, or_, select, true, update

from actors.call_record import CallRecord, CarrierStatus
from actors.call_values import CallOutcome, Line, MessageDraft, Reason, Speaker
from actors.transfer import TransferOutcome
from relay.store.call_lines import keep_held
from relay.store.call_record import record_of
from relay.store.rows import RowStatement
from relay.store.schema import IS_DIALLING, IS_OPEN, LINE_IS_OPEN, UtcDateTime, calls, held_words, messages, runs
from relay.store.waiting_messages import insert_message

# The carrier ends a call after 24 hours at most.
LONGEST_CALL = timedelta(hours=24)
# Drafts count their parts from 1, so nothing that a call leaves ever replaces a message with this one.
_RECOVERED_PART = 0

_SEAL = RowStatement.standard(
    update(messages)
    .where(messages.c.call_sid == bindparam("of_call"), messages.c.sealed.is_(False))
    .values(sealed=true())
)
# Deleted as they are read: words that are held in between stay for the next one.
_TAKE = (
    delete(held_words)
    .where(held_words.c.call_sid == bindparam("of_call"))
    .returning(held_words.c.turn, held_words.c.text, held_words.c.at)
)
# What `calls.boot` holds when no run has the call any more.
NO_RUN = ""

_NOW = bindparam("now", type_=UtcDateTime())
_HAS_ENDED = func.coalesce(calls.c.carrier_status.in_([each.value for each in CarrierStatus if each.is_over]), false())
_LOST = and_(
    calls.c.boot != bindparam("of_run", type_=calls.c.boot.type),
    calls.c.boot.not_in(
        select(runs.c.boot).where(
            or_(
                runs.c.over_at.is_(None),
                # Nobody comes back to a call that the carrier has ended.
                and_(runs.c.over_at > bindparam("over_since", type_=UtcDateTime()), not_(_HAS_ENDED)),
            )
        )
    ),
)
_OF_RUN_THAT_IS_OVER = (
    select(calls.c.call_sid)
    .join(runs, runs.c.boot == calls.c.boot)
    .where(calls.c.call_sid == bindparam("of_call"), runs.c.over_at.is_not(None))
)
_SILENCED = (
    select(calls)
    .where(_LOST, calls.c.call_sid.in_(select(held_words.c.call_sid)))
    .order_by(calls.c.opened_at)
    .with_for_update(skip_locked=True)
)
_LEFT_OPEN = select(calls.c.call_sid).where(_LOST, IS_OPEN).with_for_update(skip_locked=True)
_CLOSE = (
    update(calls)
    .where(calls.c.call_sid == bindparam("of_call"))
    .values(
        boot=NO_RUN,
        ended_at=func.coalesce(calls.c.ended_at, _NOW),
        line_ended_at=case((LINE_IS_OPEN, _NOW), else_=calls.c.line_ended_at),
        outcome=func.coalesce(calls.c.outcome, CallOutcome.RELAY_RESTARTED.value),
    )
)
_END_UNHEARD = (
    update(calls)
    .where(_LOST, IS_DIALLING, calls.c.opened_at < bindparam("heard_since", type_=UtcDateTime()))
    .values(transfer_outcome=TransferOutcome.LOST.value)
)


@attrs.frozen
class Recovery:
    """What was found: messages made of held words, and calls that had been left open; and whose messages they are."""

    messages: int
    calls: int
    agent_ids: frozenset[str] = attrs.field(default=frozenset(), eq=False)


def recover(connection: Connection, boot: str, now: datetime, patience: timedelta) -> Recovery:
    """Store as messages the utterances that runs held which have been over for `patience`, and close their open calls.

    Calls that the carrier has ended are not waited for.

    No run has those calls any more then: what a run writes that was only frozen is refused. A run that is not on record
    was over long ago, and `boot` is the caller's own.

    A call that was being passed on keeps that as its outcome: its line had ended well. Its transfer goes on at the
    carrier, which will say how it ended; one of which nothing was heard for longer than any call lasts is lost. What
    the carrier says later of a call that is closed here still counts.
    """
    given = {"of_run": boot, "over_since": now - patience, "now": now, "heard_since": now - LONGEST_CALL}
    left, rows = 0, connection.execute(_SILENCED, given).mappings().all()
    for row in rows:
        seal_messages(connection, row["call_sid"])
        left += settle_words(connection, record_of(row), Reason.RELAY_RESTARTED, now)
        connection.execute(update(calls).where(calls.c.call_sid == row["call_sid"]).values(boot=NO_RUN))
    open_calls = connection.execute(_LEFT_OPEN, given).scalars().all()
    for call_sid in open_calls:
        connection.execute(_CLOSE, {"of_call": call_sid, "now": now})
    connection.execute(_END_UNHEARD, given)
    return Recovery(messages=left, calls=len(open_calls), agent_ids=frozenset(row["agent_id"] for row in rows))


def settle_ended(connection: Connection, call: CallRecord, now: datetime) -> bool:
    """Settle a call that the carrier has just ended, if the run that had it is over; return whether it left a message.

    Else that run does so itself, or is found to be over by `recover`.
    """
    if connection.execute(_OF_RUN_THAT_IS_OVER, {"of_call": call.call_sid}).first() is None:
        return False
    seal_messages(connection, call.call_sid)
    has_left = settle_words(connection, call, Reason.RELAY_RESTARTED, now)
    connection.execute(_CLOSE, {"of_call": call.call_sid, "now": now})
    return has_left


def seal_messages(connection: Connection, call_sid: str) -> None:
    """Seal the messages that call sessions have left so far, so that nothing changes them."""
    _SEAL.execute(connection, [{"of_call": call_sid}])


def settle_words(connection: Connection, call: CallRecord, reason: Reason, now: datetime) -> bool:
    """Store as a message the utterances that a lost call session still held; return whether there were any."""
    keep_held(connection, call.call_sid)
    found = connection.execute(_TAKE, {"of_call": call.call_sid}).mappings().all()
    if not found:
        return False
    words = sorted(found, key=itemgetter("turn"))
    draft = MessageDraft(
        call_sid=call.call_sid,
        part=1,
        agent_id=call.agent_id,
        direction=call.direction,
        reason=reason,
        caller=call.caller,
        called=call.called,
        body=" ".join(row["text"] for row in words),
        transcript=tuple(Line(Speaker.CALLER, row["text"], row["at"]) for row in words),
    )
    insert_message(connection, draft, part=_RECOVERED_PART, now=now)
    return True
