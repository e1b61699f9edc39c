"""Voice messages: a text becomes audio, and a call plays it to the callee.

    text ─▶ gate, counting ─▶ speech engine ─▶ audio under an unguessable name ─▶ carrier ─▶ record
                 └── given back where that fails    └── expired at once where no call was placed

Everything that can fail is done before a telephone rings, so that no callee hears silence. The
gate counts first, because speech may cost money: of many requests at once only those are spoken that may be dialled.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import structlog
import trio

from actors.call_record import CallKind
from actors.call_values import Direction
from actors.errors import StoreFailed
from relay.agent import Agent
from relay.dialling.dialler import Dialler, outcome_unknown, too_long
from relay.dialling.requests import Defaults, VoiceMessageRequest
from relay.dialling.verdict import DialKind
from relay.errors import OutboundRefused
from relay.speech.audio_store import AudioStore
from relay.speech.engines.port import SpeechEngine, SpeechFailed, checked_text
from relay.speech.hygiene import clean
from relay.speech.locales import locale_for
from relay.store.call_journal import CallJournal
from relay.twilio import twiml
from relay.twilio.call_orders import MAX_TWIML, PlaceCall, PlacedCall
from relay.twilio.rest_errors import CallOutcomeUnknown
from relay.twilio.urls import CarrierUrls

log = structlog.get_logger(__name__)

# How long a call may wait for its turn, here and at the carrier, before it rings; audio is kept for longer anyway.
_QUEUE_SECONDS = 300.0
# For changing a file's expiry after the task was cancelled.
_CLEARING_SECONDS = 1.0


def _utc_now() -> datetime:
    return datetime.now(UTC)


@attrs.frozen
class _Speech:
    """What is played: `name` in the audio store, or none where the carrier says `text` itself."""

    text: str
    name: str | None = None
    seconds: float | None = None
    other_voice: str = ""


@attrs.frozen(kw_only=True)
class VoiceMessages:
    """Calls that speak a text to the callee. `engine` is None if the carrier speaks."""

    dialler: Dialler
    journal: CallJournal
    engine: SpeechEngine | None
    audio: AudioStore
    urls: CarrierUrls
    defaults: Defaults
    now: Callable[[], datetime] = _utc_now

    async def send(self, agent: Agent, request: VoiceMessageRequest) -> dict[str, Any]:
        """Place a call that plays a text.

        Returns `callSid`, `status`, `to`, `from`, `audioUrl` and `durationSeconds`, the last two None where the carrier
        speaks, and `otherVoice` if the requested voice is unknown and another one spoke. A dry run returns the gate's
        verdict instead. Raises `OutboundRefused` and one of `STORE_FAILURES`; with
        the code `outcome_unknown` the telephone may ring all the same. Cancelled, it is taken back as far as it got.
        """
        if request.dry_run:
            return (await self.dialler.explain(agent, request, DialKind.VOICE_MESSAGE)).as_dry_run()
        with self.dialler.counted(DialKind.VOICE_MESSAGE):
            return await self._send(agent, request)

    async def _send(self, agent: Agent, request: VoiceMessageRequest) -> dict[str, Any]:
        caller, ring_seconds = self.defaults.caller_of(agent), self.defaults.ring_time(request)
        voice = self.defaults.voice_of(agent, request.voice)
        language = self.defaults.language_of(agent, request.language)
        text = _checked(clean(request.text, language))
        async with (
            self.dialler.counted_first(agent, request, DialKind.VOICE_MESSAGE) as counted,
            self._spoken(text, voice, language, ring_seconds) as speech,
        ):
            orders = self._orders(agent, speech, voice, language)
            order = PlaceCall(
                to=counted.number,
                from_=caller,
                twiml=orders,
                status_callback=self.urls.call_status(agent.agent_id),
                ring_seconds=ring_seconds,
                time_limit=self._time_limit(speech),
            )
            placed = await self.dialler.order(agent, DialKind.VOICE_MESSAGE, order, counted)
        await self._record(agent, placed, order)
        return {
            "callSid": placed.sid,
            "status": placed.status,
            "to": order.to,
            "from": caller,
            "audioUrl": self._url(speech),
            "durationSeconds": None if speech.seconds is None else round(speech.seconds, 1),
        } | ({"otherVoice": speech.other_voice} if speech.other_voice else {})

    @asynccontextmanager
    async def _spoken(self, text: str, voice: str, language: str, ring_seconds: int) -> AsyncIterator[_Speech]:
        """Store the audio for the length of the block, and for longer only if a call may play it."""
        if self.engine is None:
            speech = _Speech(text)
        else:
            try:
                audio = await self.engine.synthesise(text, voice, language)
                seconds = _QUEUE_SECONDS + ring_seconds + audio.seconds
                name = await self.audio.put(audio, self.now() + timedelta(seconds=seconds))
            except SpeechFailed as failure:
                raise _no_audio(failure) from failure
            speech = _Speech(text, name, audio.seconds, audio.other_voice)
        may_ring = False
        try:
            yield speech
            may_ring = True
        except CallOutcomeUnknown as unknown:
            may_ring = True
            log.warning("call_outcome_unknown")
            raise outcome_unknown() from unknown
        finally:
            if not may_ring and speech.name is not None:
                with trio.move_on_after(_CLEARING_SECONDS, shield=True):
                    await self.audio.expire(speech.name)

    def _orders(self, agent: Agent, speech: _Speech, voice: str, language: str) -> str:
        url = self._url(speech)
        orders = twiml.voice_message(
            audio_url=url or "",
            text="" if url else speech.text,
            opening=locale_for(language).disclosure.on_behalf_of(agent.name or "") if agent.discloses else "",
            language=language,
            voice=voice,
        )
        if len(orders) > MAX_TWIML:
            raise too_long("text")
        return orders

    def _time_limit(self, speech: _Speech) -> int:
        longest = self.defaults.time_limit
        # A message ends by itself; what is longer than it and the disclosure is a fault.
        return longest if speech.seconds is None else min(longest, math.ceil(speech.seconds) + 60)

    def _url(self, speech: _Speech) -> str | None:
        return None if speech.name is None else self.urls.audio(speech.name)

    async def _record(self, agent: Agent, placed: PlacedCall, order: PlaceCall) -> None:
        try:
            await self.journal.announce_call(
                placed.sid,
                agent.agent_id,
                Direction.OUTBOUND,
                order.from_,
                order.to,
                kind=CallKind.VOICE_MESSAGE,
            )
        except StoreFailed:
            # The telephone rings; the record is opened by the carrier's next report.
            log.warning("record_not_opened", agent_id=agent.agent_id, call_sid=placed.sid)


def _checked(text: str) -> str:
    try:
        return checked_text(text)
    except SpeechFailed as failure:
        raise _no_audio(failure) from failure


def _no_audio(failure: SpeechFailed) -> OutboundRefused:
    return OutboundRefused(failure.code, f"Nothing was dialled. {failure}")
