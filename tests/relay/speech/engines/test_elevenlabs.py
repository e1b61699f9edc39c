"""The engine of ElevenLabs, against a stand-in of the service: real HTTP on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from structlog.testing import capture_logs

from relay.speech.engines.elevenlabs import MOST_BYTES, ElevenLabsEngine, ElevenLabsOptions, open_elevenlabs
from relay.speech.engines.port import SpeechFailed
from tests.limits import HANGING
from tests.relay.speech.engines.elevenlabs_service import KEY, VOICE, ElevenLabsService, Reply, elevenlabs_service
from tests.relay.speech.engines.heard import heard

TEXT = "Your appointment is tomorrow."


@asynccontextmanager
async def an_engine(
    reply: Reply | None = Reply(),  # noqa: B008 - frozen
    key: str = KEY,
    timeout: float = 10.0,
) -> AsyncIterator[tuple[ElevenLabsEngine, ElevenLabsService]]:
    """Run the engine against a service that answers `reply`, both gone at the end of the block."""
    with trio.fail_after(HANGING):
        async with elevenlabs_service() as service:
            service.reply = reply
            options = ElevenLabsOptions(api_key=key, base_url=service.url, timeout=timeout)
            async with open_elevenlabs(options) as engine:
                yield engine, service


async def test_a_text_becomes_audio_in_the_voice() -> None:
    """The samples that the service sends are wrapped as they are."""
    async with an_engine() as (engine, service):
        audio = await engine.synthesise(f" {TEXT}\n", VOICE, "de-DE")
    decoded = heard(audio)
    assert (decoded.channels, decoded.bits, decoded.rate, decoded.seconds) == (1, 16, 8000, 1.0)
    assert service.asked == [
        (
            f"/v1/text-to-speech/{VOICE}",
            {"text": TEXT, "model_id": "eleven_flash_v2_5", "language_code": "de"},
        )
    ]


@pytest.mark.parametrize(
    ("voice", "body"),
    [
        (f"{VOICE}-turbo_v2_5", {"model_id": "eleven_turbo_v2_5", "language_code": "en"}),
        (f"{VOICE}-flash_v2", {"model_id": "eleven_flash_v2"}),
        (
            f"{VOICE}-1.1_0.5_0.75",
            {
                "model_id": "eleven_flash_v2_5",
                "language_code": "en",
                "voice_settings": {"speed": 1.1, "stability": 0.5, "similarity_boost": 0.75},
            },
        ),
    ],
    ids=["model", "english model", "settings"],
)
async def test_a_voice_is_read_as_the_carrier_reads_it(voice: str, body: dict[str, object]) -> None:
    """Model and settings behind the voice's id become fields of the request."""
    async with an_engine() as (engine, service):
        await engine.synthesise(TEXT, voice, "en-US")
    assert service.asked == [(f"/v1/text-to-speech/{VOICE}", {"text": TEXT, **body})]


@pytest.mark.parametrize("voice", ["en-US-Journey-O", "../../v1/voices", f"{VOICE}?x=1", f"{VOICE}-v9"])
async def test_what_is_no_voice_of_theirs_is_not_asked_for(voice: str) -> None:
    """Another provider's voice, or something that is none at all, costs no request."""
    async with an_engine() as (engine, service):
        with pytest.raises(SpeechFailed) as refusal:
            await engine.synthesise(TEXT, voice, "en")
    assert (refusal.value.code, service.asked) == ("voice_unknown", [])


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Reply.error(401, {"status": "quota_exceeded", "message": "46 credits are required"}), "speech_quota_exceeded"),
        (Reply.error(401, {"status": "missing_permissions", "message": "no"}), "speech_key_refused"),
        (Reply.error(400, {"status": "max_character_limit_exceeded", "message": "no"}), "text_too_long"),
        (Reply.error(400, {"status": "voice_not_found", "message": "no"}), "voice_unknown"),
        (Reply.error(402, {"status": "something_new", "message": "no"}), "speech_plan_required"),
        (Reply.error(401, {"type": "invalid_request", "code": "quota_exceeded"}), "speech_quota_exceeded"),
        (Reply.error(404, {"type": "not_found", "code": "voice_not_found", "message": "no"}), "voice_unknown"),
        (Reply.error(400, {"type": "validation_error", "code": "text_too_long"}), "text_too_long"),
        (Reply.error(402, {"type": "payment_required", "code": "paid_plan_required"}), "speech_plan_required"),
        (Reply.error(401, {"code": "paid_plan_required", "status": "needs_authorization"}), "speech_plan_required"),
        (Reply.error(400, {"code": "something_new", "status": "voice_not_found"}), "voice_unknown"),
        (Reply.error(400, {"code": None, "status": "quota_exceeded"}), "speech_quota_exceeded"),
        (Reply.error(400, {"code": ["voice_not_found"], "type": "voice_not_found"}), "voice_unknown"),
        (Reply.error(400, {"code": "something_new", "type": "validation_error"}), "speech_refused"),
        (Reply.error(429, {"type": "rate_limit_error", "code": "concurrent_limit_exceeded"}), "speech_busy"),
        (Reply.error(422, [{"loc": ["body", "text"], "msg": "bad", "type": "x", "input": TEXT}]), "speech_refused"),
        (Reply.error(429, {"status": "too_many_concurrent_requests", "message": "no"}), "speech_busy"),
        (Reply.error(429, {"status": "system_busy", "message": "no"}), "speech_busy"),
        (Reply.error(500, "Internal Server Error"), "speech_unavailable"),
        (Reply(503, b"<html>", "text/html"), "speech_unavailable"),
        (Reply(418, b"[]", "application/json"), "speech_refused"),
        (Reply(200, b"<html>welcome to our proxy</html>", "text/html"), "speech_unavailable"),
        (Reply(body=b""), "nothing_to_say"),
        (Reply(body=b"\1" * (MOST_BYTES + 1)), "text_too_long"),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value.status),
)
async def test_what_goes_wrong_there_has_a_name_here(reply: Reply, code: str) -> None:
    """Each refusal and fault says what to do, and neither it nor the log repeats the text or the key."""
    with capture_logs() as logs:
        async with an_engine(reply) as (engine, service):
            with pytest.raises(SpeechFailed) as refusal:
                await engine.synthesise(TEXT, VOICE, "en")
    assert refusal.value.code == code
    assert len(service.asked) == 1
    for told in (str(refusal.value), str(logs)):
        assert TEXT not in told
        assert KEY not in told


async def test_a_wrong_key_is_the_operators_business() -> None:
    """The error names the setting, and not the key."""
    async with an_engine(key="sk_wrong") as (engine, _service):
        with pytest.raises(SpeechFailed, match="ELEVENLABS_API_KEY") as refusal:
            await engine.synthesise(TEXT, VOICE, "en")
    assert refusal.value.code == "speech_key_refused"
    assert "sk_wrong" not in str(refusal.value)


async def test_an_unknown_voice_of_the_right_form_is_reported() -> None:
    """The service knows its voices; its answer is passed on by name."""
    async with an_engine() as (engine, _service):
        with pytest.raises(SpeechFailed) as refusal:
            await engine.synthesise(TEXT, "AAAAAAAAAAAAAAAAAAAA", "en")
    assert refusal.value.code == "voice_unknown"


async def test_a_service_that_does_not_answer_is_given_up() -> None:
    """The time limit holds, and the request is not made again."""
    async with an_engine(None, timeout=0.2) as (engine, service):
        with pytest.raises(SpeechFailed) as refusal:
            await engine.synthesise(TEXT, VOICE, "en")
        await service.left.wait()
    assert (refusal.value.code, len(service.asked)) == ("speech_timeout", 1)


async def test_a_service_that_is_not_there_is_reported() -> None:
    """No connection is a fault of the service, not of the text."""
    async with open_elevenlabs(ElevenLabsOptions(api_key=KEY, base_url="http://127.0.0.1:1")) as engine:
        with trio.fail_after(HANGING), pytest.raises(SpeechFailed) as refusal:
            await engine.synthesise(TEXT, VOICE, "en")
    assert refusal.value.code == "speech_unavailable"


async def test_cancelling_closes_the_connection() -> None:
    """The service notices at once that nobody waits any more."""
    async with an_engine(None) as (engine, service), trio.open_nursery() as nursery:
        nursery.start_soon(engine.synthesise, TEXT, VOICE, "en")
        await service.waiting.wait()
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 10):
            await service.left.wait()
        assert service.left.is_set()
