"""Marks that point to a source: `[1]`, `[^2]`, `【12†source】`, a superscript, a search engine's private characters.

    pieces ──feed──▶ SourceFilter ──▶ pieces without such marks ──finish──▶ the rest

A caller cannot look anything up, and a number in the middle of a sentence is taken for a part of it: "open till six
[1]" must not become "six one". A mark goes with the space before it, so that the comma after it stays where it was. To
know that a mark follows, a space at the end of a piece is held back, unless it follows a single character.

A number in brackets that is no mark stays: one that begins a line is an item's number, one after "press" is a key, and
so are those after it on the same line ("press [1] for sales, [2] for support"), `[0]` is an index. A line that begins
with a mark and an address, or with `[^1]:`, is a list of sources and goes whole.
"""

from __future__ import annotations

import re

import attrs

WINDOW = 200
"""The most characters that are held back, and the longest mark that is recognised."""

_REMEMBERED = 24
"""Characters before a mark that tell what it is."""

_RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹"
_NAMES = (
    "cite", "oaicite", "doc", "docs", "web", "source", "sources", "ref", "refs", "search", "result", "news",
)  # fmt: skip
_FIXED = ("[citation needed]", "[cite_start]", "[cite_end]", "[source]", "[sources]")
_NUMBERS = r"\d{1,3}(?:[ ]?[,;–-][ ]?\d{1,3}){0,9}"
_TARGET = r"\((?:[^()\s]|\([^()\s]{0,100}\)){0,150}"
_TURN = r"turn\d{1,3}[a-z]{3,10}\d{1,3}"
_MARK = re.compile(
    rf"(?P<linked>\[\[{_NUMBERS}\]\](?:{_TARGET}\))?|\[{_NUMBERS}\]{_TARGET}\))"
    rf"|(?P<number>\[{_NUMBERS}\])"
    r"|(?P<footnote>\[\^[\w-]{1,30}\^?\])"
    rf"|\[(?:{'|'.join(_NAMES)})[ :_.#-]{{0,2}}\d[\w:,; .†-]{{0,60}}\]|\[\d{{1,3}}[:†][\w:,; .†-]{{1,60}}\]"
    rf"|{'|'.join(map(re.escape, _FIXED))}"
    r"|【[^【】\n]{1,100}】|\ue200[^\ue200\ue201\n]{0,150}\ue201"
    rf"|(?P<bare>(?:filecite|cite)?(?:{_TURN}){{1,9}}(?!\w)|contentReference\[oaicite:\d{{1,3}}\](?:\{{index=\d{{1,3}}\}})?)"
    rf"|(?P<raised>[{_RAISED}](?:[{_RAISED}⁻˒⸴,]{{0,9}}[{_RAISED}])?(?![{_RAISED}⁺⁻]))"
    rf"|(?P<tag><sup>\s?\[?{_NUMBERS}\]?\s?</sup>)",
    re.IGNORECASE,
)
_NUMBERS_BEGUN = r"\d{0,3}(?:[ ]?[,;–-][ ]?\d{0,3}){0,9}[ ]?"
_BEGUN = re.compile(
    rf"\[{{1,2}}(?:{_NUMBERS_BEGUN}\]{{0,2}})?|\[{{1,2}}{_NUMBERS}\]{{1,2}}{_TARGET}(?:\([^()\s]{{0,100}})?|\[\^[\w-]{{0,30}}\^?"
    rf"|\[(?:{'|'.join(_NAMES)})[ :_.#-]{{0,2}}(?:\d[\w:,; .†-]{{0,60}})?|\[\d{{1,3}}[:†][\w:,; .†-]{{0,60}}"
    r"|【[^【】\n]{0,100}|\ue200[^\ue200\ue201\n]{0,150}"
    rf"|(?:filecite|cite)?(?:{_TURN}){{0,9}}(?:tu?r?|turn(?:\d{{1,3}}(?:[a-z]{{1,10}}\d{{0,3}})?)?)?|contentReference\[[\w:]{{0,12}}(?:\](?:\{{[\w=]{{0,9}})?)?"
    rf"|[{_RAISED}][{_RAISED}⁻˒⸴,]{{0,9}}|<sup>\s?\[?(?:{_NUMBERS_BEGUN})\]?\s?(?:</?s?u?p?)?",
    re.IGNORECASE,
)
_BEGINNINGS = (
    "<sup>",
    "turn",
    "citeturn",
    "fileciteturn",
    "contentreference[",
    *_FIXED,
    *(f"[{each}" for each in _NAMES),
)
_LONGEST_BEGINNING = max(map(len, _BEGINNINGS)) + 1
# Bare words are looked for whole, and their beginnings where a text ends. By their first letter: all places where a
# mark may begin share one class of characters in front, because a search passes over all others at once. Alternatives
# that look back first lost: each is tried at each character, for several times the time.
_BARE = {
    "c": r"iteturn\d|ontentReference\[|(?:i(?:te?)?)?\Z|it[a-z]{1,5}\Z|o(?:n(?:t[a-zR]{0,12})?)?\Z",
    "f": r"ileciteturn\d|(?:ile?)?\Z|ilec[a-z]{0,8}\Z",
    "t": r"urn\d|(?:u(?:rn?)?)?\Z",
}
_SIGNS = rf"\[【\ue200<{_RAISED}"
_BARE_AHEAD, _BARE_BEHIND = (
    "|".join(f"{first}(?:{rest})" for first, rest in _BARE.items()),
    "|".join(f"(?<={first})(?:{rest})" for first, rest in _BARE.items()),
)
_AT_MARK = rf"(?<=[{_SIGNS}])|(?<!\w.)(?:{_BARE_BEHIND})"
_MARK_START = re.compile(rf"[{_SIGNS}{''.join(_BARE)}](?:{_AT_MARK})", re.DOTALL)
_SPACES = (" ", "\xa0")
_TRIGGER = re.compile(
    rf"[ \xa0{_SIGNS}{''.join(_BARE)}](?:{_AT_MARK}|(?<=[ \xa0])(?=[{_SIGNS}]|\Z|{_BARE_AHEAD}))", re.DOTALL
)
_NEVER = frozenset(
    f"{sign}{after}" for sign in "[<【\ue200" for after in "[<【\ue200]|>( \n" if f"{sign}{after}" != "[["
)
_LIST = re.compile(r"\]?:[ ]|[ ]{0,3}(?:<?https?://|<?www\.)", re.IGNORECASE)
_LIST_BEGINNINGS = ("https://", "http://", "www.", "<https://", "<http://", "<www.")
_LAST_WORD = re.compile(r"(\w+)\W{0,3}$")
_KEY_WORDS = frozenset({
    "press", "dial", "enter", "key", "keys", "digit", "digits", "option", "choose", "type", "number", "button",
    "extension", "taste", "tasten", "drücken", "drücke", "wählen", "wähle", "ziffer", "nummer", "sie", "appuyez",
    "touche", "tapez", "composez", "pulse", "pulsa", "marque", "tecla", "tecle", "digite", "prema", "premere",
    "tasto", "digiti", "toets", "druk", "kies", "naciśnij", "wybierz", "tryck", "knapp", "tryk", "tast", "trykk",
    "paina", "näppäin",
})  # fmt: skip
_UNIT = re.compile(
    r"(?:met(?:er|re)s?|mètres?|metros?|metri|feet|foot|miles?|inch(?:es)?|yards?|metrów)$", re.IGNORECASE
)
_SENTENCE_SIGNS = frozenset(".,;:!?)\"'”’»]%。、！？」）…")

_Step = tuple[int, str]
"""How many characters are dealt with, and what of them is passed on."""


@attrs.define
class SourceFilter:
    """Take marks that point to sources out of a stream. What comes out does not depend on how it was cut."""

    _held: str = attrs.field(default="", init=False)
    _tail: str = attrs.field(default="", init=False)
    """The last characters that were passed on."""
    _hides_line: bool = attrs.field(default=False, init=False)
    _names_keys: bool = attrs.field(default=False, init=False)
    """Whether this line has told the caller to press a key."""

    def feed(self, piece: str) -> str:
        """Take the next piece and return what can be passed on by now, perhaps nothing."""
        if not (piece or self._held):
            return ""
        undisturbed = not (self._held or self._hides_line or piece.endswith(_SPACES))
        if undisturbed and _MARK_START.search(piece) is None:  # as `_TRIGGER` has it, without the spaces
            self._remember(piece)
            return piece
        self._held += piece
        return self._advance(final=False)

    def finish(self) -> str:
        """Return what was held back, now that nothing follows. The filter is as new afterwards."""
        rest = self._advance(final=True) if self._held else ""
        self._held = self._tail = ""
        self._hides_line = self._names_keys = False
        return rest

    def _remember(self, passed: str) -> None:
        self._names_keys = self._names_keys and "\n" not in passed
        self._tail = passed[-_REMEMBERED:] if len(passed) >= _REMEMBERED else (self._tail + passed)[-_REMEMBERED:]

    def _advance(self, *, final: bool) -> str:
        text, position, passed = self._held, 0, []
        while position < len(text):
            if self._hides_line:
                end = text.find("\n", position)
                position = len(text) if end < 0 else end
                self._hides_line = end < 0
                continue
            special = _TRIGGER.search(text, position)
            start = len(text) if special is None else special.start()
            if start > position:
                step: _Step | None = (start - position, text[position:start])
            else:
                window = text[position : position + WINDOW]
                step = self._look(window, complete=final or len(window) == WINDOW)
            if step is None:
                break
            position += step[0]
            if step[1]:
                passed.append(step[1])
                self._remember(step[1])
        self._held = text[position:]
        return "".join(passed)

    def _look(self, window: str, *, complete: bool) -> _Step | None:  # noqa: PLR0911 - one return a rule
        """Decide about a mark, or about a space that one may follow."""
        space = window[0] if window[0] in " \xa0" else ""
        plain: _Step = (1, window[0])
        if space and (len(self._tail) < 2 or self._tail[-1].isspace() or self._tail[-2].isspace()):
            return plain
        if window[1:2] and (window[:1] + window[1]) in _NEVER:  # quick, because it is the rule in a wild text
            return plain
        rest = window[len(space) :]
        is_word = not space and window[0].isalpha() and window[0] not in _RAISED
        if is_word and (self._tail[-1:].isalnum() or self._tail[-1:] == "_"):
            return plain
        mark = _MARK.match(rest)
        if mark is None:
            if complete:
                return plain
            low = rest.lower() if len(rest) < _LONGEST_BEGINNING else None
            is_begun = low is not None and any(each.startswith(low) for each in _BEGINNINGS)
            return None if is_begun or _BEGUN.fullmatch(rest) else plain
        after = rest[mark.end() :]
        if not complete and (not after or _BEGUN.fullmatch(rest)):
            return None
        if not space and self._tail[-1:] in {"", "\n"} and (mark["number"] or mark["footnote"] or mark["linked"]):
            return self._line_start(mark, after, complete=complete)
        if self._is_meant(mark):
            return plain
        length = len(space) + mark.end()
        if self._tail[-1:].isspace() or not self._tail:
            return length + (after[:1] == " "), ""
        return length, (" " if after[:1].isalnum() or (space and after[:1] in {"(", "“", "„", "«", "‘"}) else "")

    def _line_start(self, mark: re.Match[str], after: str, *, complete: bool) -> _Step | None:
        """Decide about a mark at the start of a line: an item's number, or a list of sources."""
        if _LIST.match(after):
            self._hides_line = True
            return mark.end(), ""
        low = after.lstrip(" ").lower()
        if not complete and (after in {":", "]"} or any(each.startswith(low) for each in _LIST_BEGINNINGS)):
            return None
        if mark["number"]:
            return 1, mark[0][0]
        return mark.end() + after.startswith(" "), ""

    def _is_meant(self, mark: re.Match[str]) -> bool:
        """Whether it only looks like a mark: a key to press, an index, a unit's or a formula's exponent."""
        if mark["number"]:
            word = _LAST_WORD.search(self._tail)
            self._names_keys = self._names_keys or (word is not None and word[1].lower() in _KEY_WORDS)
            return mark[0] == "[0]" or self._names_keys
        if mark["raised"] or mark["tag"]:
            before = self._tail[-3:]
            is_word = len(before) == 3 and before.isalpha()  # "km²", "x²" are shorter
            is_unit = mark[0] in {"²", "³"} and _UNIT.search(self._tail)
            return bool(is_unit) or not (is_word or before[-1:] in _SENTENCE_SIGNS)
        return False
