"""A transfer of a caller to a person, from the request to its outcome. Pure.

    checking ──▶ asked ─┬──────────────▶ dialling ─┬──────────────▶ talking ──▶ settled
                        └─▶ redirecting ─┘         └─▶ call over ───────────────┘

`MOVES` has every move; `Transfer` raises on any other.

Normally the call's session is ended with the transfer as its handoff data, the carrier requests the action URL, gets
TwiML with a `<Dial>`, dials, and reports the outcome. Two cases need a deadline: if the session does not end, or its
line is lost, the call is redirected by the carrier's REST API; if the caller hangs up while it rings, no more webhooks
may come after the end of the call.

`Transfer` has no clock and no tasks: its owner passes in events with the time, performs what they return, and calls
`on_deadline` at `.deadline`. The carrier's webhooks come in any order and more than once, so late ones are ignored; an
event that is impossible (a refusal of a redirection that was not requested) raises.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

import attrs
from attrs.validators import ge, le, matches_re

from actors.call_values import E164, LONGEST_RING, SHORTEST_RING

# For the speech that is still being played, the `end` frame and the webhook after it.
HAND_OVER_SECONDS = 25.0
# The webhook follows the end of the session at once. A line that is gone without it was lost, and its successor, if the
# carrier opens one, is up within a second or two.
LOST_SECONDS = 2.0
# Two webhooks report the end of the call and the end of the transfer, in any order.
OUTCOME_SECONDS = 5.0
# After the ring time, or an answer, the carrier reports within seconds; the rest is for the whisper, for the key press,
# and for a repeated webhook.
ANSWER_SECONDS = 90.0
# Slow speech, so that a transfer is not given up while the caller still hears the announcement.
CHARACTERS_A_SECOND = 8


class TransferOutcome(StrEnum):
    """What became of a transfer.

    `DIALLING` until it is known. `DECLINED` is a callee who did not press the key that accepts; `CALLER_GONE` a caller
    who hung up before the callee answered; `FAILED` a number that could not be reached; `LOST` a call that could not be
    handed over at all, or of whose transfer nothing was heard again.
    """

    DIALLING = "dialling"
    ANSWERED = "answered"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    DECLINED = "declined"
    FAILED = "failed"
    CALLER_GONE = "caller_gone"
    LOST = "lost"


_NOT_REACHED = frozenset(
    {TransferOutcome.BUSY, TransferOutcome.NO_ANSWER, TransferOutcome.DECLINED, TransferOutcome.FAILED}
)


class Stage(StrEnum):
    """Where a transfer is.

    `CHECKING`: the gate checks the number. `ASKED`: the session is asked to end. `REDIRECTING`: the call is being
    redirected by the REST API. `DIALLING`: the carrier has its orders. `TALKING`: the ring time is over, so either the
    two talk or the caller is on the way back. `CALL_OVER`: the whole call is, as far as the carrier has said, and the
    outcome may still come. `SETTLED`: the outcome is known.
    """

    CHECKING = "checking"
    ASKED = "asked"
    REDIRECTING = "redirecting"
    DIALLING = "dialling"
    TALKING = "talking"
    CALL_OVER = "call over"
    SETTLED = "settled"


# From where, to where, and on what occasion. `scripts/state_diagram.py` draws it.
MOVES: Mapping[Stage, Mapping[Stage, str]] = MappingProxyType(
    {
        Stage.CHECKING: {Stage.ASKED: "the number may be dialled"},
        Stage.ASKED: {
            Stage.DIALLING: "the session ended, and the carrier has its orders",
            Stage.REDIRECTING: "the line is lost, or the session does not end",
            Stage.CALL_OVER: "caller hung up",
            Stage.SETTLED: "the dial is over, or the relay failed",
        },
        Stage.REDIRECTING: {
            Stage.DIALLING: "the carrier has its orders",
            Stage.CALL_OVER: "caller hung up",
            Stage.SETTLED: "the carrier refuses, the dial is over, or the relay failed",
        },
        Stage.DIALLING: {
            Stage.TALKING: "it has rung enough",
            Stage.CALL_OVER: "caller hung up",
            Stage.SETTLED: "the dial is over",
        },
        Stage.TALKING: {Stage.SETTLED: "the dial is over"},
        Stage.CALL_OVER: {Stage.SETTLED: "the dial is over, or no more is heard of it"},
        Stage.SETTLED: {},
    }
)


class Todo(StrEnum):
    """What a transfer wants done: end the call's session, redirect the call, record the outcome."""

    END_SESSION = "end session"
    REDIRECT = "redirect"
    SETTLE = "settle"


@attrs.frozen(kw_only=True)
class TransferOrder:
    """A caller to be connected to the number `to` (E.164), after hearing `announcement` in `language` and `voice`.

    With `confirm` the callee must press a key first. It rings for `ring_seconds`.
    """

    to: str = attrs.field(repr=False, validator=matches_re(E164))
    announcement: str = attrs.field(default="", repr=False)
    confirm: bool = False
    ring_seconds: int = attrs.field(validator=[ge(SHORTEST_RING), le(LONGEST_RING)])
    language: str = ""
    voice: str = ""

    @property
    def patience(self) -> float:
        """The seconds from the carrier's having its orders until a callee has answered, or will not answer any more."""
        return len(self.announcement) / CHARACTERS_A_SECOND + self.ring_seconds + ANSWER_SECONDS


@attrs.define(eq=False)
class Transfer:
    """One transfer of one call, which its `Call` has. Every `now` is of one monotonic clock, in seconds.

    `operator` is who has asked for it, empty for the agent's client. `attempt` is the number of the session from which
    the caller leaves, `handoff_data` what that session ends with: the order, as the carrier is to give it back.
    """

    order: TransferOrder
    operator: str = ""
    attempt: int = 0
    handoff_data: str = attrs.field(default="", repr=False)
    stage: Stage = attrs.field(default=Stage.CHECKING, init=False)
    outcome: TransferOutcome = attrs.field(default=TransferOutcome.DIALLING, init=False)
    deadline: float = attrs.field(default=math.inf, init=False)
    _hand_over_by: float = attrs.field(default=math.inf, init=False)

    @property
    def is_under_way(self) -> bool:
        """Whether the transfer is not finished, so that the call cannot be transferred again."""
        return self.stage not in {Stage.TALKING, Stage.SETTLED}

    @property
    def is_settled(self) -> bool:
        """Whether its outcome is known."""
        return self.stage is Stage.SETTLED

    @property
    def may_return(self) -> bool:
        """Whether the caller may come back: while the outcome is not known, and then if the callee was not reached."""
        return not self.is_settled or self.outcome in _NOT_REACHED

    def on_allowed(self, now: float) -> None:
        """Begin: the gate allows the number. No session is known to be open until `on_session_open`."""
        self._enter(Stage.ASKED, now + LOST_SECONDS)
        self._hand_over_by = now + HAND_OVER_SECONDS

    # ── from the call ─────────────────────────────────────────────────────────────────────────────────────────

    def on_session_open(self, attempt: int) -> Todo | None:
        """End the session that is open. The successor of a lost session knows nothing of the transfer."""
        if self.stage is not Stage.ASKED:
            return None
        self.attempt = attempt
        self.deadline = self._hand_over_by
        return Todo.END_SESSION

    def on_session_over(self, now: float) -> None:
        """Wait a moment for the webhook, or for the successor of a line that was lost."""
        if self.stage is Stage.ASKED:
            self.deadline = min(self._hand_over_by, now + LOST_SECONDS)

    # ── from the carrier ──────────────────────────────────────────────────────────────────────────────────────

    def on_orders_taken(self, now: float) -> None:
        """Wait for as long as it may ring: the carrier has its orders, by its webhook or by a redirection.

        Also if both happen: it dials by whichever it heard last, once.
        """
        if self.stage in {Stage.ASKED, Stage.REDIRECTING}:
            self._enter(Stage.DIALLING, now + self.order.patience)

    def on_redirect_refused(self, now: float, *, call_is_over: bool) -> Todo | None:
        """Stop the transfer, unless the carrier got its orders by the webhook after all."""
        if self.stage in {Stage.CHECKING, Stage.ASKED}:
            raise AssertionError(f"a redirection was refused, but none was requested in stage {self.stage}")
        if self.stage is not Stage.REDIRECTING:
            return None
        if call_is_over:
            self._enter(Stage.CALL_OVER, now + OUTCOME_SECONDS)
            return None
        return self._settle(TransferOutcome.LOST)

    def on_call_over(self, now: float) -> None:
        """Wait a moment for the outcome: the carrier reports the end of the whole call.

        No-op while the two talk: the call's record then has enough of the transfer.
        """
        if self.stage in {Stage.ASKED, Stage.REDIRECTING, Stage.DIALLING}:
            self._enter(Stage.CALL_OVER, now + OUTCOME_SECONDS)

    def on_dial_over(self, outcome: TransferOutcome) -> Todo | None:
        """Settle with this outcome. A report before the number was allowed is of an older transfer.

        The first report counts here, and in the metrics; the record takes the dial's own, whenever it comes.
        """
        return None if self.stage in {Stage.CHECKING, Stage.SETTLED} else self._settle(outcome)

    # ── from the clock, and from faults
    # ───────────────────────────────────────────────────────────────────────────────────────────

    def on_deadline(self, now: float) -> Todo | None:
        """Go on without what was waited for. No-op before the deadline."""
        if now < self.deadline:
            return None
        if self.stage is Stage.ASKED:
            self._enter(Stage.REDIRECTING, math.inf)
            return Todo.REDIRECT
        if self.stage is Stage.DIALLING:
            self._enter(Stage.TALKING, math.inf)
            return None
        return self._settle(TransferOutcome.CALLER_GONE)

    def on_fault(self) -> Todo | None:
        """Stop a transfer that failed here before the carrier had its orders."""
        return self._settle(TransferOutcome.LOST) if self.stage in {Stage.ASKED, Stage.REDIRECTING} else None

    def _settle(self, outcome: TransferOutcome) -> Todo:
        self._enter(Stage.SETTLED, math.inf)
        self.outcome = outcome
        return Todo.SETTLE

    def _enter(self, stage: Stage, deadline: float) -> None:
        if stage not in MOVES[self.stage]:
            raise AssertionError(f"no move from {self.stage} to {stage}")
        self.stage, self.deadline = stage, deadline


def outcome_of_dial(status: str, *, bridged: bool, caller_is_there: bool, confirm: bool) -> TransferOutcome:
    """Return the outcome for the carrier's `DialCallStatus`.

    A leg that picked up is `completed`, even if it hung up during the whisper, so `bridged` decides whether the two
    spoke. `canceled` is a telephone that stopped ringing because the caller hung up, or because the carrier gave up.
    """
    if bridged:
        return TransferOutcome.ANSWERED
    if not caller_is_there:
        return TransferOutcome.CALLER_GONE
    match status:
        case "busy":
            return TransferOutcome.BUSY
        case "no-answer" | "canceled":
            return TransferOutcome.NO_ANSWER
        case "completed" | "answered" if confirm:
            return TransferOutcome.DECLINED
        case _:
            return TransferOutcome.FAILED


_WHAT_HAPPENED = {
    TransferOutcome.BUSY: "reached a line that is busy",
    TransferOutcome.NO_ANSWER: "was not answered",
    TransferOutcome.DECLINED: "was declined: the person who picked up did not press 1",
    TransferOutcome.FAILED: "failed: the number could not be reached",
}


def note_for(outcome: TransferOutcome, to: str) -> str | None:
    """Return the note for the next responder; None if the caller does not come back.

    In English, in calls of every language, because it is for the client. Without brackets: those are added where it is
    shown to a model.
    """
    what = _WHAT_HAPPENED.get(outcome)
    number = f" to {to}" if to else ""
    return f"The transfer{number} {what}. The caller is back on the line." if what else None
