"""Seeing transfers through: one task each, from the wish until somebody answers or the telephone has rung enough.

    ask the live call ─▶ its session ends ─▶ handed, by the webhook ─▶ wait ─▶ settled, by the webhook
           │                                      ▲                     └─▶ over: the caller has gone
           └─ line lost, or nothing happens ─▶ the carrier is told directly

A transfer would mostly come to its end by its webhooks alone. This is for those that do not: a hung socket, a caller
who hangs up while it rings. There is one entry a call, for minutes at most, and none of a call that is forgotten.
"""

from __future__ import annotations

import math

import attrs
import structlog
import trio

from actors.transfer import TransferOutcome
from relay.dialling import refusals
from relay.dialling.defaults import Addresses
from relay.dialling.ports import STORE_FAILURES, Carrier, FrontDesk, LiveCalls, Observer, Records
from relay.dialling.transfer_course import Course, Stage
from relay.faults import report
from relay.twilio import twiml
from relay.twilio.rest_errors import CarrierRefused

log = structlog.get_logger(__name__)

# For the words that are still being spoken, the `end` frame and the webhook after it.
HAND_OVER_SECONDS = 25.0
# The webhook follows the end of the session at once. A line that is gone without it was lost, and its successor, if the
# carrier opens one, is up within a second or two.
LOST_SECONDS = 2.0
# The end of the call and the end of the transfer are told by two webhooks, in any order.
LAST_WORD_SECONDS = 5.0
# How often a call that is to end its session is looked at: nobody says that a line is gone.
_LOOK_SECONDS = 0.25


@attrs.define(eq=False, kw_only=True)
class TransferWatch:
    """The transfers under way. One instance, with one task in `run`. `carrier` is None without access to its API."""

    front_desk: FrontDesk
    live_calls: LiveCalls
    records: Records
    carrier: Carrier | None
    addresses: Addresses
    observer: Observer
    _courses: dict[str, Course] = attrs.field(factory=dict, init=False)
    _nursery: trio.Nursery | None = attrs.field(default=None, init=False)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See transfers through. Runs until cancelled; what is under way then goes on by its webhooks alone."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None

    def begin(self, course: Course) -> None:
        """Watch a transfer, the only one of its call. Raises `OutboundRefused` when `run` is not there to do it."""
        if self._nursery is None:
            raise refusals.stopping()
        self._courses[course.call_sid] = course
        self._nursery.start_soon(self._attend, course)

    def resume(self, course: Course) -> None:
        """Watch a transfer that was begun before this daemon was started, if `run` is there to do it."""
        if self._nursery is not None:
            self.begin(course)

    def find(self, call_sid: str) -> Course | None:
        """Return the transfer of a call, of whichever agent."""
        return self._courses.get(call_sid)

    async def settle(
        self, agent_id: str, call_sid: str, outcome: TransferOutcome, error: str = "", *, is_first: bool = True
    ) -> None:
        """Record how a transfer went, and count it if it `is_first` to be known. A database that fails is logged."""
        if is_first:
            log.info("transfer_over", call_sid=call_sid, agent_id=agent_id, outcome=outcome.value)
            self.observer.transfer_over(outcome.value)
        try:
            await self.records.note_transfer(agent_id, call_sid, None, outcome)
            if error:
                await self.records.note_failure(agent_id, call_sid, error)
        except STORE_FAILURES as failure:
            log.warning("transfer_not_recorded", call_sid=call_sid, agent_id=agent_id, error=type(failure).__name__)

    def orders(self, course: Course) -> str:
        """Return the TwiML that announces and dials."""
        agent_id, handoff = course.agent_id, course.handoff
        return twiml.transfer(
            announcement=handoff.announcement,
            language=handoff.language,
            voice=handoff.voice,
            number=handoff.to,
            caller_id=course.caller_id,
            ring_seconds=handoff.ring,
            action_url=self.addresses.transfer_ended(agent_id, course.attempt, confirm=handoff.confirm),
            whisper_url=self.addresses.whisper(agent_id) if handoff.confirm else "",
        )

    async def _attend(self, course: Course) -> None:
        try:
            with trio.move_on_after(HAND_OVER_SECONDS):
                await self._ask(course)
            if course.stage is Stage.ASKED:
                await self._redirect(course)
            with trio.move_on_after(course.patience):
                await course.reach(Stage.OVER)
            if course.stage is Stage.OVER:
                await self._await_last_word(course)
        except Exception as error:  # noqa: BLE001 - one transfer that goes wrong must not end the others
            report("transfer_crashed", error, call_sid=course.call_sid, agent_id=course.agent_id)
            await self._lose(course)
        finally:
            if self._courses.get(course.call_sid) is course:
                del self._courses[course.call_sid]

    async def _ask(self, course: Course) -> None:
        """Have the live call end its session; return when it has, when the call is over, or when its line is lost.

        A successor of a line that was lost meanwhile knows nothing of the wish, and is asked again.
        """
        asked, gone_at = 0, math.inf
        while course.stage is Stage.ASKED:
            now = trio.current_time()
            call = self.live_calls.find(course.agent_id, course.call_sid)
            if call is None:
                gone_at = min(gone_at, now)
                if now - gone_at >= LOST_SECONDS:
                    return
            else:
                gone_at = math.inf
                if call.info.connection != asked:
                    asked = call.info.connection
                    course.attempt = asked - 1
                    self.live_calls.transfer(course.agent_id, course.call_sid, course.handoff.written())
            with trio.move_on_after(_LOOK_SECONDS):
                await course.reach(Stage.HANDED)

    async def _redirect(self, course: Course) -> None:
        """Tell the carrier directly, which ends a session that hangs."""
        refusal = await self._refusal_of_redirect(course)
        if refusal is None:
            course.advance(Stage.HANDED)
        elif refusal in {"call_over", "unknown_call"}:
            course.advance(Stage.OVER)
        else:
            await self._lose(course)

    async def _refusal_of_redirect(self, course: Course) -> str | None:
        if self.carrier is None:
            return "no_carrier"
        self.front_desk.stay(course.call_sid, course.patience)
        try:
            await self.carrier.redirect(course.call_sid, self.orders(course))
        except CarrierRefused as refusal:
            log.warning("transfer_not_redirected", call_sid=course.call_sid, code=refusal.code)
            return refusal.code
        log.info("transfer_redirected", call_sid=course.call_sid, agent_id=course.agent_id)
        return None

    async def _lose(self, course: Course) -> None:
        """Give a transfer up, unless its webhook came after all."""
        if course.stage is Stage.ASKED:
            course.advance(Stage.SETTLED)
            await self.settle(course.agent_id, course.call_sid, TransferOutcome.LOST)

    async def _await_last_word(self, course: Course) -> None:
        with trio.move_on_after(LAST_WORD_SECONDS) as waiting:
            await course.reach(Stage.SETTLED)
        if waiting.cancelled_caught:
            course.advance(Stage.SETTLED)
            await self.settle(course.agent_id, course.call_sid, TransferOutcome.CALLER_GONE)
