"""Which engine it is."""

from __future__ import annotations

import pytest
import trio

from relay.errors import SettingsError
from relay.speech.engines.choice import EngineKind, SpeechOptions, open_engine
from tests.limits import HANGING
from tests.relay.speech.engines.elevenlabs_service import KEY, VOICE, elevenlabs_service


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        (SpeechOptions(), EngineKind.ESPEAK),
        (SpeechOptions(elevenlabs_api_key=KEY), EngineKind.ELEVENLABS),
        (SpeechOptions(elevenlabs_api_key=KEY, kind=EngineKind.ESPEAK), EngineKind.ESPEAK),
        (SpeechOptions(kind=EngineKind.CARRIER), EngineKind.CARRIER),
    ],
)
def test_a_key_chooses_the_service_unless_it_was_chosen_otherwise(options: SpeechOptions, chosen: EngineKind) -> None:
    """Without a word about it the engine that needs no account speaks, and with a key the one that has it."""
    assert options.chosen is chosen


async def test_without_an_account_there_is_speech() -> None:
    """The default makes real audio."""
    with trio.fail_after(HANGING):
        async with open_engine(SpeechOptions()) as engine:
            assert engine is not None
            assert (await engine.synthesise("Hello.", VOICE, "en-US")).seconds > 0.3


async def test_the_same_text_costs_one_request() -> None:
    """What was paid for is kept."""
    with trio.fail_after(HANGING):
        async with elevenlabs_service() as service:
            options = SpeechOptions(elevenlabs_api_key=KEY, elevenlabs_base_url=service.url)
            async with open_engine(options) as engine:
                assert engine is not None
                first = await engine.synthesise("Hello.", VOICE, "en-US")
                assert await engine.synthesise("Hello.", VOICE, "en-US") is first
    assert len(service.asked) == 1


async def test_the_carrier_makes_no_audio() -> None:
    """There is no engine then, and the call says the text itself."""
    async with open_engine(SpeechOptions(kind=EngineKind.CARRIER)) as engine:
        assert engine is None


async def test_the_service_needs_a_key() -> None:
    """A daemon that was told to use it without one does not start."""
    with pytest.raises(SettingsError, match="ELEVENLABS_API_KEY"):
        async with open_engine(SpeechOptions(kind=EngineKind.ELEVENLABS)):
            pass
