"""The names of voices: how one is written that speaks in a conversation, and one that the carrier's `<Say>` has.

A voice of a conversation is ElevenLabs', written as the carrier's page "Picking a voice" has it:

    EXAVITQu4vr4xnSDxMaL - flash_v2_5 - 1.0_0.5_0.75
    the voice's id         model        speed_stability_similarity       the last two may be left out

An empty voice is the carrier's own for the language. In the settings that is an empty `DEFAULT_VOICE_ID`; where an
empty text already means "as usual", it is the word `none`.
"""

from __future__ import annotations

import re

NO_VOICE = "none"
"""How to ask for the carrier's own voice where an empty text means "as usual"."""

ELEVENLABS_VOICE = re.compile(
    r"(?P<id>[A-Za-z0-9]{20})"
    r"(-(?P<model>(flash|turbo)_v\d(_\d)?))?"
    r"(-(?P<speed>\d(\.\d+)?)_(?P<stability>\d(\.\d+)?)_(?P<similarity>\d(\.\d+)?))?",
    re.ASCII,
)

SAY_VOICE = re.compile(r"(Polly|Google)\.[A-Za-z0-9][A-Za-z0-9-]*")
"""A voice of `<Say>` with the prefix of its maker: it has a language, and is refused together with another one."""

SAY_VOICES_OF_ALL = frozenset({"alice", "man", "woman"})
"""Voices of `<Say>` that speak any language."""

# The two that documents name: ElevenLabs' "Sarah", our default, and "Mark", the carrier's.
_IDS = {"sarah": "EXAVITQu4vr4xnSDxMaL", "mark": "UgBBYS2sOqTuMpoF3BR0"}
_SPEED, _SHARE = (0.7, 1.2), (0.0, 1.0)


class VoiceError(ValueError):
    """Why a text names no voice. The text is not in it."""


def read_voice(given: str) -> str:
    """Return the name of an ElevenLabs voice; empty for `NO_VOICE`. Raises `VoiceError`."""
    if given == NO_VOICE:
        return ""
    parts = ELEVENLABS_VOICE.fullmatch(given)
    if parts is None:
        raise VoiceError(f"a voice is an ElevenLabs id of 20 letters and digits, {_hint(given)}")
    for name, (least, most) in {"speed": _SPEED, "stability": _SHARE, "similarity": _SHARE}.items():
        if parts[name] is not None and not least <= float(parts[name]) <= most:
            raise VoiceError(f"the {name} of a voice is a number from {least} to {most}.")
    return given


def read_message_voice(given: str) -> str:
    """Return the name of a voice for a voice message, one of `<Say>` included. Raises `VoiceError`."""
    return given if given in SAY_VOICES_OF_ALL or SAY_VOICE.fullmatch(given) else read_voice(given)


def _hint(given: str) -> str:
    known = _IDS.get(given.strip().lower())
    if known is not None:
        return f"not a name. Did you mean {known}?"
    if given in SAY_VOICES_OF_ALL or SAY_VOICE.fullmatch(given):
        return "such as EXAVITQu4vr4xnSDxMaL; voices of the carrier's <Say> speak in no conversation."
    first = given.strip().partition("-")[0]
    if first.isascii() and first.isalnum() and 15 <= len(first) <= 30 and len(first) != 20:
        return f"and this id has {len(first)}. Copy it again."
    return "such as EXAVITQu4vr4xnSDxMaL; a model and numbers may follow it, as in EXAVITQu4vr4xnSDxMaL-flash_v2_5."
