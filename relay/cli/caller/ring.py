"""Whom a caller rings, and what is so in the simulated world around the call."""

from __future__ import annotations

import enum

import attrs

from relay.simulator.carrier.callee import Answers, Callee, Unanswered

RING_SECONDS = 2.0
"""How long a transfer rings."""

TALK_SECONDS = 10.0
"""How long whoever picked up a transfer stays."""


class TransferEnd(enum.Enum):
    """What becomes of a transfer in a simulation."""

    ANSWERED = "answered"
    BUSY = "busy"
    NO_ANSWER = "no-answer"
    FAILED = "failed"

    @property
    def callee(self) -> Callee:
        """Return who is at every number that is dialled."""
        if self is TransferEnd.ANSWERED:
            # Where the relay asks whoever picks up to take the call, it is with the key 1.
            return Answers(after=RING_SECONDS, presses="1", talks=TALK_SECONDS)
        return Unanswered(self.value, after=RING_SECONDS)


@attrs.frozen(kw_only=True)
class Dialled:
    """Whom to ring, and how.

    `url` is the relay's public origin, over which all is signed; `via` is another one that leads there from here, if
    that does not. `speech_rate` is in characters a second, None for speech that takes no time. A script waits for each
    answer before its next line.
    """

    agent_id: str
    url: str
    via: str | None
    account_sid: str
    auth_token: str = attrs.field(repr=False)
    caller: str
    called: str
    speech_rate: float | None
    is_script: bool
    transfer_end: TransferEnd
