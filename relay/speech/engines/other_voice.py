"""A speech engine that speaks with another voice where the one that was asked for is not there any more.

    text, voice ──▶ inner ──voice_unknown──▶ first_voice ──▶ inner, with that one ──▶ Audio, which says so

Voices are withdrawn by those who lent them, and by the service. A message in another voice is worth more than none;
that it was another one, the client and the log are told.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import structlog

from relay.speech.engines.port import Audio, SpeechEngine, SpeechFailed
from relay.speech.voices import ELEVENLABS_VOICE

log = structlog.get_logger(__name__)


@attrs.frozen(eq=False)
class OtherVoiceEngine:
    """Speak with `inner`; once more with the voice that `first_voice` returns if the service knows no such voice.

    `inner` may keep what it spoke: it is asked with the voice that speaks.
    """

    inner: SpeechEngine
    first_voice: Callable[[], Awaitable[str]]

    async def synthesise(self, text: str, voice: str, language: str) -> Audio:
        """Speak a text. Raises `SpeechFailed`, for the voice that was asked for where there is no other."""
        try:
            return await self.inner.synthesise(text, voice, language)
        except SpeechFailed as failure:
            parts = ELEVENLABS_VOICE.fullmatch(voice)
            # An invalid voice id is a typing mistake, which the client can correct.
            if failure.code != "voice_unknown" or (voice and parts is None):
                raise
            first = await self._first(failure)
        log.warning("voice_replaced", voice=voice, other_voice=first)
        spoken = await self.inner.synthesise(text, first + (voice[len(parts["id"]) :] if parts else ""), language)
        return attrs.evolve(spoken, other_voice=first)

    async def _first(self, failure: SpeechFailed) -> str:
        try:
            first = await self.first_voice()
        except SpeechFailed as error:
            log.warning("no_other_voice", code=error.code)
            raise failure from None
        if not first:
            raise failure
        return first
