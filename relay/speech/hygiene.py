"""The one filter for all speech: what must not be read aloud, and what is read instead.

    pieces of an answer ──▶ asides ──▶ sources ──▶ layout ──▶ what can be spoken
                            not meant    marks of    markdown, formulas,
                            for callers  citations   tags, emoji, addresses

Clients write for screens whatever they are told, and a voice reads "asterisk asterisk" without mercy. The filter works
on a stream, because the first words of an answer are spoken while the rest is still being written. Each stage looks at
the text alone and not at how it was cut into pieces, so the whole does too; and each hands on text without its own kind
of mark at once. One filter for everything was the alternative: it lost because the rules of one kind would have to know
those of the others, where here a stage never sees what the one before it took out.

A character costs each stage a bounded amount of work, so a text takes time in proportion to its length; see `MOST_READ`
for what bounds that.
"""

from __future__ import annotations

from collections.abc import Iterator

from relay.speech.asides import AsideFilter
from relay.speech.layout import WINDOW, LayoutFilter
from relay.speech.sources import SourceFilter

__all__ = ["MOST_READ", "WINDOW", "SpeechFilter", "clean", "slices"]

MOST_READ = 40_000
"""Characters of one text that are looked at. Of an answer 8,000 are spoken at most; the rest is room for thoughts."""

_SLICE = 400
"""Characters that are looked at in one go: a few milliseconds, whatever they are."""


def clean(text: str, language: str = "en-US") -> str:
    """Return what can be read aloud of a whole text. `language` is a BCP 47 tag."""
    speech = SpeechFilter(language)
    return speech.feed(text) + speech.finish()


def slices(text: str) -> Iterator[str]:
    """Yield what is read of a text in parts between which others can be given their turn; a short text as it is."""
    if len(text) <= _SLICE:
        return iter((text,))
    return (text[start : start + _SLICE] for start in range(0, min(len(text), MOST_READ), _SLICE))


class SpeechFilter:
    """Take out of a stream what must not be read aloud.

    What comes out, put together, depends on the text alone and not on how it was cut into pieces. Plain prose passes
    unchanged. `language` is a BCP 47 tag; it decides how signs are said. What comes after `MOST_READ` characters is
    dropped unread.
    """

    def __init__(self, language: str = "en-US") -> None:
        """Begin a text."""
        self._asides = AsideFilter()
        self._sources = SourceFilter()
        self._layout = LayoutFilter(language)
        self._room = MOST_READ

    def feed(self, piece: str) -> str:
        """Take the next piece and return what can be spoken by now, perhaps nothing."""
        if len(piece) > self._room:
            piece = piece[: self._room]
        self._room -= len(piece)
        return self._layout.feed(self._sources.feed(self._asides.feed(piece)))

    def finish(self) -> str:
        """Return what was held back, now that nothing follows. The filter is as new afterwards."""
        rest = self._sources.feed(self._asides.finish()) + self._sources.finish()
        self._room = MOST_READ
        return self._layout.feed(rest) + self._layout.finish()
