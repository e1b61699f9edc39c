"""What operators do in calls: take one over, speak, hand it back, hang up. The console's one door to live calls.

    console ──take, say, typing, hand_back, hang_up──▶ ┌───────┐ ──events──▶ the call's session
    a page that is open ──watching───────────────────▶ │ Seats │ ──SeatTaken, SeatLeft──▶ listeners
                                                       └───────┘
Each action says by a `SeatResult` what came of it, and none waits. Who acts is checked before: an operator is a name
here. Who has a call is `Call.seat`, so it is over with the call, and goes through its sessions in this process. A call
that goes on in another one goes on there without its operator.

A call has one operator. The newest claim wins: the one who had it before is refused from then on, with the name of who
has it. An operator without a sign for ten seconds, neither a page of the call that is open nor an action, has handed it
back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum

import attrs
import trio

from actors.call_session import CallSession
from actors.calls import Call, Calls
from actors.events import (
    CallHandedBack,
    CallTakenOver,
    HangUpRequested,
    OperatorTyping,
    SayRequested,
    SeatEnd,
    SeatLeft,
    SeatTaken,
)
from actors.operator_seat import OperatorSeat
from actors.phases import Phase
from actors.transcript import is_audible

_ENDING = frozenset({Phase.UNAVAILABLE, Phase.GOODBYE, Phase.ENDING, Phase.OVER})


class SeatOutcome(StrEnum):
    """What came of an action.

    `NOT_FOUND`: no such call is known here. `ENDED`: it is over. `NO_LINE`: it has no session now, because it rings, is
    being transferred, moves, or has lost its line. `CALL_ENDING`: its last words are being said. `TAKEN_BY`: another
    operator has it. `NOT_TAKEN`: the operator does not have it, and the action is for who does. `NOTHING_TO_SAY`: the
    text has no letter or digit that could be spoken. `TOO_MANY`: too many lines wait to be said.
    """

    DONE = "done"
    NOT_FOUND = "not_found"
    ENDED = "ended"
    NO_LINE = "no_line"
    CALL_ENDING = "call_ending"
    TAKEN_BY = "taken_by"
    NOT_TAKEN = "not_taken"
    NOTHING_TO_SAY = "nothing_to_say"
    TOO_MANY = "too_many"


@attrs.frozen
class SeatResult:
    """What came of an action. `operator` has had the call since `since`, where anybody has it."""

    outcome: SeatOutcome
    operator: str = ""
    since: datetime | None = None

    @property
    def is_done(self) -> bool:
        """Whether the action was performed."""
        return self.outcome is SeatOutcome.DONE


def _as_it_is(text: str, _language: str) -> str:
    return text


@attrs.define(eq=False)
class Seats:
    """The seats of all calls. One instance, in one Trio thread, with one task in `run`.

    `clean` makes a text of a language fit to be spoken.
    """

    calls: Calls
    clean: Callable[[str, str], str] = _as_it_is
    # By call SID and operator: how many of their pages of the call are open.
    _watching: dict[tuple[str, str], int] = attrs.field(factory=dict, init=False)
    _wake: trio.Event = attrs.field(factory=trio.Event, init=False)

    # ── actions ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def take(self, call_sid: str, operator: str, *, now: bool = False) -> SeatResult:
        """Hand a call to an operator, at its next pause or `now`; from another operator, too.

        Idempotent; an operator who waits for the pause may ask again for `now`.
        """
        found = self._find(call_sid)
        if isinstance(found, SeatOutcome):
            return SeatResult(found)
        call, session = found
        before = call.seat
        if before is None or before.operator != operator:
            call.seat = OperatorSeat(call.agent_id, call_sid, operator, self.calls.now())
            self._wake.set()
            if before is not None:
                self._publish_left(before, SeatEnd.TAKEN)
            self.calls.services.publish(SeatTaken(call.agent_id, call_sid, operator))
        else:
            before.note_activity()
        session.inbox.post(CallTakenOver(operator, now))
        return _result(SeatOutcome.DONE, call)

    def say(self, call_sid: str, operator: str, text: str) -> SeatResult:
        """Speak in a call: of the operator who has it, or of any while none has."""
        found = self._find(call_sid)
        if isinstance(found, SeatOutcome):
            return SeatResult(found)
        call, session = found
        if _is_anothers(call, operator):
            return _result(SeatOutcome.TAKEN_BY, call)
        spoken = self.clean(text, session.info.language)
        if not is_audible(spoken):
            return _result(SeatOutcome.NOTHING_TO_SAY, call)
        if not session.has_room_to_say:
            return _result(SeatOutcome.TOO_MANY, call)
        if call.seat is not None:
            call.seat.note_activity()
        session.inbox.post(SayRequested(spoken, operator))
        return _result(SeatOutcome.DONE, call)

    def typing(self, call_sid: str, operator: str) -> SeatResult:
        """Report that the operator who has a call is writing, which gives them more time."""
        found = self._own(call_sid, operator)
        if isinstance(found, SeatResult):
            return found
        call, session, seat = found
        if seat.note_typing():
            session.inbox.post(OperatorTyping(operator))
        return _result(SeatOutcome.DONE, call)

    def hand_back(self, call_sid: str, operator: str) -> SeatResult:
        """Hand the call back to the client, or to who is there instead of it."""
        found = self._own(call_sid, operator)
        if isinstance(found, SeatResult):
            return found
        call, _session, seat = found
        self._end(call, seat, SeatEnd.HANDED_BACK)
        return _result(SeatOutcome.DONE, call)

    def hang_up(self, call_sid: str, operator: str, say: str = "") -> SeatResult:
        """End a call after saying `say`: of the operator who has it, or of any while none has."""
        found = self._find(call_sid)
        if isinstance(found, SeatOutcome):
            return SeatResult(found)
        call, session = found
        if _is_anothers(call, operator):
            return _result(SeatOutcome.TAKEN_BY, call)
        session.inbox.post(HangUpRequested(self.clean(say, session.info.language), operator))
        return _result(SeatOutcome.DONE, call)

    def find(self, call_sid: str) -> OperatorSeat | None:
        """Return the seat of the operator who has a call; None if none has."""
        call = self.calls.find_call(call_sid)
        return None if call is None else call.seat

    # ── signs of an operator ────────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def watching(self, call_sid: str, operator: str) -> Iterator[None]:
        """Count an operator as here for the length of the block: they have the call's page open."""
        key = (call_sid, operator)
        self._watching[key] = self._watching.get(key, 0) + 1
        try:
            yield
        finally:
            self._watching[key] -= 1
            if not self._watching[key]:
                del self._watching[key]
            seat = self.find(call_sid)
            if seat is not None and seat.operator == operator:
                seat.note_activity()
            self._wake.set()

    def on_seat_left(self, news: SeatLeft) -> None:
        """Clear the seat of an operator who did not answer in time."""
        call = self.calls.find_call(news.call_sid, news.agent_id)
        if call is not None and call.seat is not None and call.seat.operator == news.operator:
            call.seat = None

    async def run(self) -> None:
        """Hand calls back whose operators are gone. Runs until cancelled, and may be cancelled at any point."""
        while True:
            self._wake = trio.Event()
            with trio.move_on_at(self._expire()):
                await self._wake.wait()

    def _expire(self) -> float:
        """Hand back what is due; return when to look again."""
        due = math.inf
        for call in self.calls.taken_over():
            if (seat := call.seat) is None or (seat.call_sid, seat.operator) in self._watching:
                continue
            if seat.gone_at <= trio.current_time():
                self._end(call, seat, SeatEnd.GONE)
            else:
                due = min(due, seat.gone_at)
        return due

    # ── what actions are made of ────────────────────────────────────────────────────────────────────────────────────

    def _find(self, call_sid: str) -> tuple[Call, CallSession] | SeatOutcome:
        call = self.calls.find_known(call_sid)
        if call is None:
            return SeatOutcome.NOT_FOUND
        if call.is_over:
            return SeatOutcome.ENDED
        session = call.session
        if session is None or session.info.agent_id != call.agent_id:
            return SeatOutcome.NO_LINE
        if session.phase in _ENDING:
            return SeatOutcome.CALL_ENDING
        return SeatOutcome.NO_LINE if session.phase is Phase.MOVING else (call, session)

    def _own(self, call_sid: str, operator: str) -> tuple[Call, CallSession, OperatorSeat] | SeatResult:
        found = self._find(call_sid)
        if isinstance(found, SeatOutcome):
            return SeatResult(found)
        call, session = found
        if _is_anothers(call, operator):
            return _result(SeatOutcome.TAKEN_BY, call)
        return SeatResult(SeatOutcome.NOT_TAKEN) if call.seat is None else (call, session, call.seat)

    def _end(self, call: Call, seat: OperatorSeat, why: SeatEnd) -> None:
        call.seat = None
        self._publish_left(seat, why)
        if call.session is not None:
            call.session.inbox.post(CallHandedBack(seat.operator))

    def _publish_left(self, seat: OperatorSeat, why: SeatEnd) -> None:
        self.calls.services.publish(SeatLeft(seat.agent_id, seat.call_sid, seat.operator, why))


def _is_anothers(call: Call, operator: str) -> bool:
    return call.seat is not None and call.seat.operator != operator


def _result(outcome: SeatOutcome, call: Call) -> SeatResult:
    seat = call.seat
    return SeatResult(outcome) if seat is None else SeatResult(outcome, seat.operator, seat.since)
