"""Frames of the relay's are read as strictly as the carrier reads them."""

from __future__ import annotations

import json

import pytest

from relay.simulator.carrier.fault_plan import FrameRefused
from relay.simulator.carrier.voice_frames import End, Frame, Play, SendDigits, SwitchLanguage, Text, read


@pytest.mark.parametrize(
    ("fields", "frame"),
    [
        ({"type": "text", "token": "Hi"}, Text("Hi")),
        ({"type": "text", "token": "", "last": True, "lang": "de-DE", "interruptible": False}, Text("", last=True)),
        ({"type": "text", "token": "Wait", "preemptible": True}, Text("Wait", preemptible=True)),
        ({"type": "play", "source": "https://example.com/a.wav", "loop": 0}, Play("https://example.com/a.wav")),
        ({"type": "sendDigits", "digits": "12w#*"}, SendDigits("12w#*")),
        ({"type": "language", "ttsLanguage": "de-DE"}, SwitchLanguage("de-DE", "")),
        ({"type": "end"}, End()),
        ({"type": "end", "handoffData": "{}"}, End("{}")),
    ],
)
def test_good_frames(fields: dict[str, object], frame: Frame) -> None:
    """Each kind of frame is read with its fields and defaults."""
    assert read(json.dumps(fields)) == frame


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (b'{"type": "end"}', "binary"),
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("null", "not an object"),
        ("{}", "unknown type None"),
        ('{"type": []}', "unknown type"),
        ('{"type": "clear"}', "unknown type 'clear'"),
        ('{"type": "text"}', "token must be a string"),
        ('{"type": "text", "token": null}', "token must be a string"),
        ('{"type": "text", "token": "a", "last": "yes"}', "last must be true or false"),
        ('{"type": "text", "token": "a", "final": true}', "no field final"),
        ('{"type": "text", "token": "a", "lang": 1}', "lang must be a string"),
        ('{"type": "play", "source": "a.wav"}', "http or https"),
        ('{"type": "play", "source": "https://a/b", "loop": 1.5}', "loop must be"),
        ('{"type": "play", "source": "https://a/b", "loop": true}', "loop must be"),
        ('{"type": "sendDigits", "digits": "12a"}', "digits may hold"),
        ('{"type": "sendDigits", "digits": 12}', "digits must be a string"),
        ('{"type": "language"}', "needs ttsLanguage or"),
        ('{"type": "end", "handoffData": {"a": 1}}', "handoffData must be a string"),
        ('{"type": "end", "reason": "done"}', "no field reason"),
    ],
)
def test_bad_frames(message: str | bytes, why: str) -> None:
    """A frame that the carrier would refuse, or that has a field which does not exist, is refused with the reason."""
    with pytest.raises(FrameRefused, match=why):
        read(message)
