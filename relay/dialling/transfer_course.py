"""How far a transfer has come, what the carrier's words for its end mean, and what whoever answers is told of it.

ASKED ─▶ HANDED ─▶ OVER ─▶ SETTLED        forwards only, and any stage may be left out
"""

from __future__ import annotations

from enum import IntEnum

import attrs
import trio

from actors.transfer import TransferOutcome
from relay.calls import TransferResult
from relay.dialling.handoff import Handoff


class Stage(IntEnum):
    """Where a transfer is.

    `ASKED`: the session is to end. `HANDED`: the carrier has its orders, and dials. `OVER`: the whole call is, as far
    as the carrier has said, and the outcome may still come. `SETTLED`: the outcome is known.
    """

    ASKED = 0
    HANDED = 1
    OVER = 2
    SETTLED = 3


# When the telephone has rung enough, or somebody has answered, the carrier says so within seconds; the rest is for the
# whisper, for a key to be pressed, and for a webhook that is repeated.
_ANSWER_SECONDS = 90.0
# Slow speech, so that nobody is given up who still listens to the announcement.
_CHARACTERS_A_SECOND = 8


@attrs.define(eq=False, kw_only=True)
class Course:
    """One transfer under way. `caller_id` is what the callee sees, `attempt` the number of the caller's session."""

    agent_id: str
    call_sid: str
    handoff: Handoff
    caller_id: str = attrs.field(repr=False)
    attempt: int
    stage: Stage = Stage.ASKED
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False)

    @property
    def patience(self) -> float:
        """In how many seconds, from the carrier's having its orders, somebody has answered or nobody will any more."""
        return len(self.handoff.announcement) / _CHARACTERS_A_SECOND + self.handoff.ring + _ANSWER_SECONDS

    def advance(self, stage: Stage) -> None:
        """Go on to a stage; one that lies behind is left alone. Never waits."""
        if stage > self.stage:
            self.stage = stage
            changed, self._changed = self._changed, trio.Event()
            changed.set()

    async def reach(self, stage: Stage) -> None:
        """Wait until this stage, or one after it, is reached."""
        while self.stage < stage:
            await self._changed.wait()


def outcome_of(result: TransferResult) -> TransferOutcome:
    """Say what the end of a `<Dial>` means.

    The carrier calls a leg `completed` that picked up, even if it hung up during the whisper, so it is the bridge that
    tells whether the two spoke. `canceled` is a telephone that stopped ringing because the caller hung up, or because
    the carrier gave up.
    """
    if result.bridged:
        return TransferOutcome.ANSWERED
    if not result.caller_is_there:
        return TransferOutcome.CALLER_GONE
    match result.status:
        case "busy":
            return TransferOutcome.BUSY
        case "no-answer" | "canceled":
            return TransferOutcome.NO_ANSWER
        case "completed" | "answered" if result.confirm:
            return TransferOutcome.DECLINED
        case _:
            return TransferOutcome.FAILED


_WHAT_HAPPENED = {
    TransferOutcome.BUSY: "reached a line that is busy",
    TransferOutcome.NO_ANSWER: "was not answered",
    TransferOutcome.DECLINED: "was not taken: whoever picked up did not press 1",
    TransferOutcome.FAILED: "failed: the number could not be reached",
}


def note_for(outcome: TransferOutcome, number: str) -> str | None:
    """Word what whoever answers the caller next must know; None where the caller does not come back.

    In English, whatever is spoken: it is for the client. Without brackets: those are set where it is shown to a model.
    """
    what = _WHAT_HAPPENED.get(outcome)
    to = f" to {number}" if number else ""
    return f"The transfer{to} {what}. The caller is back on the line." if what else None
