"""What a call waits for, each until its time. Pure.

`Conversation` sets a deadline when it begins to wait and clears it when that is over; the call session wakes it at the
first of them. One value for all of them, instead of a number each: entering a phase drops what the phase before it was
waiting for, and a deadline that somebody forgot to clear cannot fire into a phase that knows nothing of it.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from enum import Enum, auto

import attrs


class Deadline(Enum):
    """What is waited for, the most final first: of two that fall on the same instant it is acted upon first."""

    CALL = auto()  # the longest that a call may last
    ENDING = auto()  # our last words are heard; or, after them, the carrier closes
    SCREENING = auto()  # the carrier says who picked up
    KEYS = auto()  # the next key of a row
    ANSWER = auto()  # the next piece of an answer, or the client that is to begin one
    SILENCE = auto()  # the next utterance


@attrs.define
class Deadlines:
    """The times, in the seconds of `now`, at which a call stops waiting."""

    _at: dict[Deadline, float] = attrs.field(factory=dict, init=False)

    def set(self, deadline: Deadline, at: float) -> None:
        """Wait until `at`, instead of until any time set before."""
        self._at[deadline] = at

    def bring_forward(self, deadline: Deadline, at: float) -> None:
        """Wait until `at` at the latest."""
        self._at[deadline] = min(at, self.get(deadline))

    def clear(self, deadline: Deadline) -> None:
        """Stop waiting for this one. No-op if it is not set."""
        self._at.pop(deadline, None)

    def keep(self, deadlines: Collection[Deadline]) -> None:
        """Stop waiting for all but these."""
        self._at = {each: at for each, at in self._at.items() if each in deadlines}

    def get(self, deadline: Deadline) -> float:
        """Return when this one falls due; `inf` if it is not set."""
        return self._at.get(deadline, math.inf)

    @property
    def earliest(self) -> float:
        """When the first one falls due; `inf` if none is set."""
        return min(self._at.values(), default=math.inf)

    def find_due(self, now: float) -> Deadline | None:
        """Return the most final of those that are due; None if none is."""
        return next((each for each in Deadline if self.get(each) <= now), None)
