"""The deadlines of a call. Pure.

`Conversation` sets a deadline when it begins to wait and clears it when that is over; the call session wakes it at the
first of them. One object for all of them, instead of a field each: entering a phase drops the deadlines of the phase
before, so a forgotten deadline cannot fire in a phase that does not expect it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import IntEnum

import attrs


class Deadline(IntEnum):
    """What is waited for, the most final first: if two are due at once, it is handled first."""

    CALL = 0  # the longest that a call may last
    ENDING = 1  # our last words are heard; or, after them, the carrier closes
    SCREENING = 2  # the carrier says who picked up
    KEYS = 3  # the next key of a row
    ANSWER = 4  # the next piece of an answer, or the client that is to begin one
    SILENCE = 5  # the next utterance


_NONE = (math.inf,) * len(Deadline)


@attrs.define
class Deadlines:
    """The times, in the seconds of `now`, at which a call stops waiting; `inf` where it does not wait."""

    # By number, not by name in a dict: `earliest` is asked after each event.
    _at: list[float] = attrs.field(factory=lambda: list(_NONE), init=False)
    # What `find_due` has found last.
    due: Deadline | None = attrs.field(default=None, init=False)

    def set(self, deadline: Deadline, at: float) -> None:
        """Wait until `at`, instead of until any time set before."""
        self._at[deadline] = at

    def bring_forward(self, deadline: Deadline, at: float) -> None:
        """Wait until `at` at the latest."""
        self._at[deadline] = min(at, self._at[deadline])

    def clear(self, deadline: Deadline) -> None:
        """Stop waiting for this one. No-op if it is not set."""
        self._at[deadline] = math.inf

    def keep(self, deadlines: Iterable[Deadline]) -> None:
        """Stop waiting for all but these."""
        old, self._at = self._at, list(_NONE)
        for each in deadlines:
            self._at[each] = old[each]

    @property
    def earliest(self) -> float:
        """When the first one falls due; `inf` if none is set."""
        return min(self._at)

    def find_due(self, now: float) -> Deadline | None:
        """Return the most final of those that are due; None if none is."""
        self.due = next((each for each in Deadline if self._at[each] <= now), None)
        return self.due
