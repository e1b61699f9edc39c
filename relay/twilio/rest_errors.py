"""Refusals and unknown outcomes of the carrier's REST API, and what to do about them.

    CarrierRefused      nothing happened, or nothing changed: says why, what to do, and whether later may be better
    CallOutcomeUnknown  a call may have been placed: says what to look for

The vendor's own message is dropped, because it repeats telephone numbers; each relevant code has a sentence of ours
that a person or a model can act on. Source: the vendor's error dictionary, and its page on the REST API's responses for
"429: the request was never processed".
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import attrs
from twilio.base.exceptions import TwilioException  # type: ignore[import-untyped]


@attrs.frozen
class CarrierRefused(Exception):
    """The carrier did not do it. `code` is ours, in snake case; `twilio_code` the vendor's, where it gave one.

    `retryable` says that the same request may succeed later, not that it was or will be repeated.
    """

    code: str
    twilio_code: int | None
    message: str
    retryable: bool

    def __str__(self) -> str:
        return self.message


@attrs.frozen
class CallOutcomeUnknown(Exception):
    """A request to place a call went out and no answer came back: there may be a call, or not.

    It must not be repeated, or the callee's telephone may ring twice. `since` (UTC) is when it went out: together with
    the two numbers that is what `CarrierCalls.find_recent` finds the call by, if there is one.
    """

    called: str = attrs.field(repr=False)
    caller: str = attrs.field(repr=False)
    since: datetime

    def __str__(self) -> str:
        return (
            "The carrier did not answer, so it is not known whether the call was placed. Do not place it again before "
            "looking for it among the recent calls."
        )


SILENT = "carrier_silent"
"""The code of a refusal that is none: no answer came, or none that could be understood."""


@attrs.frozen
class _Meaning:
    """What a code of the vendor means for us. Each exception is made anew, because it has its own traceback."""

    name: str
    message: str
    retryable: bool = False

    def refusal(self, twilio_code: int | None) -> CarrierRefused:
        return CarrierRefused(self.name, twilio_code, self.message, self.retryable)


_CREDENTIALS = _Meaning(
    "carrier_credentials",
    "The carrier does not accept the account's credentials. Check TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN.",
)
_SUSPENDED = _Meaning(
    "carrier_suspended",
    "The carrier has suspended or closed the account, so nothing can be called. The Twilio console says why, and what "
    "the account's owner has to do.",
)
_CALL_UNKNOWN = _Meaning("unknown_call", "The carrier knows no such call, or no longer.")
_BUSY = _Meaning("carrier_busy", "The carrier is rate-limiting requests; retry in a few seconds.", retryable=True)
_NUMBER = _Meaning("number_invalid", "The carrier says that the number to call is not a telephone number. Check it.")
_CALLER_ID = _Meaning(
    "caller_id_invalid",
    "The carrier does not accept the number that the call would come from. Give the agent another number.",
)
_COUNTRY = _Meaning(
    "country_not_permitted",
    "The carrier's account may not call this country. Enable it under the account's geographic permissions, or do "
    "without this call.",
)
_BLOCKED = _Meaning("number_blocked", "The carrier does not allow calls to this number. Do not try again.")
_URL = _Meaning(
    "url_refused",
    "The carrier does not accept the address that it is to call back. Check PUBLIC_URL: it needs a host name without "
    "underscores.",
)
_TWIML = _Meaning(
    "twiml_refused",
    "The carrier does not understand the orders for this call. Please report this: it is a fault of the relay.",
)

SUSPENDED_CODES = frozenset({10001, 20005})
"""The carrier's codes for an account that is not active. Its credentials are valid, whatever the HTTP status says."""

_BY_CODE = {
    **dict.fromkeys(SUSPENDED_CODES, _SUSPENDED),
    20003: _CREDENTIALS,
    20404: _CALL_UNKNOWN,
    20429: _BUSY,
    10004: _Meaning(
        "carrier_full",
        "The carrier's account has as many calls at once as it may have. Try again when one has ended.",
        retryable=True,
    ),
    21201: _Meaning("number_missing", "There is no number to call. Give one."),
    21213: _Meaning("caller_id_missing", "There is no number to call from. Give the agent one."),
    21205: _URL,
    21609: _URL,
    21208: _Meaning("ring_time_refused", "The carrier does not accept the ring time. Give one from 1 to 600 seconds."),
    21210: _Meaning(
        "caller_id_not_owned",
        "The number to call from is neither the carrier account's own nor verified. Give the agent one that is.",
    ),
    21211: _NUMBER,
    21217: _NUMBER,
    13224: _NUMBER,
    21212: _CALLER_ID,
    13214: _CALLER_ID,
    21214: _Meaning("number_unreachable", "The carrier cannot reach this number, now or later."),
    21215: _COUNTRY,
    13227: _COUNTRY,
    21216: _BLOCKED,
    13225: _BLOCKED,
    21219: _Meaning(
        "number_not_verified",
        "A trial account calls verified numbers only. Verify this number at the carrier, or upgrade the account.",
    ),
    21220: _Meaning("call_over", "The call has ended, or is not yet in a state in which it can be changed."),
    12100: _TWIML,
    12200: _TWIML,
    12300: _TWIML,
}
_BY_STATUS = {401: _CREDENTIALS, 403: _CREDENTIALS, 404: _CALL_UNKNOWN, 429: _BUSY}


def unreachable() -> CarrierRefused:
    """Return the refusal of a request that did not leave this machine."""
    return CarrierRefused(
        "carrier_unreachable", None, "The carrier cannot be reached, so nothing was done. Try again later.", True
    )


def silent(twilio_code: int | None = None) -> CarrierRefused:
    """Return the refusal of a request without a usable answer: it is not known what the carrier did."""
    return CarrierRefused(
        SILENT,
        twilio_code,
        "The carrier gave no usable answer, so it is not known whether it did what it was asked. Ask for the call's "
        "state before trying again.",
        True,
    )


def unknown_call(twilio_code: int | None = None) -> CarrierRefused:
    """Return the refusal of a request about a call that does not exist."""
    return _CALL_UNKNOWN.refusal(twilio_code)


def refusal_of(error: TwilioException) -> CarrierRefused:
    """Translate an error of the vendor's library: two kinds with a status and a code, and their bare base."""
    status, code = _number(error, "status"), _number(error, "code")
    # Where the body says nothing, the library gives the HTTP status as the code.
    meaning = _BY_CODE.get(code or 0) or _BY_STATUS.get(status or 0)
    if meaning:
        return meaning.refusal(code)
    if status is None or status >= 500:
        return silent(code)
    reason = f"The carrier refused the request with its error {code}; its error dictionary says what that is."
    return CarrierRefused("refused_by_carrier", code, reason, False)


def was_never_processed(error: BaseException) -> bool:
    """Return whether the carrier refused the request before processing it, so that it may be repeated."""
    return isinstance(error, CarrierRefused) and error.code == _BUSY.name


def _number(error: Any, name: str) -> int | None:
    value = getattr(error, name, None)
    return value if isinstance(value, int) else None
