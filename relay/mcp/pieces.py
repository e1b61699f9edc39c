"""The pieces of a streamed answer, put back in order, and the rest of the final answer. Pure.

A client numbers its pieces from 1, but they arrive shuffled: the TypeScript SDKs post them concurrently, and the
dispatcher starts a task for each. The final answer is authoritative; the pieces are only its earlier half.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from relay.speech.hygiene import MOST_READ

# Nine inversions in sixty pieces were seen at worst, each by a few places. What is dropped beyond these bounds is said
# at the end, out of the final answer.
PIECES_HELD_BACK = 64
CHARACTERS_WAITING = 16_000
# An hour of speech. What has been said is compared with the final answer, in the event loop.
CHARACTERS_SAID = 64_000

_WORD = re.compile(r"\S+")


@attrs.define(eq=False)
class Pieces:
    """The pieces of one answer: those to be spoken next, and those that came too early."""

    said: str = attrs.field(default="", init=False)
    _next: int = attrs.field(default=1, init=False)
    _ready: list[str] = attrs.field(factory=list, init=False)
    _early: dict[int, str] = attrs.field(factory=dict, init=False)
    _waiting: int = attrs.field(default=0, init=False)

    def add(self, number: float, text: str) -> None:
        """Take piece `number`.

        A number that came before, or is no whole number from 1, is ignored; so is a piece that is too much to keep.
        """
        if number % 1 != 0 or number < self._next or int(number) in self._early:
            return
        too_many = number != self._next and len(self._early) >= PIECES_HELD_BACK
        if too_many or self._waiting + len(text) > CHARACTERS_WAITING or len(self.said) > CHARACTERS_SAID:
            return
        self._early[int(number)] = text
        self._waiting += len(text)
        while self._next in self._early:
            self._ready.append(self._early.pop(self._next))
            self._next += 1

    def take(self) -> str:
        """Return, and count as said, the text that can be spoken in order now; empty if there is none."""
        text = "".join(self._ready)
        self._ready.clear()
        self._waiting -= len(text)
        self.said += text
        return text


def unsaid(final: str, said: str) -> str:
    """Return what of `final` goes beyond `said`; all of it, set off by a space, when it does not continue `said`.

    White space does not count in the comparison, because clients trim their final answers.
    """
    wanted = "".join(said.split())
    position = found = 0
    for word in _WORD.finditer(final):
        if found == len(wanted):
            break
        taken = min(len(word[0]), len(wanted) - found)
        if not wanted.startswith(word[0][:taken], found):
            return f" {final}"
        found += taken
        position = word.start() + taken
    if found < len(wanted):
        return f" {final}"
    rest = final[position:]
    return rest.lstrip() if said[-1:].isspace() else rest


def text_of(result: Mapping[str, Any]) -> str | None:
    """Return the text blocks of a sampling result, a line each, as far as they are read; None if it has none.

    Content is one block, or a list of them (MCP 2025-11-25). Other blocks, such as a tool call or an unknown kind, are
    ignored: the caller waits for the text.
    """
    content = result.get("content")
    blocks = content if isinstance(content, list) else [content]
    return join_texts([text for block in blocks if (text := _text_of_block(block)) is not None])


def join_texts(texts: Sequence[str]) -> str | None:
    """Return the texts of an answer, a line each, as far as they are read; None if there are none."""
    return "\n".join(texts)[:MOST_READ] if texts else None


def _text_of_block(block: object) -> str | None:
    match block:
        case {"type": "text", "text": str(text)}:
            return text
        case _:
            return None
