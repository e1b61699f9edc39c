"""Detect "stop calling me" in an utterance.

    utterance ─▶ sentences ─▶ words: folded, spelled alike, without fillers ─▶ cheap look ─▶ opt-out or remark?

The rules are data, `[opt_outs]` in a language's file (`relay/speech/locales/en.toml` and its like), in a notation that
`opt_out_rules` explains. They match plain requests only, no hints, because a number goes onto the list at once. The
client still gets every utterance, and can put the number on the list itself. `scripts/opt_outs.py` measures how much is
heard of sets of sentences that were written before the rules.

A language model would understand more, but this must work without one, within a millisecond, and deterministically.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache, partial

from relay.dialling.opt_out_rules import Rules, load_rules

MAX_CHARACTERS = 16_384
"""How many characters of an utterance are examined, from its end: about a quarter of an hour of speech."""


def spoken_opt_out(text: str, language: str) -> bool:
    """Return whether an utterance asks not to be called again.

    `language` is the call's BCP 47 tag. English is heard in every language, because people fall back on it with a
    machine, or the call was set to a language that the party does not speak; in a language that has no rules (or
    `multi`) all are heard. A third language is not guessed at. Takes time in proportion to the text, and looks at
    the last `MAX_CHARACTERS` of it.
    """
    heard = _heard_in(language)
    sentences = _SENTENCE.findall(text[-MAX_CHARACTERS:])
    return any(rules_of(each).asks(sentence) for sentence in sentences for each in heard)


def opt_out_listener(language: str) -> Callable[[str], bool]:
    """Return `spoken_opt_out` for calls in `language`, with the rules loaded now and not at the first utterance.

    Loading takes some 50 ms a language, once in a process.
    """
    for each in _heard_in(language):
        rules_of(each)
    return partial(spoken_opt_out, language=language)


@cache
def rules_of(language: str) -> Rules:
    """Return the rules of one of `LANGUAGES`; they are read once."""
    return load_rules(language)


def _heard_in(language: str) -> Iterable[str]:
    primary = language.replace("_", "-").partition("-")[0].lower()
    return {"en", primary} if primary in LANGUAGES else LANGUAGES


# A full stop between figures is part of a time of day: "before 9.30".
_SENTENCE = re.compile(r"(?:[^.!?;…]|(?<=\d)\.(?=\d))+[.!?;…]*")

LANGUAGES = ("en", "de", "fr", "es", "it", "pt", "nl")
"""The primary subtags of the languages that are listened to."""
