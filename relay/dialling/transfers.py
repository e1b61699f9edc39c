"""Transfers: connect a caller to a person, and take the caller back if the callee does not answer.

    transfer_call ─▶ gate ─▶ Calls.transferring: the session ends ─▶ hand_off: <Say>, <Dial> ─▶ dialled
                                                                                                  └▶ a note to come back

The state of a transfer is on its call (`actors.transfer`); this module performs it. Most transfers are finished by
their webhooks; each has one task for the cases that are not: a session that hangs, a lost line, a caller who hangs up
while it rings. It sleeps until something changes or the transfer's deadline passes.

The order travels with the call as its handoff data, so that a daemon that was restarted meanwhile understands the
webhooks of a transfer; the rest is in the call's record.
"""

from __future__ import annotations

from typing import Any

import attrs
import structlog
import trio

from actors.call_record import CallRecord
from actors.call_values import CallInfo, Direction
from actors.calls import Call, Calls
from actors.errors import UnknownCall
from actors.events import CallEnded, TransferMoved
from actors.transfer import Todo, Transfer, TransferOrder, TransferOutcome, note_for
from relay.agent import Agent
from relay.dialling import refusals
from relay.dialling.defaults import Defaults
from relay.dialling.dial_check import DiallingGate
from relay.dialling.requests import TransferRequest
from relay.dialling.verdict import DialKind, Verdict
from relay.errors import STORE_FAILURES
from relay.logs import report
from relay.metrics import CallMeter
from relay.reception import IncomingCall
from relay.speech.hygiene import clean
from relay.store.call_journal import CallJournal
from relay.twilio import twiml
from relay.twilio.call_orders import MAX_TWIML
from relay.twilio.handoff_data import encode_handoff_data, read_handoff_data
from relay.twilio.rest import CarrierCalls
from relay.twilio.rest_errors import CarrierRefused
from relay.twilio.urls import CarrierUrls

log = structlog.get_logger(__name__)

_CALL_IS_OVER = frozenset({"call_over", "unknown_call"})


@attrs.define(eq=False, kw_only=True)
class Transfers:
    """The transfers of all calls; implements `relay.twilio.ports.Transfers`. One instance, with one task in `run`.

    `carrier` is None where the relay has no access to its REST API: then a call whose line is lost cannot be
    transferred.
    """

    calls: Calls
    journal: CallJournal
    gate: DiallingGate
    carrier: CarrierCalls | None
    urls: CarrierUrls
    defaults: Defaults
    observer: CallMeter
    _nursery: trio.Nursery | None = attrs.field(default=None, init=False)
    # Something happened to a transfer. One event for all: there are few, and each only looks at its deadline anew.
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow transfers to their end. Runs until cancelled; what is under way then goes on by its webhooks alone."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None

    # ── for the tools ───────────────────────────────────────────────────────────────────────────────────────────────

    async def transfer_call(self, agent: Agent, request: TransferRequest) -> dict[str, Any]:
        """Start the transfer of a call; return its `callSid`, `status` and `to` before anything is dialled.

        A dry run returns the gate's verdict instead. Raises `UnknownCall` for a call that is not the agent's, or over,
        `OutboundRefused`, and one of `STORE_FAILURES`. Cancelled before it returned, the call stays where it is.
        """
        call = self._own(agent, request.call_sid)
        caller_id = our_number(call.info)
        if request.dry_run:
            return refusals.dry_run(await self._verdict(agent, request, caller_id, dry_run=True))
        _require_nothing_under_way(call)
        verdict = await self._verdict(agent, request, caller_id, dry_run=True)
        transfer = self._prepared(call, request, verdict)
        # Of two requests at once, one finds the other here.
        _require_nothing_under_way(call)
        with self.calls.transferring(call, transfer):
            verdict = await self._verdict(agent, request, caller_id, dry_run=False)
            if not verdict.allowed:
                raise refusals.by_gate(verdict)
            # It may have ended while the database was asked.
            self._own(agent, request.call_sid)
            to = transfer.order.to
            await self.journal.note_transfer(agent.agent_id, call.call_sid, to, TransferOutcome.DIALLING)
            if (nursery := self._nursery) is None:
                raise refusals.stopping()
        nursery.start_soon(self._see_through, call, transfer)
        log.info("transfer_asked", call_sid=call.call_sid, agent_id=agent.agent_id, confirm=request.confirm)
        return {"callSid": call.call_sid, "status": "transferring", "to": to}

    def _own(self, agent: Agent, call_sid: str) -> Call:
        """Return a call of the agent that is up, with or without a session. Raises `UnknownCall` for any other."""
        call = self.calls.find_call(call_sid, agent.agent_id)
        if call is None or not call.was_connected:
            raise UnknownCall(call_sid)
        return call

    async def _verdict(self, agent: Agent, request: TransferRequest, caller_id: str, *, dry_run: bool) -> Verdict:
        return await self.gate.check(
            agent,
            request.to,
            kind=DialKind.TRANSFER,
            zone=request.zone,
            purpose=request.purpose,
            caller=caller_id,
            dry_run=dry_run,
        )

    def _prepared(self, call: Call, request: TransferRequest, verdict: Verdict) -> Transfer:
        """Return the transfer, if it may be; nothing is counted yet."""
        if not verdict.allowed:
            raise refusals.by_gate(verdict)
        assert verdict.normalised is not None
        info = call.info
        order = TransferOrder(
            to=verdict.normalised,
            announcement=clean(request.announcement, info.language),
            confirm=request.confirm,
            ring_seconds=self.defaults.ring_time(request),
            language=info.language,
            voice=info.voice,
        )
        transfer = Transfer(order, attempt=info.attempt, handoff_data=encode_handoff_data(order))
        if len(self._orders(info.agent_id, order, our_number(info), transfer.attempt)) > MAX_TWIML:
            raise refusals.too_long("announcementText")
        return transfer

    # ── for the carrier's webhooks ──────────────────────────────────────────────────────────────────────────────────

    async def hand_off(self, call: IncomingCall, handoff_data: str) -> str | None:
        """Return the TwiML that announces and dials, or None where the session was not ended for a transfer.

        The same for a webhook that is repeated, and for one that comes after a restart.
        """
        await trio.lowlevel.checkpoint()
        order = read_handoff_data(handoff_data, call_sid=call.call_sid)
        if order is None:
            return None
        agent_id = call.agent.agent_id
        transfer = self._transfer(agent_id, call.call_sid)
        if transfer is not None:
            transfer.on_orders_taken(trio.current_time())
            self._notify()
        self.calls.stay(call.call_sid, order.patience)
        log.info("transfer_handed", call_sid=call.call_sid, agent_id=agent_id)
        return self._orders(agent_id, order, our_number(call), call.attempt)

    async def dialled(self, agent_id: str, call_sid: str, outcome: TransferOutcome, error: str = "") -> str | None:
        """Record how a transfer went, and return the note with which the caller comes back, or None.

        The same for a webhook that is repeated. A database error is only logged, so that the caller does not wait.
        """
        transfer = self._transfer(agent_id, call_sid)
        if transfer is not None:
            to, is_first = transfer.order.to, transfer.on_dial_over(outcome) is Todo.SETTLE
            self._notify()
        else:
            record = await self._on_record(agent_id, call_sid)
            to = "" if record is None else record.transfer_to or ""
            is_first = record is not None and record.transfer_outcome is TransferOutcome.DIALLING
        await self._settle(agent_id, call_sid, outcome, error, is_first=is_first)
        return note_for(outcome, to)

    def _transfer(self, agent_id: str, call_sid: str) -> Transfer | None:
        call = self.calls.find_remembered(call_sid, agent_id)
        return None if call is None else call.transfer

    async def _on_record(self, agent_id: str, call_sid: str) -> CallRecord | None:
        """Return the record of a call whose transfer is not known in this run of the daemon."""
        try:
            record = await self.journal.get(call_sid)
        except STORE_FAILURES as error:
            log.warning("transfer_not_on_record", call_sid=call_sid, error=type(error).__name__)
            return None
        return record if record is not None and record.agent_id == agent_id else None

    # ── seeing one through ──────────────────────────────────────────────────────────────────────────────────────────

    def on_call_news(self, news: CallEnded | TransferMoved) -> None:
        """Report an event of a call to its transfer, if there is one. Never waits."""
        transfer = self._transfer(news.agent_id, news.call_sid)
        if transfer is None:
            return
        if isinstance(news, CallEnded):
            transfer.on_call_over(trio.current_time())
        self._notify()

    def _notify(self) -> None:
        """Wake every transfer under way, to check its deadline again."""
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    async def _see_through(self, call: Call, transfer: Transfer) -> None:
        try:
            while transfer.is_under_way:
                with trio.move_on_at(transfer.deadline):
                    await self._changed.wait()
                await self._perform(call, transfer, transfer.on_deadline(trio.current_time()))
        except Exception as error:  # noqa: BLE001 - one transfer that goes wrong must not end the others
            report("transfer_crashed", error, call_sid=call.call_sid, agent_id=call.agent_id)
            await self._perform(call, transfer, transfer.on_fault())
        finally:
            self.calls.remove_if_over(call)

    async def _perform(self, call: Call, transfer: Transfer, todo: Todo | None) -> None:
        if todo is Todo.REDIRECT:
            refusal = await self._redirect(call, transfer)
            now = trio.current_time()
            if refusal is None:
                transfer.on_orders_taken(now)
            else:
                todo = transfer.on_redirect_refused(now, call_is_over=refusal in _CALL_IS_OVER)
        if todo is Todo.SETTLE:
            await self._settle(call.agent_id, call.call_sid, transfer.outcome, is_first=True)

    async def _redirect(self, call: Call, transfer: Transfer) -> str | None:
        """Redirect the call, which ends a session that hangs; return the code of the carrier's refusal, or None."""
        if self.carrier is None:
            return "no_carrier"
        self.calls.stay(call.call_sid, transfer.order.patience)
        orders = self._orders(call.agent_id, transfer.order, our_number(call.info), transfer.attempt)
        try:
            await self.carrier.redirect(call.call_sid, orders)
        except CarrierRefused as refusal:
            log.warning("transfer_not_redirected", call_sid=call.call_sid, code=refusal.code)
            return refusal.code
        log.info("transfer_redirected", call_sid=call.call_sid, agent_id=call.agent_id)
        return None

    async def _settle(
        self, agent_id: str, call_sid: str, outcome: TransferOutcome, error: str = "", *, is_first: bool
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

    def _orders(self, agent_id: str, order: TransferOrder, caller_id: str, attempt: int) -> str:
        """Return the TwiML that announces and dials."""
        return twiml.transfer(
            announcement=order.announcement,
            language=order.language,
            voice=order.voice,
            number=order.to,
            caller_id=caller_id,
            ring_seconds=order.ring_seconds,
            action_url=self.urls.transfer_ended(agent_id, attempt, confirm=order.confirm),
            whisper_url=self.urls.whisper(agent_id) if order.confirm else "",
        )


def _require_nothing_under_way(call: Call) -> None:
    if call.is_transferring:
        raise refusals.already_transferring()


def our_number(call: CallInfo | IncomingCall) -> str:
    """Return the number that the callee may be shown: the carrier takes only one of its own, or one of the call."""
    return call.called if call.direction is Direction.INBOUND else call.caller
