"""Orphaned calls: the task that ordered them was cancelled while the carrier was being asked.

    CarrierCalls.create, cancelled ──UnclaimedCall──▶ on_unclaimed ─▶ run ─▶ hang_up
                                                                       └─ no call sid: find_recent, then hang_up
    CarrierCalls.create, answered ──claim──▶ on record: `relay.store.claimed_calls`

Such a call would ring, and the callee would hear silence. Only these are ended: a call whose placing was not cancelled
has an owner, and is left alone even if it is not known whether it exists. That goes by what is on record, because the
owner may be another node of the relay.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import structlog
import trio

from actors.errors import StoreFailed
from relay.store.claimed_calls import ClaimedCalls
from relay.twilio.call_orders import CallState, UnclaimedCall
from relay.twilio.rest import CarrierCalls
from relay.twilio.rest_errors import CarrierRefused

log = structlog.get_logger(__name__)

# Each is a request that was cancelled in the fraction of a second in which the carrier had it; a hundred at once is a
# client that opens and cancels calls on purpose, and the gate's limits end that earlier.
_CAPACITY = 100
# Seconds until the carrier's list is asked for a call that it did not name: when it usually shows it, and when it must.
_LOOKS = (5.0, 15.0)
# For recording the owner of a call whose task was cancelled meanwhile.
_CLAIMING_SECONDS = 1.0
# So that one carrier that does not answer does not hold up the rest.
_AT_ONCE = 5


@attrs.define(eq=False)
class Reconciliation:
    """End unclaimed calls. One instance, with one task in `run`; `on_unclaimed` is for `open_carrier_calls`."""

    claims: ClaimedCalls
    _found: tuple[trio.MemorySendChannel[UnclaimedCall], trio.MemoryReceiveChannel[UnclaimedCall]] = attrs.field(
        factory=lambda: trio.open_memory_channel[UnclaimedCall](_CAPACITY), init=False
    )

    async def claim(self, call_sid: str) -> None:
        """Record that a call has an owner, so that it is not taken for an unclaimed one, here or at another node.

        Done although the task is cancelled, for which it is no checkpoint: the call rings, and is its owner's. A
        database that refuses is logged.
        """
        with trio.CancelScope(deadline=trio.current_time() + _CLAIMING_SECONDS, shield=True):
            try:
                await self.claims.claim(call_sid)
            except StoreFailed as error:
                log.warning("call_not_claimed", call_sid=call_sid, error=type(error).__name__)

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
            call_sid = _sid(call)
            if call_sid is not None:
                await self.claim(call_sid)
            else:
                call_sid = await self._name(carrier, call)
            if call_sid is None:
                log.info("unclaimed_call_not_there")
                return
            await carrier.hang_up(call_sid)
            log.info("unclaimed_call_ended", call_sid=call_sid)
        except CarrierRefused as refusal:
            log.warning("unclaimed_call_left", call_sid=_sid(call), code=refusal.code)
        except StoreFailed:
            # Whose it is cannot be said: better a telephone that rings than a call that is cut.
            log.warning("unclaimed_call_left", call_sid=None, code="store_failed")
        finally:
            places.release()

    async def _name(self, carrier: CarrierCalls, call: UnclaimedCall) -> str | None:
        """Look for a call that has no name yet. Raises `CarrierRefused` or `StoreFailed` when the last look failed."""
        for number, seconds in enumerate(_LOOKS, start=1):
            await trio.sleep(seconds)
            try:
                recent = await carrier.find_recent(call.request.to, call.request.from_, call.since)
                found = await self._unclaimed(recent)
            except (CarrierRefused, StoreFailed):
                if number == len(_LOOKS):
                    raise
                continue
            if found is not None:
                return found
        return None

    async def _unclaimed(self, recent: Sequence[CallState]) -> str | None:
        """Choose among the calls between the two numbers, newest first, the first that no request was answered with.

        It is claimed from now on. Raises `StoreFailed`. The carrier does not say which of our requests a call comes
        from, so this goes by what it is not: a call whose request was answered, at any node. It errs where another
        call, from the same number to the same telephone, was asked for in these seconds and has no answer yet either;
        then that one may be ended instead.
        """
        # One order places one call at most, and it was the earliest to be asked for.
        return await self.claims.take([each.sid for each in reversed(recent)])


def _sid(call: UnclaimedCall) -> str | None:
    return None if call.placed is None else call.placed.sid
