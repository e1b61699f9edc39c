"""Orphaned calls: the task that ordered them was cancelled while the carrier was being asked.

    CarrierCalls.create, cancelled ──UnclaimedCall──▶ on_unclaimed ─▶ run ─▶ hang_up
                                                                       └─ no call sid: find_recent, then hang_up

Such a call would ring, and the callee would hear silence. Only these are ended: a call whose placing was not cancelled
has an owner, and is left alone even if it is not known whether it exists.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import attrs
import structlog
import trio

from relay.twilio.call_orders import CallState, UnclaimedCall
from relay.twilio.rest import CarrierCalls
from relay.twilio.rest_errors import CarrierRefused

log = structlog.get_logger(__name__)

# Each is a request that was cancelled in the fraction of a second in which the carrier had it; a hundred at once is a
# client that opens and cancels calls on purpose, and the gate's limits end that earlier.
_CAPACITY = 100
# Seconds until the carrier's list is asked for a call that it did not name: when it usually shows it, and when it must.
_LOOKS = (5.0, 15.0)
# More than are placed while the carrier may still be unsure of one.
_CLAIMS = 1000
# So that one carrier that does not answer does not hold up the rest.
_AT_ONCE = 5


@attrs.define(eq=False)
class Reconciliation:
    """End unclaimed calls. One instance, with one task in `run`; `on_unclaimed` is for `open_carrier_calls`."""

    _claimed: OrderedDict[str, None] = attrs.field(factory=OrderedDict, init=False)
    _found: tuple[trio.MemorySendChannel[UnclaimedCall], trio.MemoryReceiveChannel[UnclaimedCall]] = attrs.field(
        factory=lambda: trio.open_memory_channel[UnclaimedCall](_CAPACITY), init=False
    )

    def claim(self, call_sid: str) -> None:
        """Record that a call has an owner, so that it is not taken for an unclaimed one."""
        self._claimed[call_sid] = None
        if len(self._claimed) > _CLAIMS:
            self._claimed.popitem(last=False)

    def on_unclaimed(self, call: UnclaimedCall) -> None:
        """Queue an unclaimed call. Never waits and never raises; if there are too many, it is logged."""
        try:
            self._found[0].send_nowait(call)
        except trio.WouldBlock:
            log.warning("unclaimed_call_left", call_sid=_sid(call), code="too_many")

    async def run(self, carrier: CarrierCalls) -> None:
        """End the queued calls, a few at a time. Runs until cancelled; calls that are still in hand then go on."""
        async with trio.open_nursery() as nursery:
            places = trio.Semaphore(_AT_ONCE)
            async for call in self._found[1]:
                await places.acquire()
                nursery.start_soon(self._end, carrier, call, places)

    async def _end(self, carrier: CarrierCalls, call: UnclaimedCall, places: trio.Semaphore) -> None:
        try:
            call_sid = _sid(call) or await self._name(carrier, call)
            if call_sid is None:
                log.info("unclaimed_call_not_there")
                return
            await carrier.hang_up(call_sid)
            log.info("unclaimed_call_ended", call_sid=call_sid)
        except CarrierRefused as refusal:
            log.warning("unclaimed_call_left", call_sid=_sid(call), code=refusal.code)
        finally:
            places.release()

    async def _name(self, carrier: CarrierCalls, call: UnclaimedCall) -> str | None:
        """Look for a call that has no name yet. Raises `CarrierRefused` when the last look failed."""
        for number, seconds in enumerate(_LOOKS, start=1):
            await trio.sleep(seconds)
            try:
                recent = await carrier.find_recent(call.request.to, call.request.from_, call.since)
            except CarrierRefused:
                if number == len(_LOOKS):
                    raise
                continue
            if (found := self._unclaimed(recent)) is not None:
                return found
        return None

    def _unclaimed(self, recent: Sequence[CallState]) -> str | None:
        """Choose among the calls between the two numbers, newest first, the first that no request was answered with.

        The carrier does not say which of our requests a call comes from, so this goes by what it is not: a call whose
        request was answered. It errs where another call, from the same number to the same telephone, was asked for in
        these seconds and has no answer yet either; then that one may be ended instead.
        """
        unclaimed = [each.sid for each in recent if each.sid not in self._claimed]
        if not unclaimed:
            return None
        # One order places one call at most, and it was the earliest to be asked for.
        chosen = unclaimed[-1]
        self.claim(chosen)
        return chosen


def _sid(call: UnclaimedCall) -> str | None:
    return None if call.placed is None else call.placed.sid
