"""What a speech engine is: text goes in, audio that a telephone line can carry comes out, or a reason why not.

    text, voice, language ──synthesise──▶ Audio (WAV, 8 kHz, mono, 16 bit)
                                      └─▶ SpeechFailed (code, what to do)

The carrier turns whatever it plays into 8 kHz µ-law, and starts soonest with audio of that rate (its page on `<Play>`).
So every engine delivers the same form, and neither the store nor the pages that serve it know who made it.
"""

from __future__ import annotations

import io
import wave
from typing import Protocol

import attrs
from attrs.validators import gt, min_len

from actors.transcript import is_audible

SAMPLE_RATE = 8000
"""Samples a second of all audio here."""

SAMPLE_BYTES = 2
"""Bytes of a sample: 16 bit, signed, little-endian, one channel."""

MAX_CHARACTERS = 3000
"""The longest text that is spoken: three to four minutes, and below each engine's own limit."""

MAX_SECONDS = 600.0
"""The longest audio that is kept (9.6 MB). A text of symbols, each read out by its name, gets longer than it looks."""


@attrs.frozen
class Audio:
    """A whole WAV file in memory, and how long it plays.

    `other_voice` is the voice that spoke because the one that was asked for is unknown; empty where it is not.
    """

    wav: bytes = attrs.field(repr=False, validator=min_len(1))
    seconds: float = attrs.field(validator=gt(0))
    other_voice: str = ""


class SpeechFailed(Exception):
    """Why there is no audio: `code` is snake_case for programs, the text says what is wrong and what to do.

    The text is fit for a client's model: no part of what was to be spoken is in it.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class SpeechEngine(Protocol):
    """What speaks texts: eSpeak NG, ElevenLabs, or a wrapper of one.

    Serves any number of askers at once, though it may let them wait for each other.
    """

    async def synthesise(self, text: str, voice: str, language: str) -> Audio:
        """Speak a text of at most `MAX_CHARACTERS`, which should be clean of what cannot be heard.

        `language` is a BCP 47 tag; `voice` is the engine's own name for one, or empty. Raises `SpeechFailed`. Keeps a
        time limit of its own. Cancelling returns at once and drops the result.
        """
        ...


def checked_text(text: str) -> str:
    """Return the text without blanks around it. Raises `SpeechFailed` when there is no word in it, or too much."""
    stripped = text.strip()
    if not is_audible(stripped):
        raise SpeechFailed("nothing_to_say", "The text has no word that can be spoken; say what shall be spoken.")
    if len(stripped) > MAX_CHARACTERS:
        raise SpeechFailed(
            "text_too_long", f"The text has {len(stripped)} characters; at most {MAX_CHARACTERS} can be spoken. Cut it."
        )
    return stripped


def audio_of(samples: bytes) -> Audio:
    """Wrap samples, in the form that `SAMPLE_RATE` and `SAMPLE_BYTES` name, into a WAV file.

    Raises `SpeechFailed` when they are nothing but silence: the callee would hear nothing.
    """
    if not samples.strip(b"\0"):
        raise SpeechFailed("nothing_to_say", "Nothing in the text can be spoken in this language; word it differently.")
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(SAMPLE_BYTES)
        writer.setframerate(SAMPLE_RATE)
        writer.writeframes(samples)
    return Audio(file.getvalue(), len(samples) / (SAMPLE_BYTES * SAMPLE_RATE))


def read_audio(wav: bytes) -> Audio:
    """Take a WAV file of the form that `audio_of` makes."""
    with wave.open(io.BytesIO(wav)) as reader:
        return Audio(wav, reader.getnframes() / reader.getframerate())
