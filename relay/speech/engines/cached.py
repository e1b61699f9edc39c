"""A speech engine that says the same thing once: what was spoken is kept, and who asks meanwhile waits for it.

    askers ──▶ kept? ──▶ being spoken? wait ──▶ the inner engine, by one asker for all

There is no task behind it. The first asker speaks in its own task, the others wait for it; when it is cancelled, the
next of them starts anew. A synthesis in a nursery of the engine's would survive its asker, but then nobody who wants it
could cancel it, and somebody would have to run that nursery for as long as the engine lives.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeAlias

import attrs
import trio
from attrs.validators import ge

from relay.speech.engines.port import Audio, SpeechEngine, SpeechFailed

_Key: TypeAlias = tuple[str, str, str]


@attrs.define(eq=False)
class _Flight:
    """A synthesis under way. If it ends without audio and failure, its task was cancelled."""

    over: trio.Event = attrs.field(factory=trio.Event)
    audio: Audio | None = None
    failure: SpeechFailed | None = None


@attrs.frozen(eq=False)
class CachedEngine:
    """Speak with `inner`, once for the same text, voice and language.

    `max_bytes` bounds what is kept, that is 35 minutes of speech in the default; what was not asked for the longest
    goes first. Failures are not kept.
    """

    inner: SpeechEngine
    max_bytes: int = attrs.field(default=32 * 2**20, validator=ge(0))
    # In the order of use, the latest last.
    _kept: OrderedDict[_Key, Audio] = attrs.field(factory=OrderedDict, init=False)
    _flights: dict[_Key, _Flight] = attrs.field(factory=dict, init=False)

    async def synthesise(self, text: str, voice: str, language: str) -> Audio:
        """Speak a text, or return what was spoken before. Raises `SpeechFailed` to all who wait for the same.

        Cancelling one asker touches no other.
        """
        await trio.lowlevel.checkpoint()
        key = (text, voice, language)
        while True:
            if (known := self._kept.get(key)) is not None:
                self._kept.move_to_end(key)
                return known
            if (flight := self._flights.get(key)) is None:
                return await self._fly(key)
            await flight.over.wait()
            if flight.audio is not None:
                return flight.audio
            if flight.failure is not None:
                # One of its own for each asker: an exception that is raised in several tasks collects all their frames.
                raise SpeechFailed(flight.failure.code, str(flight.failure)) from flight.failure

    async def _fly(self, key: _Key) -> Audio:
        flight = self._flights[key] = _Flight()
        try:
            flight.audio = await self.inner.synthesise(*key)
        except SpeechFailed as failure:
            flight.failure = failure
            raise
        finally:
            del self._flights[key]
            flight.over.set()
        self._keep(key, flight.audio)
        return flight.audio

    def _keep(self, key: _Key, audio: Audio) -> None:
        if len(audio.wav) > self.max_bytes:
            return
        self._kept[key] = audio
        total = sum(len(each.wav) for each in self._kept.values())
        while total > self.max_bytes:
            _oldest, dropped = self._kept.popitem(last=False)
            total -= len(dropped.wav)
