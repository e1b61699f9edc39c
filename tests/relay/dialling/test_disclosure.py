"""The sentence that opens an outbound call."""

from __future__ import annotations

import pytest

from relay.dialling.disclosure import disclosure_for

LANGUAGES = ("da", "de", "en", "es", "fi", "fr", "it", "ja", "ko", "nb", "nl", "pl", "pt", "pt-PT", "sv", "zh")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_says_what_calls_and_for_whom(language: str) -> None:
    """The sentence names a machine and the party, and without a party it is whole all the same."""
    named, nameless = disclosure_for(language, "Ada {Lovelace}"), disclosure_for(language, " ")
    assert "Ada {Lovelace}" in named
    assert named.endswith((".", "。"))
    assert nameless.endswith((".", "。"))
    assert not set("{}") & set(nameless)
    machine = ("AI", "KI", "intelig", "intellig", "inteligenc", "tekoäly", "人工智能")
    assert any(word in named for word in machine)
    assert any(word in nameless for word in machine)


def test_the_languages_differ() -> None:
    """No sentence stands under two languages."""
    assert len({disclosure_for(each, "Ada") for each in LANGUAGES}) == len(LANGUAGES)


@pytest.mark.parametrize(
    ("language", "like"),
    [("en-GB", "en"), ("de_AT", "de"), ("PT-pt", "pt-PT"), ("pt-BR", "pt"), ("no", "nb"), ("cmn-Hans-CN", "zh")],
)
def test_a_region_speaks_its_language(language: str, like: str) -> None:
    """A tag is read by its language, with Portuguese in Portugal apart."""
    assert disclosure_for(language, "Ada") == disclosure_for(like, "Ada")


@pytest.mark.parametrize("language", ["multi", "tlh", ""])
def test_other_languages_get_english(language: str) -> None:
    """Whoever hears a foreign sentence still hears that there is one."""
    assert disclosure_for(language, "Ada") == "Hello, this is an AI assistant calling on behalf of Ada."


def test_a_name_is_one_line_and_short() -> None:
    """A name cannot make a speech of its own."""
    sentence = disclosure_for("en", "Ada\n\tLovelace\x00 " + "x" * 1000)
    assert sentence.startswith("Hello, this is an AI assistant calling on behalf of Ada Lovelace x")
    assert len(sentence) < 200
