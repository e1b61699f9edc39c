"""Why an action in a call was not done, in words for the operator: each a `Refused` that the dialog shows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import attrs
import trio

from actors.call_record import CallRecord, CallState
from actors.call_values import CallOutcome, Direction
from actors.calls import Call, Calls
from actors.ended_calls import EndedCall
from actors.phases import Phase
from actors.seats import SeatOutcome, SeatResult
from relay.console.refused import Refused
from relay.console.words import OUTCOMES, in_units
from relay.errors import STORE_FAILURES, OutboundRefused
from relay.store.call_journal import CallJournal

# Codes of refused transfers that are about the call as it is, and not about the number.
_AS_THINGS_ARE = frozenset({"already_transferring", "draining", "no_carrier"})


class TakenBy(Refused):
    """Another operator has the call: `operator`, since `since`."""

    def __init__(self, operator: str, since: datetime | None) -> None:
        at = "" if since is None else f" since {since.astimezone(UTC):%H:%M} UTC"
        super().__init__(409, "taken_by", f"{operator} has had this call{at}.")
        self.operator = operator

    @property
    def details(self) -> Mapping[str, str]:
        """What programs are told beside code and text: who has it."""
        return {**super().details, "operator": self.operator}


def gate_refusal(refused: OutboundRefused) -> Refused:
    """Return the gate's words, or the carrier's: a number that must not be dialled is wrong in its field."""
    if refused.code in _AS_THINGS_ARE:
        return Refused(409, refused.code, str(refused))
    return Refused(422, refused.code, str(refused), field="to")


@attrs.frozen(kw_only=True)
class Refusals:
    """Finds out why. `calls` are those of this node."""

    calls: Calls
    journal: CallJournal

    async def of(self, call_sid: str, result: SeatResult) -> Refused:
        """Return why an action was not done."""
        match result.outcome:
            case SeatOutcome.TAKEN_BY:
                return TakenBy(result.operator, result.since)
            case SeatOutcome.NOT_TAKEN:
                message = "You do not have this call: it was handed back, or never taken. Take it over first."
                return Refused(409, "not_taken", message)
            case SeatOutcome.NOTHING_TO_SAY:
                message = "Nothing of this can be spoken. Type words or numbers."
                return Refused(422, "nothing_to_say", message, field="text")
            case SeatOutcome.TOO_MANY:
                message = "Too many lines wait to be said. Let the caller hear those first."
                return Refused(409, "too_many", message)
            case _:
                return await self.not_there(call_sid, result.outcome)

    async def not_there(self, call_sid: str, outcome: SeatOutcome = SeatOutcome.NOT_FOUND) -> Refused:
        """Return why nothing can be done in a call: it is over, is ending, or has no line."""
        call, ended = self.calls.find_known(call_sid), self.calls.ended.find(call_sid)
        if call is not None and not call.is_over and _goes_on(call, ended):
            return _no_line(outcome)
        record = await self._record(call_sid)
        if call is not None and call.session is not None:
            return _over("just now", _why(call.session.summary.outcome, record))
        if ended is not None:
            return _over(f"{in_units(max(1, trio.current_time() - ended.ended))} ago", _why(ended.outcome, record))
        if record is None:
            return Refused(404, "unknown_call", "There is no such call here.")
        if record.state is CallState.LIVE:
            message = "This call has no line on this node now. Reload its page, or open it on the node that has it."
            return Refused(409, "no_line", message)
        at = "" if record.ended_at is None else f" at {record.ended_at.astimezone(UTC):%H:%M:%S} UTC"
        return _over(at.strip(), _why(record.outcome, record))

    async def _record(self, call_sid: str) -> CallRecord | None:
        try:
            return await self.journal.get(call_sid)
        except STORE_FAILURES:
            return None  # then less is said


def _goes_on(call: Call, ended: EndedCall | None) -> bool:
    """Return whether a call that has no line now, or whose session is ending, may still have one again."""
    if call.session is not None:
        return call.session.phase is not Phase.OVER or call.session.may_return
    return call.has_place or call.is_away or ended is None


def _no_line(outcome: SeatOutcome) -> Refused:
    if outcome is SeatOutcome.CALL_ENDING:
        return Refused(409, "call_ending", "The call is ending: its last words are being said.")
    message = "The call has no line now: it rings, is being transferred, or has lost its line. Try again in a moment."
    return Refused(409, "no_line", message)


def _over(when: str, why: str) -> Refused:
    return Refused(409, "call_over", f"This call ended{' ' + when if when else ''}{': ' + why if why else ''}.")


def _why(outcome: CallOutcome | None, record: CallRecord | None) -> str:
    if outcome is CallOutcome.COMPLETED:
        is_ours = record is not None and record.direction is Direction.OUTBOUND
        return f"the {'callee' if is_ours else 'caller'} hung up"
    return "" if outcome is None else OUTCOMES[outcome]
