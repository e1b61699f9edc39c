"""The transcript of a call: a bounded window over who said what, holding only what was heard. Pure.

It is what a client is sent with each turn and what a waiting message carries, so it must not say that the caller heard
words that were cut off. The carrier reports an interruption with the text it believes was spoken, normalised by its
speech synthesis ("3 PM" may come back as "three p.m."), so the match is loose: first by words, then by what was
reported as played, then the carrier's own wording.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

import attrs

from actors.messages import Line, Speaker

_WORD = re.compile(r"\w+")
_CLOSING = re.compile(r"[^\w\s]*")


def heard_part(said: str, heard: str, played: str = "") -> str:
    """Return the part of `said` that the caller heard, given what the carrier reports.

    `heard` is the carrier's text until the interruption; when it is empty, `played` (the pieces reported as played)
    decides. The result is a prefix of `said` wherever the words can be found in it, else the report itself.
    """
    report = heard.strip() or played.strip()
    if not report:
        return ""
    words = [match.group().casefold() for match in _WORD.finditer(report)]
    spans = list(_WORD.finditer(said))
    # The report may begin before `said`, where a cycle was begun by another speaker: then its end is our beginning.
    # Without a match it counts as heard in the carrier's own words, because that is what the caller will refer to.
    for skipped in range(max(0, len(words) - len(spans)), len(words)):
        *whole, cut_short = words[skipped:]
        there = spans[: len(whole) + 1]
        if [word.group().casefold() for word in there[:-1]] == whole and there[-1].group().casefold().startswith(
            cut_short
        ):
            end = there[-1].start() + len(cut_short)
            closing = _CLOSING.match(said, end)
            return said[: closing.end() if closing else end]
    return report


@attrs.define
class Transcript:
    """Keep the newest lines, within a number of lines and a number of characters."""

    max_lines: int
    max_characters: int
    _lines: list[Line] = attrs.field(factory=list, init=False)
    _characters: int = attrs.field(default=0, init=False)

    def extend(self, lines: Iterable[Line]) -> None:
        """Take over lines of an earlier connection of the same call."""
        for line in lines:
            self.add(line.speaker, line.text, line.at)

    def add(self, speaker: Speaker, text: str, at: datetime) -> None:
        """Begin a new line. Blank text is not a line."""
        if text.strip():
            self._lines.append(Line(speaker, text, at))
            self._characters += len(text)
            self._shorten()

    def continue_line(self, speaker: Speaker, text: str, at: datetime) -> None:
        """Add to the last line when it is the same speaker's, else begin one."""
        if not self._lines or self._lines[-1].speaker is not speaker:
            self.add(speaker, text, at)
            return
        last = self._lines[-1]
        self._lines[-1] = attrs.evolve(last, text=last.text + text)
        self._characters += len(text)
        self._shorten()

    def cut_to_heard(self, heard: str, played: str) -> None:
        """Shorten our last line to what was heard, or drop it; does nothing after the caller's own line."""
        if not self._lines or self._lines[-1].speaker is Speaker.CALLER:
            return
        last = self._lines.pop()
        self._characters -= len(last.text)
        self.add(last.speaker, heard_part(last.text, heard, played), last.at)

    def window(self) -> tuple[Line, ...]:
        """Return the lines, oldest first, without the blanks at their ends."""
        return tuple(
            line if line.text == (text := line.text.strip()) else attrs.evolve(line, text=text) for line in self._lines
        )

    def _shorten(self) -> None:
        while len(self._lines) > 1 and (len(self._lines) > self.max_lines or self._characters > self.max_characters):
            self._characters -= len(self._lines.pop(0).text)
