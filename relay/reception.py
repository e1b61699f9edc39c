"""What the carrier says of calls, on its way to the registry and to the record.

    voice webhook ──register──▶ Calls.announce, record opened ──ticket──▶ TwiML
    call to be made ──expect──▶ Calls.expect ──placed──▶ Calls.name, record opened
    any webhook ──progressed──▶ Calls.name, Calls.end; record

What a call is told is made here, of a webhook or an order, the agent and the settings. What was chosen for one call
alone goes before what its agent has, and that before the settings; and it holds for the whole call, however often its
line is lost or it comes back from a transfer.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from actors.call_record import CallProgress, CallRecord
from actors.call_values import Callee, CallInfo, Direction, Speaker
from actors.calls import Call, Calls
from actors.errors import CallRefused, StoreFailed
from actors.events import MessageLeft
from actors.policy import Policy
from relay.agent import Agent
from relay.calls import Admission, IncomingCall, OutgoingCall
from relay.faults import report
from relay.speech.hygiene import clean
from relay.store.call_journal import CallJournal


@attrs.frozen(eq=False, kw_only=True)
class Reception:
    """Bring calls to the registry, and what the carrier says of them to their records.

    `policy_for` makes the policy of an agent's calls in a language; the defaults are for what neither a call nor its
    agent says.
    """

    calls: Calls
    journal: CallJournal
    policy_for: Callable[[Agent, str], Policy]
    default_greeting: str
    default_voice: str
    default_language: str

    async def register(self, call: IncomingCall) -> Admission:
        """Admit a call that the carrier announces, or another session of one, with a ticket.

        The same idempotency token for the same call gives the same admission. Raises `CallRefused` when no place can be
        had, also when the record of a new call cannot be opened. Cancelled when the carrier hangs up on its own
        request; it then asks again.
        """
        agent, known = call.agent, self.calls.find_call(call.call_sid)
        info = self._incoming(call, known)
        if known is not None and known.is_announced_as(info, call.idempotency_token):
            return Admission(ticket=known.ticket, call_info=known.info, repeat=True)
        policy = self.policy_for(agent, info.language)
        announced = self.calls.announce(info, policy, idempotency_token=call.idempotency_token)
        admission = Admission(ticket=announced.ticket, call_info=info)
        try:
            before = await self._open_record(info)
        except StoreFailed as error:
            if announced.was_connected:  # the record is there, and so is the caller
                report("record_not_announced", error, call_sid=call.call_sid)
                return admission
            self.calls.end(agent.agent_id, call.call_sid)
            raise CallRefused("no_record", "the call's record could not be opened") from error
        if known is None and before is not None and before.is_over(call.attempt):
            self.calls.end(agent.agent_id, call.call_sid)
            raise CallRefused("over", "the call has ended")
        return admission

    def expect(self, call: OutgoingCall) -> str:
        """Promise a place to a call that is about to be made, and return its ticket. Raises `CallRefused`.

        It is expected for `call.expires_in` seconds, and for as long again once it is placed.
        """
        policy = self.policy_for(call.agent, call.language)
        return self.calls.expect(call.order, self._outgoing(call), policy, seconds=call.expires_in).ticket

    async def placed(self, order: str, call_sid: str) -> None:
        """Name an expected call that the carrier has taken on, and open its record. Raises `StoreFailed`.

        No-op when the call was heard of before, and even when it is over already.
        """
        self.calls.name(order, call_sid)
        call = self.calls.find_call(call_sid)
        if call is not None:
            await self._open_record(call.info)

    def withdraw(self, order: str) -> None:
        """Expect a call no more: it was not placed, or nobody wants it. No-op when it has its name already."""
        self.calls.withdraw(order)

    async def progressed(self, agent_id: str, progress: CallProgress) -> None:
        """Record what the carrier says of a call, in any order and any number of times, and let go of one that is over.

        Raises `StoreFailed` when it could not be written down; the place is free even then, and the carrier may say it
        again. Cancelling loses nothing that counts.
        """
        if progress.order:
            self.calls.name(progress.order, progress.call_sid, agent_id)
        if progress.is_over:
            self.calls.end(agent_id, progress.call_sid)
        await self.journal.note_progress(
            agent_id,
            progress,
            on_message_left=lambda agent_id: self.calls.services.tell(MessageLeft(agent_id)),
        )

    async def picked_up(self, agent_id: str, call_sid: str, callee: Callee) -> None:
        """Tell the call and its record who picked up. Raises `StoreFailed`; the call has been told by then."""
        self.calls.recognise(agent_id, call_sid, callee)
        await self.journal.note_picked_up(agent_id, call_sid, callee)

    async def _open_record(self, info: CallInfo) -> CallRecord | None:
        return await self.journal.announce_call(info.call_sid, info.agent_id, info.direction, info.caller, info.called)

    def _incoming(self, call: IncomingCall, known: Call | None) -> CallInfo:
        """Describe a call that the carrier announces; `known` is what the registry has of it."""
        agent = call.agent
        was_heard = known is not None and any(
            each.speaker is Speaker.CALLER and not each.is_note for each in known.transcript
        )
        is_unheard = call.is_unheard and not was_heard
        if known is not None and known.agent_id == agent.agent_id and call.attempt > 0:
            again = attrs.evolve(known.info, attempt=call.attempt, opened_by=())
            if is_unheard:
                return again
            return attrs.evolve(
                again, greeting=clean(call.greeting or "", again.language), note=call.note, screened=False
            )
        language = agent.language or self.default_language
        given = None if is_unheard else call.greeting
        greeting = given if given is not None else agent.greeting
        return CallInfo(
            call_sid=call.call_sid,
            agent_id=agent.agent_id,
            caller=call.caller,
            called=call.called,
            direction=call.direction,
            verified=call.verified,
            attestation=call.attestation,
            greeting=clean(self.default_greeting if greeting is None else greeting, language),
            system_prompt=agent.system_prompt or "",
            voice=self.default_voice if agent.voice is None else agent.voice,
            language=language,
            started_at=self.calls.now(),
            attempt=call.attempt,
            note=call.note,
        )

    def _outgoing(self, call: OutgoingCall) -> CallInfo:
        """Describe a call that we make, under our order until the carrier has named it."""
        return CallInfo(
            call_sid=call.order,
            agent_id=call.agent.agent_id,
            caller=call.caller,
            called=call.called,
            direction=Direction.OUTBOUND,
            greeting=call.greeting,
            system_prompt=call.system_prompt,
            voice=call.voice,
            language=call.language,
            started_at=self.calls.now(),
            screened=call.screened,
            voicemail=call.on_voicemail,
            for_voicemail=call.for_voicemail,
        )
