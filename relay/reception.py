"""The reception: the carrier's reports of calls go to the registry and to the call's record.

    voice webhook ──register──▶ Calls.announce, record opened ──ticket──▶ TwiML
    call to be made ──expect──▶ Calls.expect ──placed──▶ Calls.name, record opened
    a call that another run had ──register, redeem_kept──▶ its state is read ──▶ Calls.restore, and on as above
    any webhook ──progressed──▶ Calls.name, Calls.end; record
    transfer's webhooks ──transfer_handed, transfer_dialled──▶ its `Transfer`; record

The `CallInfo` is made here, from a webhook or an order, the agent and the settings. A choice for one call takes
precedence over its agent, and the agent over the settings; it holds for the whole call, however often its line is lost
or it returns from a transfer. So it is stored when the call is announced or ordered: another run of the daemon, which
the carrier may ask next, then knows it too.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import attrs
import structlog
import trio
from attrs.validators import ge, in_, min_len

from actors.call_record import CallProgress, CallRecord
from actors.call_values import Callee, CallInfo, Direction, Speaker
from actors.calls import TICKET_SECONDS, Call, Calls
from actors.errors import CallRefused, StoreFailed
from actors.events import MessageLeft, TransferMoved
from actors.policy import Policy
from actors.transfer import Todo, Transfer, TransferOrder, TransferOutcome, note_for
from relay.agent import Agent, CallDefaults
from relay.errors import STORE_FAILURES
from relay.logs import report
from relay.metrics import CallMeter
from relay.speech.hygiene import clean
from relay.store.call_journal import CallJournal
from relay.store.call_states import Announcement, KeptCall

log = structlog.get_logger(__name__)


@attrs.frozen(kw_only=True)
class IncomingCall:
    """A call that the carrier asks about, as its signed webhook describes it.

    `caller` and `called` are the numbers as the carrier names them; `attestation` is the letter with which the caller's
    own carrier vouches for the number (A in full, B for the customer, C for the gateway) or empty; `is_passed_on` says
    that it comes with a reservation: the call was diverted, or the verdict is another carrier's. `idempotency_token` is
    the same for all repeats of one request, and empty where the carrier gave none. `attempt` is 0 for a call's first
    session; a session lost on the way is resumed as 1, 2 and so on, and so is one that comes back from a transfer; then
    `greeting` is what the carrier shall say first, in place of the agent's own, and `note` says what happened in
    between, for the responder. Of a call that `is_unheard` nothing was heard yet: its session begins as the one before
    did; so does that of a call whose callee was still to be recognised.
    """

    agent: Agent
    call_sid: str = attrs.field(validator=min_len(1))
    caller: str = ""
    called: str = ""
    direction: Direction = Direction.INBOUND
    attestation: str = attrs.field(default="", validator=in_(("", "A", "B", "C")))
    is_passed_on: bool = False
    idempotency_token: str = attrs.field(default="", repr=False)
    attempt: int = attrs.field(default=0, validator=ge(0))
    greeting: str | None = None
    note: str = attrs.field(default="", repr=False)
    is_unheard: bool = False

    @property
    def verified(self) -> bool:
        """Whether the caller's own carrier vouches in full for the number, and no other carrier is in between."""
        return self.attestation == "A" and not self.is_passed_on


@attrs.frozen(kw_only=True)
class Admission:
    """The admission of a call: `ticket` is for its socket, once.

    The TwiML is made from `call_info` alone: its greeting, voice and language. `repeat` says that the same request was
    admitted before, with this ticket.
    """

    ticket: str = attrs.field(repr=False, validator=min_len(1))
    call_info: CallInfo
    repeat: bool = False


@attrs.frozen(eq=False, kw_only=True)
class Reception:
    """Admit calls, and report what the carrier says of them to the registry and their records.

    `policy_for` makes the policy of an agent's calls in a language.
    """

    calls: Calls
    journal: CallJournal
    policy_for: Callable[[Agent, str], Policy]
    defaults: CallDefaults
    observer: CallMeter

    async def register(self, call: IncomingCall) -> Admission:
        """Admit a call that the carrier announces, or another session of one, with a ticket.

        The same idempotency token for the same call gives the same admission. Raises `CallRefused` when no place can be
        had, also when the record of a new call cannot be opened. Cancelled when the carrier hangs up on its own
        request; it then asks again.
        """
        agent, known = call.agent, self.calls.find_call(call.call_sid)
        if known is None and call.attempt > 0:
            known = await self._restored(agent, call.call_sid)
        info = self._incoming(call, known)
        if known is not None and known.is_announced_as(info, call.idempotency_token):
            return Admission(ticket=known.ticket, call_info=known.info, repeat=True)
        policy = self.policy_for(agent, info.language)
        announced = self._announce(info, policy, idempotency_token=call.idempotency_token)
        admission = Admission(ticket=announced.ticket, call_info=info)
        try:
            before = await self._open_record(info, announced.ticket)
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

    def _announce(self, info: CallInfo, policy: Policy, *, idempotency_token: str = "") -> Call:
        try:
            return self.calls.announce(info, policy, idempotency_token=idempotency_token)
        except CallRefused as refusal:
            self.observer.refused(refusal.code, refusal.code)
            raise

    def expect(self, agent: Agent, info: CallInfo, *, seconds: float) -> str:
        """Reserve a place for a call that is about to be made, and return its ticket. Raises `CallRefused`.

        Its call SID is our order until the carrier has named it. It is expected for so many seconds, and for as long
        again once it is placed.
        """
        return self.calls.expect(info.call_sid, info, self.policy_for(agent, info.language), seconds=seconds).ticket

    async def keep_order(self, info: CallInfo, ticket: str, *, seconds: float) -> None:
        """Store what an expected call is told, before it is ordered. Raises `StoreFailed`.

        Its callee may pick up when this run is over, and another one has taken its place.
        """
        expires_at = self.calls.now() + timedelta(seconds=2 * seconds)
        await self.journal.expect_call(Announcement(info=info, ticket=ticket, expires_at=expires_at))

    async def withdraw(self, order: str) -> None:
        """Remove an expected call that was not placed, or is not wanted. No-op if it has its call SID already.

        A database that fails is logged: what it keeps of the order expires by itself.
        """
        self.calls.withdraw(order)
        try:
            await self.journal.forget_order(order)
        except StoreFailed as error:
            log.warning("order_not_forgotten", error=type(error).__name__)

    async def redeem_kept(self, agent: Agent, call_sid: str, ticket: str) -> CallInfo | None:
        """Redeem a ticket that another run has given, once; None if it is unknown, used, too old, or another call's.

        Raises `CallRefused` when no place can be had. A database that fails is logged, and the ticket unknown.
        """
        if self.calls.find_call(call_sid) is not None:
            return None
        try:
            kept = await self.journal.take_ticket(agent.agent_id, call_sid, ticket)
        except StoreFailed as error:
            report("ticket_not_looked_up", error, call_sid=call_sid)
            return None
        if kept is None:
            return None
        self._restore(agent, kept)
        announced = self._announce(kept.info, self.policy_for(agent, kept.info.language))
        return self.calls.redeem(agent.agent_id, call_sid, announced.ticket)

    async def placed(self, order: str, call_sid: str) -> None:
        """Name an expected call that the carrier has taken on, and open its record. Raises `StoreFailed`.

        No-op when the call was heard of before, and even when it is over already.
        """
        self.calls.name(order, call_sid)
        call = self.calls.find_call(call_sid)
        if call is not None:
            await self._open_record(call.info, "" if call.is_ticket_used else call.ticket, order)

    async def progressed(self, agent_id: str, progress: CallProgress) -> None:
        """Record what the carrier says of a call, in any order and any number of times, and remove a call that is over.

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
            on_message_left=lambda agent_id: self.calls.services.publish(MessageLeft(agent_id)),
        )

    def pass_on(self, agent_id: str, call_sid: str) -> bool:
        """Pass a call to another process, if this one hands over; return whether it does (see `Calls.pass_on`)."""
        return self.calls.pass_on(agent_id, call_sid)

    async def picked_up(self, agent_id: str, call_sid: str, callee: Callee) -> None:
        """Report who picked up to the call and its record. Raises `StoreFailed` after the call was notified."""
        self.calls.recognise(agent_id, call_sid, callee)
        await self.journal.note_picked_up(agent_id, call_sid, callee)

    # ── transfers ───────────────────────────────────────────────────────────────────────────────────────────────────

    def transfer_handed(self, agent_id: str, call_sid: str, order: TransferOrder) -> None:
        """Keep a call whose session was ended for a transfer, and whose carrier gets its orders now.

        The same for a webhook that is repeated, and for one that comes after a restart: the order is all that it needs.
        """
        self.calls.stay(call_sid, order.patience)
        transfer = self._find_transfer(agent_id, call_sid)
        if transfer is not None:
            transfer.on_orders_taken(trio.current_time())
            self.calls.services.publish(TransferMoved(agent_id, call_sid))
        log.info("transfer_handed", call_sid=call_sid, agent_id=agent_id)

    async def transfer_dialled(
        self, agent_id: str, call_sid: str, outcome: TransferOutcome, error: str = ""
    ) -> str | None:
        """Record how a transfer went; `error` is the carrier's code, where it gave one.

        Returns the note for the next responder, or None if the caller does not come back: the two spoke, or the caller
        is gone. The same for a webhook that is repeated. A database error is only logged, so that the caller does not
        wait.
        """
        transfer = self._find_transfer(agent_id, call_sid)
        if transfer is not None:
            to, is_first = transfer.order.to, transfer.on_dial_over(outcome) is Todo.SETTLE
            self.calls.services.publish(TransferMoved(agent_id, call_sid))
        else:
            record = await self._recorded(agent_id, call_sid)
            to = "" if record is None else record.transfer_to or ""
            is_first = record is not None and record.transfer_outcome is TransferOutcome.DIALLING
        await self.settle_transfer(agent_id, call_sid, outcome, error, is_first=is_first)
        return note_for(outcome, to)

    async def settle_transfer(
        self, agent_id: str, call_sid: str, outcome: TransferOutcome, error: str = "", *, is_first: bool = True
    ) -> None:
        """Record how a transfer went, and count it if it `is_first` to be known. A database that fails is logged.

        Recorded even where it is not the first: the carrier's own report of the dial comes after a guess of ours.
        """
        if is_first:
            log.info("transfer_over", call_sid=call_sid, agent_id=agent_id, outcome=outcome.value)
            self.observer.transfer_over(outcome.value)
        try:
            await self.journal.note_transfer(agent_id, call_sid, None, outcome)
            if error:
                await self.journal.note_failure(agent_id, call_sid, error)
        except STORE_FAILURES as failure:
            log.warning("transfer_not_recorded", call_sid=call_sid, agent_id=agent_id, error=type(failure).__name__)

    def _find_transfer(self, agent_id: str, call_sid: str) -> Transfer | None:
        call = self.calls.find_remembered(call_sid, agent_id)
        return None if call is None else call.transfer

    async def _recorded(self, agent_id: str, call_sid: str) -> CallRecord | None:
        """Return the record of a call whose transfer is not known in this run of the daemon."""
        try:
            record = await self.journal.get(call_sid)
        except STORE_FAILURES as error:
            log.warning("transfer_not_on_record", call_sid=call_sid, error=type(error).__name__)
            return None
        return record if record is not None and record.agent_id == agent_id else None

    # ── what a call is told ─────────────────────────────────────────────────────────────────────────────────────────

    async def _restored(self, agent: Agent, call_sid: str) -> Call | None:
        """Register a call that another run had, and return it; None if nothing is kept of it. An error is logged."""
        try:
            kept = await self.journal.find_state(call_sid, agent.agent_id)
        except STORE_FAILURES as error:
            log.warning("call_state_not_found", call_sid=call_sid, error=type(error).__name__)
            return None
        if kept is not None and self.calls.find_remembered(call_sid, agent.agent_id) is None:
            self._restore(agent, kept)
        return self.calls.find_call(call_sid)

    def _restore(self, agent: Agent, kept: KeptCall) -> None:
        policy = self.policy_for(agent, kept.info.language)
        self.calls.restore(kept.info, policy, transcript=kept.lines, callee=kept.callee)
        if kept.had_client:
            self.calls.presence.expect(agent.agent_id)
        log.info("call_restored", call_sid=kept.info.call_sid, agent_id=agent.agent_id, had_client=kept.had_client)

    async def _open_record(self, info: CallInfo, ticket: str, order: str = "") -> CallRecord | None:
        expires_at = self.calls.now() + timedelta(seconds=TICKET_SECONDS)
        announced = Announcement(info=info, ticket=ticket, expires_at=expires_at, order=order)
        return await self.journal.announce_call(
            info.call_sid, info.agent_id, info.direction, info.caller, info.called, announced=announced
        )

    def _incoming(self, call: IncomingCall, known: Call | None) -> CallInfo:
        """Return the `CallInfo` of an announced call; `known` is the registry's."""
        agent = call.agent
        was_heard = known is not None and any(
            each.speaker is Speaker.CALLER and not each.is_note for each in known.transcript
        )
        is_unheard = call.is_unheard and not was_heard
        if known is not None and known.agent_id == agent.agent_id and call.attempt > 0:
            again = attrs.evolve(known.info, attempt=call.attempt, opened_by=())
            if is_unheard or known.is_screening:
                return again
            return attrs.evolve(
                again, greeting=clean(call.greeting or "", again.language), note=call.note, screened=False
            )
        language = self.defaults.language_of(agent)
        greeting = self.defaults.greeting_of(agent, None if is_unheard else call.greeting)
        return CallInfo(
            call_sid=call.call_sid,
            agent_id=agent.agent_id,
            caller=call.caller,
            called=call.called,
            direction=call.direction,
            verified=call.verified,
            attestation=call.attestation,
            greeting=clean(greeting, language),
            system_prompt=agent.system_prompt or "",
            voice=self.defaults.voice_of(agent),
            language=language,
            started_at=self.calls.now(),
            attempt=call.attempt,
            note=call.note,
        )


def our_number(call: CallInfo | IncomingCall) -> str:
    """Return the number that the callee may be shown: the carrier takes only one of its own, or one of the call."""
    return call.called if call.direction is Direction.INBOUND else call.caller
