"""The last two steps of every call that we place: the gate, which counts it, and the carrier, which rings.

    explain ─▶ gate, nothing counted ─▶ … all that can fail without a telephone ringing … ─▶ place: gate ─▶ carrier

The gate is asked twice: first so that nothing is prepared for a number that is refused anyway, and last of all because
a dial stays counted whatever becomes of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import attrs
import structlog

from relay.agents import Agent
from relay.calls import CallWish, VoiceMessageWish
from relay.compliance.verdict import DialKind, Verdict
from relay.errors import OutboundRefused
from relay.outbound import refusals
from relay.outbound.ports import STORE_FAILURES, Carrier, Gate, Observer
from relay.outbound.reconciliation import Reconciliation
from relay.twilio.orders import PlaceCall, PlacedCall
from relay.twilio.refusals import CarrierRefused

log = structlog.get_logger(__name__)


@attrs.frozen(kw_only=True)
class Dialler:
    """Who dials for the others. `carrier` is None where the relay has no access to its REST API."""

    gate: Gate
    carrier: Carrier | None
    observer: Observer
    reconciliation: Reconciliation

    async def explain(self, agent: Agent, wish: CallWish | VoiceMessageWish, kind: DialKind) -> Verdict:
        """Ask the gate what it would say, and count nothing. Raises one of `STORE_FAILURES`."""
        return await self.gate.check(agent, wish.to, kind=kind, zone=wish.zone, purpose=wish.purpose, dry_run=True)

    async def admitted(self, agent: Agent, wish: CallWish | VoiceMessageWish, kind: DialKind) -> str:
        """Return the number in E.164 form if it may be dialled as things are; nothing is counted yet.

        Raises `OutboundRefused`, also where there is no carrier to dial it, and what `explain` raises.
        """
        if self.carrier is None:
            raise refusals.no_carrier()
        verdict = await self.explain(agent, wish, kind)
        if not verdict.allowed:
            raise refusals.by_gate(verdict)
        assert verdict.normalised is not None
        return verdict.normalised

    async def place(
        self, agent: Agent, wish: CallWish | VoiceMessageWish, kind: DialKind, request: PlaceCall
    ) -> PlacedCall:
        """Have the gate count the dial, and the carrier place the call.

        Raises `OutboundRefused` and what `explain` raises when no call was placed, and `CallOutcomeUnknown` when nobody
        knows. Cancelled, what may have been placed is ended by the `Reconciliation`.
        """
        if self.carrier is None:
            raise refusals.no_carrier()
        verdict = await self.gate.check(agent, request.to, kind=kind, zone=wish.zone, purpose=wish.purpose)
        if not verdict.allowed:
            raise refusals.by_gate(verdict)
        try:
            placed = await self.carrier.create(request)
        except CarrierRefused as refusal:
            log.warning("call_not_placed", agent_id=agent.agent_id, kind=kind.value, code=refusal.code)
            raise refusals.by_carrier(refusal) from refusal
        self.reconciliation.claim(placed.sid)
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
        """Count what becomes of a wish to dial; one that was cancelled is not counted."""
        try:
            yield
        except OutboundRefused as refusal:
            self.observer.dialled(kind.value, refusal.code)
            raise
        except STORE_FAILURES:
            self.observer.dialled(kind.value, "store_failed")
            raise
        self.observer.dialled(kind.value, "placed")
