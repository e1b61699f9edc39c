"""Transfers: connect a caller to a person, and see to it that every transfer has an end.

    transfer_call ─▶ gate ─▶ Calls.transferring: the session ends ─▶ carrier ─▶ webhooks ─▶ Reception: outcome, record
                                                                       ▲
                                          run: what makes no progress ─┘ redirected, over REST

The state of a transfer is on its call (`actors.transfer`). Most transfers are finished by their webhooks
(`relay.twilio.webhooks`); each has one task here for the cases that are not: a session that hangs, a lost line, a
caller who hangs up while it rings. It sleeps until something changes or the transfer's deadline passes.

The order travels with the call as its handoff data, so that a daemon that was restarted meanwhile understands the
webhooks of a transfer; the rest is in the call's record.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import structlog
import trio

from actors.call_values import CallInfo
from actors.calls import Call, Calls
from actors.errors import UnknownCall
from actors.events import CallEnded, CallNews, TransferMoved
from actors.transfer import Todo, Transfer, TransferOrder, TransferOutcome
from relay.agent import Agent
from relay.dialling.dial_check import DiallingGate
from relay.dialling.dialler import too_long
from relay.dialling.requests import Defaults, TransferRequest
from relay.dialling.verdict import DialKind, Verdict
from relay.errors import OutboundRefused
from relay.logs import report
from relay.reception import Reception, our_number
from relay.speech.hygiene import clean
from relay.store.call_journal import CallJournal
from relay.twilio import twiml
from relay.twilio.call_orders import MAX_TWIML
from relay.twilio.handoff_data import encode_handoff_data
from relay.twilio.rest import CarrierCalls
from relay.twilio.rest_errors import CarrierRefused
from relay.twilio.urls import CarrierUrls

log = structlog.get_logger(__name__)

_CALL_IS_OVER = frozenset({"call_over", "unknown_call"})


@attrs.define(eq=False, kw_only=True)
class Transfers:
    """The transfers of all calls. One instance, with one task in `run`.

    `carrier` is None where the relay has no access to its REST API: then a call whose line is lost cannot be
    transferred.
    """

    calls: Calls
    reception: Reception
    journal: CallJournal
    gate: DiallingGate
    carrier: CarrierCalls | None
    urls: CarrierUrls
    defaults: Defaults
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

    async def transfer_call(self, agent: Agent, request: TransferRequest, *, operator: str = "") -> dict[str, Any]:
        """Start the transfer of a call; return its `callSid`, `status` and `to` before anything is dialled.

        `operator` is the one who asks for it, empty for the agent's client; the gate's rules are the same for both. A
        dry run returns the gate's verdict instead. Raises `UnknownCall` for a call that is not the agent's, or over,
        `OutboundRefused`, and one of `STORE_FAILURES`. Cancelled before it returned, the call stays where it is.
        """
        call = self._own(agent, request.call_sid)
        caller_id = our_number(call.info)
        if request.dry_run:
            return (await self._verdict(agent, request, caller_id, dry_run=True)).as_dry_run()
        _require_nothing_under_way(call)
        verdict = await self._verdict(agent, request, caller_id, dry_run=True)
        with self._counted():
            verdict.require_allowed()
        transfer = self._prepared(call, request, verdict, operator)
        # Of two requests at once, one finds the other here.
        _require_nothing_under_way(call)
        with self.calls.transferring(call, transfer):
            verdict = await self._verdict(agent, request, caller_id, dry_run=False)
            with self._counted():
                to = verdict.require_allowed()
            # It may have ended while the database was asked.
            self._own(agent, request.call_sid)
            await self.journal.note_transfer(agent.agent_id, call.call_sid, to, TransferOutcome.DIALLING)
            if (nursery := self._nursery) is None:
                raise OutboundRefused("draining", "The relay is shutting down and starts no more transfers.")
        nursery.start_soon(self._see_through, call, transfer)
        by = {"by": "operator", "operator": operator} if operator else {"by": "client"}
        log.info("transfer_asked", call_sid=call.call_sid, agent_id=agent.agent_id, confirm=request.confirm, **by)
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

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Count what the gate refuses. What it refuses of calls is an outcome of theirs, see `Dialler.counted`."""
        try:
            yield
        except OutboundRefused as refusal:
            self.reception.observer.refused("gate", refusal.code)
            raise

    def _prepared(self, call: Call, request: TransferRequest, verdict: Verdict, operator: str) -> Transfer:
        """Return the transfer, if it may be; nothing is counted yet."""
        info = call.info
        order = TransferOrder(
            to=verdict.require_allowed(),
            announcement=clean(request.announcement, info.language),
            confirm=request.confirm,
            ring_seconds=self.defaults.ring_time(request),
            language=info.language,
            voice=info.voice,
        )
        transfer = Transfer(order, operator, attempt=info.attempt, handoff_data=encode_handoff_data(order))
        if len(self._orders(info, order, transfer.attempt)) > MAX_TWIML:
            raise too_long("announcementText")
        return transfer

    # ── seeing one through ──────────────────────────────────────────────────────────────────────────────────────────

    def on_call_news(self, news: CallNews) -> None:
        """Look at every transfer under way when one may have moved. Never waits."""
        if isinstance(news, CallEnded | TransferMoved):
            self.notify()

    def notify(self) -> None:
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
            await self.reception.settle_transfer(call.agent_id, call.call_sid, transfer.outcome)

    async def _redirect(self, call: Call, transfer: Transfer) -> str | None:
        """Redirect the call, which ends a session that hangs; return the code of the carrier's refusal, or None."""
        if self.carrier is None:
            return "no_carrier"
        self.calls.stay(call.call_sid, transfer.order.patience)
        orders = self._orders(call.info, transfer.order, transfer.attempt)
        try:
            await self.carrier.redirect(call.call_sid, orders)
        except CarrierRefused as refusal:
            log.warning("transfer_not_redirected", call_sid=call.call_sid, code=refusal.code)
            return refusal.code
        log.info("transfer_redirected", call_sid=call.call_sid, agent_id=call.agent_id)
        return None

    def _orders(self, info: CallInfo, order: TransferOrder, attempt: int) -> str:
        """Return what the carrier is ordered to do, as the webhook of the ended session answers it too."""
        return twiml.transfer(
            order, caller_id=our_number(info), urls=self.urls, agent_id=info.agent_id, attempt=attempt
        )


def _require_nothing_under_way(call: Call) -> None:
    if call.is_transferring:
        raise OutboundRefused(
            "already_transferring",
            "This call is already being transferred. The outcome comes as the next turn, or as the end of the call.",
        )
