"""What belongs to a language: which is chosen, that its file is whole, and that every sentence can be spoken."""

from __future__ import annotations

from importlib import resources

import attrs
import pytest

from actors.policy import Phrases
from relay.dialling.opt_out import LANGUAGES as LISTENED_TO
from relay.speech.hygiene import clean
from relay.speech.locales import locale_for, read_locale

LANGUAGES = ["de", "fr", "es", "it", "pt", "pt-PT", "nl", "pl", "sv", "da", "nb", "fi", "ja", "zh", "ko"]


def sentences(language: str) -> list[str]:
    """Return all sentences of a language, each by itself."""
    locale = locale_for(language)
    plain = attrs.astuple(locale.phrases, filter=lambda field, _value: field.name != "filler")
    disclosure = (locale.disclosure.on_behalf_of("Ada"), locale.disclosure.nameless)
    return [*plain, *locale.phrases.filler, *attrs.astuple(locale.carrier), *disclosure]


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
    assert locale_for(language) is locale_for(same_as)


def test_portugal_has_its_own_sentences() -> None:
    """European Portuguese differs from Brazilian enough to be heard."""
    assert not set(sentences("pt-PT")) <= set(sentences("pt-BR"))


@pytest.mark.parametrize("language", ["en-US", "multi", "", "tlh", "x"])
def test_an_unknown_language_gets_english(language: str) -> None:
    """Where the language is not known, the caller hears English."""
    assert locale_for(language) is locale_for("en")


def test_every_file_is_whole() -> None:
    """Each file is read without a complaint, is of a language that is listed here, and has opt-outs if it may."""
    files = resources.files("relay.speech.locales")
    names = {each.name.removesuffix(".toml") for each in files.iterdir() if each.name.endswith(".toml")}
    assert names == {"en", *LANGUAGES}
    read = {name: read_locale(files.joinpath(f"{name}.toml").read_text(encoding="utf-8")) for name in names}
    assert {name for name, locale in read.items() if locale.opt_outs is not None} == {*LISTENED_TO}


def test_a_call_of_no_language_is_english() -> None:
    """What the state machine says where it is given no phrases is what English callers hear."""
    english = locale_for("en").phrases
    assert english == Phrases(filler=english.filler, long_filler=english.long_filler)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (('still_there = "Are you still there?"\n', ""), r"\[phrases\] lacks still_there"),
        (('still_there = "Are', 'still_here = "A"\nstill_there = "Are'), r"\[phrases\] has still_here"),
        (("[words]", "[other]"), "the file lacks words"),
        (("[words]", "[other]\n[words]"), "the file has other"),
        (("of {name}.", "of them."), r"named in \[disclosure\] must have \{name\}"),
        (("Are you still", "Are you, {name}, still"), r"still_there in \[phrases\] must have nothing in braces"),
        (('"Are you still there?"', '""'), r"still_there in \[phrases\] must be a sentence"),
        (('"Are you still there?"', '["Are you still there?"]'), r"still_there in \[phrases\] must be a sentence"),
        (('["One moment, please.", "Let me see."]', '"One moment."'), "filler .* must be a list of sentences"),
    ],
)
def test_a_file_that_is_not_whole_is_refused(change: tuple[str, str], complaint: str) -> None:
    """Whoever corrects a file is told which sentence is missing, unknown, empty or has a wrong placeholder."""
    text = resources.files("relay.speech.locales").joinpath("en.toml").read_text(encoding="utf-8")
    assert change[0] in text
    with pytest.raises(ValueError, match=complaint):
        read_locale(text.replace(*change, 1))


@pytest.mark.parametrize("language", ["en", *LANGUAGES])
def test_every_language_says_what_calls_and_for_whom(language: str) -> None:
    """The sentence names a machine and the party, and without a party it is whole all the same."""
    disclosure = locale_for(language).disclosure
    named, nameless = disclosure.on_behalf_of("Ada {Lovelace}"), disclosure.on_behalf_of(" ")
    assert "Ada {Lovelace}" in named
    assert named.endswith((".", "。"))
    assert nameless.endswith((".", "。"))
    assert not set("{}") & set(nameless)
    machine = ("AI", "KI", "intelig", "intellig", "inteligenc", "tekoäly", "人工智能")
    assert any(word in named for word in machine)
    assert any(word in nameless for word in machine)


def test_the_languages_differ() -> None:
    """No sentence stands under two languages."""
    assert len({locale_for(each).disclosure for each in LANGUAGES}) == len(LANGUAGES)


def test_a_name_is_one_line_and_short() -> None:
    """A name cannot make a speech of its own."""
    sentence = locale_for("en").disclosure.on_behalf_of("Ada\n\tLovelace\x00 " + "x" * 1000)
    assert sentence.startswith("Hello, this is an AI assistant calling on behalf of Ada Lovelace x")
    assert len(sentence) < 200
