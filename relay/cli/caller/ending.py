"""How a call ended, and why it failed, in sentences for the caller."""

from __future__ import annotations

import attrs

from relay.simulator.carrier.fault_plan import TwimlRefused, WebhookFailed
from relay.simulator.carrier.twiml_reader import read as read_twiml


@attrs.frozen
class Ended:
    """How a call ended: `by` is `you`, `relay`, `other side` or `failure`. `answered`: somebody or something was there.

    `why` is a sentence for a person, with what to do where the call was not answered or broke off.
    """

    by: str
    answered: bool
    why: str = ""


def explain(failure: Exception, agent_id: str, where: str) -> str:
    """Say in a sentence why a call to an agent of the daemon at `where` failed, and what to do."""
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
