"""How long callers waited lately for the first word of an answer."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable

import attrs

from actors.call_values import CallInfo
from actors.commands import NoteTurn

SECONDS = 300.0
AS_GOOD_AS_NOW = 2.0
"""Seconds for which it is not worked out again: it says much the same."""
MOST = 2_000
"""Turns that are kept: of a busy daemon fewer than five minutes', which say as much."""


@attrs.define(eq=False)
class FirstWords:
    """The waits of the last five minutes. `now` is a clock that only goes on."""

    now: Callable[[], float] = time.monotonic
    _recent: deque[tuple[float, float]] = attrs.field(factory=lambda: deque(maxlen=MOST), init=False)
    # What was worked out last, and when.
    _p95: float | None = attrs.field(default=None, init=False)
    _known_at: float = attrs.field(default=-math.inf, init=False)

    def note(self, _call: CallInfo, turn: NoteTurn) -> None:
        """Keep how long a turn's first word took. Called for each turn."""
        if turn.first_word is not None:
            self._recent.append((self.now(), turn.first_word))

    def p95(self) -> float | None:
        """Return the time, in seconds, that 95 of 100 callers did not have to wait longer; None without turns."""
        now = self.now()
        if now - self._known_at > AS_GOOD_AS_NOW:
            while self._recent and self._recent[0][0] < now - SECONDS:
                self._recent.popleft()
            waits = sorted(seconds for _at, seconds in self._recent)
            self._p95 = waits[math.ceil(len(waits) * 0.95) - 1] if waits else None
            self._known_at = now
        return self._p95
