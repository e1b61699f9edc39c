"""Passing a caller on to a person, and taking the caller back when nobody could be reached.

    transfer_call ─▶ gate ─▶ the live call ends its session with a handoff ─▶ hand_off: <Say>, <Dial> ─▶ dialled
                                                                                                            │
                                                                              None, or a note to come back with

The handoff travels with the call, so whatever a transfer needs is there again when its webhook comes to a daemon that
was started meanwhile; what a transfer needs that makes no progress by itself is in `transfer_watch`.
"""

from __future__ import annotations

from typing import Any

import attrs
import structlog
import trio

from actors.call_values import CallInfo, Direction
from actors.errors import UnknownCall
from actors.transfer import TransferOutcome
from relay.agent import Agent
from relay.calls import TransferResult
from relay.dialling import refusals
from relay.dialling.defaults import Addresses, Defaults
from relay.dialling.handoff import Handoff, read
from relay.dialling.ports import (
    STORE_FAILURES,
    CallOnRecord,
    Carrier,
    EndedSession,
    FrontDesk,
    Gate,
    LiveCall,
    LiveCalls,
    Observer,
    Records,
)
from relay.dialling.requests import TransferRequest
from relay.dialling.transfer_course import Course, Stage, note_for, outcome_of
from relay.dialling.transfer_watch import TransferWatch
from relay.dialling.verdict import DialKind, Verdict
from relay.speech.hygiene import clean
from relay.twilio.call_orders import MAX_TWIML

log = structlog.get_logger(__name__)

# Sessions are numbered from 0, and only their order counts. How many a call had whose line is lost, nobody says.
_AFTER_A_LOST_LINE = 1000


@attrs.define(eq=False, kw_only=True)
class Transfers:
    """The transfers of all calls; implements `relay.twilio.ports.Transfers`. One instance, with one task in `run`.

    `carrier` is None where the relay has no access to its REST API: then a call whose line is lost cannot be passed on.
    """

    front_desk: FrontDesk
    live_calls: LiveCalls
    records: Records
    gate: Gate
    carrier: Carrier | None
    addresses: Addresses
    defaults: Defaults
    observer: Observer
    _watch: TransferWatch = attrs.field(init=False)
    # Calls whose transfer is being prepared: of two wishes at once, one finds the other here.
    _wished: set[str] = attrs.field(factory=set, init=False)

    @_watch.default
    def _make_watch(self) -> TransferWatch:
        return TransferWatch(
            front_desk=self.front_desk,
            live_calls=self.live_calls,
            records=self.records,
            carrier=self.carrier,
            addresses=self.addresses,
            observer=self.observer,
        )

    async def run(  # noqa: ASYNC128 - started by the watch
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """See transfers through. Runs until cancelled; what is under way then goes on by its webhooks alone."""
        await self._watch.run(task_status=task_status)

    # ── for the tools ───────────────────────────────────────────────────────────────────────────────────────────────

    async def transfer_call(self, agent: Agent, wish: TransferRequest) -> dict[str, Any]:
        """Have a call of the agent passed on; return its `callSid`, `status` and `to` before anything is dialled.

        A dry run returns the gate's verdict instead. Raises `UnknownCall` for a call that is not the agent's, or over,
        `OutboundRefused`, and one of `STORE_FAILURES`. Cancelled before it returned, the call stays where it is.
        """
        call_sid = wish.call_sid
        self._own(agent, call_sid)
        if wish.dry_run:
            caller = await self._caller(agent, call_sid)
            return refusals.dry_run(await self._verdict(agent, wish, caller.our_number, dry_run=True))
        if call_sid in self._wished or self._watch.find(call_sid) is not None:
            raise refusals.already_transferring()
        self._wished.add(call_sid)
        try:
            course = await self._prepare(agent, wish)
            verdict = await self._verdict(agent, wish, course.caller_id, dry_run=False)
            if not verdict.allowed:
                raise refusals.by_gate(verdict)
            # It may have ended while the database was asked.
            self._own(agent, call_sid)
            await self.records.note_transfer(agent.agent_id, call_sid, course.handoff.to, TransferOutcome.DIALLING)
            self._watch.begin(course)
        finally:
            self._wished.discard(call_sid)
        log.info("transfer_asked", call_sid=call_sid, agent_id=agent.agent_id, confirm=wish.confirm)
        return {"callSid": call_sid, "status": "transferring", "to": course.handoff.to}

    async def _prepare(self, agent: Agent, wish: TransferRequest) -> Course:
        """Write down what is to happen, if it may; nothing is counted yet."""
        ring = self.defaults.ring_time(wish)
        caller = await self._caller(agent, wish.call_sid)
        verdict = await self._verdict(agent, wish, caller.our_number, dry_run=True)
        if not verdict.allowed:
            raise refusals.by_gate(verdict)
        assert verdict.normalised is not None
        handoff = Handoff(
            to=verdict.normalised,
            announcement=clean(wish.announcement, caller.language),
            confirm=wish.confirm,
            ring=ring,
            language=caller.language,
            voice=caller.voice,
        )
        course = Course(
            agent_id=agent.agent_id,
            call_sid=wish.call_sid,
            handoff=handoff,
            caller_id=caller.our_number,
            attempt=caller.attempt,
        )
        if len(self._watch.orders(course)) > MAX_TWIML:
            raise refusals.too_long("announcementText")
        return course

    async def _verdict(self, agent: Agent, wish: TransferRequest, caller: str, *, dry_run: bool) -> Verdict:
        return await self.gate.check(
            agent,
            wish.to,
            kind=DialKind.TRANSFER,
            zone=wish.zone,
            purpose=wish.purpose,
            caller=caller,
            dry_run=dry_run,
        )

    def _own(self, agent: Agent, call_sid: str) -> LiveCall | None:
        """Return a call of the agent, None while its line is lost. Raises `UnknownCall` for any other call."""
        call = self.live_calls.find(agent.agent_id, call_sid)
        if call is None and not self.front_desk.is_known(agent.agent_id, call_sid):
            raise UnknownCall(call_sid)
        return call

    async def _caller(self, agent: Agent, call_sid: str) -> _Caller:
        call = self._own(agent, call_sid)
        if call is not None:
            info = call.info
            return _Caller(_our_number(info), info.language, info.voice, info.connection - 1)
        record = await self._on_record(agent.agent_id, call_sid)
        voice = self.defaults.voice if agent.voice is None else agent.voice
        return _Caller(_our_number(record), agent.language or self.defaults.language, voice, _AFTER_A_LOST_LINE)

    async def _on_record(self, agent_id: str, call_sid: str) -> CallOnRecord:
        record = await self.records.get(call_sid)
        if record is None or record.agent_id != agent_id:
            raise UnknownCall(call_sid)
        return record

    # ── for the carrier's webhooks ──────────────────────────────────────────────────────────────────────────────────

    async def hand_off(self, session: EndedSession) -> str | None:
        """Give the TwiML that announces and dials, or None where the session was not ended for a transfer.

        The same for a webhook that is repeated, and for one that comes after a restart.
        """
        await trio.lowlevel.checkpoint()
        handoff = read(session.handoff, call_sid=session.call_sid)
        if handoff is None:
            return None
        course = Course(
            agent_id=session.agent.agent_id,
            call_sid=session.call_sid,
            handoff=handoff,
            caller_id=_our_number(session),
            attempt=session.attempt,
            stage=Stage.HANDED,
        )
        known = self._watch.find(course.call_sid)
        if known is None:
            self._watch.resume(course)
        elif known.agent_id == course.agent_id:
            # Even if the carrier is being told directly at this moment: it dials by whichever it hears last, once.
            known.advance(Stage.HANDED)
        self.front_desk.stay(course.call_sid, course.patience)
        log.info("transfer_handed", call_sid=course.call_sid, agent_id=course.agent_id)
        return self._watch.orders(course)

    async def dialled(self, result: TransferResult) -> str | None:
        """Record how a transfer went, and give the note with which the caller comes back, or None.

        The same for a webhook that is repeated. A database that cannot be used keeps nobody waiting: it is logged.
        """
        agent_id, call_sid, outcome = result.agent.agent_id, result.call_sid, outcome_of(result)
        course = self._watch.find(call_sid)
        if course is not None and course.agent_id == agent_id:
            number, is_first = course.handoff.to, course.stage < Stage.SETTLED
            course.advance(Stage.SETTLED)
        else:
            number, is_first = await self._dialled_before(agent_id, call_sid)
        await self._watch.settle(agent_id, call_sid, outcome, result.error, is_first=is_first)
        return note_for(outcome, number)

    async def _dialled_before(self, agent_id: str, call_sid: str) -> tuple[str, bool]:
        """Return the number that a call is being connected to, and whether the outcome is still open, by its record."""
        try:
            record = await self._on_record(agent_id, call_sid)
        except (UnknownCall, *STORE_FAILURES) as error:
            log.warning("transfer_not_on_record", call_sid=call_sid, error=type(error).__name__)
            return "", False
        return record.transfer_to or "", record.transfer_outcome is TransferOutcome.DIALLING

    def over(self, call_sid: str) -> None:
        """Take note that the carrier says a call is over, whether it was being transferred or not. Never waits."""
        if (course := self._watch.find(call_sid)) is not None:
            course.advance(Stage.OVER)


@attrs.frozen
class _Caller:
    """What a transfer takes over from the call: our number in it, how it sounds, and the number of its session."""

    our_number: str = attrs.field(repr=False)
    language: str
    voice: str
    attempt: int


def _our_number(call: CallInfo | CallOnRecord | EndedSession) -> str:
    """Return the number that the callee may be shown: the carrier takes only one of its own, or one of the call."""
    return call.called if call.direction is Direction.INBOUND else call.caller
