"""Why nothing was dialled, in words that whoever asked can act on: an `OutboundRefused` for each way to be refused."""

from __future__ import annotations

from typing import Any

from actors.errors import CallRefused
from relay.dialling.verdict import Verdict
from relay.errors import OutboundRefused
from relay.twilio.call_orders import MAX_TWIML
from relay.twilio.rest_errors import CarrierRefused


def dry_run(verdict: Verdict) -> dict[str, Any]:
    """Return the gate's verdict as the result of a tool that was asked not to dial."""
    return {"dryRun": True, **verdict.as_json()}


def by_gate(verdict: Verdict) -> OutboundRefused:
    """Give all that the gate objects to, and what would lift each. The code is that of the first."""
    reasons = " ".join(f"{each.sentence} What lifts it: {each.lifted_by}" for each in verdict.refusals)
    facts = verdict.as_json()
    details = {"refusals": facts["refusals"], "nextAllowed": facts["nextAllowed"]}
    return OutboundRefused(verdict.refusals[0].name.value, f"Nothing was dialled. {reasons}", details)


def not_admitted(refusal: CallRefused) -> OutboundRefused:
    """Say that there is no place for another call."""
    return OutboundRefused(refusal.code, f"Nothing was dialled: {refusal}. Try again later.")


def by_carrier(refusal: CarrierRefused) -> OutboundRefused:
    """Say what the carrier objects to, and whether it may think otherwise later."""
    later = "The same may succeed later." if refusal.retryable else "The same would be refused again."
    return OutboundRefused(
        refusal.code, f"The carrier placed no call. {refusal} {later}", {"retryable": refusal.retryable}
    )


def outcome_unknown() -> OutboundRefused:
    """Say that somebody's telephone may ring."""
    return OutboundRefused(
        "outcome_unknown",
        "The carrier did not answer, so it is not known whether the call was placed: the telephone may ring. Do not "
        "dial again. comms_list_calls shows the call once the carrier reports it; if it is not there in a minute, "
        "there is none.",
    )


def no_carrier() -> OutboundRefused:
    """Say that the relay has no access to the carrier's REST API."""
    return OutboundRefused(
        "no_carrier",
        "This relay cannot place calls. The operator must set TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN, or with "
        "--local TWILIO_API_BASE_URL to a simulated carrier.",
    )


def too_long(argument: str) -> OutboundRefused:
    """Say which text does not fit into an order for the carrier."""
    return OutboundRefused(
        "too_long",
        f"The {argument} is too long: the carrier takes orders of {MAX_TWIML} characters, and this one does not fit. "
        "Shorten it.",
    )


def already_transferring() -> OutboundRefused:
    """Say that a call is being passed on already."""
    return OutboundRefused(
        "already_transferring",
        "This call is being transferred already. What becomes of that is the next turn, or the end of the call.",
    )


def stopping() -> OutboundRefused:
    """Say that nothing new is begun."""
    return OutboundRefused("draining", "The relay is being stopped and transfers no more calls.")
