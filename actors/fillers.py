"""What the relay says to a caller who waits for the client: a short sentence, later a longer one. Pure.

Each is said once while a caller waits. Short ones take turns over a call, and the same sentence is not said twice in a
row: a machine that repeats itself sounds like one that hangs.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

import attrs


@attrs.define
class Fillers:
    """The ladder of one call. `_rungs` are its sentences, each with the seconds after which one of them is due."""

    _rungs: list[tuple[float, deque[str]]]
    _due: list[tuple[float, deque[str]]] = attrs.field(factory=list, init=False)
    _last: str = attrs.field(default="", init=False)

    @classmethod
    def of(cls, *rungs: tuple[float, Iterable[str]]) -> Fillers:
        """Make a ladder of rungs, the lowest first: seconds, and the sentences that take turns there."""
        sentences = [(after, deque(each for each in texts if each.strip())) for after, texts in rungs]
        return cls([(after, texts) for after, texts in sentences if texts])

    @property
    def due(self) -> float:
        """When the next filler falls due; `inf` if the caller has heard them all, or does not wait."""
        return self._due[0][0] if self._due else math.inf

    def restart(self, now: float) -> None:
        """Count from `now` how long the caller waits."""
        self._due = [(now + after, texts) for after, texts in self._rungs]

    def stop(self) -> None:
        """Stop until the next `restart`."""
        self._due = []

    def skip(self) -> None:
        """Leave out the filler that is due."""
        self._due.pop(0)

    def take(self) -> str:
        """Return the filler that is due; empty if it would be the same sentence twice in a row."""
        _due, texts = self._due.pop(0)
        text = texts[0]
        texts.rotate(-1)
        self._last = "" if text == self._last else text
        return self._last
