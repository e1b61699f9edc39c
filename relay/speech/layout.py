"""What lays out a text on a screen: markdown, formulas, emoji, addresses of web pages, tags, control characters.

    pieces ──feed──▶ LayoutFilter ──▶ pieces that can be read aloud ──finish──▶ the rest

One idea keeps it small: a marker is dropped where it stands, never paired with its partner, because a voice need not
know what was bold. So no word ever waits for a closing `**` or `]`. Only what cannot be told from its first characters
is held back: the start of a line, a single `*` or `_` until the next character is there, the address of a web page,
the target of a link, a tag, an entity, a formula. Each of these is looked at through a window of `WINDOW` characters;
what is not complete by then is not taken for markup.

A markdown library was the alternative, and is what the tests compare with. It lost as the engine because a library
parses whole documents: the last character of a paragraph can change what its first one means, so that nothing could be
spoken before the paragraph is complete. Entities are the standard library's.

| written | spoken | because |
|---|---|---|
| `https://www.example.com/a?b` | example.com | a host is said the same in every language and tells more than "a link" |
| `[text](target)` | text | a target cannot be clicked on a telephone |
| a fenced block | its lines, without the fences | an answer that came in a fence by habit must not become silence |
| `| a | b |` | a , b | a comma is heard as the gap between two cells |
| `&` | and | an ampersand breaks SSML voices, and escaped it is spelled out by the others |
| `<2`, `a < b`, `x<y` | less than | dropped, it turns a meaning round; kept, it breaks SSML voices |
| `>5` at the start of a line | >5 | before a number it compares, and quotes nothing |
| `<b>`, `<p class="x">` | nothing | a tag, as its name in small letters, its attributes or its place in HTML show |
| `<Mission failed>` | Mission failed | words in angle brackets that are no tag are words |
| `$x^2$`, `\\(x^2\\)` | x² | see `formulas`; `$5 and $6` are prices |
"""

from __future__ import annotations

import html
import re
import string
from collections.abc import Callable, Iterable
from typing import ClassVar

import attrs
import emoji

from relay.speech.formulas import say_formula
from relay.speech.locales import locale_for

WINDOW = 200
"""The most characters that are ever held back, and the longest markup that is recognised."""


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
_INLINE_BULLETS = "•●‣◦∙"
_BULLETS = f"{_INLINE_BULLETS}·■□▪▫►▸▹○⁃❑❏➢➤➔→✓✗✘☐☒※"
# Every place where a rule may apply. Too many hits cost time, too few cost correctness: the rules decide. All begin
# with one class of characters, because a search passes over all others at once; what such a character needs around it
# is looked at behind it. Alternatives that look back first lost: each is tried at each character, for five times the
# time. So did all emoji by their ranges in front, a hundred comparisons for each character.
_SIGNS = rf"\n*_`~|\[\]\\<>&${_INLINE_BULLETS}{_JOINER}{_UNSPEAKABLE_CLASS}"
_SPECIAL = re.compile(
    rf"[!=hHwWfF{_SIGNS}{_character_class(each for each in _EMOJI if ord(each) <= 0xFFFF)}\U00010000-\U0010ffff]"
    r"(?:(?<![0-9A-Za-z].)(?:(?<=[hHfF])(?:[tT]|\Z)|(?<=[wW])(?:[wW]|\Z))|(?<=!)(?:\[|\Z)|(?<==)(?:=|\Z)"
    rf"|(?<=[{_SIGNS}{_character_class(_EMOJI)}]))"
)
_LINE_MARK_STARTS = frozenset(f" \t-=_*:|+#>`~[{_BULLETS}–—")
_RULE_LINE = re.compile(r"[ \t]*[-=_*:|][-=_*:| \t]*")
_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})")
_LINE_MARK = re.compile(
    rf"[ \t]*(?:(?:[-*+–—]|#{{1,6}})(?:[ \t]|$)|(?:>(?![\d=])|\|)[ \t]?|[{_BULLETS}][ \t]*)"
    r"|\[[ xX]\][ \t]"
)
_LINE_MARK_BEGUN = re.compile(rf"[ \t]*(?:\+|#{{1,6}}|>|`{{1,2}}|~{{1,2}}|[{_BULLETS}][ \t]*|[–—])?|\[(?:[ xX]\]?)?")
_ADDRESS_REST = re.compile(r"[^\s<>\"'`*|\[\]\\{}]*")
_ADDRESS = re.compile(rf"(?:(?:https?|ftp)://|www\.){_ADDRESS_REST.pattern}", re.IGNORECASE)
_ADDRESS_STARTS = ("https://", "http://", "ftp://", "www.")
_HOST = re.compile(r"(?:\w+://)?(?:[^\s/?#@]*@)?(?:www\.)*((?:[^\W_]|-)+(?:\.(?:[^\W_]|-)+)*)?", re.IGNORECASE)
_MAIL = re.compile(r"[\w.+-]+@[\w.-]+")
_LINK_TARGET = re.compile(r"\](?:\([^()\n]*(?:\([^()\n]*\)[^()\n]*)*\)|\[[^\[\]\n]*\])")
_PARTING_TAG = re.compile(r"/?(?:br|p|li|div|tr|td|th|h[1-6])\b", re.IGNORECASE)
_WHOLE_TAG = re.compile(
    r"/.*|[!?].*|[a-z][\w:.-]*\s*/?|[A-Za-z][\w:.-]*(?:\s+[\w:@.-]+\s?=\s?(?:\"[^\"]*\"|'[^']*'|[^\s\"'<>=]+))+\s*/?"
)
_TAG_BEGUN = re.compile(
    r"/.*|[!?].*|[A-Za-z][\w:.-]*(?:\s*/|\s+(?:[\w:@.-]+(?:\s?=.*)?)?)?"
    rf"|(?:(?:https?|ftp):/{{1,2}}|www\.){_ADDRESS_REST.pattern}|[\w.+-]+(?:@[\w.-]*)?",
    re.DOTALL | re.IGNORECASE,
)
# Tags that may be written in capitals; others in capitals are words.
_KNOWN_TAGS = frozenset({
    "a", "abbr", "audio", "b", "big", "blockquote", "body", "br", "break", "button", "center", "code", "dd", "del",
    "details", "div", "dl", "dt", "em", "emphasis", "font", "footer", "h1", "h2", "h3", "h4", "h5", "h6", "head",
    "header", "hr", "html", "i", "img", "input", "ins", "kbd", "li", "link", "main", "mark", "meta", "nav", "ol",
    "option", "p", "phoneme", "pre", "prosody", "q", "s", "samp", "say-as", "section", "select", "small", "span",
    "speak", "strike", "strong", "sub", "summary", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "title",
    "tr", "tt", "u", "ul", "var", "video", "voice",
})  # fmt: skip
_COMPARED = re.compile(r"[\w$€£¥.+~≈-]")
_NUMBER = re.compile(r"<\s{0,3}([-+]?\d{1,15}(?:[.,]\d{1,15})*(?:\s?(?:[%％‰°円元원]|[A-Za-z]{1,3}(?![A-Za-z])))?)")
_INSIDE_FORMULA = re.compile(
    r"\\[A-Za-z]+|\\[^A-Za-z\n]|\{(?:[^{}$\n]|\{[^{}$\n]*\})*\}|[A-Za-z]{1,2}(?![A-Za-z])"
    r"|[A-Za-z]{1,6}(?=[\^_=+\-*/({\\$])|[0-9.,+\-*/=<>^_()\[\]|!:;'%& ]"
)
_INSIDE_BEGUN = re.compile(r"\\|\{[^$\n]*|[A-Za-z]{1,6}")
_FORMULA_SIGN = re.compile(r"[\\^_{}=+*/<>]")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_ENTITY_BEGUN = re.compile(r"&#?[A-Za-z0-9]{0,32}")

_Step = tuple[int, str]
"""How many characters are dealt with, and what of them is spoken. None in its place: that depends on what follows."""


@attrs.define
class LayoutFilter:
    """Take out of a stream what only lays it out.

    What comes out, put together, depends on the text alone and not on how it was cut into pieces. Plain prose passes
    unchanged. `language` is a BCP 47 tag; it decides how `&` and `<` are said.
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
    _in_angle: bool = attrs.field(default=False, init=False)
    """Words in angle brackets were begun that are no tag: the bracket that closes them is dropped as well."""
    _eat_space: bool = attrs.field(default=False, init=False)
    """An emoji between two spaces was dropped: one of the spaces goes with it."""

    def feed(self, piece: str) -> str:
        """Take the next piece and return what can be spoken by now, perhaps nothing."""
        if not (piece or self._held):
            return ""
        undisturbed = not (self._held or self._in_address or self._eat_space)
        begins_plainly = undisturbed and not (self._at_line_start and piece[0] in _LINE_MARK_STARTS)
        if begins_plainly and _SPECIAL.search(piece) is None:  # nearly every token of nearly every call
            self._at_line_start = False
            self._before = self._spoken = piece[-1]
            return piece
        self._held += piece
        return self._advance(final=False)

    def finish(self) -> str:
        """Return what was held back, now that nothing follows. The filter is as new afterwards."""
        rest = self._advance(final=True) if self._held else ""
        self._before = self._spoken = ""
        self._at_line_start, self._in_address, self._eat_space, self._in_angle = True, False, False, False
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

    def _special(self, window: str, *, complete: bool) -> _Step | None:  # noqa: PLR0911 - one return a rule
        mark = window[0]
        if mark == "\n":
            self._at_line_start, self._in_angle = True, False
            return 1, mark
        if mark in _EMOJI:
            self._eat_space = not self._spoken.strip()
            return 1, ""
        if mark == _JOINER:
            return 1, "" if self._before in _EMOJI else mark
        if _UNSPEAKABLE.match(mark):
            return 1, ""
        if mark in _INLINE_BULLETS:
            return 1, ","
        if mark == ">":
            closes, self._in_angle = self._in_angle, False
            return 1, "" if closes else mark
        if len(window) == 1 and not complete:
            return None
        rule = self._RULES.get(mark, LayoutFilter._address)
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

    def _highlight(self, window: str, *, complete: bool) -> _Step | None:
        """Drop a `==` that touches a word on one side only; two equal signs between words mean themselves."""
        run = len(window) - len(window.lstrip("="))
        if run == len(window) and not complete:
            return None
        before, after = self._before.strip(), window[run : run + 1].strip()
        is_operator = (before.isalnum() and after.isalnum()) or not (before or after)
        return run, window[:run] if is_operator or run != len("==") else ""

    def _escape(self, window: str, *, complete: bool) -> _Step | None:
        """Drop a backslash that escapes something, or that breaks a line; say a formula between two of them."""
        after = window[1:2]
        if after and after in "([":
            end = window.find("\n") if after == "(" and "\n" in window else len(window)
            closer = window.find(r"\)" if after == "(" else r"\]", 2, end)
            if closer > 0:
                return closer + 2, say_formula(window[2:closer], locale_for(self.language).words.less_than)
            return (2, "") if complete or (after == "(" and "\n" in window) else None
        if after and after in ")]":
            return 2, ""
        return 1, "" if not after or after == "\n" or after in string.punctuation else "\\"

    def _dollar(self, window: str, *, complete: bool) -> _Step | None:
        """Return how a formula is read between two dollar signs; a sign before a digit, or after a letter, is money."""
        after = window[1] if len(window) > 1 else ""
        if after == "$":
            return 2, ""
        if not after or not (after.isascii() and (after.isalpha() or after in r"\{(-|")) or self._before.isalnum():
            return 1, "$"
        end = 1
        while inside := _INSIDE_FORMULA.match(window, end):
            end = inside.end()
        formula = window[1:end]
        if not complete and (end == len(window) or _INSIDE_BEGUN.fullmatch(window, end)):
            return None
        is_closed = window[end : end + 1] == "$" and not formula.endswith(" ")
        if is_closed and end + 1 == len(window) and not complete:
            return None
        is_formula = len(formula) == 1 or _FORMULA_SIGN.search(formula) is not None
        if not is_closed or not is_formula or window[end + 1 : end + 2].isdigit():
            return 1, "$"
        return end + 1, say_formula(formula, locale_for(self.language).words.less_than)

    def _tag(self, window: str, *, complete: bool) -> _Step | None:  # noqa: PLR0911 - one return a rule
        """Drop a tag, keep the address in an autolink and words that are no tag, and say any other `<` as words."""
        after = window[1:2]
        if after == "=":
            return 2, "≤"
        if after == "-" and len(window) == len("<-") and not complete:
            return None
        if after in {"<", "-", ">"} and not (after == "-" and window[2:3].isdigit()):  # quotation marks, arrows
            return 1 + (after == ">"), ""
        if not (after.isalpha() or after in {"/", "!", "?"}):  # "<-5" is a number
            return self._less_than(window, complete=complete)
        line = window.partition("\n")[0]
        inside, closed, _ = line[1:].partition(">")
        is_attached = self._before.isalnum() and after.isalpha()
        if not closed:
            if line == window and not complete and not (is_attached and not _TAG_BEGUN.fullmatch(inside)):
                return None
            return self._less_than(window, complete=complete) if is_attached else (1, "")
        if _ADDRESS.fullmatch(inside):
            return len(inside) + 2, _host(inside)
        if _MAIL.fullmatch(inside):
            return len(inside) + 2, inside.replace("_", "")
        if _WHOLE_TAG.fullmatch(inside) or inside.strip("/ ").lower() in _KNOWN_TAGS:
            return len(inside) + 2, " " if _PARTING_TAG.match(inside) else ""
        if is_attached:
            return self._less_than(window, complete=complete)
        self._in_angle = True
        return 1, ""

    def _less_than(self, window: str, *, complete: bool, length: int = 1) -> _Step | None:
        """Return how a `<` is read, of which `length` characters are written, before something that can be compared."""
        following = window[length:].lstrip(" \xa0")
        if not following and not complete:
            return None
        if not _COMPARED.match(following):
            return length, ""
        word = locale_for(self.language).words.less_than
        before = " " if self._spoken.isalnum() or self._spoken in set(")%]") else ""
        if word.startswith("…"):  # said after the number, where the language wants it so
            number = _NUMBER.match(f"<{window[length:]}")
            if number is None:
                return length, f"{before}{word[1:]}" + (" " if window[length : length + 1].strip() else "")
            end = number.end() - 1 + length
            if end >= len(window) - 1 and not complete:
                return None
            return end, f"{before}{number[1]}{word[1:]}"
        return length, f"{before}{word}" + (" " if window[length : length + 1].strip() else "")

    def _ampersand(self, window: str, *, complete: bool) -> _Step | None:
        """Return an entity as its character, and any other `&` as a word."""
        length = 1
        if entity := _ENTITY.match(window):
            character = html.unescape(entity[0])
            if not character.startswith("&"):
                if character == "<" and self._compares(window[entity.end() :]):
                    return self._less_than(window, complete=complete, length=entity.end())
                if character == "<" and not complete and not window[entity.end() :].strip():
                    return None
                # An entity may hide what is dropped elsewhere. The space keeps an `h` from looking like an address.
                return entity.end(), "" if character not in "$>" and _SPECIAL.search(
                    f"{character} "
                ) else character.replace("\xa0", " ")
            length = entity.end() if character == "&" else 1
        if not complete and (length == len(window) or _ENTITY_BEGUN.fullmatch(window)):
            return None
        following = window[length : length + 1]
        if following == "&":  # the last one of a row speaks for it
            return length, ""
        before = " " if self._spoken.strip() else ""
        after = " " if following.strip() else ""
        return length, f"{before}{locale_for(self.language).words.ampersand}{after}"

    def _compares(self, after: str) -> bool:
        """Whether a `<` written as an entity compares: before a number, or apart from what follows."""
        return after[:1].isdigit() or (after[:1] == " " and _COMPARED.match(after.lstrip()) is not None)

    def _address(self, window: str, *, complete: bool) -> _Step | None:
        """Return an address as its host, without the punctuation that belongs to the sentence."""
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
        "=": _highlight,
        "$": _dollar,
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
