"""Reads what the relay sends on the voice socket, as strictly as the carrier and a little more.

The carrier answers a frame that it cannot use with an `error` frame, and a call with too many of them in a row is
closed. How it treats a field it does not know is not documented; here that is an error as well, because it is always a
typing mistake. Source: Twilio's page on ConversationRelay's WebSocket messages.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping

import attrs

from relay.simulator.carrier.fault_plan import FrameRefused

Json = Mapping[str, object]


@attrs.frozen
class Text:
    """A piece of speech; `last` closes the talk cycle."""

    token: str
    last: bool = False
    preemptible: bool = False


@attrs.frozen
class Play:
    """Audio to be fetched and played."""

    source: str


@attrs.frozen
class SendDigits:
    """Keys to be pressed towards the caller."""

    digits: str


@attrs.frozen
class SwitchLanguage:
    """Another language for what follows; an empty one stays as it is."""

    speech: str
    transcription: str


@attrs.frozen
class End:
    """The session is over; `handoff` goes to the action URL as it is."""

    handoff: str | None = None


Frame = Text | Play | SendDigits | SwitchLanguage | End


def read(message: str | bytes) -> Frame:
    """Return the frame in a WebSocket message. Raises `FrameRefused`, which says what is wrong with it."""
    if isinstance(message, bytes):
        raise FrameRefused("a binary message")
    try:
        fields = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise FrameRefused("not JSON") from error
    if not isinstance(fields, dict):
        raise FrameRefused("not an object")
    kind = fields.pop("type", None)
    if not isinstance(kind, str) or kind not in _READERS:
        raise FrameRefused(f"unknown type {kind!r}")
    known, build = _READERS[kind]
    if unknown := fields.keys() - known:
        raise FrameRefused(f"{kind} has no field {', '.join(sorted(unknown))}")
    return build(fields)


def _text(fields: Json) -> Text:
    _string(fields, "lang", "")
    _truth(fields, "interruptible")
    return Text(_string(fields, "token"), _truth(fields, "last"), _truth(fields, "preemptible"))


def _play(fields: Json) -> Play:
    _truth(fields, "preemptible")
    _truth(fields, "interruptible")
    loop = fields.get("loop", 1)
    if not isinstance(loop, int) or isinstance(loop, bool) or not 0 <= loop <= 1000:
        raise FrameRefused("loop must be a number from 0 to 1000")
    source = _string(fields, "source")
    if not re.match(r"https?://[^\s/]", source):
        raise FrameRefused("source must be an http or https URL")
    return Play(source)


def _digits(fields: Json) -> SendDigits:
    digits = _string(fields, "digits")
    if not re.fullmatch(r"[0-9w#*]+", digits):
        raise FrameRefused("digits may hold 0-9, w, # and *")
    return SendDigits(digits)


def _language(fields: Json) -> SwitchLanguage:
    speech, transcription = _string(fields, "ttsLanguage", ""), _string(fields, "transcriptionLanguage", "")
    if not speech and not transcription:
        raise FrameRefused("language needs ttsLanguage or transcriptionLanguage")
    return SwitchLanguage(speech, transcription)


def _end(fields: Json) -> End:
    return End(_string(fields, "handoffData") if "handoffData" in fields else None)


_READERS: dict[str, tuple[frozenset[str], Callable[[Json], Frame]]] = {
    "text": (frozenset({"token", "last", "lang", "interruptible", "preemptible"}), _text),
    "play": (frozenset({"source", "loop", "preemptible", "interruptible"}), _play),
    "sendDigits": (frozenset({"digits"}), _digits),
    "language": (frozenset({"ttsLanguage", "transcriptionLanguage"}), _language),
    "end": (frozenset({"handoffData"}), _end),
}


def _string(fields: Json, name: str, default: str | None = None) -> str:
    value = fields.get(name, default)
    if not isinstance(value, str):
        raise FrameRefused(f"{name} must be a string")
    return value


def _truth(fields: Json, name: str) -> bool:
    value = fields.get(name, False)
    if not isinstance(value, bool):
        raise FrameRefused(f"{name} must be true or false")
    return value
