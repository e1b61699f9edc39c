"""The record of a call as a value: how it is read from its row, and how it is written as JSON.

A row has two sides, what the relay saw and what the carrier says; the record tells one story.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

import attrs
from sqlalchemy import RowMapping

from actors.call_values import Direction
from relay.calls import ENDED_STATUSES, CallKind, TransferOutcome
from relay.store.schema import timestamp


class CallState(StrEnum):
    """Whether a call is still here."""

    LIVE = "live"
    ENDED = "ended"


# Ends of which only the carrier knows. `completed` is not among them: what it means depends on the call.
_CARRIERS_OUTCOMES = {"busy": "busy", "no-answer": "no_answer", "canceled": "canceled", "failed": "failed"}


@attrs.frozen(kw_only=True)
class CallRecord:
    """What is kept of a call.

    `answered_by` counts finished turns by who answered. `duration_seconds` is None until the end, and 0 for a call that
    was never connected. `outcome` is how the last line ended (see `actors.call_values.CallSummary`), `relay_restarted`,
    or for a call that never had one `busy`, `no_answer`, `canceled`, `failed`, `not_connected`, and `completed` for a
    voice message that was played. A call that is `transferred` is live until the carrier says that it is over.
    `picked_up_by` is the carrier's verdict on who picked up a call that we made, `transfer_to` the number of the last
    transfer; `had_line` whether the call was ever connected. `carrier_status` and `carrier_error` are in the carrier's
    own words.
    """

    call_sid: str
    agent_id: str
    kind: CallKind
    direction: Direction
    caller: str
    called: str
    started_at: datetime
    ended_at: datetime | None
    duration_seconds: float | None
    outcome: str | None
    answered_by: Mapping[str, int]
    picked_up_by: str | None
    transfer_to: str | None
    transfer_outcome: TransferOutcome | None
    carrier_status: str | None
    carrier_error: str | None
    had_line: bool = False

    @property
    def state(self) -> CallState:
        """Say whether the call is still here."""
        return CallState.LIVE if self.ended_at is None else CallState.ENDED

    def is_over(self, attempt: int) -> bool:
        """Return whether a webhook for a connection (counted from 0) comes too late, or was sent again by somebody.

        The carrier's word is final. Ours is not: a line that broke, or a restart, ends a record whose caller is still
        there and comes back by the action URL. But a first connection comes once only.
        """
        if self.carrier_status in ENDED_STATUSES:
            return True
        return attempt == 0 and self.had_line and self.state is CallState.ENDED

    def as_json(self) -> dict[str, object]:
        """Give the record as tools and commands print it."""
        return {
            "callSid": self.call_sid,
            "agentId": self.agent_id,
            "kind": self.kind.value,
            "direction": self.direction.value,
            "from": self.caller,
            "to": self.called,
            "state": self.state.value,
            "startedAt": timestamp(self.started_at),
            "endedAt": None if self.ended_at is None else timestamp(self.ended_at),
            "durationSeconds": self.duration_seconds,
            "outcome": self.outcome,
            "answeredBy": dict(self.answered_by),
            "pickedUpBy": self.picked_up_by,
            "transfer": self._transfer(),
            "carrierStatus": self.carrier_status,
            "carrierError": self.carrier_error,
        }

    def _transfer(self) -> dict[str, str | None] | None:
        if self.transfer_outcome is None:
            return None
        return {"to": self.transfer_to, "outcome": self.transfer_outcome.value}


def record_of(row: RowMapping) -> CallRecord:
    """Read a row of `calls`."""
    transfer = row["transfer_outcome"]
    return CallRecord(
        call_sid=row["call_sid"],
        agent_id=row["agent_id"],
        kind=CallKind(row["kind"]),
        direction=Direction(row["direction"]),
        caller=row["caller"],
        called=row["called"],
        started_at=row["opened_at"],
        ended_at=row["ended_at"],
        duration_seconds=_duration(row),
        outcome=_outcome(row),
        answered_by=row["turns_by"],
        picked_up_by=row["picked_up_by"],
        transfer_to=row["transfer_to"],
        transfer_outcome=None if transfer is None else TransferOutcome(transfer),
        carrier_status=row["carrier_status"],
        carrier_error=row["carrier_error"],
        had_line=row["connected_at"] is not None,
    )


def _duration(row: RowMapping) -> float | None:
    # The carrier bills by its own count, which goes on while the caller speaks to whom he was passed on.
    told: float | None = row["carrier_seconds"]
    ours: float | None = row["duration_seconds"]
    return ours if told is None or row["ended_at"] is None else told


def _outcome(row: RowMapping) -> str | None:
    ours: str | None = row["outcome"]
    status: str | None = row["carrier_status"]
    if status not in ENDED_STATUSES or (ours is not None and row["connected_at"] is not None):
        return ours
    # Nobody here was on the line to the end: the carrier knows better than what was closed for want of news.
    if status in _CARRIERS_OUTCOMES:
        return _CARRIERS_OUTCOMES[status]
    if row["kind"] == CallKind.VOICE_MESSAGE:
        return "completed"
    return ours or ("not_connected" if row["connected_at"] is None else None)
