"""The rules by which one language's opt-outs are heard, read from `opt_outs/<language>.toml`.

A file is for somebody who speaks the language. Phrases are written one a line, as one would write them: case, accents
and apostrophes do not matter. `(a|b)` is one of them, `[a|b]` one of them or nothing, `*` one word whatever it is, and
within a word any rest of it. `?` is a question mark. A word in capitals stands for the words of that name in `[names]`.

    spelled     other spellings, contractions and slips of speech recognition, by what they are read as
    fillers     words that say nothing wherever they stand (um, please, curses): left out before all else
    names       words and phrases that several phrases share
    asks        phrases that ask, whatever comes next, unless `unless_next`
    asks_alone  phrases that ask only where the sentence ends or `goes_on`: "stop calling me", but not "… me Bob"
    may_follow  what may stand between either and what comes next, and changes nothing: "again", "on this number"
    goes_on     what begins another clause
    unless_next what turns a phrase into another wish when it comes next: "before nine", "today"
    unless_after  what turns it into a remark when it stands right before: "why did you", "I told him to"
    remarks     whole phrases that look like a wish and are none: "don't stop calling me"
    apostrophe  what is read for one: "" joins what it stands between (don't), " " parts it (m'appeler)

A sentence is read from its beginning. What is found first counts, and where a remark and a wish begin with the same
word, the remark. `^` is the beginning of the sentence, `$` its end.

Nothing repeats without a bound, so the time is in proportion to the words.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources

import attrs


@attrs.frozen
class Rules:
    """One language. Made by `load_rules`."""

    spellings: Mapping[str, str]
    fillers: frozenset[str]
    apostrophe: str
    _said_for_nothing: re.Pattern[str]
    _spelled: re.Pattern[str]
    _wishes: re.Pattern[str]
    anchors: frozenset[str]
    """One of these words occurs in every sentence that asks. Derived from the phrases, for the cheap look."""

    def asks(self, sentence: str) -> bool:
        """Return whether a sentence asks not to be called again."""
        words = self.normalise(sentence)
        if self.anchors.isdisjoint(words.split()):
            return False
        return any(match["remark"] is match["unless"] is None for match in self._wishes.finditer(words))

    def normalise(self, sentence: str) -> str:
        """Return a sentence as the phrases are compared with it: words with a space after each, `?` one of them."""
        words = self._said_for_nothing.sub("", _fold(sentence, self.apostrophe))
        return self._spelled.sub(lambda match: self.spellings[match.group()], words)


def load_rules(language: str) -> Rules:
    """Read and compile a language's rules. Raises `ValueError`, naming the language and the phrase, for a wrong one."""
    text = resources.files("relay.compliance").joinpath("opt_outs", f"{language}.toml").read_text(encoding="utf-8")
    try:
        return compile_rules(tomllib.loads(text))
    except ValueError as error:
        raise ValueError(f"opt_outs/{language}.toml: {error}") from error


def compile_rules(data: Mapping[str, object]) -> Rules:
    """Compile the content of a rules file. Raises `ValueError` naming a phrase that could never be heard."""
    apostrophe = _text(data, "apostrophe")
    fillers = _variants(_text(data, "fillers"), apostrophe)
    spellings = {
        variant: _fold(reading, apostrophe)
        for reading, variants in _table(data, "spelled").items()
        for variant in _variants(variants, apostrophe)
    }
    notation = _Notation(spellings, fillers, _table(data, "names"), apostrophe)
    lists = _table(data, "phrases")
    phrases = {each: notation.parse(_text(lists, each)) for each in _LISTS}
    asks, alone, follows, goes_on, unless_next, unless_after, remarks = (
        [_expression(line) for line in phrases[each]] for each in _LISTS
    )
    # What may follow is taken whole and not given back, so that what comes next is really next: in "do not call me
    # again before nine", "again" must not become what comes next. A phrase is taken as it was first found, likewise.
    tail = f"(?>(?:{'|'.join(follows)}){{0,6}})(?!{'|'.join(unless_next)})"
    openly = f"(?:{'|'.join(f'(?>{each})' for each in asks)}){tail}"
    alone_ = f"(?:{'|'.join(alone)}){tail}(?={'|'.join(goes_on)}|\\? |$)"
    # What must not stand before is taken along where there is no other way to read it, so that the phrase is not found
    # again without it: in "I don't want any more calls", the "don't" belongs to the phrase.
    before = f"(?P<unless>{'|'.join(unless_after)})??"
    return Rules(
        spellings,
        fillers,
        apostrophe,
        _any_of(fillers),
        _any_of(spellings),
        re.compile(rf"(?<!\S)(?:(?P<remark>{'|'.join(remarks)})|{before}(?:{openly}|{alone_}))"),
        frozenset().union(*(_anchors(line) for each in ("asks", "asks_alone") for line in phrases[each])),
    )


_LISTS = ("asks", "asks_alone", "may_follow", "goes_on", "unless_next", "unless_after", "remarks")


@attrs.frozen
class _Group:
    ways: list[_Phrase]
    is_optional: bool


_Phrase = list["str | _Group"]


@attrs.frozen
class _Notation:
    spellings: Mapping[str, str]
    fillers: frozenset[str]
    names: Mapping[str, str]
    apostrophe: str

    def parse(self, text: str) -> list[_Phrase]:
        """Return the phrases of a list, one a line."""
        return [self._phrase(line.strip()) for line in text.splitlines() if line.strip() and line.strip()[0] != "#"]

    def _phrase(self, line: str) -> _Phrase:
        expanded = line
        for _ in range(_DEEPEST):
            expanded = _NAME.sub(lambda name: f"({_text(self.names, name.group())})", expanded)
        signs = iter([*_TOKEN.findall(expanded), ")"])
        ways = self._ways(signs)
        if next(signs, None) is not None:
            raise ValueError(f"a bracket is closed that was not opened in {line!r}")
        phrase: _Phrase = ways[0] if len(ways) == 1 else [_Group(ways, is_optional=False)]
        if all(isinstance(each, _Group) and each.is_optional for each in phrase):
            raise ValueError(f"nothing needs to be said in {line!r}")
        return phrase

    def _ways(self, signs: Iterator[str]) -> list[_Phrase]:
        ways: list[_Phrase] = [[]]
        for sign in signs:
            if sign in ")]":
                return ways
            if sign in "([":
                ways[-1].append(_Group(self._ways(signs), is_optional=sign == "["))
            elif sign == "|":
                ways.append([])
            else:
                ways[-1] += self._words(sign)
        raise ValueError("a bracket is not closed")

    def _words(self, sign: str) -> list[str]:
        if "*" in sign:
            return _fold(sign, self.apostrophe, keep="*").split()
        if sign in _EDGES:
            return [sign]
        words = _fold(sign, self.apostrophe)
        if words in self.fillers:
            raise ValueError(f"{sign!r} is a filler, and left out of what is said, so it can never be heard")
        return self.spellings.get(words, words).split()


# A name may stand in another one's words, and so on as often as this.
_DEEPEST = 4
_EDGES = {"^": r"\A", "$": r"\Z"}
_NAME = re.compile(r"\b[A-Z][A-Z_]+\b")
_TOKEN = re.compile(r"[()\[\]|?^$]|[^()\[\]|?^$\s]+")


def _expression(phrase: _Phrase) -> str:
    return "".join(
        f"(?:{'|'.join(map(_expression, each.ways))}){'?' if each.is_optional else ''}"
        if isinstance(each, _Group)
        else _EDGES[each]
        if each in _EDGES
        else re.escape(each).replace(r"\*", r"[a-z0-9]*" if len(each) > 1 else "[a-z0-9]+") + " "
        for each in phrase
    )


def _anchors(phrase: _Phrase) -> frozenset[str]:
    """Return words, one of which is in whatever a phrase matches; none where there are no such words.

    Of the places in a phrase that are always filled, the one with the longest words is taken: long words are rare.
    """
    filled = [found for each in phrase if (found := _anchors_of(each))]
    return max(filled, key=lambda words: min(map(len, words)), default=frozenset())


def _anchors_of(element: str | _Group) -> frozenset[str]:
    if isinstance(element, str):
        return frozenset() if "*" in element or element in _EDGES else frozenset({element})
    ways = [_anchors(way) for way in element.ways]
    return frozenset() if element.is_optional or not all(ways) else frozenset().union(*ways)


def _variants(text: str, apostrophe: str) -> frozenset[str]:
    return frozenset(_fold(each, apostrophe) for each in re.split(r"[|\n]", text) if each.strip())


def _any_of(phrases: Iterable[str]) -> re.Pattern[str]:
    # The longer first, as the first that fits is taken; letters, figures and spaces need no escape.
    return re.compile(rf"(?<!\S)(?:{'|'.join(sorted(phrases, key=len, reverse=True)) or '(?!)'})")


def _fold(text: str, apostrophe: str, *, keep: str = "") -> str:
    lower = text.casefold()
    if not lower.isascii():
        decomposed = unicodedata.normalize("NFKD", lower)
        lower = "".join(each for each in decomposed if not unicodedata.combining(each))
    words = re.findall(rf"[a-z0-9{keep}]+|\?", _APOSTROPHE.sub(apostrophe, lower))
    return "".join(f"{each} " for each in words)


_APOSTROPHE = re.compile(r"['\u2018\u2019\u02bc`]")


def _text(data: Mapping[str, object], name: str) -> str:
    value = data.get(name)
    if not isinstance(value, str):
        raise ValueError(f"there is no text named {name}")  # noqa: TRY004
    return value


def _table(data: Mapping[str, object], name: str) -> dict[str, str]:
    value = data.get(name)
    if not isinstance(value, dict):
        raise ValueError(f"there is no table named {name}")  # noqa: TRY004
    return {key: _text(value, key) for key in value}
