"""How much of our speech the caller has heard. Pure.

The carrier reports each piece of text it has played, and when our speech starts and stops. Where it does not (an older
account, a lost frame), the length of the text says when it must have been heard.

A filler is a talk cycle of its own that the next one cuts short. How much of it was heard then is not known and does
not matter: it is dropped from the count, and a late report of it is not counted as a piece of the speech after it.
"""

from __future__ import annotations

import attrs


@attrs.define
class Playback:
    """Count the speech that was sent and the carrier's reports of it.

    A talk cycle is a run of pieces that the last one closes.
    """

    characters_per_second: float
    max_characters: int
    until: float
    cycle_open: bool = attrs.field(default=False, init=False)
    played: str = attrs.field(default="", init=False)
    _pieces: int = attrs.field(default=0, init=False)
    _greeting: str = attrs.field(default="", init=False)
    _filler: str = attrs.field(default="", init=False)
    _filler_is_out: bool = attrs.field(default=False, init=False)
    _cut_filler: str = attrs.field(default="", init=False)

    def greet(self, greeting: str, now: float) -> None:
        """Count the greeting, which the carrier speaks itself and may or may not report."""
        self._greeting = greeting.strip()
        self._extend(greeting, now)

    def spoke(self, text: str, now: float, *, last: bool) -> None:
        """Count a piece that was sent."""
        self._cut_short(now)
        if not self.cycle_open:
            self.played = ""
        self.cycle_open = not last
        if text:
            self._pieces += 1
            self._extend(text, now)

    def fill(self, text: str, now: float) -> None:
        """Count a filler: a whole talk cycle that the next one cuts short."""
        self.spoke(text, now, last=True)
        self._filler, self._filler_is_out = text.strip(), True

    def report(self, text: str) -> None:
        """Count a piece that was played."""
        # Reports come in order, so the report of a cut filler can only be the next one.
        cut, self._cut_filler = self._cut_filler, ""
        if cut and cut.startswith(text.strip()):
            return
        if self._filler and text.strip() == self._filler:
            self._filler_is_out = False
        if self._greeting and text.strip() == self._greeting:
            self._greeting = ""
            return
        self.played = (self.played + text)[: self.max_characters]
        self._pieces = max(0, self._pieces - 1)

    def fell_silent(self, now: float) -> None:
        """Count all speech as heard, because the carrier reports silence. No-op if pieces are still to be played."""
        if not self._pieces:
            self.until = now

    def stop(self, now: float) -> None:
        """Drop all speech that was not heard: the carrier discards it on a barge-in."""
        self.cycle_open = False
        self.played = ""
        self._pieces = 0
        self._greeting = ""
        self._filler, self._filler_is_out, self._cut_filler = "", False, ""
        self.until = now

    @property
    def is_filler(self) -> bool:
        """Whether the newest speech is a filler."""
        return bool(self._filler)

    def is_of_cut_filler(self, heard: str) -> bool:
        """Return whether the caller last heard a filler that was cut, and so nothing of the speech after it."""
        return bool(self._cut_filler) and self._cut_filler.casefold().startswith(heard.strip().casefold())

    @property
    def all_reported(self) -> bool:
        """Whether every piece we sent was reported as played, and the cycle is closed."""
        return not self._pieces and not self.cycle_open

    def is_heard(self, now: float) -> bool:
        """Whether all of our speech must have been heard by now."""
        return self.all_reported and self.until <= now

    def is_cut_short_by_end(self, now: float) -> bool:
        """Return whether an end of the session now takes away what the caller has not heard yet.

        A carrier that reports what it plays is believed; else the length of the text counts.
        """
        return not self.all_reported and (bool(self.played) or self.until > now)

    def _cut_short(self, now: float) -> None:
        if self._filler_is_out:
            self._pieces = max(0, self._pieces - 1)
            self._cut_filler = self._filler
            self.until = now
        self._filler, self._filler_is_out = "", False

    def _extend(self, text: str, now: float) -> None:
        self.until = max(now, self.until) + len(text) / self.characters_per_second
