"""Calls that we make, until they have a name: kept by our order, found by it or by the ticket of their socket."""

from __future__ import annotations

import hmac
import math
import secrets

import attrs

from relay.calls import OutgoingCall


@attrs.frozen
class ExpectedCall:
    """A call that was ordered, or is about to be; times are Trio's."""

    call: OutgoingCall
    ticket: str = attrs.field(repr=False)
    expires: float


@attrs.define(eq=False)
class ExpectedCalls:
    """Know what is expected. Whatever is taken is expected no more."""

    _by_order: dict[str, ExpectedCall] = attrs.field(factory=dict, init=False)

    def add(self, call: OutgoingCall, now: float) -> ExpectedCall:
        """Expect a call, with a new ticket."""
        expected = ExpectedCall(call, secrets.token_urlsafe(32), now + call.expires_in)
        self._by_order[call.order] = expected
        return expected

    def take(self, order: str, agent_id: str | None = None) -> ExpectedCall | None:
        """Take the call of an order; of this agent only, if one is named."""
        expected = self._by_order.get(order)
        if expected is None or agent_id not in {None, expected.call.agent.agent_id}:
            return None
        return self._by_order.pop(order)

    def take_by_ticket(self, ticket: str, agent_id: str) -> ExpectedCall | None:
        """Take the call of an agent whose ticket this is."""
        for order, each in self._by_order.items():
            if hmac.compare_digest(each.ticket.encode(), ticket.encode()) and each.call.agent.agent_id == agent_id:
                return self._by_order.pop(order)
        return None

    def take_expired(self, now: float) -> list[ExpectedCall]:
        """Take those whose time is over."""
        return [self._by_order.pop(order) for order, each in list(self._by_order.items()) if each.expires <= now]

    @property
    def next_expiry(self) -> float:
        """When the first of them expires; infinite when none is expected."""
        return min((each.expires for each in self._by_order.values()), default=math.inf)
