"""A waiting message as a value: how it is read from its row, and how it is written as JSON."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

import attrs
from sqlalchemy import RowMapping

from actors.call_values import Direction, Line, Reason
from relay.store.schema import timestamp
from relay.store.transcripts import lines_as_json, lines_of

# For how long a fetched message is not offered again: a client needs some seconds to act on it and to confirm.
HOLD_SECONDS = 60.0


class MessageStatus(StrEnum):
    """The state of a waiting message."""

    WAITING = "waiting"
    HELD = "held"
    ACKNOWLEDGED = "acknowledged"


@attrs.frozen(kw_only=True)
class WaitingMessage:
    """One message as it was when it was read. `deliveries` counts how often a client fetched it, this time included.

    `held_by` and `acknowledged_by` are what the clients call themselves that had it in hand and confirmed it; None
    where it is not known, or did not happen. `held_until` may be long over.
    """

    id: str
    agent_id: str
    channel: str
    direction: Direction
    reason: Reason
    call_sid: str
    caller: str
    called: str
    body: str
    preferences: str
    transcript: tuple[Line, ...]
    created_at: datetime
    deliveries: int
    status: MessageStatus
    held_until: datetime | None = None
    held_by: str | None = None
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None

    def as_json(self) -> dict[str, object]:
        """Return the record as it is on the wire."""
        return {
            "id": self.id,
            "agentId": self.agent_id,
            "channel": self.channel,
            "direction": self.direction.value,
            "reason": self.reason.value,
            "callSid": self.call_sid,
            "from": self.caller,
            "to": self.called,
            "body": self.body,
            "preferences": self.preferences,
            "transcript": lines_as_json(self.transcript),
            "createdAt": timestamp(self.created_at),
            "deliveries": self.deliveries,
        }


def hold_end(now: datetime) -> datetime:
    """Return until when a message that is fetched now is held.

    A stored hold that ends later than this was given before the clock was set back, and counts no more.
    """
    return now + timedelta(seconds=HOLD_SECONDS)


def message_of(row: RowMapping, now: datetime) -> WaitingMessage:
    """Read a row of `messages`, as things are at `now`."""
    if row["acknowledged_at"] is not None:
        status = MessageStatus.ACKNOWLEDGED
    elif row["held_until"] is not None and now < row["held_until"] <= hold_end(now):
        status = MessageStatus.HELD
    else:
        status = MessageStatus.WAITING
    return WaitingMessage(
        id=row["id"],
        agent_id=row["agent_id"],
        channel=row["channel"],
        direction=Direction(row["direction"]),
        reason=Reason(row["reason"]),
        call_sid=row["call_sid"],
        caller=row["caller"],
        called=row["called"],
        body=row["body"],
        preferences=row["preferences"],
        transcript=lines_of(row["transcript"]),
        created_at=row["created_at"],
        deliveries=row["deliveries"],
        status=status,
        held_until=row["held_until"],
        held_by=row["held_by"],
        acknowledged_at=row["acknowledged_at"],
        acknowledged_by=row["acknowledged_by"],
    )
