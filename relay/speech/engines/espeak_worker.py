"""Speaking one text with espeak-ng from beginning to end, as a process of its own.

    text ──▶ espeak-ng (22,050 Hz) ──▶ resampled to 8 kHz ──▶ WAV

    {"text", "language"} ──▶ python -m relay.speech.engines.espeak_worker ──▶ WAV, exit status 0
                                                                          └─▶ {"code", "message"}, exit status 3

Resampling is left to miniaudio, a wheel of 0.6 MB. A filter in Python would take seconds after a long text; numpy would
be a wheel of 17 MB for one loop; the standard library's audioop is gone since Python 3.13, and had no low-pass. What is
left above 4 kHz and folds back is damped by 5 dB at 4.2 kHz, 12 at 5, 22 at 6 and 43 at 8 (measured with sines): the
telephone's own filter, which ends at 3.4 kHz, takes the rest.
"""

from __future__ import annotations

import json
import sys

import miniaudio  # type: ignore[import-untyped]

from relay.speech.engines.confinement import confine
from relay.speech.engines.espeak_library import speak
from relay.speech.engines.port import MAX_SECONDS, SAMPLE_RATE, Audio, SpeechFailed, audio_of

FAILED = 3
"""The exit status for a text that cannot be spoken; what a crash leaves is another one, or a signal."""

_FORMAT = miniaudio.SampleFormat.SIGNED16


def spoken(text: str, language: str) -> Audio:
    """Speak a text. Blocks. Raises `SpeechFailed`."""
    recording = speak(text, language, max_seconds=MAX_SECONDS)
    return audio_of(
        bytes(miniaudio.convert_frames(_FORMAT, 1, recording.rate, recording.samples, _FORMAT, 1, SAMPLE_RATE))
    )


def main() -> int:
    """Speak what comes in, and return the exit status."""
    confine()
    asked = json.load(sys.stdin)
    try:
        audio = spoken(asked["text"], asked["language"])
    except SpeechFailed as failure:
        sys.stdout.write(json.dumps({"code": failure.code, "message": str(failure)}))
        return FAILED
    sys.stdout.buffer.write(audio.wav)
    return 0


if __name__ == "__main__":
    sys.exit(main())
