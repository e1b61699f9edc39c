"""The last two steps of every call that we place: the gate, which counts it, and the carrier, which rings.

    admitted: gate, nothing counted ─▶ … all that can fail, and costs nothing … ─▶ place: gate, counting ─▶ carrier
    counted first: gate, counting ─▶ … what is paid for … ─▶ order: carrier
                                └── given back where that fails ◀──┘

Once the carrier was asked, a dial stays counted whatever its outcome. So the gate counts as late as possible, except
before work that costs money: of thirty requests at once, all would be paid for before the limit refuses most of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import attrs
import structlog
import trio

from actors.errors import StoreFailed
from relay.agent import Agent
from relay.dialling.dial_check import DiallingGate
from relay.dialling.orphaned_calls import Reconciliation
from relay.dialling.requests import CallRequest, VoiceMessageRequest
from relay.dialling.verdict import DialKind, Verdict
from relay.errors import STORE_FAILURES, OutboundRefused
from relay.metrics import CallMeter
from relay.twilio.call_orders import MAX_TWIML, PlaceCall, PlacedCall
from relay.twilio.rest import CarrierCalls
from relay.twilio.rest_errors import CarrierRefused

log = structlog.get_logger(__name__)

# For uncounting a dial after its task was cancelled.
_GIVING_BACK_SECONDS = 1.0


@attrs.define(eq=False)
class Counted:
    """A dial that the gate has counted: the number in E.164 form, and whether the carrier was asked to call it."""

    number: str = attrs.field(repr=False)
    is_ordered: bool = False


@attrs.frozen(kw_only=True)
class Dialler:
    """Passes the gate and orders calls from the carrier.

    `carrier` is None if the relay has no access to its REST API.
    """

    gate: DiallingGate
    carrier: CarrierCalls | None
    observer: CallMeter
    reconciliation: Reconciliation

    async def explain(self, agent: Agent, request: CallRequest | VoiceMessageRequest, kind: DialKind) -> Verdict:
        """Return the gate's verdict without counting a dial. Raises one of `STORE_FAILURES`."""
        return await self.gate.check(
            agent, request.to, kind=kind, zone=request.zone, purpose=request.purpose, dry_run=True
        )

    @asynccontextmanager
    async def counted_first(
        self, agent: Agent, request: CallRequest | VoiceMessageRequest, kind: DialKind
    ) -> AsyncIterator[Counted]:
        """Count a dial at the gate before the block prepares it; give its place back unless the block orders it.

        Raises as `admitted`.
        """
        if self.carrier is None:
            raise _no_carrier()
        verdict = await self.gate.check(agent, request.to, kind=kind, zone=request.zone, purpose=request.purpose)
        counted = Counted(verdict.require_allowed())
        try:
            yield counted
        finally:
            if not counted.is_ordered and verdict.place is not None:
                with trio.move_on_after(_GIVING_BACK_SECONDS, shield=True):
                    await self._give_back(verdict.place)

    async def _give_back(self, place: int) -> None:
        try:
            await self.gate.give_back(place)
        except StoreFailed as error:
            # The limit then counts one call too many; the error that stopped the dial matters more.
            log.warning("dial_not_given_back", error=type(error).__name__)

    async def order(self, agent: Agent, kind: DialKind, order: PlaceCall, counted: Counted) -> PlacedCall:
        """Order a call that the gate has counted from the carrier. Raises as `place`."""
        counted.is_ordered = True
        return await self._create(agent, kind, order)

    async def admitted(self, agent: Agent, request: CallRequest | VoiceMessageRequest, kind: DialKind) -> str:
        """Return the number in E.164 form if it may be dialled as things are; nothing is counted yet.

        Raises `OutboundRefused`, also where there is no carrier to dial it, and what `explain` raises.
        """
        if self.carrier is None:
            raise _no_carrier()
        return (await self.explain(agent, request, kind)).require_allowed()

    async def place(
        self, agent: Agent, request: CallRequest | VoiceMessageRequest, kind: DialKind, order: PlaceCall
    ) -> PlacedCall:
        """Count the dial at the gate, and order the call from the carrier.

        Raises `OutboundRefused` and what `explain` raises when no call was placed, and `CallOutcomeUnknown` if that is
        not known. Cancelled, what may have been placed is ended by the `Reconciliation`.
        """
        if self.carrier is None:
            raise _no_carrier()
        verdict = await self.gate.check(agent, order.to, kind=kind, zone=request.zone, purpose=request.purpose)
        verdict.require_allowed()
        return await self._create(agent, kind, order)

    async def _create(self, agent: Agent, kind: DialKind, order: PlaceCall) -> PlacedCall:
        if self.carrier is None:
            raise _no_carrier()
        try:
            placed = await self.carrier.create(order)
        except CarrierRefused as refusal:
            log.warning("call_not_placed", agent_id=agent.agent_id, kind=kind.value, code=refusal.code)
            raise _by_carrier(refusal) from refusal
        await self.reconciliation.claim(placed.sid)
        log.info(
            "call_placed",
            agent_id=agent.agent_id,
            kind=kind.value,
            call_sid=placed.sid,
            waited=round(placed.waited, 3),
        )
        return placed

    @contextmanager
    def counted(self, kind: DialKind) -> Iterator[None]:
        """Count what becomes of a request to dial; one that was cancelled is not counted."""
        try:
            yield
        except OutboundRefused as refusal:
            self.observer.dialled(kind.value, refusal.code)
            raise
        except STORE_FAILURES:
            self.observer.dialled(kind.value, "store_failed")
            raise
        self.observer.dialled(kind.value, "placed")


def outcome_unknown() -> OutboundRefused:
    """Return the error for a call that may have been placed."""
    return OutboundRefused(
        "outcome_unknown",
        "The carrier did not answer, so it is not known whether the call was placed: the telephone may ring. Do not "
        "dial again. comms_list_calls shows the call once the carrier reports it; if it is not there in a minute, "
        "there is none.",
    )


def too_long(argument: str) -> OutboundRefused:
    """Return the refusal of a text that does not fit into an order for the carrier."""
    return OutboundRefused(
        "too_long",
        f"The {argument} is too long: the carrier takes orders of {MAX_TWIML} characters, and this one does not fit. "
        "Shorten it.",
    )


def _no_carrier() -> OutboundRefused:
    """Return the refusal if the relay has no access to the carrier's REST API."""
    return OutboundRefused(
        "no_carrier",
        "This relay cannot place calls. The operator must set TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN, or with "
        "--local TWILIO_API_BASE_URL to a simulated carrier.",
    )


def _by_carrier(refusal: CarrierRefused) -> OutboundRefused:
    """Return the carrier's refusal, and whether a repeat may succeed later."""
    later = "A retry may succeed later." if refusal.retryable else "A retry would be refused again."
    return OutboundRefused(
        refusal.code, f"The carrier placed no call. {refusal} {later}", {"retryable": refusal.retryable}
    )
