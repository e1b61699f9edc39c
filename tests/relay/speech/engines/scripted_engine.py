"""A speech engine that speaks when the test says so."""

from __future__ import annotations

import attrs
import trio

from relay.speech.engines.port import Audio, SpeechFailed, audio_of


@attrs.define(eq=False)
class ScriptedEngine:
    """Speak `size` bytes of samples for any text, once `go` is set; raise `failure` instead, where there is one."""

    size: int = 1600
    failure: SpeechFailed | None = None
    other_voice: str = ""
    go: trio.Event = attrs.field(factory=trio.Event)
    asked: list[tuple[str, str, str]] = attrs.field(factory=list)

    async def synthesise(self, text: str, voice: str, language: str) -> Audio:
        self.asked.append((text, voice, language))
        await self.go.wait()
        if self.failure is not None:
            raise self.failure
        return attrs.evolve(audio_of(b"\1\2" * (self.size // 2)), other_voice=self.other_voice)
