"""Outbound conversations: a call is expected at the reception, ordered from the carrier, and named when it has a SID.

    request ─▶ gate, dry ─▶ expect ─▶ TwiML with the ticket ─▶ gate, counting ─▶ carrier ─▶ placed
                            └──────── withdraw ◀── refused, or cancelled ──────┘

The call is expected before it is ordered, because its first webhook, and even its socket, may come before the carrier
has answered the order. When no answer comes at all it stays expected: if the telephone rings, the call works.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Any

import attrs
import structlog
import trio

from actors.call_values import CallInfo, Direction
from actors.errors import CallRefused, StoreFailed
from relay.agent import Agent
from relay.dialling.dialler import Dialler, outcome_unknown, too_long
from relay.dialling.requests import CallRequest, Defaults
from relay.dialling.verdict import DialKind
from relay.errors import OutboundRefused
from relay.reception import Reception
from relay.speech.hygiene import clean
from relay.speech.locales import locale_for
from relay.store.schema import utc_now
from relay.twilio import twiml
from relay.twilio.call_orders import MAX_TWIML, PlaceCall
from relay.twilio.rest_errors import CallOutcomeUnknown
from relay.twilio.urls import CarrierUrls

log = structlog.get_logger(__name__)

# From the order to the open socket, besides the ringing: our queue to the carrier and its own, the disclosure, and the
# up to five seconds that it rings longer than it was told.
_EXPECTED_SECONDS = 120.0
# For forgetting a call after its task was cancelled.
_WITHDRAWING_SECONDS = 1.0


@attrs.frozen(kw_only=True)
class Conversations:
    """Outbound calls with a conversation."""

    dialler: Dialler
    reception: Reception
    urls: CarrierUrls
    defaults: Defaults
    now: Callable[[], datetime] = utc_now

    async def make_call(self, agent: Agent, request: CallRequest) -> dict[str, Any]:
        """Place a call and return its `callSid`, `status`, `to` and `from`, before the callee has answered.

        A dry run returns the gate's verdict instead. Raises `OutboundRefused` and one of `STORE_FAILURES`; with the
        code `outcome_unknown` the telephone may ring all the same. Cancelled, the call is taken back as far as it got.
        """
        if request.dry_run:
            return (await self.dialler.explain(agent, request, DialKind.CALL)).as_dry_run()
        with self.dialler.counted(DialKind.CALL):
            return await self._make(agent, request)

    async def _make(self, agent: Agent, request: CallRequest) -> dict[str, Any]:
        call, ring_seconds = await self._prepared(agent, request), self.defaults.ring_time(request)
        try:
            ticket = self.reception.expect(agent, call, seconds=_EXPECTED_SECONDS + ring_seconds)
        except CallRefused as refusal:
            raise OutboundRefused(refusal.code, f"Nothing was dialled: {refusal}. Try again later.") from refusal
        may_ring = False
        try:
            order = self._order(agent, call, ticket, ring_seconds)
            await self.reception.keep_order(call, ticket, seconds=_EXPECTED_SECONDS + ring_seconds)
            placed = await self.dialler.place(agent, request, DialKind.CALL, order)
            may_ring = True
        except CallOutcomeUnknown as unknown:
            may_ring = True
            log.warning("call_outcome_unknown", agent_id=agent.agent_id)
            raise outcome_unknown() from unknown
        finally:
            if not may_ring:
                with trio.move_on_after(_WITHDRAWING_SECONDS, shield=True):  # it waits for nothing
                    await self.reception.withdraw(call.call_sid)
        try:
            await self.reception.placed(call.call_sid, placed.sid)
        except StoreFailed:
            # The telephone rings; the record is opened by the carrier's next report.
            log.warning("record_not_opened", agent_id=agent.agent_id, call_sid=placed.sid)
        return {"callSid": placed.sid, "status": placed.status, "to": call.called, "from": call.caller}

    async def _prepared(self, agent: Agent, request: CallRequest) -> CallInfo:
        """Return the `CallInfo`, under an order of ours until the carrier has given a SID."""
        defaults = self.defaults
        caller, language = defaults.caller_of(agent), defaults.language_of(agent, request.language)
        return CallInfo(
            call_sid=secrets.token_urlsafe(24),
            agent_id=agent.agent_id,
            caller=caller,
            called=await self.dialler.admitted(agent, request, DialKind.CALL),
            direction=Direction.OUTBOUND,
            greeting=clean(defaults.greeting_of(agent, request.greeting), language),
            system_prompt=(agent.system_prompt or "") if request.system_prompt is None else request.system_prompt,
            voice=defaults.voice_of(agent, request.voice),
            language=language,
            started_at=self.now(),
            screened=request.wait_for_human,
            voicemail=request.on_voicemail,
            for_voicemail=clean(request.for_voicemail, language),
        )

    def _order(self, agent: Agent, call: CallInfo, ticket: str, ring_seconds: int) -> PlaceCall:
        agent_id = agent.agent_id
        orders = twiml.conversation_relay(
            socket_url=self.urls.voice_socket(agent_id),
            action_url=self.urls.voice_ended(agent_id),
            ticket=ticket,
            language=call.language,
            voice=call.voice,
            # The greeting must not be heard before a person is known to have answered; then the relay speaks it itself.
            greeting="" if call.screened else call.greeting,
            opening=locale_for(call.language).disclosure.on_behalf_of(agent.name or "") if agent.discloses else "",
        )
        if len(orders) > MAX_TWIML:
            raise too_long("greeting")
        return PlaceCall(
            to=call.called,
            from_=call.caller,
            twiml=orders,
            status_callback=self.urls.call_status(agent_id, call.call_sid),
            ring_seconds=ring_seconds,
            time_limit=self.defaults.time_limit,
            # Always, so that the client learns who picked up; the callee does not notice it.
            detect_machine=self.urls.answered_by(agent_id),
        )
