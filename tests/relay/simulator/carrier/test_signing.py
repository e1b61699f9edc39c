"""The simulator's own signatures are the carrier's."""

from __future__ import annotations

import pytest
from twilio.request_validator import RequestValidator  # type: ignore[import-untyped]

from relay.simulator.carrier.signing import sign

FIELDS = {
    "CallSid": "CA1234567890ABCDE",
    "Digits": "1234",
    "From": "+14158675309",
    "Caller": "+14158675309",
    "To": "+18005551212",
}
BODY_HASH = "0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620"


@pytest.mark.parametrize(
    ("url", "fields", "signature"),
    [
        ("https://mycompany.com/myapp.php?foo=1&bar=2", FIELDS, "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
        ("https://mycompany.com:443/myapp.php?foo=1&bar=2", FIELDS, "kvajT1Ptam85bY51eRf/AJRuM3w="),
        ("http://mycompany.com:80/myapp.php?foo=1&bar=2", FIELDS, "0ZXoZLH/DfblKGATFgpif+LLRf4="),
        (f"https://mycompany.com/myapp.php?foo=1&bar=2&bodySHA256={BODY_HASH}", {}, "a9nBmqA0ju/hNViExpshrM61xv4="),
    ],
)
def test_the_published_vectors(url: str, fields: dict[str, str], signature: str) -> None:
    """The signatures that Twilio publishes for its example come out."""
    assert sign("12345", url, fields) == signature


def test_the_carriers_library_accepts_them() -> None:
    """Twilio's validator accepts a form whose names and values are not ASCII."""
    fields = {"Speech": "Grüße, 你好", "": "", "a": "b", "A": "c"}
    url = "https://example.com/x"
    assert RequestValidator("secret").validate(url, fields, sign("secret", url, fields))


def test_a_fragment_is_not_signed() -> None:
    """Connection overrides in a URL's fragment are no part of what is signed."""
    assert sign("secret", "https://example.com/x#rc=2") == sign("secret", "https://example.com/x")
