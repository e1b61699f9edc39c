"""Phrases of opt-outs: read from the notation that `opt_out_rules` explains, written as expressions over letters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import cache

import attrs


def fold(text: str, apostrophe: str, *, keep: str = "") -> list[str]:
    """Return the words of a text in small letters without accents, `?` as one of them; `keep` is part of words, too.

    `apostrophe` is put in place of one, whichever of its forms was transcribed.
    """
    lower = text.casefold()
    if not lower.isascii():
        decomposed = unicodedata.normalize("NFKD", lower)
        lower = "".join(each for each in decomposed if not unicodedata.combining(each))
    words: list[str] = _word_of(keep).findall(_APOSTROPHE.sub(apostrophe, lower))
    return words


@cache
def _word_of(keep: str) -> re.Pattern[str]:
    return re.compile(rf"[a-z0-9{keep}]+|\?")


_APOSTROPHE = re.compile(r"['\u2018\u2019\u02bc`]")


@attrs.frozen
class Replacements:
    """What is read instead of some words: by their first one, all of them, the longest first."""

    by_first: Mapping[str, list[tuple[list[str], list[str]]]]

    @classmethod
    def of(cls, readings: Mapping[str, str], apostrophe: str) -> Replacements:
        """Make the replacements of a mapping from what is said to what it is read as."""
        by_first: dict[str, list[tuple[list[str], list[str]]]] = {}
        folded = [(fold(each, apostrophe), fold(reading, apostrophe)) for each, reading in readings.items()]
        for words, read in sorted(folded, key=lambda pair: -len(pair[0])):
            by_first.setdefault(words[0], []).append((words, read))
        return cls(by_first)

    def possible(self, words: Iterable[str]) -> set[str]:
        """Return all the words that `apply` can give of these, in any order and whatever was left out before."""
        said = set(words)
        firsts = said & self.by_first.keys()
        return said.union(
            *(instead for first in firsts for these, instead in self.by_first[first] if said.issuperset(these))
        )

    def apply(self, words: list[str]) -> list[str]:
        """Return the words with what is read instead of some of them."""
        read: list[str] = []
        place = 0
        while place < len(words):
            for these, instead in self.by_first.get(words[place], ()):
                if words[place : place + len(these)] == these:
                    read += instead
                    place += len(these)
                    break
            else:
                read.append(words[place])
                place += 1
        return read


@attrs.frozen
class Group:
    """A choice of ways to go on within a phrase."""

    ways: list[Phrase]
    is_optional: bool


Phrase = list["str | Group"]


@attrs.frozen
class Notation:
    """Reads phrases, with a language's names and spellings."""

    for_nothing: Replacements
    spellings: Replacements
    names: Mapping[str, str]
    apostrophe: str
    _groups: dict[str, Group] = attrs.field(factory=dict, init=False)

    def parse(self, text: str) -> list[Phrase]:
        """Return the phrases of a list, one a line."""
        return [self._phrase(line.strip()) for line in text.splitlines() if line.strip() and line.strip()[0] != "#"]

    def _phrase(self, line: str) -> Phrase:
        ways = self._all_ways(line)
        phrase: Phrase = ways[0] if len(ways) == 1 else [Group(ways, is_optional=False)]
        if all(isinstance(each, Group) and each.is_optional for each in phrase):
            raise ValueError(f"nothing needs to be said in {line!r}")
        return phrase

    def _all_ways(self, text: str) -> list[Phrase]:
        signs = iter([*_SIGN.findall(text), ")"])
        ways = self._ways(signs)
        if next(signs, None) is not None:
            raise ValueError(f"a bracket is closed that was not opened in {text!r}")
        return ways

    def _named(self, name: str) -> Group:
        if name not in self._groups:
            if name not in self.names:
                raise ValueError(f"{name} is not among the names")
            self._groups[name] = Group(self._all_ways(self.names[name]), is_optional=False)
        return self._groups[name]

    def _ways(self, signs: Iterator[str]) -> list[Phrase]:
        ways: list[Phrase] = [[]]
        for sign in signs:
            if sign in ")]":
                return ways
            if sign in "([":
                ways[-1].append(Group(self._ways(signs), is_optional=sign == "["))
            elif sign == "|":
                ways.append([])
            elif _NAME.fullmatch(sign):
                ways[-1].append(self._named(sign))
            else:
                ways[-1] += self._words(sign)
        raise ValueError("a bracket is not closed")

    def _words(self, sign: str) -> list[str]:
        if sign in EDGES:
            return [sign]
        words = fold(sign, self.apostrophe, keep="*")
        if words and not self.for_nothing.apply(words):
            raise ValueError(f"{sign!r} is a filler, and left out of what is said, so it can never be heard")
        return self.spellings.apply(words)


EDGES = {"^": r"\A", "$": r"\Z"}
_NAME = re.compile(r"[A-Z][A-Z_]+")
_SIGN = re.compile(r"[()\[\]|?^$]|[^()\[\]|?^$\s]+")


@attrs.frozen
class Letters:
    """One letter for each word that phrases know, one for each beginning or end with a `*`, one for all other words."""

    of_words: Mapping[str, str]
    of_parts: tuple[tuple[re.Pattern[str], str], ...]

    @classmethod
    def of(cls, words: Iterable[str]) -> Letters:
        """Assign a letter to each of the words that occur in phrases."""
        known = sorted({*words, "?"} - EDGES.keys() - {"*"})
        letters = {word: chr(_FIRST_LETTER + place) for place, word in enumerate(known)}
        parts = [(re.compile(word.replace("*", ".*")), letter) for word, letter in letters.items() if "*" in word]
        return cls({word: letter for word, letter in letters.items() if "*" not in word}, tuple(parts))

    def write(self, words: Iterable[str]) -> str:
        """Write a sentence in letters. A word of none of the phrases is that of the first part which it has, if any."""
        return "".join(self.of_words.get(word) or self._other(word) for word in words)

    def _other(self, word: str) -> str:
        return next((letter for part, letter in self.of_parts if part.fullmatch(word)), _ANY_OTHER)

    def expression(self, phrase: Phrase) -> str:
        """Return a phrase as a regular expression over letters."""
        return "".join(self._group(each) if isinstance(each, Group) else self._word(each) for each in phrase)

    def _group(self, group: Group) -> str:
        ways = list(_spread(group.ways))
        # Single words last, as one set: the first way that fits is taken, and "no more" must come before "no".
        single = "".join(map(self.expression, filter(self._is_word, ways)))
        longer = [self.expression(way) for way in ways if not self._is_word(way)]
        choice = "|".join([*longer, *([f"[{single}]"] if single else [])])
        return f"(?:{choice}){'?' if group.is_optional else ''}"

    def _is_word(self, way: Phrase) -> bool:
        return len(way) == 1 and isinstance(way[0], str) and way[0] in self.of_words

    def _word(self, word: str) -> str:
        if word in EDGES:
            return EDGES[word]
        if word == "*":
            return f"[^{self.of_words['?']}]"
        if "*" not in word:
            return self.of_words[word]
        part = re.compile(word.replace("*", ".*"))
        known = [letter for each, letter in self.of_words.items() if part.fullmatch(each)]
        own = [letter for each, letter in self.of_parts if each.pattern == part.pattern]
        return f"[{''.join([*known, *own])}]"


# Any letters will do that mean nothing in a regular expression.
_FIRST_LETTER = 0x4E00
_ANY_OTHER = "_"


def _spread(ways: Iterable[Phrase]) -> Iterator[Phrase]:
    for way in ways:
        if len(way) == 1 and isinstance(way[0], Group) and not way[0].is_optional:
            yield from _spread(way[0].ways)
        else:
            yield way


def words_of(phrase: Phrase) -> Iterator[str]:
    """Return every word that occurs in a phrase."""
    for each in phrase:
        if isinstance(each, str):
            yield each
        else:
            for way in each.ways:
                yield from words_of(way)
