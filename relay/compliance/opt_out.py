"""Hearing "stop calling me": whether somebody on a call asks not to be called again.

    words ──plain──▶ lower case, no accents, no punctuation ──phrases of the language──▶ asked, or not

It hears the plain ways of saying it and no hints, because a number goes onto the list at once. The phrases stand in
`opt_out_phrases`, with what must not stand before them (*don't* stop calling me, *why did you* stop calling me), and
what must not follow (do not call me again *before nine*): a wish about when, not whether. A phrase that is missed is
still in the words that the client gets, and a client can put the number on the list too.

A language model would understand more, but this must work when none answers, within a millisecond, and alike each time.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

from relay.compliance.opt_out_phrases import LANGUAGES, Phrases


def spoken_opt_out(text: str, language: str) -> bool:
    """Tell whether a caller's words ask not to be called again.

    `language` is the call's BCP 47 tag. English is heard in every language, because people fall back on it with a
    machine; in one that is not here (or `multi`) all are heard.
    """
    primary = language.replace("_", "-").partition("-")[0].lower()
    heard = {"en", primary} if primary in _PATTERNS else _PATTERNS.keys()
    sentences = [_plain(each) for each in re.findall(r"[^.!?;…]+[.!?;…]*", text)]
    return any(_asks(_PATTERNS[each], sentence) for sentence in sentences for each in heard)


def _asks(pattern: re.Pattern[str], sentence: str) -> bool:
    return any(match["unless"] is None for match in pattern.finditer(sentence))


def _plain(text: str) -> str:
    """Write a sentence as the phrases are written: words with a space after each; a question mark is a word too."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    letters = "".join(each for each in decomposed if not unicodedata.combining(each))
    # An apostrophe joins what it stands between, whichever of its forms was transcribed: don't, m'appeler.
    words = re.findall(r"[a-z0-9]+|\?", re.sub(r"['\u2018\u2019\u02bc`]", "", letters))
    return "".join(f"{each} " for each in words)


def _compile(phrases: Phrases) -> re.Pattern[str]:
    """Make one pattern of a language's phrases.

    What must not stand before is taken along where there is no other way to read it, so that the phrase is not found
    again without it: in "I don't want any more calls", the "don't" belongs to the phrase.
    """
    asking, not_after, not_before = (
        _expression(each, phrases.names) for each in (phrases.asking, phrases.not_after, phrases.not_before)
    )
    return re.compile(rf"(?<!\S)(?P<unless>{not_after})??{asking}(?!{not_before})")


def _expression(notation: str, names: Mapping[str, str]) -> str:
    """Translate the notation of `opt_out_phrases` into a regular expression of one group."""
    text = "|".join(line.strip() for line in notation.strip().splitlines())
    while _NAME.search(text):
        text = _NAME.sub(lambda name: f"({names[name.group()]})", text)
    return f"(?:{_TOKEN.sub(lambda token: _translated(token.group()), text)})"


def _translated(token: str) -> str:
    # Every word of a sentence ends with a space, so an optional word needs no thought about the spaces around it.
    return _SIGNS[token] if token in _SIGNS else token.replace("*", r"\S*") + " "


_SIGNS = {"(": "(?:", ")": ")", "[": "(?:", "]": ")?", "{": "(?=", "}": ")", "?": r"\? ", " ": ""}
_NAME = re.compile("[A-Z_]+")
_TOKEN = re.compile(r"[a-z0-9*]+|[ ()\[\]{}?]")

_PATTERNS: Mapping[str, re.Pattern[str]] = {language: _compile(phrases) for language, phrases in LANGUAGES.items()}
