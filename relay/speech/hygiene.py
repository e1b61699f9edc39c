"""What must not be read aloud: markdown, emoji, addresses of web pages, tags, control characters.

    pieces of an answer ──feed──▶ SpeechFilter ──▶ pieces that can be spoken ──finish──▶ the rest
    a whole text ──clean──▶ the same filter, fed once

Clients write for screens whatever they are told, and a voice reads "asterisk asterisk" without mercy. The filter works
on a stream, because the first words of an answer are spoken while the rest is still being written.

One idea keeps it small: a marker is dropped where it stands, never paired with its partner, because a voice need not
know what was bold. So no word ever waits for a closing `**` or `]`. Only what cannot be told from its first characters
is held back: the start of a line, a single `*` or `_` until the next character is there, the address of a web page,
the target of a link, a tag, an entity. Each of these is looked at through a window of `WINDOW` characters; what is not
complete by then is not taken for markup.

A markdown library was the alternative, and is what the tests compare with. It lost as the engine because a library
parses whole documents: the last character of a paragraph can change what its first one means, so that nothing could be
spoken before the paragraph is complete.

| written | spoken | because |
|---|---|---|
| `https://www.example.com/a?b` | example.com | a host is said the same in every language and tells more than "a link" |
| `[text](target)` | text | a target cannot be clicked on a telephone |
| a fenced block | its lines, without the fences | an answer that came in a fence by habit must not become silence |
| `| a | b |` | a , b | a comma is heard as the gap between two cells |
| `&` | and | an ampersand breaks SSML voices, and escaped it is spelled out by the others |
| `<` | nothing | the same; tags go with what is in them |
"""

from __future__ import annotations

import html
import re
import string
from collections.abc import Callable, Iterable
from typing import ClassVar

import attrs
import emoji

from relay.speech.phrases import word_for_and

WINDOW = 200
"""The most characters that are ever held back, and the longest markup that is recognised."""


def clean(text: str, language: str = "en-US") -> str:
    """Return what can be read aloud of a whole text. `language` is a BCP 47 tag."""
    speech = SpeechFilter(language)
    return speech.feed(text) + speech.finish()


def _character_class(characters: Iterable[str]) -> str:
    """Return the inside of a regular expression's character class, as ranges."""
    codes = sorted(map(ord, characters))
    starts = [code for code, before in zip(codes, [-1, *codes], strict=False) if code != before + 1]
    ends = [code for code, after in zip(codes, [*codes[1:], -1], strict=True) if code != after - 1]
    return "".join(f"\\U{start:08x}-\\U{end:08x}" for start, end in zip(starts, ends, strict=True))


_JOINER = "\u200d"
# Digits, # and * are part of keycap emoji and stay, so that a list numbered in keycaps keeps its numbers.
_EMOJI = frozenset("".join(emoji.EMOJI_DATA)) - set(string.printable) - {_JOINER} | {"\ufe0e", "\ufe0f"}
# Controls, direction marks, invisible spaces, lone surrogates (they cannot be encoded), private use, plane-14 tags.
# The joiners of Persian and Indic spelling are not among them.
_UNSPEAKABLE_CLASS = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\ud800-\udfff\ue000-\uf8ff\U000e0000-\U000e007f\U000f0000-\U0010ffff"
)
_UNSPEAKABLE = re.compile(f"[{_UNSPEAKABLE_CLASS}]")
# Every place where a rule may apply. Too many hits cost time, too few cost correctness: the rules decide.
_SPECIAL = re.compile(
    rf"[\n*_`~|\[\]\\<&{_JOINER}{_character_class(_EMOJI)}{_UNSPEAKABLE_CLASS}]|!(?:\[|\Z)"
    r"|(?<![0-9A-Za-z])(?:[hH](?:[tT]|\Z)|[wW](?:[wW]|\Z)|[fF](?:[tT]|\Z))"
)
_LINE_MARK_STARTS = frozenset(" \t-=_*:|+#>`~[")
_RULE_LINE = re.compile(r"[ \t]*[-=_*:|][-=_*:| \t]*")
_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})")
_LINE_MARK = re.compile(r"[ \t]*(?:(?:[-*+]|#{1,6})(?:[ \t]|$)|[>|][ \t]?)|\[[ xX]\][ \t]")
_LINE_MARK_BEGUN = re.compile(r"[ \t]*(?:\+|#{1,6}|>|`{1,2}|~{1,2})?|\[(?:[ xX]\]?)?")
_ADDRESS_REST = re.compile(r"[^\s<>\"'`*|\[\]\\{}]*")
_ADDRESS = re.compile(rf"(?:(?:https?|ftp)://|www\.){_ADDRESS_REST.pattern}", re.IGNORECASE)
_ADDRESS_STARTS = ("https://", "http://", "ftp://", "www.")
_HOST = re.compile(r"(?:\w+://)?(?:[^\s/?#@]*@)?(?:www\.)*((?:[^\W_]|-)+(?:\.(?:[^\W_]|-)+)*)?", re.IGNORECASE)
_MAIL = re.compile(r"[\w.+-]+@[\w.-]+")
_LINK_TARGET = re.compile(r"\](?:\([^()\n]*(?:\([^()\n]*\)[^()\n]*)*\)|\[[^\[\]\n]*\])")
_PARTING_TAG = re.compile(r"/?(?:br|p|li|div|tr|td|th|h[1-6])\b", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_ENTITY_BEGUN = re.compile(r"&#?[A-Za-z0-9]{0,32}")

_Step = tuple[int, str]
"""How many characters are dealt with, and what of them is spoken. None in its place: that depends on what follows."""


@attrs.define
class SpeechFilter:
    """Take out of a stream what must not be read aloud.

    What comes out, put together, depends on the text alone and not on how it was cut into pieces. Plain prose passes
    unchanged. `language` is a BCP 47 tag; it decides how `&` is said.
    """

    language: str = "en-US"
    _held: str = attrs.field(default="", init=False)
    _before: str = attrs.field(default="", init=False)
    """The last character that was dealt with, spoken or not."""
    _spoken: str = attrs.field(default="", init=False)
    """The last character that was spoken."""
    _at_line_start: bool = attrs.field(default=True, init=False)
    _in_address: bool = attrs.field(default=False, init=False)
    """What follows is the rest of an address too long for the window."""
    _eat_space: bool = attrs.field(default=False, init=False)
    """An emoji between two spaces was dropped: one of the spaces goes with it."""

    def feed(self, piece: str) -> str:
        """Take the next piece and return what can be spoken by now, perhaps nothing."""
        undisturbed = not (self._held or self._at_line_start or self._in_address or self._eat_space)
        if undisturbed and piece and _SPECIAL.search(piece) is None:  # nearly every token of nearly every call
            self._before = self._spoken = piece[-1]
            return piece
        self._held += piece
        return self._advance(final=False)

    def finish(self) -> str:
        """Return what was held back, now that nothing follows. The filter is as new afterwards."""
        rest = self._advance(final=True)
        self._before = self._spoken = ""
        self._at_line_start, self._in_address, self._eat_space = True, False, False
        return rest

    def _advance(self, *, final: bool) -> str:
        text, position, spoken = self._held, 0, []
        while position < len(text):
            step = self._step(text, position, final=final)
            if step is None:
                break
            dealt_with, speech = step
            if dealt_with:
                position += dealt_with
                self._before = text[position - 1]
            if speech:
                spoken.append(speech)
                self._spoken = speech[-1]
        self._held = text[position:]
        return "".join(spoken)

    def _step(self, text: str, position: int, *, final: bool) -> _Step | None:
        window = text[position : position + WINDOW]
        # Decisions may look no further than the window, or they would depend on how the text was cut.
        complete = final or len(window) == WINDOW
        if self._in_address:
            rest = _ADDRESS_REST.match(window)
            assert rest is not None
            self._in_address = rest.end() == len(window)
            return rest.end(), ""
        if self._eat_space:
            self._eat_space = False
            if window[0] == " ":
                return 1, ""
        if self._at_line_start:
            mark = _line_mark(window, complete=complete)
            if mark is None:
                return None
            self._at_line_start = mark > 0 and "|" not in window[:mark]  # a cell does not begin a line
            return mark, ""
        special = _SPECIAL.search(text, position)
        if special and special.start() == position:
            return self._special(window, complete=complete)
        plain = text[position : special.start() if special else None]
        return len(plain), plain

    def _special(self, window: str, *, complete: bool) -> _Step | None:
        mark = window[0]
        if mark == "\n":
            self._at_line_start = True
            return 1, mark
        if mark in _EMOJI:
            self._eat_space = not self._spoken.strip()
            return 1, ""
        if mark == _JOINER:
            return 1, "" if self._before in _EMOJI else mark
        if _UNSPEAKABLE.match(mark):
            return 1, ""
        if len(window) == 1 and not complete:
            return None
        rule = self._RULES.get(mark, SpeechFilter._address)
        return rule(self, window, complete=complete)

    def _emphasis(self, window: str, *, complete: bool) -> _Step | None:  # noqa: ARG002 - all rules look alike
        """Drop a run of `*`, `_`, `~` or a backtick, unless it is a single one that means itself."""
        mark, after = window[0], window[1:2]
        if mark == "`" or mark in (self._before, after):
            return 1, ""
        alone = not self._spoken.strip() and not after.strip()
        meant = {
            "*": alone or (self._spoken.isdigit() and after.isdigit()),
            "_": alone or (self._spoken.isalnum() and after.isalnum()),
            "~": True,
        }
        return 1, mark if meant[mark] else ""

    def _cell(self, window: str, *, complete: bool) -> _Step | None:
        """Turn the bar between two cells of a table into a comma, and drop the one that closes a row."""
        following = window[1:].lstrip(" \t")
        if not following and not complete:
            return None
        closing = not following or following[0] == "\n"
        return 1, "" if closing or self._before == "|" else ","

    def _link_text(self, window: str, *, complete: bool) -> _Step | None:  # noqa: ARG002
        """Drop the bracket that opens a link or an image."""
        return (2 if window.startswith("![") else 1), "!" if window[0] == "!" and window[1:2] != "[" else ""

    def _link_target(self, window: str, *, complete: bool) -> _Step | None:
        """Drop the bracket that closes a link's text, and the target with it."""
        if target := _LINK_TARGET.match(window):
            return target.end(), ""
        undecided = window[1:2] in {"(", "["} and "\n" not in window and not complete
        return None if undecided else (1, "")

    def _escape(self, window: str, *, complete: bool) -> _Step | None:  # noqa: ARG002
        """Drop a backslash that escapes something, or that breaks a line."""
        after = window[1:2]
        return 1, "" if not after or after == "\n" or after in string.punctuation else "\\"

    def _tag(self, window: str, *, complete: bool) -> _Step | None:
        """Drop a tag, keep the address in an autolink, and drop any other `<` alone."""
        after = window[1:2]
        if not (after.isascii() and after.isalpha()) and after not in {"/", "!", "?"}:
            return 1, ""
        line = window.partition("\n")[0]
        inside, closed, _ = line[1:].partition(">")
        if not closed:
            return None if line == window and not complete else (1, "")
        if _ADDRESS.fullmatch(inside):
            return len(inside) + 2, _host(inside)
        if _MAIL.fullmatch(inside):
            return len(inside) + 2, inside.replace("_", "")
        return len(inside) + 2, " " if _PARTING_TAG.match(inside) else ""

    def _ampersand(self, window: str, *, complete: bool) -> _Step | None:
        """Say an entity as its character, and any other `&` as a word."""
        length = 1
        if entity := _ENTITY.match(window):
            character = html.unescape(entity[0])
            if not character.startswith("&"):
                # An entity may hide what is dropped elsewhere. The space keeps an `h` from looking like an address.
                return entity.end(), "" if _SPECIAL.search(f"{character} ") else character.replace("\xa0", " ")
            length = entity.end() if character == "&" else 1
        if not complete and (length == len(window) or _ENTITY_BEGUN.fullmatch(window)):
            return None
        following = window[length : length + 1]
        if following == "&":  # the last one of a row speaks for it
            return length, ""
        before = " " if self._spoken.strip() else ""
        after = " " if following.strip() else ""
        return length, f"{before}{word_for_and(self.language)}{after}"

    def _address(self, window: str, *, complete: bool) -> _Step | None:
        """Say an address as its host, without the punctuation that belongs to the sentence."""
        if self._before.isascii() and self._before.isalnum():
            return 1, window[0]
        if address := _ADDRESS.match(window):
            if address.end() < WINDOW:
                if address.end() == len(window) and not complete:
                    return None
                return len(address[0].rstrip(".,;:!?)")), _host(address[0])
            self._in_address = True
            return address.end(), _host(address[0])
        begun = not complete and any(start.startswith(window.lower()) for start in _ADDRESS_STARTS)
        return None if begun else (1, window[0])

    _RULES: ClassVar[dict[str, Callable[..., _Step | None]]] = {
        **dict.fromkeys("*_~`", _emphasis),
        **dict.fromkeys("[!", _link_text),
        "|": _cell,
        "]": _link_target,
        "\\": _escape,
        "<": _tag,
        "&": _ampersand,
    }


def _line_mark(window: str, *, complete: bool) -> int | None:
    """Return how many characters at the start of a line are markup; None when that depends on what follows."""
    if window[0] not in _LINE_MARK_STARTS:
        return 0
    line, newline, _ = window.partition("\n")
    complete = complete or bool(newline)
    if _RULE_LINE.fullmatch(line):  # a break, an underline, a table's second row, a bullet without text
        return (len(line) if line.strip(" \t:") else 0) if complete else None
    if fence := _FENCE.match(line):
        if not complete:
            return None
        return 0 if len(line) == WINDOW or "`" in line[fence.end() :] else len(line)
    if not complete and _LINE_MARK_BEGUN.fullmatch(line):
        return None
    mark = _LINE_MARK.match(line)
    return mark.end() if mark else 0


def _host(address: str) -> str:
    host = _HOST.match(address)
    return (host[1] or "") if host else ""
