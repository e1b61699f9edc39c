"""The transcript of a call: a bounded window over who said what, holding only what was heard. Pure.

It is what a client is sent with each turn and what a waiting message carries, so it must not contain text that the
caller did not hear. The carrier reports a barge-in with the text it believes was spoken, normalised by its speech
synthesis ("3 PM" may come back as "three p.m."), so the match is loose: first by words, then by what was reported as
played, then the carrier's own wording.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import datetime
from itertools import takewhile

import attrs

from actors.call_values import Line, Speaker, TranscriptChange

_WORD = re.compile(r"\w+")
_CLOSING = re.compile(r"[^\w\s]*")


def is_audible(text: str) -> bool:
    """Return whether a text holds a letter or a digit of any script; without one a voice is silent."""
    return any(map(str.isalnum, text))


def heard_part(said: str, heard: str, played: str = "") -> str:
    """Return the part of `said` that the caller heard, given what the carrier reports.

    `heard` is the carrier's text until the barge-in; when it is empty, `played` (the pieces reported as played)
    decides. The result is a prefix of `said` wherever the words can be found in it, else the report itself.
    """
    report = heard.strip() or played.strip()
    if not report:
        return ""
    words = [match.group().casefold() for match in _WORD.finditer(report)]
    spans = list(_WORD.finditer(said))
    # The report may begin before `said`, where a cycle was begun by another speaker: then its end is our beginning.
    # Without a match the carrier's own wording counts as heard, because the caller will refer to that.
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


def utterance_last(lines: tuple[Line, ...]) -> tuple[Line, ...]:
    """Return `lines` with the caller's last one moved to the end; unchanged where the caller has said nothing.

    Fillers, a cut answer and notes may stand after an utterance that still waits for its answer. The responder takes
    the last line for the one to answer, so it must be the caller's. Dropping the lines after it lost: the caller has
    heard them, and a note says what happened.
    """
    return _move_to_end(lines, lambda line: line.speaker is Speaker.CALLER)


def note_last(lines: tuple[Line, ...]) -> tuple[Line, ...]:
    """Return `lines` with the last note moved to the end, where no utterance waits; unchanged without a note."""
    return _move_to_end(lines, lambda line: line.is_note)


def _move_to_end(lines: tuple[Line, ...], is_wanted: Callable[[Line], bool]) -> tuple[Line, ...]:
    place = next((each for each in reversed(range(len(lines))) if is_wanted(lines[each])), None)
    if place is None or place == len(lines) - 1:
        return lines
    return (*lines[:place], *lines[place + 1 :], lines[place])


def _with_text(line: Line, text: str) -> Line:
    # Each piece of an answer makes one; `attrs.evolve` takes three times as long.
    return Line(line.speaker, text, line.at, line.is_note)


def _stripped(line: Line) -> Line:
    text = line.text.strip()
    return line if text == line.text else _with_text(line, text)


@attrs.frozen
class Cut:
    """A line that was cut off: when it began, what of it was heard, and the rest, which was sent and not heard."""

    at: datetime
    heard: str = attrs.field(repr=False)
    unheard: str = attrs.field(repr=False)


@attrs.define
class Transcript:
    """Keep the newest lines, within a number of lines and a number of characters.

    Every change is applied to `record` too, a longer transcript that begins with this one; only `extend` is not.

    Its own lines are numbered on from `first_number`, and `take_change` returns those that are new or different since
    it was called last. Changes happen at the end of the transcript, so where they begin is all that is remembered.
    """

    max_lines: int
    max_characters: int
    record: Transcript | None = None
    first_number: int = 1
    cut: Cut | None = attrs.field(default=None, init=False)
    _lines: list[Line] = attrs.field(factory=list, init=False)
    _characters: int = attrs.field(default=0, init=False)
    # The number of the oldest line of the window, where the changes begin, the highest number that was taken, and how
    # many changes were.
    _oldest: int = attrs.field(init=False)
    _changed_from: int = attrs.field(init=False)
    _taken_through: int = attrs.field(init=False)
    _changes: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._oldest = self._changed_from = self.first_number
        self._taken_through = self.first_number - 1

    def extend(self, lines: Iterable[Line]) -> None:
        """Add the lines of an earlier session of the same call, before any other."""
        for line in lines:
            self._append(line)
        # They have numbers already, from that session.
        self._oldest = self.first_number - len(self._lines)
        self._changed_from = self.first_number

    @property
    def has_only_utterance_to_take(self) -> bool:
        """Whether the one line that the caller has just added is all that is new or different."""
        end = self._oldest + len(self._lines)
        is_last = self._changed_from == end - 1 > self._taken_through
        return is_last and self._lines[-1].speaker is Speaker.CALLER

    def take_change(self, through_turn: int) -> TranscriptChange | None:
        """Return the lines that are new or different since the last time; None if all are as they were.

        Utterances of turns up to `through_turn` are among them, or were.
        """
        first, end = max(self._changed_from, self._oldest, self.first_number), self._oldest + len(self._lines)
        if first >= end > self._taken_through:
            return None
        number = self.first_number + self._changes
        self._changes += 1
        self._changed_from, self._taken_through = end, end - 1
        return TranscriptChange(number, first, tuple(self._lines[first - self._oldest :]), through_turn)

    def add(self, speaker: Speaker, text: str, at: datetime) -> None:
        """Begin a new line. Blank text is not a line."""
        self.append(Line(speaker, text, at))

    def add_note(self, text: str, at: datetime) -> None:
        """Add a note of the relay for the next responder."""
        self.append(Line(Speaker.RELAY, text, at, is_note=True))

    def continue_line(self, speaker: Speaker, text: str, at: datetime) -> None:
        """Add to the last line when it is the same speaker's, else begin one."""
        if self.record is not None:
            self.record.continue_line(speaker, text, at)
        if not self._lines or self._lines[-1].speaker is not speaker or self._lines[-1].is_note:
            self._append(Line(speaker, text, at))
            return
        last = self._lines[-1]
        self._lines[-1] = _with_text(last, last.text + text)
        self._change(len(self._lines) - 1)
        self._characters += len(text)
        self._shorten()

    def cut_to_heard(self, heard: str, played: str) -> None:
        """Shorten our last line to what was heard, or drop it; what became of it is in `cut`.

        No-op after the caller's own line: then that is None. Notes after it are skipped: neither party heard them.
        """
        self.cut = None
        if self.record is not None:
            self.record.cut_to_heard(heard, played)
        newest_first = reversed(range(len(self._lines)))
        place = next((each for each in newest_first if not self._lines[each].is_note), None)
        if place is None or (line := self._lines[place]).speaker is Speaker.CALLER:
            return
        kept = heard_part(line.text, heard, played)
        self._characters += len(kept) - len(line.text)
        self._change(place)
        if kept.strip():
            self._lines[place] = _with_text(line, kept)
        else:
            if self._oldest + place < self.first_number:
                self._oldest += 1  # the lines of this session keep their numbers
            del self._lines[place]
        self._shorten()
        self.cut = Cut(line.at, kept, line.text.removeprefix(kept))

    @property
    def ends_with_note(self) -> bool:
        """Whether a note came after everything that either party said, so that no responder has answered it yet."""
        return any(
            line.is_note for line in takewhile(lambda line: line.speaker is Speaker.RELAY, reversed(self._lines))
        )

    @property
    def last_spoken(self) -> str:
        """The text of the last line that is no note; empty if there is none."""
        return next((line.text for line in reversed(self._lines) if not line.is_note), "")

    def window(self) -> tuple[Line, ...]:
        """Return the lines, oldest first, without the blanks at their ends."""
        return (*self._lines[:-1], *map(_stripped, self._lines[-1:]))

    def append(self, line: Line) -> None:
        """Add a line, which the record then shares. Blank text is not a line."""
        if self.record is not None:
            self.record.append(line)
        self._append(line)

    def _append(self, line: Line) -> None:
        if line.text.strip():
            if self._lines:
                # Nothing continues it any more, so it is stripped now and not for each window.
                before = self._lines[-1]
                self._lines[-1] = _stripped(before)
                self._characters += len(self._lines[-1].text) - len(before.text)
            self._lines.append(line)
            self._characters += len(line.text)
            self._shorten()

    def _change(self, place: int) -> None:
        self._changed_from = min(self._changed_from, self._oldest + place)

    def _shorten(self) -> None:
        while len(self._lines) > 1 and (len(self._lines) > self.max_lines or self._characters > self.max_characters):
            self._characters -= len(self._lines.pop(0).text)
            self._oldest += 1
