"""What a call is told of itself when it is connected: made of a webhook or an order, the agent and the settings.

What was chosen for one call alone goes before what its agent has, and that before the settings; and it holds for the
whole call, however often its line is lost or it comes back from a transfer.
"""

from __future__ import annotations

from datetime import datetime

import attrs

from actors.call_values import CallInfo, Direction, Voicemail
from relay.calls import OutgoingCall
from relay.settings import Settings
from relay.speech.hygiene import clean
from relay.twilio.ports import IncomingCall


def of_incoming(call: IncomingCall, settings: Settings, before: CallInfo | None, *, at: datetime) -> CallInfo:
    """Describe a call that the carrier announces; `before` is what its session before this one was told."""
    agent = call.agent
    if before is not None and before.agent_id == agent.agent_id and call.attempt > 0 and call.is_unheard:
        return attrs.evolve(before, connection=call.attempt + 1, opened_by=())
    if before is not None and before.agent_id == agent.agent_id and call.attempt > 0:
        return attrs.evolve(
            before,
            greeting=clean(call.greeting or "", before.language),
            note=call.note,
            connection=call.attempt + 1,
            screened=False,
            opened_by=(),
        )
    language = agent.language or settings.default_voice_language
    given = None if call.is_unheard else call.greeting
    greeting = given if given is not None else agent.greeting
    return CallInfo(
        call_sid=call.call_sid,
        agent_id=agent.agent_id,
        caller=call.caller,
        called=call.called,
        direction=call.direction,
        verified=call.verified,
        attestation=call.attestation,
        greeting=clean(settings.default_voice_greeting if greeting is None else greeting, language),
        system_prompt=agent.system_prompt or "",
        voice=settings.default_voice_id if agent.voice is None else agent.voice,
        language=language,
        started_at=at,
        connection=call.attempt + 1,
        note=call.note,
    )


def of_outgoing(call: OutgoingCall, call_sid: str, *, at: datetime) -> CallInfo:
    """Describe a call that we make, once the carrier has given it a name."""
    return CallInfo(
        call_sid=call_sid,
        agent_id=call.agent.agent_id,
        caller=call.caller,
        called=call.called,
        direction=Direction.OUTBOUND,
        greeting=call.greeting,
        system_prompt=call.system_prompt,
        voice=call.voice,
        language=call.language,
        started_at=at,
        screened=call.screened,
        voicemail=Voicemail(call.on_voicemail.value),
        for_voicemail=call.for_voicemail,
    )
