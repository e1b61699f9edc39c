"""Which speech engine is used, and opening it: the one place that knows all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum
from typing import assert_never

import attrs

from relay.errors import SettingsError
from relay.speech.engines.cached import CachedEngine
from relay.speech.engines.elevenlabs import ElevenLabsOptions, open_elevenlabs
from relay.speech.engines.espeak import EspeakEngine
from relay.speech.engines.other_voice import OtherVoiceEngine
from relay.speech.engines.port import SpeechEngine


class EngineKind(Enum):
    """The engine that speaks voice messages. With `CARRIER` no audio is made: the call is told to `<Say>` the text."""

    ESPEAK = "espeak"
    ELEVENLABS = "elevenlabs"
    CARRIER = "carrier"


@attrs.frozen(kw_only=True)
class SpeechOptions:
    """What the settings say about speech. Without a `kind` it is ElevenLabs where there is a key, else espeak."""

    kind: EngineKind | None = None
    elevenlabs_api_key: str | None = attrs.field(default=None, repr=False)
    elevenlabs_base_url: str = "https://api.elevenlabs.io"

    @property
    def chosen(self) -> EngineKind:
        """The engine that is used."""
        if self.kind is not None:
            return self.kind
        return EngineKind.ELEVENLABS if self.elevenlabs_api_key else EngineKind.ESPEAK


@asynccontextmanager
async def open_engine(options: SpeechOptions) -> AsyncIterator[SpeechEngine | None]:
    """Open the engine for as long as the block lasts; None where the carrier speaks. What was spoken is kept.

    Raises `SettingsError` for ElevenLabs without a key.
    """
    match options.chosen:
        case EngineKind.ESPEAK:
            yield CachedEngine(EspeakEngine())
        case EngineKind.ELEVENLABS:
            if not options.elevenlabs_api_key:
                raise SettingsError("ElevenLabs needs a key: set ELEVENLABS_API_KEY, or choose another speech engine.")
            service = ElevenLabsOptions(api_key=options.elevenlabs_api_key, base_url=options.elevenlabs_base_url)
            async with open_elevenlabs(service) as engine:
                yield OtherVoiceEngine(CachedEngine(engine), engine.first_voice)
        case EngineKind.CARRIER:
            yield None
        case _ as unknown:
            assert_never(unknown)
