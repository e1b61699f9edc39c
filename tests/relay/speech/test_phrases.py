"""The relay's own sentences: which language is chosen, and that every sentence can be spoken."""

from __future__ import annotations

import attrs
import pytest

from relay.speech.hygiene import clean
from relay.speech.phrases import carrier_phrases_for, phrases_for, word_for_and

LANGUAGES = ["de", "fr", "es", "it", "pt", "pt-PT", "nl", "pl", "sv", "da", "nb", "fi", "ja", "zh", "ko"]


def sentences(language: str) -> list[str]:
    """Return all sentences of a language, each by itself."""
    phrases = phrases_for(language)
    plain = attrs.astuple(phrases, filter=lambda field, _value: field.name != "filler")
    return [*plain, *phrases.filler, *attrs.astuple(carrier_phrases_for(language))]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_is_translated(language: str) -> None:
    """A language that is here has all its sentences, none of them left in English."""
    there, english = sentences(language), sentences("en")
    assert len(there) == len(english)
    assert all(there)
    assert not set(there) & set(english)


@pytest.mark.parametrize("language", ["en", *LANGUAGES])
def test_every_sentence_is_spoken_as_it_is_written(language: str) -> None:
    """Nothing in our own sentences is of the kind that must not be read aloud."""
    for sentence in sentences(language):
        assert clean(sentence, language) == sentence


@pytest.mark.parametrize(
    ("language", "same_as"),
    [
        ("de-AT", "de"),
        ("DE_ch", "de"),
        ("pt-BR", "pt"),
        ("no-NO", "nb"),
        ("nn", "nb"),
        ("zh-Hans-CN", "zh"),
        ("cmn", "zh"),
    ],
)
def test_a_region_gets_its_language(language: str, same_as: str) -> None:
    """The primary tag decides, however the tag is written."""
    assert phrases_for(language) == phrases_for(same_as)
    assert word_for_and(language) == word_for_and(same_as)


def test_portugal_has_its_own_sentences() -> None:
    """European Portuguese differs from Brazilian enough to be heard."""
    assert phrases_for("pt-PT") != phrases_for("pt-BR")


@pytest.mark.parametrize("language", ["en-US", "multi", "", "tlh", "x"])
def test_an_unknown_language_gets_english(language: str) -> None:
    """Where the language is not known, the caller hears English."""
    assert phrases_for(language) == phrases_for("en")
    assert carrier_phrases_for(language) == carrier_phrases_for("en")
