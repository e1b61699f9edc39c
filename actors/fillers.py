"""What the relay says to a caller who waits for the client: a short sentence, later a longer one. Pure.

Each is said once while a caller waits. Short ones rotate over a call, and the same sentence is not said twice in a row:
that would sound like a fault.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import attrs


@attrs.define
class Fillers:
    """The fillers of one call. `_steps` are the delays in seconds, each with the sentences that rotate there.

    Those are two or three: a deque of them would be 700 bytes more, in every call.
    """

    _steps: list[tuple[float, list[str]]]
    _due: list[tuple[float, list[str]]] = attrs.field(factory=list, init=False)
    _last: str = attrs.field(default="", init=False)

    @classmethod
    def of(cls, *steps: tuple[float, Iterable[str]]) -> Fillers:
        """Build from steps, the shortest delay first: seconds, and the sentences that rotate there."""
        sentences = [(after, [each for each in texts if each.strip()]) for after, texts in steps]
        return cls([(after, texts) for after, texts in sentences if texts])

    @property
    def due(self) -> float:
        """When the next filler falls due; `inf` if the caller has heard them all, or does not wait."""
        return self._due[0][0] if self._due else math.inf

    def restart(self, now: float) -> None:
        """Count from `now` how long the caller waits."""
        self._due = [(now + after, texts) for after, texts in self._steps]

    def stop(self) -> None:
        """Stop until the next `restart`."""
        self._due = []

    def skip(self) -> None:
        """Skip the filler that is due."""
        self._due.pop(0)

    def take(self) -> str:
        """Return the filler that is due; empty if it would be the same sentence twice in a row."""
        _due, texts = self._due.pop(0)
        text = texts.pop(0)
        texts.append(text)
        self._last = "" if text == self._last else text
        return self._last
