"""An operator's seat in one call: the place from which a person answers its caller.

A seat is asked like a client's session, but it counts for one call only, and never for the agent. What the operator
types goes to the call session as an event of its own (`SayRequested`), not through the turn: a line that is typed in
the moment in which the caller begins to speak would be dropped with the turn that it came too late for. So a turn in a
seat only shows what is asked, until the call takes it back.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime

import attrs
import trio

from actors.call_values import CallInfo, TurnRequest
from actors.errors import ClientLeft
from actors.ports import Answer

# An operator of whom there was no sign for so long is gone. A page whose connection breaks is back in a second or two.
GONE_SECONDS = 10.0
# Typing is reported to the call at most this often.
TYPING_SECONDS = 1.0


@attrs.define(eq=False)
class OperatorSeat:
    """The seat of an operator in a call, from `since` on. An `AnsweringSession`. Made and ended by `Seats`."""

    agent_id: str
    call_sid: str
    operator: str
    since: datetime
    request: TurnRequest | None = attrs.field(default=None, init=False)
    """What the operator is asked; None if nothing is."""
    _seen_at: float = attrs.field(factory=trio.current_time, init=False)
    _typed_at: float = attrs.field(default=-math.inf, init=False)

    async def respond(self, request: TurnRequest, answer: Answer) -> None:  # noqa: ARG002 - see the module's text
        """Show the turn until it is cancelled."""
        self.request = request
        try:
            await trio.sleep_forever()
        finally:
            if self.request is request:
                self.request = None

    def note_activity(self) -> None:
        """Record a sign of the operator."""
        self._seen_at = trio.current_time()

    def note_typing(self) -> bool:
        """Record that the operator types; return whether the call is to learn of it."""
        self.note_activity()
        is_news = self._seen_at >= self._typed_at + TYPING_SECONDS
        if is_news:
            self._typed_at = self._seen_at
        return is_news

    @property
    def gone_at(self) -> float:
        """When the operator is gone, if no sign comes before."""
        return self._seen_at + GONE_SECONDS


@attrs.frozen
class OperatorResponder:
    """Answer turns through the seat of the operator who has the call. A Responder."""

    seat_of: Callable[[CallInfo], OperatorSeat | None]

    async def respond(self, request: TurnRequest, answer: Answer) -> None:
        """Show the turn to the operator. Raises `ClientLeft` if nobody has the seat. Cancelling takes the turn back."""
        seat = self.seat_of(request.call)
        if seat is None:
            raise ClientLeft("no operator has this call any more")
        await seat.respond(request, answer)
