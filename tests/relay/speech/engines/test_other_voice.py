"""A voice that is not there any more: another one speaks, and says so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from structlog.testing import capture_logs

from relay.speech.engines.choice import SpeechOptions, open_engine
from relay.speech.engines.port import SpeechEngine, SpeechFailed
from tests.limits import HANGING
from tests.relay.speech.engines.elevenlabs_service import KEY, VOICE, ElevenLabsService, Reply, elevenlabs_service

GONE = "AAAAAAAAAAAAAAAAAAAA"
TEXT = "Your appointment is tomorrow."


@asynccontextmanager
async def an_engine(voices: Reply | None = None) -> AsyncIterator[tuple[SpeechEngine, ElevenLabsService]]:
    """Run the engine as the daemon opens it, against a service that knows one voice and answers a list of voices."""
    with trio.fail_after(HANGING):
        async with elevenlabs_service() as service:
            if voices is not None:
                service.voices = voices
            options = SpeechOptions(elevenlabs_api_key=KEY, elevenlabs_base_url=service.url)
            async with open_engine(options) as engine:
                assert engine is not None
                yield engine, service


@pytest.mark.parametrize(
    ("voice", "spoken"),
    [
        (GONE, {"model_id": "eleven_flash_v2_5", "language_code": "de"}),
        (f"{GONE}-turbo_v2_5", {"model_id": "eleven_turbo_v2_5", "language_code": "de"}),
        (
            f"{GONE}-1.1_0.5_0.75",
            {
                "model_id": "eleven_flash_v2_5",
                "language_code": "de",
                "voice_settings": {"speed": 1.1, "stability": 0.5, "similarity_boost": 0.75},
            },
        ),
        # The one that is taken where none is given has gone as well.
        ("", {"model_id": "eleven_flash_v2_5", "language_code": "de"}),
    ],
)
async def test_the_accounts_first_voice_speaks_for_one_that_is_gone(voice: str, spoken: dict[str, object]) -> None:
    """Model and settings stay; the audio and the log say which voice it is."""
    with capture_logs() as logs:
        async with an_engine() as (engine, service):
            audio = await engine.synthesise(TEXT, voice, "de-DE")
    assert audio.other_voice == VOICE
    assert service.asked == [(f"/v1/text-to-speech/{VOICE}", {"text": TEXT, **spoken})]
    (told,) = [each for each in logs if each["event"] == "voice_replaced"]
    assert (told["voice"], told["other_voice"]) == (voice, VOICE)
    assert TEXT not in str(logs)


async def test_a_voice_that_is_there_is_not_replaced() -> None:
    """Also after another one was: what is kept of the two is one audio, and only the replaced one says so."""
    async with an_engine() as (engine, service):
        replaced = await engine.synthesise(TEXT, GONE, "de")
        plain = await engine.synthesise(TEXT, VOICE, "de")
    assert (replaced.other_voice, plain.other_voice) == (VOICE, "")
    assert len(service.asked) == 1


@pytest.mark.parametrize(
    "voices",
    [
        Reply(200, b'{"voices": []}'),
        Reply(200, b'{"voices": [{"voice_id": "../../v1/user"}]}'),
        Reply(200, b'{"voices": [{}]}'),
        Reply(200, b'{"voices": [{"voice_id": 7}]}'),
        Reply(200, b"<html>"),
        Reply(200, b"[]"),
        Reply.error(401, {"status": "missing_permissions"}),
        Reply.error(500, "no"),
        # Lists a voice that it does not know when it is to speak.
        Reply(200, b'{"voices": [{"voice_id": "BBBBBBBBBBBBBBBBBBBB"}]}'),
    ],
    ids=["none", "a path", "no id", "a number", "a page", "a list", "a limited key", "a fault", "unknown too"],
)
async def test_without_another_voice_the_unknown_one_is_the_reason(voices: Reply) -> None:
    """Once more is once: then the client is told what is wrong with the voice that it asked for."""
    async with an_engine(voices) as (engine, service):
        with pytest.raises(SpeechFailed) as failure:
            await engine.synthesise(TEXT, GONE, "de")
    assert (failure.value.code, service.asked) == ("voice_unknown", [])


@pytest.mark.parametrize("voice", ["alloy", "en-US-Journey-O", "../../v1/voices", "Polly.Joanna"])
async def test_what_is_no_voice_is_a_slip_and_stays_one(voice: str) -> None:
    """A name of another provider's form is the client's to put right; nothing is asked for it."""
    async with an_engine() as (engine, service):
        with pytest.raises(SpeechFailed) as failure:
            await engine.synthesise(TEXT, voice, "de")
    assert (failure.value.code, service.asked) == ("voice_unknown", [])


async def test_other_failures_are_not_repeated() -> None:
    """Speech that costs money is asked for twice only where the first time cost nothing."""
    async with an_engine() as (engine, service):
        service.reply = Reply.error(401, {"code": "quota_exceeded"})
        with pytest.raises(SpeechFailed) as failure:
            await engine.synthesise(TEXT, VOICE, "de")
    assert (failure.value.code, len(service.asked)) == ("speech_quota_exceeded", 1)
