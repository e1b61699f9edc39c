"""What of our own speech is still to be heard. Pure.

The carrier reports each piece of text it has played, and when our speech starts and stops. Where it does not (an older
account, a lost frame), the length of the text says when it must have been heard.
"""

from __future__ import annotations

import attrs


@attrs.define
class Playback:
    """Count speech out and reports in. A talk cycle is a run of pieces that the last one closes."""

    characters_per_second: float
    max_characters: int
    until: float
    cycle_open: bool = attrs.field(default=False, init=False)
    played: str = attrs.field(default="", init=False)
    _pieces: int = attrs.field(default=0, init=False)
    _greeting: str = attrs.field(default="", init=False)

    def greet(self, greeting: str, now: float) -> None:
        """Count the greeting, which the carrier speaks by itself and may or may not report."""
        self._greeting = greeting.strip()
        self._extend(greeting, now)

    def spoke(self, text: str, now: float, *, last: bool) -> None:
        """Count a piece that was sent."""
        if not self.cycle_open:
            self.played = ""
        self.cycle_open = not last
        if text:
            self._pieces += 1
            self._extend(text, now)

    def report(self, text: str) -> None:
        """Count a piece that was played."""
        if self._greeting and text.strip() == self._greeting:
            self._greeting = ""
            return
        self.played = (self.played + text)[: self.max_characters]
        self._pieces = max(0, self._pieces - 1)

    def fell_silent(self, now: float) -> None:
        """Take the carrier's word that nothing is being played, unless pieces are still to come."""
        if not self._pieces:
            self.until = now

    def stop(self, now: float) -> None:
        """Forget what was not heard: an interruption made the carrier discard it."""
        self.cycle_open = False
        self.played = ""
        self._pieces = 0
        self._greeting = ""
        self.until = now

    @property
    def all_reported(self) -> bool:
        """Whether every piece we sent was reported as played, and the cycle is closed."""
        return not self._pieces and not self.cycle_open

    def is_heard(self, now: float) -> bool:
        """Whether all of our speech must have been heard by now."""
        return self.all_reported and self.until <= now

    def _extend(self, text: str, now: float) -> None:
        self.until = max(now, self.until) + len(text) / self.characters_per_second
