"""What `<Play>` fetched: decoded and measured, so that a test can say what the telephone played.

Only WAV is decoded. Source of the content types: Twilio's page on `<Play>`; anything else is its error 13420, and the
call goes on or not, which is not documented. Here it is a fault of the relay's.
"""

from __future__ import annotations

import array
import io
import math
import sys
import wave

import attrs
import httpx2

from relay.simulator.carrier.fault_plan import WebhookFailed

_WAV = frozenset({"audio/wav", "audio/wave", "audio/x-wav"})
_FULL_SCALE = 32_768


@attrs.frozen(kw_only=True)
class Audio:
    """A recording: length in seconds, samples per second, and loudness as RMS from 0 to 1, of 16-bit samples only."""

    url: str
    seconds: float
    rate: int
    channels: int
    bits: int
    loudness: float


def measure(url: str, response: httpx2.Response) -> Audio:
    """Decode what the relay answered for a `<Play>`. Raises `WebhookFailed` for what a carrier could not play."""
    status = response.status_code
    if status != 200:
        raise WebhookFailed(url, status, f"answered {status} to <Play> (error 11200)")
    kind = response.headers.get("content-type", "").partition(";")[0].strip()
    if kind not in _WAV:
        raise WebhookFailed(url, status, f"the content type {kind!r} cannot be played here (error 13420)")
    try:
        with wave.open(io.BytesIO(response.content)) as recording:
            frames, rate = recording.getnframes(), recording.getframerate()
            channels, width = recording.getnchannels(), recording.getsampwidth()
            samples = recording.readframes(frames)
    except (wave.Error, EOFError) as error:
        raise WebhookFailed(url, status, f"the audio cannot be decoded: {error} (error 13420)") from error
    if len(samples) != frames * channels * width:
        raise WebhookFailed(url, status, "the audio is shorter than its header says (error 13420)")
    return Audio(
        url=url,
        seconds=frames / rate,
        rate=rate,
        channels=channels,
        bits=width * 8,
        loudness=_loudness(samples) if width == 2 else 0.0,
    )


def _loudness(samples: bytes) -> float:
    values = array.array("h", samples)
    if sys.byteorder == "big":  # WAV is little-endian
        values.byteswap()
    return math.sqrt(sum(value * value for value in values) / len(values)) / _FULL_SCALE if values else 0.0
