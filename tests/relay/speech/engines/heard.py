"""What a telephone would hear of audio: the WAV file decoded, without the product's own code."""

from __future__ import annotations

import array
import io
import math
import sys
import wave

import attrs

from relay.speech.engines.port import Audio


@attrs.frozen
class Heard:
    """A decoded WAV file. `loudness` is the root mean square of the samples, of 32,768."""

    channels: int
    bits: int
    rate: int
    samples: array.array[int] = attrs.field(repr=False)

    @property
    def seconds(self) -> float:
        """How long it plays."""
        return len(self.samples) / self.rate

    @property
    def loudness(self) -> float:
        """How loud it is."""
        return math.sqrt(sum(each * each for each in self.samples) / len(self.samples))

    def loudness_at(self, hertz: float) -> float:
        """How loud one tone in it is, by Goertzel's algorithm."""
        step = 2 * math.cos(2 * math.pi * hertz / self.rate)
        before, last = 0.0, 0.0
        for each in self.samples:
            before, last = last, each + step * last - before
        power = before * before + last * last - step * before * last
        return math.sqrt(2 * max(power, 0.0)) / len(self.samples)


def heard(audio: Audio) -> Heard:
    """Decode audio."""
    with wave.open(io.BytesIO(audio.wav)) as file:
        samples = array.array("h", file.readframes(file.getnframes()))
        if sys.byteorder == "big":
            samples.byteswap()
        return Heard(file.getnchannels(), 8 * file.getsampwidth(), file.getframerate(), samples)
