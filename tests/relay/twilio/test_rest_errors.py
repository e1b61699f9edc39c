"""Errors of the vendor's library become errors with names, sentences to act on, and no telephone numbers."""

from __future__ import annotations

import pytest
from twilio.base.exceptions import (  # type: ignore[import-untyped]
    TwilioException,
    TwilioRestException,
    TwilioServiceException,
)

from relay.twilio.rest_errors import refusal_of, silent, unknown_call, unreachable, was_never_processed

URI = "/Accounts/AC1/Calls.json"


@pytest.mark.parametrize(
    ("code", "name", "retryable"),
    [
        (20003, "carrier_credentials", False),
        (10001, "carrier_suspended", False),
        (20005, "carrier_suspended", False),
        (20404, "unknown_call", False),
        (20429, "carrier_busy", True),
        (10004, "carrier_full", True),
        (21201, "number_missing", False),
        (21205, "url_refused", False),
        (21208, "ring_time_refused", False),
        (21210, "caller_id_not_owned", False),
        (21211, "number_invalid", False),
        (21212, "caller_id_invalid", False),
        (21213, "caller_id_missing", False),
        (21214, "number_unreachable", False),
        (21215, "country_not_permitted", False),
        (13227, "country_not_permitted", False),
        (21216, "number_blocked", False),
        (13225, "number_blocked", False),
        (21217, "number_invalid", False),
        (21219, "number_not_verified", False),
        (21220, "call_over", False),
        (21609, "url_refused", False),
        (13214, "caller_id_invalid", False),
        (13224, "number_invalid", False),
        (12100, "twiml_refused", False),
        (12200, "twiml_refused", False),
        (12300, "twiml_refused", False),
    ],
)
def test_codes_have_names(code: int, name: str, retryable: bool) -> None:
    """Each code of the vendor's that matters has a name and says whether later may be better."""
    refusal = refusal_of(TwilioRestException(400, URI, "Unable to create record: +15559876543 is bad", code))
    assert (refusal.code, refusal.twilio_code, refusal.retryable) == (name, code, retryable)
    assert "+1555" not in str(refusal)


@pytest.mark.parametrize(
    ("status", "name", "retryable"),
    [
        (401, "carrier_credentials", False),
        (403, "carrier_credentials", False),
        (404, "unknown_call", False),
        (429, "carrier_busy", True),
        (400, "refused_by_carrier", False),
        (500, "carrier_silent", True),
        (503, "carrier_silent", True),
    ],
)
def test_a_status_says_what_the_body_does_not(status: int, name: str, retryable: bool) -> None:
    """Where the body has no code the library repeats the status as one, and the status decides."""
    refusal = refusal_of(TwilioRestException(status, URI, "", status))
    assert (refusal.code, refusal.retryable) == (name, retryable)


def test_the_newer_kind_of_error() -> None:
    """Errors in the form of RFC 9457 are read just the same."""
    error = TwilioServiceException("https://a.example/21211", "Invalid number", 400, 21211)
    assert refusal_of(error).code == "number_invalid"


@pytest.mark.parametrize("status", [400, 401, 403])
@pytest.mark.parametrize("code", [10001, 20005])
def test_a_suspended_account_is_no_wrong_password(status: int, code: int) -> None:
    """Whatever the status, the account's owner hears of the account, and not of credentials that are good."""
    refusal = refusal_of(TwilioRestException(status, URI, "Account is not active", code))
    assert refusal.code == "carrier_suspended"
    assert "TWILIO_AUTH_TOKEN" not in str(refusal)
    assert "suspended" in str(refusal)
    newer = TwilioServiceException("https://a.example/10001", "Account is not active", status, code)
    assert refusal_of(newer).code == "carrier_suspended"


@pytest.mark.parametrize("code", [None, "21211", [1]])
def test_a_code_that_is_no_number(code: object) -> None:
    """A code of another type is no code; it breaks nothing."""
    assert refusal_of(TwilioRestException(400, URI, "", code)).code == "refused_by_carrier"


def test_an_error_of_the_library_itself() -> None:
    """What is no answer of the carrier's counts as silence: it is not known what was done."""
    assert refusal_of(TwilioException("Page Records can not be deserialized")).code == "carrier_silent"


def test_only_a_request_turned_away_may_be_repeated() -> None:
    """A 429 was never processed; silence, refusals and foreign errors are not repeated."""
    assert was_never_processed(refusal_of(TwilioRestException(429, URI, "", 20429)))
    for error in (silent(), unreachable(), unknown_call(), ValueError()):
        assert not was_never_processed(error)


def test_a_refusal_cannot_be_changed() -> None:
    """It is a value, and it is raised like any error."""
    with pytest.raises(AttributeError):
        unknown_call().code = "other"  # type: ignore[misc]
