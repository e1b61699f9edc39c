"""libespeak-ng by ctypes: the only file that knows its calls. Everything here blocks: it runs in the worker's process.

    text ──guarded──▶ espeak_Synth ──callback, 60 ms a piece──▶ samples at 22,050 Hz

The library and its data come in the wheel `espeakng-loader`. It keeps its state in globals, so there is one of it in a
process, for one thread. Calls and constants: espeak-ng's `speak_lib.h`, version 1.52.

A fault in it is a fault of the whole process, and there are such faults: random texts made the voices for Sinhala and
Tatar write past a buffer and follow a null pointer. So a voice is offered only where hundreds of such texts did no
harm, and a text is guarded before it goes in. That is a fence, not a wall: one text in eight thousand came through.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import re
import tempfile
import unicodedata
from functools import cache
from pathlib import Path

import attrs
import espeakng_loader  # type: ignore[import-untyped]

from relay.speech.engines.port import SpeechFailed

VOICES = {
    "ar": "ar", "bg": "bg", "ca": "ca", "cs": "cs", "da": "da", "de": "de", "el": "el", "en": "en-us",
    "en-au": "en", "en-gb": "en", "en-ie": "en", "en-in": "en", "en-nz": "en", "en-za": "en",
    "es": "es-419", "es-es": "es", "et": "et", "eu": "eu", "fa": "fa", "fi": "fi", "fr": "fr", "he": "he",
    "hi": "hi", "hr": "hr", "hu": "hu", "id": "id", "it": "it", "ja": "ja", "ko": "ko", "lt": "lt", "lv": "lv",
    "nb": "nb", "nl": "nl", "nn": "nb", "no": "nb", "pl": "pl", "pt": "pt-br", "pt-pt": "pt", "ro": "ro", "ru": "ru",
    "sk": "sk", "sl": "sl", "sv": "sv", "tr": "tr", "uk": "uk", "vi": "vi", "zh": "cmn", "cmn": "cmn",
}  # fmt: skip
"""The library's voice for a language, or for a language in a region. Only voices that were tried: see above."""

# Words a minute; its own 175 is hurried on a telephone. This gives 13 to 16 characters a second in European languages.
WORDS_A_MINUTE = 160
# Percent. At 100 the loudest voices reach the end of the scale, and resampling would cut their peaks.
VOLUME = 80

# A word has 160 bytes of room in the library, which is 40 characters of the longest encoding.
LONGEST_WORD = 40

# The library's own room for the path of its data, up to version 1.52: a longer one is cut off and then not found.
LONGEST_PATH = 150

_RATE, _VOLUME = 1, 2
_SYNCHRONOUS = 2
_DO_NOT_EXIT = 0x8000
_FROM_CHARACTER = 1
_UTF8 = 1

_TOO_LONG_WORD = re.compile(rf"(\S{{{LONGEST_WORD}}})(?=\S)")
_PERSIAN_AND_INDIC_JOINERS = "\u200c\u200d"

_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


@attrs.frozen
class Recording:
    """What the library said: 16 bit samples of one channel, and how many of them are a second."""

    samples: bytes = attrs.field(repr=False)
    rate: int


def voice_for(language: str) -> str:
    """Return the voice for a BCP 47 tag: of the region, else of the language, else the English one."""
    tag = language.replace("_", "-").lower()
    return VOICES.get(tag) or VOICES.get(tag.partition("-")[0]) or VOICES["en"]


def guarded(text: str) -> str:
    """Return the text as the library can take it: composed, without controls and unassigned characters, words cut.

    Most of what is dropped cannot be heard; a word that is cut is none of any language.
    """
    composed = unicodedata.normalize("NFC", text)
    visible = "".join(
        each if each in _PERSIAN_AND_INDIC_JOINERS or unicodedata.category(each)[0] != "C" else " " for each in composed
    )
    return _TOO_LONG_WORD.sub(r"\1 ", visible)


def speak(text: str, language: str, *, max_seconds: float) -> Recording:
    """Speak a text, and return all of it.

    Raises `SpeechFailed` when there is no library, or when the speech gets longer than `max_seconds`.
    """
    return _library().speak(guarded(text), voice_for(language), max_seconds)


@cache
def _library() -> _Library:
    # A failure is not remembered, so that a library that was fixed is found without a restart.
    return _Library()


class _Library:
    """The library, loaded and ready. Raises `SpeechFailed` when it cannot be."""

    def __init__(self) -> None:
        try:
            self._calls = ctypes.CDLL(espeakng_loader.get_library_path())
            data = _within_reach(Path(espeakng_loader.get_data_path()))
        except (OSError, RuntimeError) as error:
            raise _unusable(f"cannot be loaded ({error})") from error
        # Without the flag a library that does not find its data ends the process.
        self._rate = self._calls.espeak_Initialize(_SYNCHRONOUS, 0, os.fsencode(data), _DO_NOT_EXIT)
        if self._rate <= 0:
            raise _unusable(f"does not find its data in {data}")
        self._pieces: list[bytes] = []
        self._room = 0
        # Kept for as long as the library may call it: ctypes frees a callback without a reference.
        self._callback = _Callback(self._take)
        self._calls.espeak_SetSynthCallback(self._callback)

    def speak(self, text: str, voice: str, max_seconds: float) -> Recording:
        self._pieces = []
        self._room = int(max_seconds * self._rate)
        if self._calls.espeak_SetVoiceByName(voice.encode()) != 0:
            raise _unusable(f"has no voice {voice}")
        # A voice brings its own rate and volume.
        self._calls.espeak_SetParameter(_RATE, WORDS_A_MINUTE, 0)
        self._calls.espeak_SetParameter(_VOLUME, VOLUME, 0)
        encoded = text.encode() + b"\0"
        status = self._calls.espeak_Synth(
            encoded, ctypes.c_size_t(len(encoded)), 0, _FROM_CHARACTER, 0, _UTF8, None, None
        )
        pieces, self._pieces = self._pieces, []
        if self._room < 0:
            raise SpeechFailed(
                "text_too_long", f"Spoken, the text takes longer than {max_seconds:g} seconds. Cut it, or spell less."
            )
        if status != 0:
            raise SpeechFailed("speech_failed", "The speech engine refused the text; word it differently.")
        return Recording(b"".join(pieces), self._rate)

    def _take(self, samples: int | None, count: int, _events: int | None) -> int:
        """Take the next piece; a true result ends the synthesis. Must not raise: it is called from C."""
        if samples is not None and count > 0:
            self._room -= count
            self._pieces.append(ctypes.string_at(samples, count * ctypes.sizeof(ctypes.c_short)))
        return int(self._room < 0)


def _within_reach(data: Path) -> Path:
    """Return a path to the data that the library has room for: a link with a short name, where its own is long."""
    if len(os.fsencode(data)) <= LONGEST_PATH:
        return data
    folder = tempfile.TemporaryDirectory(prefix="relay-speech-")
    # The library reads a voice's data when the voice is first used, so the link lives as long as the process.
    atexit.register(folder.cleanup)
    link = Path(folder.name, "data")
    link.symlink_to(data)
    return link


def _unusable(why: str) -> SpeechFailed:
    return SpeechFailed(
        "engine_unavailable",
        f"The espeak-ng library of this installation {why}. Its operator can reinstall espeakng-loader, or choose "
        "another speech engine.",
    )
