"""The forms of the carrier's webhooks: their signature, and their fields as values of ours.

    request ──signature, encoding──▶ form ──▶ IncomingCall │ CallProgress │ TransferOutcome │ Callee

The signature is checked before anything else is looked at. A form without a usable call id is refused; any other field
that is not of its form counts as absent, because a record without a duration is better than no record.

Source: the carrier's pages on the voice webhook, on call status callbacks, on answering machine detection and on the
`<Dial>` action.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeAlias
from urllib.parse import parse_qsl

import structlog
from quart import request
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import BadRequest, Forbidden

from actors.call_record import CallProgress, CarrierStatus
from actors.call_values import Callee, Direction
from relay.agent import Agent
from relay.reception import IncomingCall
from relay.twilio.call_sids import is_call_sid
from relay.twilio.parties import read_party
from relay.twilio.signatures import SignatureChecker

log = structlog.get_logger(__name__)

Form: TypeAlias = MultiDict[str, str]

# The carrier adds fields without notice; some forty are known.
_MAX_FIELDS = 256
_ORDER = re.compile(r"[A-Za-z0-9_-]{16,64}")
# It has more words if the call was diverted, or if the verdict is another carrier's.
_ATTESTATION = re.compile(r"TN-Validation-Passed-(?P<level>[ABC])(?P<more>-[A-Za-z0-9-]{1,64})?")
_ERROR = re.compile(r"[A-Za-z0-9_]{1,32}")
_SECONDS = re.compile(r"[0-9]{1,7}")
_SIP_FAILURE = re.compile(r"[4-6][0-9]{2}")

_STATUSES = frozenset(CarrierStatus)
# Those for which the answer of the other side's network is the reason: a call that we cancel has one too (487).
_NOT_REACHED = frozenset({"failed", "busy", "no-answer"})
_DIAL_STATUSES = frozenset({"completed", "answered", "busy", "no-answer", "failed", "canceled"})


async def signed_form(checker: SignatureChecker) -> Form:
    """Read the form of the current request and check who sent it. Raises the HTTP errors 400, 403, 408 and 413."""
    if not checker.is_claimed(request.scope):
        raise Forbidden  # before the body is read: do not wait for the bytes of an unverified sender
    form = parse_form(await request.get_data(cache=False, as_text=False, parse_form_data=False))
    if form is None:
        raise BadRequest
    if not checker.check_form(request.scope, form):
        log.warning("webhook_refused", path=request.path, why="signature")
        raise Forbidden
    return form


def parse_form(body: bytes) -> Form | None:
    """Return the fields of a form; None for what is none."""
    try:
        pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS)
    except ValueError:
        return None
    return MultiDict(pairs)


def call_sid(form: Form) -> str:
    """Return the id of the call that the form is about. Raises the HTTP error 400 where there is none."""
    given = form.get("CallSid", "")
    if not is_call_sid(given):
        raise BadRequest
    return given


def incoming_call(
    agent: Agent, form: Form, *, attempt: int = 0, greeting: str | None = None, note: str = ""
) -> IncomingCall:
    """Return the call as the form and the current request's headers describe it; raises as `call_sid`."""
    attestation = _ATTESTATION.fullmatch(form.get("StirVerstat", "").strip())
    return IncomingCall(
        agent=agent,
        call_sid=call_sid(form),
        caller=party(form, "From"),
        called=party(form, "To"),
        direction=direction(form),
        attestation=attestation["level"] if attestation else "",
        is_passed_on=bool(attestation and attestation["more"]),
        idempotency_token=request.headers.get("I-Twilio-Idempotency-Token", ""),
        attempt=attempt,
        greeting=greeting,
        note=note,
    )


def call_progress(form: Form) -> CallProgress | None:
    """Return what the form says of its call, None where it gives no status that is known; raises as `call_sid`.

    `order` is taken from the query of the current request.
    """
    status, order = form.get("CallStatus", ""), request.args.get("order", "")
    if status not in _STATUSES:
        return None
    duration = form.get("CallDuration", "")
    return CallProgress(
        call_sid=call_sid(form),
        status=status,
        at=_instant(form.get("Timestamp", "")),
        seconds=float(duration) if _SECONDS.fullmatch(duration) else None,
        error=error_code(form) or _sip_error(form, status),
        caller=party(form, "From"),
        called=party(form, "To"),
        direction=direction(form),
        order=order if _ORDER.fullmatch(order) else "",
    )


def dial_status(form: Form) -> str:
    """Return the `DialCallStatus`; an unknown one counts as `failed`."""
    status = form.get("DialCallStatus", "")
    return status if status in _DIAL_STATUSES else "failed"


def is_bridged(form: Form, *, confirm: bool) -> bool:
    """Return whether a `<Dial>` connected the two.

    Where `DialBridged` is missing, a completed leg with a duration was connected. A leg with a whisper was not: the
    whisper has a duration too, whether or not the key was pressed.
    """
    duration = form.get("DialCallDuration", "")
    is_completed = not confirm and form.get("DialCallStatus") == "completed"
    has_talked = is_completed and _SECONDS.fullmatch(duration) and float(duration) > 0
    return form.get("DialBridged", "true" if has_talked else "false") == "true"


def callee(form: Form) -> Callee:
    """Return who picked up, as far as the carrier could tell; a fax is a machine too."""
    answered_by = form.get("AnsweredBy", "")
    if answered_by == "human":
        return Callee.HUMAN
    return Callee.VOICEMAIL if answered_by == "fax" or answered_by.startswith("machine_") else Callee.UNKNOWN


def party(form: Form, field: str) -> str:
    """Return the number or address in a field, empty where it is withheld or not of that kind."""
    return read_party(form.get(field, ""))


def direction(form: Form) -> Direction:
    """Return who called whom. The carrier has several words for outbound, such as `outbound-api`."""
    return Direction.OUTBOUND if form.get("Direction", "").startswith("outbound") else Direction.INBOUND


def error_code(form: Form) -> str:
    """Return the carrier's error code, empty where there is none."""
    code = form.get("ErrorCode", "")
    return code if _ERROR.fullmatch(code) else ""


def _sip_error(form: Form, status: str) -> str:
    code = form.get("SipResponseCode", "")
    return f"sip_{code}" if status in _NOT_REACHED and _SIP_FAILURE.fullmatch(code) else ""


def _instant(text: str) -> datetime | None:
    """Read a date (RFC 2822, 3.3) into UTC; None where it is none, or beyond what a `datetime` holds."""
    try:
        given = parsedate_to_datetime(text)
        # Without a zone, or with "-0000", it is UTC by that section.
        return given.replace(tzinfo=UTC) if given.tzinfo is None else given.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
