"""Which languages are taken, and what is offered in place of what is none."""

from __future__ import annotations

import pytest

from relay.speech.languages import (
    LanguageError,
    is_beyond_conversation,
    lacking,
    read_language,
    suggest_language,
)


@pytest.mark.parametrize(
    ("given", "tag"),
    [
        ("en-US", "en-US"),
        ("EN-us", "en-US"),
        ("de", "de"),
        ("pt-br", "pt-BR"),
        ("zh-hant-tw", "zh-Hant-TW"),
        ("es-419", "es-419"),
        ("de-DE-1996", "de-DE-1996"),
        ("nb-NO", "nb-NO"),
        ("fil-PH", "fil-PH"),
        ("cmn-CN", "cmn-CN"),
        ("uk-UA", "uk-UA"),
        ("iw", "iw"),
        ("tlh", "tlh"),
        ("multi", "multi"),
    ],
)
def test_a_registered_tag_is_taken_in_its_usual_case(given: str, tag: str) -> None:
    """Whether anybody speaks it is another question."""
    assert read_language(given) == tag


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("en US", "en-US"),
        ("english", "en-US"),
        ("de_DE", "de-DE"),
        ("English (GB)", "en-GB"),
        ("Englisch", "en-US"),
        ("deutsch", "de-DE"),
        ("Francais", "fr-FR"),
        ("espanol mx", "es-MX"),
        ("brazilian", "pt-BR"),
        ("日本語", "ja-JP"),
        ("jp", "ja-JP"),
        ("cn", "zh-CN"),
        ("cz-CZ", "cs-CZ"),
        ("gr-GR", "el-GR"),
        ("us", "en-US"),
        ("en-UK", "en-GB"),
        ("en-USA", "en-US"),
        ("deu-DE", "de-DE"),
        ("eng", "en-US"),
        ("de_DE.UTF-8", "de-DE"),
        ("fr_CA", "fr-CA"),
        ("en–US", "en-US"),
        ("en\u200b-US", "en-US"),
        ("en-US-", "en-US"),
    ],
)
def test_what_is_no_tag_is_refused_with_the_one_that_was_meant(given: str, meant: str) -> None:
    """Names, countries, underscores, operating systems' forms: each leads to a tag that is taken."""
    with pytest.raises(LanguageError, match=f"Did you mean {meant}\\?"):
        read_language(given)
    assert read_language(meant) == meant


@pytest.mark.parametrize(
    "given", ["klingon", "", " ", "e", "xx", "C", "POSIX", "und", "mul", "null", "😀", "x" * 1000, "zz-ZZ", "123", "-"]
)
def test_what_cannot_be_guessed_is_refused_with_an_example(given: str) -> None:
    """Nothing is offered that would only be another mistake; what was given is not repeated."""
    with pytest.raises(LanguageError, match=r"such as en-US or de-DE\. A region") as refusal:
        read_language(given)
    assert suggest_language(given) is None
    assert len(given) < 3 or given not in str(refusal.value)


@pytest.mark.parametrize(
    ("tag", "voice", "ears"),
    [
        ("en-US", True, True),
        ("nn-NO", True, True),
        ("tl", True, True),
        ("yue-HK", True, True),
        ("multi", True, True),
        ("ca-ES", False, True),
        ("he-IL", False, True),
        ("ar-EG", True, False),
        ("eu-ES", False, False),
        ("tlh", False, False),
    ],
)
def test_what_a_conversation_lacks_is_said(tag: str, voice: bool, ears: bool) -> None:
    """A language is held against the lists of the voice service and of the transcription service."""
    gaps = lacking(tag)
    assert ("ElevenLabs" not in gaps, "Deepgram" not in gaps) == (voice, ears)
    assert is_beyond_conversation(tag) is not (voice or ears)
