"""The defaults of outbound calls, used where neither the client nor its agent says otherwise."""

from __future__ import annotations

import math

import attrs
from attrs.validators import ge, gt, le

from actors.call_values import LONGEST_RING, SHORTEST_RING
from relay.agent import Agent, CallDefaults
from relay.dialling.numbers import NumberError, normalise
from relay.dialling.requests import DialRequest
from relay.errors import OutboundRefused

# By the carrier's page on the Call resource.
_LONGEST_CALL = 86_400

# The relay ends a call with a goodbye; the carrier's limit is only the fallback.
_FAREWELL_SECONDS = 60


@attrs.frozen(kw_only=True)
class Defaults(CallDefaults):
    """What the settings say of calls that we make.

    `caller_number` is E.164, or None where only agents have numbers. `max_call_seconds` is how long the relay lets a
    call last.
    """

    caller_number: str | None = attrs.field(default=None, repr=False)
    ring_seconds: int = attrs.field(default=25, validator=[ge(SHORTEST_RING), le(LONGEST_RING)])
    max_call_seconds: float = attrs.field(default=3600.0, validator=gt(0))

    @property
    def time_limit(self) -> int:
        """After how many seconds the carrier ends a call whatever happens: later than the relay would."""
        return min(math.ceil(min(self.max_call_seconds, _LONGEST_CALL)) + _FAREWELL_SECONDS, _LONGEST_CALL)

    def ring_time(self, request: DialRequest) -> int:
        """Return for how many seconds to ring."""
        return self.ring_seconds if request.ring_seconds is None else request.ring_seconds

    def caller_of(self, agent: Agent) -> str:
        """Return the number that a call of the agent's comes from. Raises `OutboundRefused` where there is none."""
        number = agent.number or self.caller_number
        command = f"relay agents set {agent.agent_id} --number +1…"
        if not number:
            raise OutboundRefused(
                "no_number", f"The agent has no telephone number to call from. The operator can give it one: {command}"
            )
        try:
            return normalise(number)
        except NumberError:
            # Its own text repeats the number.
            raise OutboundRefused(
                "number_unusable",
                "The number that the call would come from is not in E.164 form (+14155552671). The operator can fix "
                f"it: {command}",
            ) from None
