"""The library behind its fence: which voices, which texts, and how it is found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import espeakng_loader  # type: ignore[import-untyped]
import pytest

from relay.speech.engines.espeak_library import LONGEST_WORD, VOICES, guarded, speak, voice_for
from relay.speech.engines.port import SpeechFailed


@pytest.mark.parametrize(
    ("language", "voice"),
    [
        ("de-AT", "de"),
        ("de", "de"),
        ("en-US", "en-us"),
        ("en-GB", "en"),
        ("en_gb", "en"),
        ("es-MX", "es-419"),
        ("es-ES", "es"),
        ("pt-BR", "pt-br"),
        ("pt-PT", "pt"),
        ("zh-Hans-CN", "cmn"),
        ("si-LK", "en-us"),
        ("multi", "en-us"),
        ("", "en-us"),
    ],
)
def test_a_language_has_a_voice(language: str, voice: str) -> None:
    """The region's voice, else the language's, else the English one."""
    assert voice_for(language) == voice


def test_every_voice_of_the_table_speaks() -> None:
    """The library has each of the voices, and each says something."""
    silent = [each for each in VOICES if not speak("1 2 3", each, max_seconds=60).samples]
    assert silent == []


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("e\u0301te\u0301", "\u00e9t\u00e9"),
        ("a\0b\x1bc", "a b c"),
        ("a\ud800b", "a b"),
        ("a\ue000b\U000f0000c", "a b c"),
        ("\u0645\u06cc\u200c\u062e", "\u0645\u06cc\u200c\u062e"),
        ("x" * (2 * LONGEST_WORD), "x" * LONGEST_WORD + " " + "x" * LONGEST_WORD),
        ("Tomorrow, 3 PM.\nBye!", "Tomorrow, 3 PM. Bye!"),
    ],
    ids=["composed", "controls", "surrogates", "private", "joiners", "words", "lines"],
)
def test_a_text_is_guarded(text: str, spoken: str) -> None:
    """What could trip the library is taken out or cut; what people write stays."""
    assert guarded(text) == spoken


def test_speech_that_gets_too_long_is_refused() -> None:
    """The limit is on what is heard, however short the text."""
    with pytest.raises(SpeechFailed) as refusal:
        speak("one two three four five six seven", "en", max_seconds=1)
    assert refusal.value.code == "text_too_long"


def in_a_fresh_process(data: Path) -> subprocess.CompletedProcess[str]:
    """Speak with the library's data at another place, where the library is not loaded yet."""
    program = (
        "import sys, espeakng_loader\n"
        "espeakng_loader.get_data_path = lambda: sys.argv[1]\n"
        "from relay.speech.engines.espeak_library import speak\n"
        "from relay.speech.engines.port import SpeechFailed\n"
        "try: print(len(speak('Guten Tag', 'de', max_seconds=60).samples))\n"
        "except SpeechFailed as failure: print(failure.code)\n"
    )
    return subprocess.run(
        [sys.executable, "-c", program, str(data)], capture_output=True, text=True, timeout=60, check=False
    )


def test_an_installation_deep_in_the_tree_speaks(tmp_path: Path) -> None:
    """A path to the data that is longer than the library's room for it is gone round."""
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    data = deep / "espeak-ng-data"
    data.symlink_to(espeakng_loader.get_data_path())
    done = in_a_fresh_process(data)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 10_000


def test_a_library_without_its_data_is_a_failure_and_not_an_exit(tmp_path: Path) -> None:
    """The process goes on, and the error has a name."""
    done = in_a_fresh_process(tmp_path / "nothing")
    assert (done.returncode, done.stdout.strip()) == (0, "engine_unavailable")
