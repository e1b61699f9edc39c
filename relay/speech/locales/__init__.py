"""What the relay says in its own voice, and listens for, in the languages that callers speak.

    de.toml ──read_locale──▶ Locale: phrases, carrier's phrases, disclosure, words, rules of opt-outs

One file a language beside this one, for a speaker of the language to read and correct; en.toml says what each sentence
is for. A file is read when its language is first spoken, once, and checked then: it has every sentence and no other.

A locale is chosen by the primary tag of a BCP 47 language (RFC 5646, 2.2.1); a region has its own only where people
would notice (Portuguese in Portugal). A language that is not here, and `multi`, gets English: a caller who hears a
foreign sentence still learns that somebody is there.
"""

from __future__ import annotations

import re
import string
import tomllib
from collections.abc import Mapping, Set
from functools import cache, lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from actors.policy import Phrases

if TYPE_CHECKING:
    from attrs import AttrsInstance

Sentences = TypeVar("Sentences", bound="AttrsInstance")

# Norwegian has one written form here: `no` covers both, `nn` is the other. Mandarin goes by two names.
_SAME_AS = {"no": "nb", "nn": "nb", "cmn": "zh"}
_LONGEST_NAME = 100


@attrs.frozen(kw_only=True)
class CarrierPhrases:
    """What is said through TwiML, where no session is up.

    `busy` when no call can be admitted, `cut_off` on reconnecting, `whisper` to the person who picks up a transfer.
    """

    busy: str
    cut_off: str
    whisper: str


@attrs.frozen(kw_only=True)
class Disclosure:
    """The sentence with which an outbound call opens: that a machine speaks, and for whom.

    The callee has not asked for it, so the name of the party that calls comes first. In the United States an artificial
    voice must name the party that is responsible for the call at its beginning (47 CFR 64.1200(b)(1)), and the
    regulator counts generated voices among them (FCC 24-17).
    """

    named: str
    nameless: str

    def on_behalf_of(self, name: str) -> str:
        """Return the sentence with a name, on one line and shortened to what a person would listen to.

        An empty name counts as none.
        """
        name = re.sub(r"[\s\x00-\x1f\x7f]+", " ", name).strip()[:_LONGEST_NAME]
        return self.named.format(name=name) if name else self.nameless


@attrs.frozen(kw_only=True)
class Words:
    """How signs are read aloud: `&`, and `<` before a number, or after it where the words begin with an ellipsis."""

    ampersand: str
    less_than: str


@attrs.frozen(kw_only=True)
class Locale:
    """One language. `opt_outs` are the rules for relay.dialling.opt_out_rules to compile, where there are any."""

    phrases: Phrases
    carrier: CarrierPhrases
    disclosure: Disclosure
    words: Words
    opt_outs: Mapping[str, object] | None = None


@lru_cache(maxsize=256)
def locale_for(language: str) -> Locale:
    """Return what belongs to a language, given as a BCP 47 tag; English where it is not known."""
    tag = language.replace("_", "-").lower()
    primary = tag.partition("-")[0]
    files = _files()
    return _locale(files.get(tag) or files.get(_SAME_AS.get(primary, primary)) or files["en"])


@cache
def _files() -> dict[str, str]:
    names = (each.name for each in resources.files(__name__).iterdir())
    return {name.removesuffix(".toml").lower(): name for name in names if name.endswith(".toml")}


@cache
def _locale(file: str) -> Locale:
    try:
        return read_locale(resources.files(__name__).joinpath(file).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"relay/speech/locales/{file}: {error}") from error


def read_locale(text: str) -> Locale:
    """Read a language's file. Raises `ValueError` naming what is missing, unknown, empty or has a wrong placeholder."""
    content = tomllib.loads(text)
    _compare("the file", content.keys() - {"opt_outs"}, {"phrases", "carrier", "disclosure", "words"})
    return Locale(
        phrases=_sentences(content, "phrases", Phrases),
        carrier=_sentences(content, "carrier", CarrierPhrases),
        disclosure=_sentences(content, "disclosure", Disclosure, named={"name"}),
        words=_sentences(content, "words", Words),
        opt_outs=content.get("opt_outs"),
    )


def _sentences(content: Mapping[str, Any], table: str, kind: type[Sentences], **placeholders: set[str]) -> Sentences:
    """Return one table's value. `placeholders` names the sentences that have some; all others have none."""
    fields = attrs.fields_dict(kind)
    given = content[table]
    _compare(f"[{table}]", given.keys(), fields.keys())
    for name, value in given.items():
        are_several = "tuple" in str(fields[name].type)
        sentences = value if are_several else [value]
        if not isinstance(sentences, list) or not all(isinstance(each, str) and each.strip() for each in sentences):
            raise ValueError(f"{name} in [{table}] must be {'a list of sentences' if are_several else 'a sentence'}")
        wanted = placeholders.get(name, set())
        for sentence in sentences:
            if {field for _text, field, *_rest in string.Formatter().parse(sentence) if field is not None} != wanted:
                shown = ", ".join(f"{{{each}}}" for each in sorted(wanted)) or "nothing in braces"
                raise ValueError(f"{name} in [{table}] must have {shown}")
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})


def _compare(where: str, given: Set[str], wanted: Set[str]) -> None:
    if missing := wanted - given:
        raise ValueError(f"{where} lacks {', '.join(sorted(missing))}")
    if unknown := given - wanted:
        raise ValueError(f"{where} has {', '.join(sorted(unknown))}, which nothing reads")
