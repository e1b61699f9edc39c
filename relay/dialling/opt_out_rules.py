"""The rules by which one language's opt-outs are heard: `[opt_outs]` of `relay/speech/locales/<language>.toml`.

They are written by a speaker of the language. Phrases stand one a line, in normal spelling: case, accents
and apostrophes do not matter. `(a|b)` is one of them, `[a|b]` one of them or nothing, `*` one word whatever it is, and
within a word any rest of it. `?` is a question mark. A word in capitals stands for the words of that name in
`[opt_outs.names]`.

    spelled     other spellings, contractions and slips of speech recognition, by what they are read as
    fillers     words that say nothing wherever they stand (um, please, curses): left out before all else
    names       words and phrases that several phrases share
    asks        phrases that ask, whatever comes next, unless `unless_next`
    asks_alone  phrases that ask only where the sentence ends or `goes_on`: "stop calling me", but not "… me Bob"
    may_follow  what may stand between either and what comes next, and changes nothing: "again", "on this number"
    goes_on     what begins another clause
    unless_next what turns a phrase into another request when it comes next: "before nine", "today"
    unless_after  what turns it into a remark when it stands right before: "why did you", "I told him to"
    remarks     whole phrases that look like an opt-out and are none: "don't stop calling me"
    apostrophe  what is read for one: "" joins what it stands between (don't), " " parts it (m'appeler)

A sentence is read from its beginning. What is found first counts, and where a remark and an opt-out begin with the same
word, the remark. `^` is the beginning of the sentence, `$` its end.

To compare them fast, each word that the phrases know is a letter, and any other word is one of a few: a sentence is
then a short text, a choice of words a set of letters, and the whole file one regular expression. Nothing in it repeats
without a bound, so the time is in proportion to the words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import attrs

from relay.dialling.opt_out_phrases import EDGES, Group, Letters, Notation, Phrase, Replacements, fold, words_of
from relay.speech.locales import locale_for


@attrs.frozen
class Rules:
    """One language. Made by `load_rules`."""

    fillers: frozenset[str]
    anchors: Mapping[str, frozenset[frozenset[frozenset[str]]]]
    """For the cheap look: one of these words is in whatever asks, and of one of its collections, a word of each set."""
    _apostrophe: str
    _for_nothing: Replacements
    _spelled: Replacements
    _letters: Letters
    _opt_outs: re.Pattern[str]

    def asks(self, sentence: str) -> bool:
        """Return whether a sentence asks not to be called again."""
        words = self.normalise(sentence)
        if not self.may_ask(words):
            return False
        text = self._letters.write(words)
        return any(match["remark"] is match["unless"] is None for match in self._opt_outs.finditer(text))

    def normalise(self, sentence: str) -> list[str]:
        """Return a sentence as the phrases are compared with it: spelled alike, without fillers, `?` a word too."""
        words = fold(sentence, self._apostrophe)
        # Twice, because a filler may stand within another one: "por eh favor".
        return self._spelled.apply(self._for_nothing.apply(self._for_nothing.apply(words)))

    def may_be_in(self, text: str) -> bool:
        """Return False where none of the sentences of a text asks, before any of them is normalised."""
        return self.may_ask(self._spelled.possible(fold(text, self._apostrophe)))

    def may_ask(self, words: Iterable[str]) -> bool:
        """Return False where no phrase can be in these words, at a fraction of what comparing them costs."""
        said = set(words)
        for word in said & self.anchors.keys():
            for needs in self.anchors[word]:
                # Loops, because generators in one another cost three times as much, at each utterance of each call.
                for need in needs:
                    if need.isdisjoint(said):
                        break
                else:
                    return True
        return False


def load_rules(language: str) -> Rules:
    """Read and compile a language's rules. Raises `ValueError`, naming the language and the phrase, for a wrong one."""
    rules = locale_for(language).opt_outs
    if rules is None:
        raise ValueError(f"relay/speech/locales/{language}.toml has no [opt_outs]")
    try:
        return compile_rules(rules)
    except ValueError as error:
        raise ValueError(f"relay/speech/locales/{language}.toml: {error}") from error


def compile_rules(data: Mapping[str, object]) -> Rules:
    """Compile the rules of a language's file. Raises `ValueError` naming a phrase that could never be heard."""
    apostrophe = _text(data, "apostrophe")
    fillers = dict.fromkeys(_variants(_text(data, "fillers")), "")
    spelled = {each: reading for reading, text in _table(data, "spelled").items() for each in _variants(text)}
    for_nothing, spellings = (Replacements.of(each, apostrophe) for each in (fillers, spelled))
    notation = Notation(for_nothing, spellings, _table(data, "names"), apostrophe)
    lists = _table(data, "phrases")
    phrases = {each: notation.parse(_text(lists, each)) for each in _LISTS}
    letters = Letters.of(word for each in phrases.values() for phrase in each for word in words_of(phrase))
    asks, alone, follows, goes_on, unless_next, unless_after, remarks = (
        [letters.expression(phrase) for phrase in phrases[each]] for each in _LISTS
    )
    # What may follow is taken whole and not given back, so that what comes next is really next: in "do not call me
    # again before nine", "again" must not become what comes next. A phrase is taken as it was first found, likewise.
    tail = f"(?>(?:{'|'.join(follows)}){{0,6}})(?!{'|'.join(unless_next)})"
    openly = f"(?:{'|'.join(f'(?>{each})' for each in asks)}){tail}"
    # A question mark ends a sentence as well.
    end = f"{letters.expression(['?'])}|$"
    closed = f"(?:{'|'.join(alone)}){tail}(?={'|'.join(goes_on)}|{end})"
    # What must not stand before is taken along where there is no other way to read it, so that the phrase is not found
    # again without it: in "I don't want any more calls", the "don't" belongs to the phrase.
    before = f"(?P<unless>{'|'.join(unless_after)})??"
    return Rules(
        frozenset(" ".join(fold(each, apostrophe)) for each in fillers),
        _anchors(phrase for each in ("asks", "asks_alone") for phrase in phrases[each]),
        apostrophe,
        for_nothing,
        spellings,
        letters,
        re.compile(f"(?P<remark>{'|'.join(remarks)})|{before}(?:{openly}|{closed})"),
    )


_LISTS = ("asks", "asks_alone", "may_follow", "goes_on", "unless_next", "unless_after", "remarks")


def _anchors(phrases: Iterable[Phrase]) -> dict[str, frozenset[frozenset[frozenset[str]]]]:
    """Return the anchors of `Rules`. Raises `ValueError` for a phrase that has no word of its own.

    Of the places in a phrase that are always filled, the one with the longest words is taken: long words are rare.
    """
    anchors: dict[str, set[frozenset[frozenset[str]]]] = {}
    for phrase in phrases:
        filled = [words for each in phrase if (words := _filled_by(each))]
        if not filled:
            raise ValueError("a phrase needs a word that must be said")
        rarest = max(filled, key=lambda words: min(map(len, words)))
        for word in rarest:
            anchors.setdefault(word, set()).add(frozenset(each for each in filled if each is not rarest))
    return {word: frozenset(needs) for word, needs in anchors.items()}


def _filled_by(element: str | Group) -> frozenset[str]:
    """Return words, one of which is said wherever this is; none where it may be left out, or be any word."""
    if isinstance(element, str):
        return frozenset() if "*" in element or element in EDGES else frozenset({element})
    ways = [max(map(_filled_by, way), key=len, default=frozenset()) for way in element.ways]
    return frozenset() if element.is_optional or not all(ways) else frozenset[str]().union(*ways)


def _variants(text: str) -> list[str]:
    return [each for each in re.split(r"[|\n]", text) if each.strip()]


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
