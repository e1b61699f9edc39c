"""What all engines have in common: which texts they take, and how audio is made of samples."""

from __future__ import annotations

import pytest

from relay.speech.engines.port import MAX_CHARACTERS, SpeechFailed, audio_of, checked_text, read_audio
from tests.relay.speech.engines.heard import heard


def test_samples_become_a_wav_file_of_the_telephone() -> None:
    """The file has 8,000 samples of 16 bit a second on one channel, and says how long it plays."""
    audio = audio_of(b"\x01\x00\xff\x7f" * 2000)
    decoded = heard(audio)
    assert (decoded.channels, decoded.bits, decoded.rate) == (1, 16, 8000)
    assert list(decoded.samples[:2]) == [1, 32767]
    assert audio.seconds == decoded.seconds == 0.5
    assert read_audio(audio.wav) == audio


@pytest.mark.parametrize("samples", [b"", b"\0" * 1000], ids=["none", "silence"])
def test_silence_is_a_failure(samples: bytes) -> None:
    """Audio in which nothing is heard is refused, so that nobody is called for it."""
    with pytest.raises(SpeechFailed) as refusal:
        audio_of(samples)
    assert refusal.value.code == "nothing_to_say"


def test_a_text_is_stripped() -> None:
    """Blanks around a text do not count."""
    assert checked_text(" \n Hello. ") == "Hello."
    assert len(checked_text("x" * MAX_CHARACTERS + " ")) == MAX_CHARACTERS


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "nothing_to_say"),
        (" \n", "nothing_to_say"),
        ("… — 🙂", "nothing_to_say"),
        ("x" * (MAX_CHARACTERS + 1), "text_too_long"),
    ],
)
def test_a_text_that_cannot_be_spoken_is_refused(text: str, code: str) -> None:
    """An empty text and one that is too long are refused by name."""
    with pytest.raises(SpeechFailed) as refusal:
        checked_text(text)
    assert refusal.value.code == code
