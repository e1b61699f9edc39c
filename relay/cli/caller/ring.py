"""Whom a caller rings, what is so in the simulated world around the call, and how it ended, in a sentence."""

from __future__ import annotations

import enum

import attrs

from relay.simulator.carrier.callee import Answers, Callee, Unanswered
from relay.simulator.carrier.fault_plan import TwimlRefused, WebhookFailed
from relay.simulator.carrier.twiml_reader import read as read_twiml

RING_SECONDS = 2.0
"""How long a transfer rings."""

TALK_SECONDS = 10.0
"""How long the callee of a transfer stays."""


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
            # With `confirm` the relay asks the callee to press 1.
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


@attrs.frozen
class Ended:
    """How a call ended: `by` is `you`, `relay`, `other side` or `failure`. `answered`: somebody or something was there.

    `why` is a sentence for a person, with what to do where the call was not answered or broke off.
    """

    by: str
    answered: bool
    why: str = ""


def explain(failure: Exception, agent_id: str, where: str) -> str:
    """Return in a sentence why a call to an agent of the daemon at `where` failed, and what to do."""
    match failure:
        case WebhookFailed(status=0):
            return f"No daemon answers at {where}. Start one with `relay serve --local`, or name another with --url."
        case WebhookFailed(status=403):
            return (
                f"The daemon at {where} refuses the signature. TWILIO_AUTH_TOKEN must be the daemon's own, and --url "
                "its PUBLIC_URL; for a daemon that runs with --local, run this where its database is."
            )
        case WebhookFailed(status=404):
            return f"There is no agent {agent_id} at {where}. See those that there are with: relay agents list"
        case WebhookFailed(status=503):
            return f"The relay takes no calls now. It said: {_spoken_in(failure.body) or 'nothing'}"
        case _:
            return f"What the daemon at {where} answered is nothing that a carrier takes: {failure}."


def _spoken_in(document: str) -> str:
    try:
        return " ".join(verb.text for verb in read_twiml(document, secure=False) if verb.name == "Say")
    except TwimlRefused:
        return ""
