"""The record of a call as a value: how it is read from its row, and how it is written as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

import attrs
from sqlalchemy import RowMapping

from actors.messages import Direction
from relay.store.schema import timestamp


class CallState(StrEnum):
    """Whether a call is still here."""

    LIVE = "live"
    ENDED = "ended"


@attrs.frozen(kw_only=True)
class CallRecord:
    """What is kept of a call.

    `answered_by` counts finished turns by who answered. `duration_seconds` is None until the end, and 0 for a call that
    was never connected.
    """

    call_sid: str
    agent_id: str
    direction: Direction
    caller: str
    called: str
    started_at: datetime
    ended_at: datetime | None
    duration_seconds: float | None
    outcome: str | None
    answered_by: Mapping[str, int]

    @property
    def state(self) -> CallState:
        """Say whether the call is still here."""
        return CallState.LIVE if self.ended_at is None else CallState.ENDED

    def as_json(self) -> dict[str, object]:
        """Give the record as tools and commands print it."""
        return {
            "callSid": self.call_sid,
            "agentId": self.agent_id,
            "direction": self.direction.value,
            "from": self.caller,
            "to": self.called,
            "state": self.state.value,
            "startedAt": timestamp(self.started_at),
            "endedAt": None if self.ended_at is None else timestamp(self.ended_at),
            "durationSeconds": self.duration_seconds,
            "outcome": self.outcome,
            "answeredBy": dict(self.answered_by),
        }


def record_of(row: RowMapping) -> CallRecord:
    """Read a row of `calls`."""
    return CallRecord(
        call_sid=row["call_sid"],
        agent_id=row["agent_id"],
        direction=Direction(row["direction"]),
        caller=row["caller"],
        called=row["called"],
        started_at=row["opened_at"],
        ended_at=row["ended_at"],
        duration_seconds=row["duration_seconds"],
        outcome=row["outcome"],
        answered_by=row["turns_by"],
    )
