"""A call that the relay ordered over the REST API: queued, rung, answered or not, and every step reported.

    queued ─▶ initiated ─▶ ringing ─┬▶ answered ─▶ the TwiML of the order ─▶ completed
                                    └▶ busy, no-answer, failed, canceled

Status callbacks are posted in order by a task of their own, as the carrier does: a relay that is slow to answer them
does not slow the call down, and the first may arrive before the answer to the order. Source: Twilio's pages on the Call
resource, on status callbacks and on answering machine detection. Machine detection is performed beside the call only.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import format_datetime

import attrs
import trio

from relay.simulator.carrier.callee import MACHINES, Answers, Refused, Unanswered
from relay.simulator.carrier.fault_plan import CallOver, EndlessCall, ScriptError, TwimlRefused, WebhookFailed
from relay.simulator.carrier.simulated_call import SimulatedCall
from relay.simulator.carrier.webhook_client import Account, fetch_twiml

# Four events and a verdict are all that a call ever reports.
_REPORTS = 5

# What ends a callee's part; the call's own account of its end says more.
_ENDS = (CallOver, WebhookFailed, TwimlRefused, EndlessCall, ScriptError)

_SIP_CODES = {"completed": "200", "busy": "486", "no-answer": "487", "canceled": "487", "failed": "404"}


@attrs.frozen(kw_only=True)
class Order:
    """What the relay ordered. `twiml` or `url` says what happens once the call is answered; times in seconds."""

    twiml: str | None
    url: str | None
    status_callback: str | None
    events: frozenset[str]
    ring_seconds: float
    time_limit: float
    verdict_callback: str | None


async def place(account: Account, call: SimulatedCall, order: Order, queued: float = 0.0) -> None:
    """Carry a call out, from `queued` seconds in the carrier's queue to its last callback.

    Raises nothing of the relay's: the call is told of its faults. Meant for `SimulatedCall.run`.
    """
    reports = _Reports(account, call, order)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reports.deliver)
        status = await _carry_out(account, call, order, reports, queued)
        call.end(status)
        seconds = call.duration
        reports.note(
            "completed",
            status,
            {
                "CallDuration": str(seconds),
                "Duration": str(-(-seconds // 60)),
                "SipResponseCode": _SIP_CODES[status],
            },
        )
        reports.close()


async def _carry_out(account: Account, call: SimulatedCall, order: Order, reports: _Reports, queued: float) -> str:
    """Go through the call; return the status that it ends with."""
    if not await call.pass_time(queued):
        return "canceled"
    reports.note("initiated", "initiated")
    call.status = "ringing"
    reports.note("ringing", "ringing")
    match account.callee(call.facts.called):
        case Answers() as callee if callee.after <= order.ring_seconds:
            if not await call.pass_time(callee.after):
                return "canceled"
            call.answer()
            reports.note("answered", "in-progress")
            await _talk(account, call, order, reports, callee)
            return "completed"
        case Answers():
            status, rang = "no-answer", order.ring_seconds
        case Unanswered(status, after):
            rang = min(after, order.ring_seconds)
        case Refused():
            status, rang = "failed", 0.0
    return status if await call.pass_time(rang) else "canceled"


async def _talk(account: Account, call: SimulatedCall, order: Order, reports: _Reports, callee: Answers) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_hang_up_after, call, order.time_limit)
        if order.verdict_callback and callee.answered_by:
            nursery.start_soon(_judge, call, reports, callee)
        nursery.start_soon(_play_back if callee.answered_by in MACHINES else _converse, account, call, callee)
        try:
            document = order.twiml or await fetch_twiml(account, call.facts, order.url or "")
        except WebhookFailed as failure:
            call.note_failure(failure)
        else:
            await call.follow(document)
        nursery.cancel_scope.cancel()


async def _hang_up_after(call: SimulatedCall, seconds: float) -> None:
    await trio.sleep(seconds)
    await call.hang_up()


async def _judge(call: SimulatedCall, reports: _Reports, callee: Answers) -> None:
    await trio.sleep(callee.verdict_after)
    call.note_verdict(callee.answered_by)
    reports.note_verdict(callee.answered_by, callee.verdict_after)


async def _converse(_account: Account, call: SimulatedCall, callee: Answers) -> None:
    with suppress(*_ENDS):
        if callee.says:
            await call.connected()
            await call.quiet()
        for words in callee.says:
            await call.say(words)
            await call.hear()
            await call.quiet()  # people let each other finish
        if callee.hangs_up_after is not None:
            await _hang_up_after(call, callee.hangs_up_after)


async def _play_back(account: Account, call: SimulatedCall, callee: Answers) -> None:
    with suppress(*_ENDS):
        for words in callee.says:
            await call.say(words)
            await trio.sleep(len(words) / account.speech_rate if account.speech_rate else 0)
        if callee.hangs_up_after is not None:
            await _hang_up_after(call, callee.hangs_up_after)


@attrs.define(eq=False)
class _Reports:
    """The callbacks of one call, posted one after the other in the order in which they were noted."""

    _account: Account
    _call: SimulatedCall
    _order: Order
    _sequence: int = 0
    _send: trio.MemorySendChannel[tuple[str, dict[str, str]]] = attrs.field(init=False)
    _receive: trio.MemoryReceiveChannel[tuple[str, dict[str, str]]] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel(_REPORTS)

    def note(self, event: str, status: str, extra: Mapping[str, str] | None = None) -> None:
        """Report an event, where the order asks for it."""
        if not self._order.status_callback or event not in self._order.events:
            return
        fields = self._call.facts.fields(self._account.account_sid, status) | {
            "Timestamp": format_datetime(datetime.now(UTC)),
            "SequenceNumber": str(self._sequence),
            "CallbackSource": "call-progress-events",
        }
        self._sequence += 1
        self._send.send_nowait((self._order.status_callback, fields | dict(extra or {})))

    def note_verdict(self, answered_by: str, seconds: float) -> None:
        """Report who answered."""
        fields = {
            "AccountSid": self._account.account_sid,
            "CallSid": self._call.call_sid,
            "AnsweredBy": answered_by,
            "MachineDetectionDuration": str(round(seconds * 1000)),
        }
        self._send.send_nowait((self._order.verdict_callback or "", fields))

    def close(self) -> None:
        """Note that there will be no more."""
        self._send.close()

    async def deliver(self) -> None:
        """Post until `close`; what the relay does not take is noted at the call."""
        async for url, fields in self._receive:
            try:
                response = await self._account.post(url, fields)
            except WebhookFailed as failure:
                self._call.note_failure(failure)
                continue
            if not response.is_success:
                code = response.status_code
                self._call.note_failure(WebhookFailed(url, code, f"answered {code} (error 15003)", response.text))
