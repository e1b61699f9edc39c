"""The refusals of a dial: an `OutboundRefused` for each reason, with a text that a client can act on."""

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
    """Return all refusals of the gate, and what would lift each. The code is that of the first."""
    reasons = " ".join(f"{each.sentence} What lifts it: {each.lifted_by}" for each in verdict.refusals)
    facts = verdict.as_json()
    details = {"refusals": facts["refusals"], "nextAllowed": facts["nextAllowed"]}
    return OutboundRefused(verdict.refusals[0].name.value, f"Nothing was dialled. {reasons}", details)


def not_admitted(refusal: CallRefused) -> OutboundRefused:
    """Return the refusal of a call because all places are taken."""
    return OutboundRefused(refusal.code, f"Nothing was dialled: {refusal}. Try again later.")


def by_carrier(refusal: CarrierRefused) -> OutboundRefused:
    """Return the carrier's refusal, and whether a repeat may succeed later."""
    later = "A retry may succeed later." if refusal.retryable else "A retry would be refused again."
    return OutboundRefused(
        refusal.code, f"The carrier placed no call. {refusal} {later}", {"retryable": refusal.retryable}
    )


def outcome_unknown() -> OutboundRefused:
    """Return the error for a call that may have been placed."""
    return OutboundRefused(
        "outcome_unknown",
        "The carrier did not answer, so it is not known whether the call was placed: the telephone may ring. Do not "
        "dial again. comms_list_calls shows the call once the carrier reports it; if it is not there in a minute, "
        "there is none.",
    )


def no_carrier() -> OutboundRefused:
    """Return the refusal if the relay has no access to the carrier's REST API."""
    return OutboundRefused(
        "no_carrier",
        "This relay cannot place calls. The operator must set TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN, or with "
        "--local TWILIO_API_BASE_URL to a simulated carrier.",
    )


def too_long(argument: str) -> OutboundRefused:
    """Return the refusal of a text that does not fit into an order for the carrier."""
    return OutboundRefused(
        "too_long",
        f"The {argument} is too long: the carrier takes orders of {MAX_TWIML} characters, and this one does not fit. "
        "Shorten it.",
    )


def already_transferring() -> OutboundRefused:
    """Return the refusal of a second transfer of a call."""
    return OutboundRefused(
        "already_transferring",
        "This call is already being transferred. The outcome comes as the next turn, or as the end of the call.",
    )


def stopping() -> OutboundRefused:
    """Return the refusal of a relay that is being stopped."""
    return OutboundRefused("draining", "The relay is shutting down and starts no more transfers.")
