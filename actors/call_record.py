"""The record of a call, and how each report about the call changes it. Pure.

    announced ──▶ opened ──▶ closed                     what the relay saw: a session, its end, who answered
    progressed, picked_up, transferred, failed          what the carrier says, at any time and in any order

The carrier's webhooks come in any order, more than once, and some never. So each of its facts is merged by a rule that
does not depend on their order: the furthest status, the earliest end, the longest length, the first error in a fixed
order. What the relay saw is stored beside them, and `outcome` and `duration_seconds` combine the two.

Every change is a method that returns the record as it is then. An event log that is folded on each read lost: every
list of calls would fold all of it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

import attrs
from attrs.validators import ge, matches_re, optional

from actors.call_values import Callee, CallInfo, CallOutcome, CallSummary, Direction, MessageDraft, Reason
from actors.transfer import TransferOutcome


class CallKind(StrEnum):
    """What a call is for: a conversation, or audio that is played to the callee."""

    CALL = "call"
    VOICE_MESSAGE = "voice_message"


class CallState(StrEnum):
    """Whether a call is live or has ended."""

    LIVE = "live"
    ENDED = "ended"


class CarrierStatus(StrEnum):
    """How far a call has come, in the carrier's words (its Call resource), from the first to the last.

    A call has one end only; if the carrier reports two, the one that comes later in this list counts.
    """

    QUEUED = "queued"
    INITIATED = "initiated"
    RINGING = "ringing"
    IN_PROGRESS = "in-progress"
    FAILED = "failed"
    CANCELED = "canceled"
    NO_ANSWER = "no-answer"
    BUSY = "busy"
    COMPLETED = "completed"

    @property
    def is_over(self) -> bool:
        """Whether the call is over."""
        return self in _ENDS


_RANKS = {status: rank for rank, status in enumerate(CarrierStatus)}
# Ends of which only the carrier knows. `completed` is not among them: what it means depends on the call.
_UNANSWERED = {
    CarrierStatus.BUSY: CallOutcome.BUSY,
    CarrierStatus.NO_ANSWER: CallOutcome.NO_ANSWER,
    CarrierStatus.CANCELED: CallOutcome.CANCELED,
    CarrierStatus.FAILED: CallOutcome.FAILED,
}
_ENDS = frozenset({*_UNANSWERED, CarrierStatus.COMPLETED})

_WHY_UNDELIVERED = {
    CarrierStatus.BUSY: "the line was busy",
    CarrierStatus.NO_ANSWER: "nobody answered",
    CarrierStatus.FAILED: "the number could not be reached",
    CarrierStatus.CANCELED: "the call was ended before anybody answered",
}


@attrs.frozen(kw_only=True)
class CallProgress:
    """What one webhook of the carrier says about a call: its status, and the other fields of the form.

    `at` is the carrier's time of the change, None if it gives none. `seconds` is the length of a completed call.
    `error` is the carrier's error code or `sip_486` and the like, empty where there was none. `order` is our own id of
    the call, from the callback's query string.
    """

    call_sid: str = attrs.field(validator=matches_re(r"[A-Za-z0-9_-]{1,64}"))
    status: CarrierStatus = attrs.field(converter=CarrierStatus)
    at: datetime | None = None
    seconds: float | None = attrs.field(default=None, validator=optional(ge(0)))
    error: str = ""
    caller: str = attrs.field(default="", repr=False)
    called: str = attrs.field(default="", repr=False)
    direction: Direction = Direction.INBOUND
    order: str = ""

    @property
    def is_over(self) -> bool:
        """Whether the call is over."""
        return self.status.is_over


@attrs.frozen(kw_only=True)
class CallRecord:
    """What is kept of a call.

    `started_at` is when it was first heard of. A line is open from `connected_at`, which is the first time, until
    `line_ended_at`; the call may outlive it. `line_outcome` is how the last line ended, or how a call without one was
    closed, and `line_seconds` how long the relay saw the call last. `answered_by` counts finished turns by who
    answered. `picked_up_by` is the carrier's verdict on who picked up a call that we made, `transfer_to` the number of
    the last transfer.
    """

    call_sid: str
    agent_id: str
    kind: CallKind = CallKind.CALL
    direction: Direction
    caller: str = attrs.field(repr=False)
    called: str = attrs.field(repr=False)
    started_at: datetime
    connected_at: datetime | None = None
    line_ended_at: datetime | None = None
    ended_at: datetime | None = None
    line_outcome: CallOutcome | None = None
    line_seconds: float | None = None
    answered_by: Mapping[str, int] = attrs.field(factory=dict)
    carrier_status: CarrierStatus | None = None
    carrier_ended_at: datetime | None = None
    carrier_seconds: float | None = None
    carrier_error: str | None = None
    picked_up_by: Callee | None = None
    transfer_to: str | None = attrs.field(default=None, repr=False)
    transfer_outcome: TransferOutcome | None = None

    @property
    def state(self) -> CallState:
        """Whether the call is live or has ended. One that was passed on is live until the carrier says it is over."""
        return CallState.LIVE if self.ended_at is None else CallState.ENDED

    @property
    def had_line(self) -> bool:
        """Whether the call was ever connected."""
        return self.connected_at is not None

    @property
    def is_over_for_carrier(self) -> bool:
        """Whether the carrier has said that the call is over."""
        return self.carrier_status is not None and self.carrier_status.is_over

    @property
    def outcome(self) -> CallOutcome | None:
        """How the call ended, None while that is not known."""
        if not self.is_over_for_carrier or (self.line_outcome is not None and self.had_line):
            return self.line_outcome
        # The relay did not see the end of the call, so the carrier's status counts more than our own.
        assert self.carrier_status is not None
        if self.carrier_status in _UNANSWERED:
            return _UNANSWERED[self.carrier_status]
        if self.kind is CallKind.VOICE_MESSAGE:
            return CallOutcome.COMPLETED
        return self.line_outcome or (None if self.had_line else CallOutcome.NOT_CONNECTED)

    @property
    def duration_seconds(self) -> float | None:
        """How long the call lasted: None until the end, and 0 for one that was never connected."""
        # The carrier bills by its own count, which includes the time after a transfer.
        if self.carrier_seconds is None or self.ended_at is None:
            return self.line_seconds
        return self.carrier_seconds

    def is_over(self, attempt: int) -> bool:
        """Return whether a webhook for a session of the call comes too late, or is a replay of an old one.

        The carrier's status is final. Ours is not: a line that broke, or a restart, ends a record whose caller is still
        there and comes back by the action URL. But a first session comes once only.
        """
        return self.is_over_for_carrier or (attempt == 0 and self.had_line and self.state is CallState.ENDED)

    def undelivered(self, progress: CallProgress) -> MessageDraft | None:
        """Return the waiting message about a voice message that was not delivered; None for any other end of a call.

        Call it on the record as it was before `progress`. Only the carrier's status counts, because a start of the
        daemon ends the records of calls that rang while it was down. The client's tool call has returned by then, so it
        learns of this by a message.
        """
        why = _WHY_UNDELIVERED.get(progress.status)
        if why is None or self.is_over_for_carrier or self.kind is not CallKind.VOICE_MESSAGE:
            return None
        return MessageDraft(
            call_sid=self.call_sid,
            part=1,
            agent_id=self.agent_id,
            direction=self.direction,
            reason=Reason.SEND_FAILED,
            caller=self.caller,
            called=self.called,
            body=f"The voice message was not delivered: {why}.",
        )

    def announced(self, kind: CallKind, caller: str, called: str) -> CallRecord:
        """Add what only the announcement says to a record that exists already."""
        kind = self.kind if kind is CallKind.CALL else kind
        return attrs.evolve(self, kind=kind, caller=self.caller or caller, called=self.called or called)

    def opened(self, call: CallInfo) -> CallRecord:
        """Open the line, for the first time or again; a call that is over for the carrier stays over."""
        connected_at = self.connected_at or call.started_at
        opened = attrs.evolve(
            self,
            agent_id=call.agent_id,
            direction=call.direction,
            caller=call.caller or self.caller,
            called=call.called or self.called,
            connected_at=connected_at,
            line_ended_at=None,
            line_outcome=None,
        )
        if self.is_over_for_carrier and self.ended_at is not None:
            return attrs.evolve(opened, line_seconds=_seconds(connected_at, self.ended_at))
        return attrs.evolve(opened, ended_at=None, line_seconds=None)

    def closed(self, summary: CallSummary, at: datetime) -> CallRecord:
        """Close the line, or the record of a call that never had one. Idempotent.

        That ends the call too, unless it goes on: it is being transferred, or moves to another session.
        """
        if (self.line_ended_at if self.had_line else self.line_outcome) is not None:
            return self
        answered_by = dict(self.answered_by)
        for answerer, turns in summary.turns_by.items():
            answered_by[answerer] = answered_by.get(answerer, 0) + turns
        line_ended_at = at if self.had_line else self.line_ended_at
        closed = attrs.evolve(self, line_outcome=summary.outcome, answered_by=answered_by, line_ended_at=line_ended_at)
        goes_on = summary.outcome in {CallOutcome.TRANSFERRED, CallOutcome.MOVED}
        return closed if goes_on or self.ended_at is not None else closed.ended(at)

    def ended(self, at: datetime) -> CallRecord:
        """End the call."""
        # The carrier dates to the second and by its own clock, and ours may be set back: nothing ends before it began.
        ended_at = max(at, self.started_at)
        return attrs.evolve(self, ended_at=ended_at, line_seconds=_seconds(self.connected_at or ended_at, ended_at))

    def progressed(self, progress: CallProgress, now: datetime) -> CallRecord:
        """Merge a report of the carrier; it dates the end of the call, else the time of the first report does."""
        updated = attrs.evolve(
            self,
            caller=self.caller or progress.caller,
            called=self.called or progress.called,
            carrier_status=max(_not_none(self.carrier_status, progress.status), key=_RANKS.__getitem__),
            carrier_seconds=max(_not_none(self.carrier_seconds, progress.seconds), default=None),
            carrier_error=min(_not_none(self.carrier_error, progress.error or None), key=_error_order, default=None),
        )
        if not progress.is_over:
            return updated
        ended_at = min(_not_none(self.carrier_ended_at, progress.at), default=None)
        # The task that followed the transfer may have ended with an earlier run of the daemon. The report of the dial
        # itself counts more than this, in whatever order the two come.
        is_dialling = self.transfer_outcome is TransferOutcome.DIALLING
        return attrs.evolve(
            updated,
            carrier_ended_at=ended_at,
            transfer_outcome=TransferOutcome.CALLER_GONE if is_dialling else self.transfer_outcome,
        ).ended(ended_at or self.ended_at or now)

    def picked_up(self, callee: Callee) -> CallRecord:
        """Store who picked up: the first verdict other than unknown stays."""
        return attrs.evolve(self, picked_up_by=callee) if self.picked_up_by in {None, Callee.UNKNOWN} else self

    def transferred(self, to: str | None, outcome: TransferOutcome) -> CallRecord:
        """Store the state of a transfer: a new one with `to`, else the one that is under way.

        A late `DIALLING` does not overwrite the outcome of the same transfer.
        """
        if to is not None:
            return attrs.evolve(self, transfer_to=to, transfer_outcome=outcome)
        if outcome is TransferOutcome.DIALLING and self.transfer_outcome is not None:
            return self
        return attrs.evolve(self, transfer_outcome=outcome)

    def failed(self, code: str) -> CallRecord:
        """Store an error of a request to the carrier, unless the carrier has reported one itself."""
        return self if self.carrier_error else attrs.evolve(self, carrier_error=code)


def _seconds(begin: datetime, end: datetime) -> float:
    return max(0.0, round((end - begin).total_seconds(), 3))


def _not_none(*values: Any) -> list[Any]:
    return [each for each in values if each is not None]


def _error_order(code: str) -> tuple[bool, str]:
    # The carrier's own codes say more than those of the telephone network, such as `sip_486`.
    return not code.isdigit(), code
