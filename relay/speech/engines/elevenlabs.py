"""The speech engine of the voices that callers hear in live calls: ElevenLabs, over its HTTP API.

    text, voice ──POST /v1/text-to-speech/{voice}?output_format=pcm_8000──▶ samples ──▶ WAV
                                                └─ {"detail": {"type", "code", …}} ──▶ SpeechFailed

Endpoint, formats and fields: https://elevenlabs.io/docs/api-reference/text-to-speech/convert. The errors:
https://help.elevenlabs.io/hc/en-us/articles/19572237925521; `status` is where the word for an error stood before it was
called `code`, and some answers have it still. `pcm_8000` needs no resampling here and is in every plan;
`wav_8000` is newer than many accounts' documentation, and a header of 44 bytes is no reason to depend on it.

A voice is written as the carrier takes it for live calls: `id[-model][-speed_stability_similarity]`, such as
`EXAVITQu4vr4xnSDxMaL-flash_v2_5-1.0_0.5_0.75`. So one setting serves both. The vendor's SDK was the alternative: it
brings httpx and websockets for this one request, and retries by itself what costs money.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import attrs
import httpx2
import structlog
import trio
from attrs.validators import gt, min_len

from relay.speech.engines.port import (
    MAX_SECONDS,
    SAMPLE_BYTES,
    SAMPLE_RATE,
    Audio,
    SpeechFailed,
    audio_of,
    checked_text,
)
from relay.speech.voices import ELEVENLABS_VOICE

log = structlog.get_logger(__name__)

MOST_BYTES = int(MAX_SECONDS * SAMPLE_RATE * SAMPLE_BYTES)
_MOST_ERROR_BYTES = 64 * 1024
_MOST_VOICE_BYTES = 1024 * 1024

# The carrier's default on its page about `<ConversationRelay>`, which has no voice of its own here.
_USUAL_VOICE = "UgBBYS2sOqTuMpoF3BR0"
_STATUS_WORD = re.compile(r"[a-z0-9_]{1,60}")

# What to do, by the service's own word for what is wrong; it sends some of them with more than one HTTP status.
_BY_WORD = {
    "invalid_api_key": "speech_key_refused",
    "missing_permissions": "speech_key_refused",
    "needs_authorization": "speech_key_refused",
    "detected_unusual_activity": "speech_key_refused",
    "quota_exceeded": "speech_quota_exceeded",
    "insufficient_credits": "speech_quota_exceeded",
    "paid_plan_required": "speech_plan_required",
    "payment_required": "speech_plan_required",
    "voice_not_found": "voice_unknown",
    "text_too_long": "text_too_long",
    "max_character_limit_exceeded": "text_too_long",
    "too_many_concurrent_requests": "speech_busy",
    "system_busy": "speech_busy",
}
_BY_HTTP_STATUS = {
    401: "speech_key_refused",
    402: "speech_plan_required",
    403: "speech_key_refused",
    404: "voice_unknown",
    429: "speech_busy",
}
_ADVICE = {
    "speech_key_refused": "ElevenLabs refused the API key. The relay's operator has to fix ELEVENLABS_API_KEY or what "
    "it may do.",
    "speech_quota_exceeded": "The ElevenLabs account has not enough credit for this text. Shorten it, or let the "
    "relay's operator buy more.",
    "speech_plan_required": "The ElevenLabs account's plan does not include this: its free plan has no voices of the "
    "library by API. Leave voice out, or let the relay's operator choose another voice or plan.",
    "voice_unknown": "ElevenLabs has no such voice for this account. Leave voice out, or give the id of another one.",
    "text_too_long": "The text is too long for ElevenLabs. Cut it.",
    "speech_busy": "ElevenLabs is busy, or takes no more requests of this account at once. Try again in some seconds.",
    "speech_unavailable": "ElevenLabs cannot be reached or has a fault. Try again in a minute.",
    "speech_refused": "ElevenLabs refused the request; another voice, language or wording may do.",
}


@attrs.frozen(kw_only=True)
class ElevenLabsOptions:
    """The account and how to ask it. `timeout` is for a whole synthesis, in seconds."""

    api_key: str = attrs.field(repr=False, validator=min_len(1))
    base_url: str = "https://api.elevenlabs.io"
    model: str = "eleven_flash_v2_5"
    timeout: float = attrs.field(default=30.0, validator=gt(0))


@asynccontextmanager
async def open_elevenlabs(options: ElevenLabsOptions) -> AsyncIterator[ElevenLabsEngine]:
    """Open the connections to the service for as long as the block lasts. Nothing is sent before the first text."""
    async with httpx2.AsyncClient(
        base_url=options.base_url, headers={"xi-api-key": options.api_key}, timeout=options.timeout
    ) as client:
        yield ElevenLabsEngine(client, options)


@attrs.frozen(eq=False)
class ElevenLabsEngine:
    """Speak with the service. No request is made twice: one that is lost on the way back was paid for."""

    _client: httpx2.AsyncClient
    _options: ElevenLabsOptions

    async def synthesise(self, text: str, voice: str, language: str) -> Audio:
        """Speak a text. Raises `SpeechFailed`; cancelling closes the connection at once."""
        voice_id, body = self._request(checked_text(text), voice, language)
        with self._answering():
            return audio_of(await self._ask(voice_id, body))

    async def first_voice(self) -> str:
        """Return the id of the first voice that the account has, empty where it has none. Raises `SpeechFailed`.

        Source: https://elevenlabs.io/docs/api-reference/voices/search; the older `/v1/voices` gives all at once.
        """
        with self._answering():
            async with self._client.stream("GET", "/v2/voices", params={"page_size": 1}) as response:
                if response.status_code != 200:
                    raise _failure(response.status_code, await _read(response, _MOST_ERROR_BYTES))
                return _first_voice(await _read(response, _MOST_VOICE_BYTES))

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Bound the time of a request, and raise as `SpeechFailed` what keeps it from being answered."""
        try:
            with trio.fail_after(self._options.timeout):
                yield
        except (trio.TooSlowError, httpx2.TimeoutException):
            raise SpeechFailed(
                "speech_timeout", f"ElevenLabs did not answer within {self._options.timeout:g} seconds. Try again."
            ) from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            log.warning("speech_service_failed", error=type(error).__name__)
            raise SpeechFailed("speech_unavailable", _ADVICE["speech_unavailable"]) from error

    def _request(self, text: str, voice: str, language: str) -> tuple[str, dict[str, Any]]:
        """Return the voice's id and the request's body."""
        parts = ELEVENLABS_VOICE.fullmatch(voice or _USUAL_VOICE)
        if parts is None:
            raise SpeechFailed(
                "voice_unknown", "This is not the id of an ElevenLabs voice. Leave voice out, or give an id."
            )
        model = f"eleven_{parts['model']}" if parts["model"] else self._options.model
        body: dict[str, Any] = {"text": text, "model_id": model}
        # The other models tell the language from the text, or know English only, and refuse to be told.
        if model.endswith("_v2_5"):
            body["language_code"] = language.replace("_", "-").partition("-")[0].lower()
        if parts["speed"]:
            body["voice_settings"] = {
                "speed": float(parts["speed"]),
                "stability": float(parts["stability"]),
                "similarity_boost": float(parts["similarity"]),
            }
        return parts["id"], body

    async def _ask(self, voice_id: str, body: dict[str, Any]) -> bytes:
        async with self._client.stream(
            "POST", f"/v1/text-to-speech/{voice_id}", params={"output_format": "pcm_8000"}, json=body
        ) as response:
            if response.status_code != 200:
                raise _failure(response.status_code, await _read(response, _MOST_ERROR_BYTES))
            if not response.headers.get("content-type", "").startswith("audio/"):
                log.warning("speech_service_failed", error="the answer is no audio")
                raise SpeechFailed("speech_unavailable", _ADVICE["speech_unavailable"])
            samples = await _read(response, MOST_BYTES)
        if len(samples) >= MOST_BYTES:
            raise SpeechFailed("text_too_long", f"Spoken, the text takes longer than {MAX_SECONDS:g} seconds. Cut it.")
        return samples[: len(samples) // SAMPLE_BYTES * SAMPLE_BYTES]


async def _read(response: httpx2.Response, most: int) -> bytes:
    """Return the body, or as much of it as may be kept."""
    pieces = bytearray()
    with trio.CancelScope() as reading:
        async for piece in response.aiter_bytes():
            pieces += piece[: most - len(pieces)]
            if len(pieces) >= most:
                # Leaving the loop would strand the library's nested generators; cancelled in their wait, they unwind.
                reading.cancel("more than may be kept")
    return bytes(pieces)


def _failure(status: int, body: bytes) -> SpeechFailed:
    words = error_words(body)
    # Its type only says of what kind an error is; the first word that is known here decides.
    word = next((each for each in words if each in _BY_WORD), words[0] if words else "")
    code = _BY_WORD.get(word) or _BY_HTTP_STATUS.get(status)
    if code is None:
        code = "speech_unavailable" if status >= 500 else "speech_refused"
    log.warning("speech_service_refused", code=code, status=status, word=word)
    # The service's own sentence may repeat the text, and what was to be spoken belongs in no error and no log.
    return SpeechFailed(code, f"{_ADVICE[code]} (HTTP {status}{f', {word}' if word else ''})")


def _first_voice(body: bytes) -> str:
    try:
        voice = json.loads(body)["voices"][0]["voice_id"]
    except (ValueError, LookupError, TypeError):
        return ""
    return voice if isinstance(voice, str) and ELEVENLABS_VOICE.fullmatch(voice) else ""


def error_words(body: bytes) -> list[str]:
    """Return the service's words for what is wrong, the most exact first; none where it gave none.

    It gives none for fields that it does not accept: there `detail` is a list.
    """
    try:
        detail = json.loads(body)["detail"]
        given = [detail.get(name) for name in ("code", "status", "type")]
    except (ValueError, LookupError, TypeError, AttributeError):
        return []
    return [each for each in given if isinstance(each, str) and _STATUS_WORD.fullmatch(each)]
