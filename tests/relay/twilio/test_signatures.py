"""Signatures: the vendor's published vectors, the origin they are checked over, and that every doubt is a no."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict

from relay.twilio.signatures import SignatureChecker

FORM = {
    "CallSid": "CA1234567890ABCDE",
    "Digits": "1234",
    "From": "+14158675309",
    "Caller": "+14158675309",
    "To": "+18005551212",
}


def scope_of(
    signature: str | None, path: str = "/myapp.php", query: str = "foo=1&bar=2", **other: str
) -> dict[str, Any]:
    """Return the part of an ASGI scope that a signature depends on."""
    headers = [(name.encode(), value.encode()) for name, value in other.items()]
    if signature is not None:
        headers.append((b"x-twilio-signature", signature.encode("utf-8")))
    return {"headers": headers, "raw_path": path.encode(), "query_string": query.encode()}


def sign(text: str, token: str = "12345") -> str:
    """Sign as the carrier does, without its library."""
    return base64.b64encode(hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()).decode()


@pytest.mark.parametrize(
    ("public_url", "signature"),
    [
        ("https://mycompany.com", "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
        ("https://mycompany.com", "kvajT1Ptam85bY51eRf/AJRuM3w="),
        ("https://mycompany.com:443", "kvajT1Ptam85bY51eRf/AJRuM3w="),
        ("http://mycompany.com", "0ZXoZLH/DfblKGATFgpif+LLRf4="),
    ],
)
def test_the_vendors_vectors_pass(public_url: str, signature: str) -> None:
    """The published signatures, with and without the default port in the signed address, are accepted."""
    assert SignatureChecker("12345", public_url).check_form(scope_of(signature), FORM)


@pytest.mark.parametrize(
    ("scope", "form"),
    [
        (scope_of("RSOYDt4T1cUTdK1PDd93/VVr8B8="), {**FORM, "Digits": "1235"}),
        (scope_of("RSOYDt4T1cUTdK1PDd93/VVr8B8="), {}),
        (scope_of("RSOYDt4T1cUTdK1PDd93/VVr8B8=", query="foo=1"), FORM),
        (scope_of("RSOYDt4T1cUTdK1PDd93/VVr8B8=", path="/myapp"), FORM),
        (scope_of(None), FORM),
        (scope_of(""), FORM),
        (scope_of("ünïcode"), FORM),
    ],
)
def test_anything_else_than_what_was_signed_fails(scope: dict[str, Any], form: dict[str, str]) -> None:
    """Another form, path or query, or no signature, is a refusal."""
    assert not SignatureChecker("12345", "https://mycompany.com").check_form(scope, form)


def test_the_host_header_has_no_say() -> None:
    """A request signed for another host stays refused when its Host header names that host."""
    signature = sign("https://evil.example/voice")
    scope = scope_of(signature, "/voice", "", host="evil.example", **{"x-forwarded-host": "evil.example"})
    assert not SignatureChecker("12345", "https://voice.example").check_form(scope, {})


def test_the_path_is_checked_as_it_was_sent() -> None:
    """Percent-encoded bytes stay encoded, and a lone `?` is not added."""
    checker = SignatureChecker("12345", "https://voice.example")
    assert checker.check_form(scope_of(sign("https://voice.example/a%2Fb"), "/a%2Fb", ""), {})


def test_every_value_of_a_repeated_field_counts() -> None:
    """A form with the same name twice is signed with both values."""
    form = MultiDict([("Event", "b"), ("Event", "a")])
    checker = SignatureChecker("12345", "https://voice.example")
    assert checker.check_form(scope_of(sign("https://voice.example/vEventaEventb"), "/v", ""), form)


def test_two_signatures_are_none() -> None:
    """A request that offers several signatures is refused even if one is right."""
    scope = scope_of("RSOYDt4T1cUTdK1PDd93/VVr8B8=")
    scope["headers"].append((b"x-twilio-signature", b"RSOYDt4T1cUTdK1PDd93/VVr8B8="))
    assert not SignatureChecker("12345", "https://mycompany.com").check_form(scope, FORM)


@pytest.mark.parametrize(
    ("public_url", "signed"),
    [
        ("https://voice.example", "wss://voice.example/ws"),
        ("https://voice.example", "wss://voice.example:443/ws"),
        ("https://voice.example:443", "wss://voice.example/ws"),
        ("https://voice.example:8443", "wss://voice.example:8443/ws"),
        ("http://127.0.0.1:8080", "ws://127.0.0.1:8080/ws"),
        ("http://voice.example", "ws://voice.example:80/ws"),
        ("http://[::1]:8080", "ws://[::1]:8080/ws"),
    ],
)
def test_an_upgrade_is_signed_over_the_socket_address(public_url: str, signed: str) -> None:
    """The `wss` or `ws` form of the public origin is what an upgrade is checked over, default port or not."""
    assert SignatureChecker("12345", public_url).check_upgrade(scope_of(sign(signed), "/ws", ""))


@pytest.mark.parametrize("signed", ["https://voice.example/ws", "ws://voice.example/ws", "wss://other.example/ws"])
def test_an_upgrade_signed_for_something_else_is_refused(signed: str) -> None:
    """Neither the web address nor another host will do for an upgrade."""
    assert not SignatureChecker("12345", "https://voice.example").check_upgrade(scope_of(sign(signed), "/ws", ""))


@given(st.binary(), st.binary(), st.binary(), st.dictionaries(st.text(), st.text() | st.characters(categories=["Cs"])))
def test_hostile_requests_are_refused_and_raise_nothing(
    signature: bytes, path: bytes, query: bytes, form: dict[str, str]
) -> None:
    """Whatever bytes come, both checks say no."""
    scope = {"headers": [(b"X-Twilio-Signature", signature)], "raw_path": path, "query_string": query}
    checker = SignatureChecker("12345", "https://voice.example")
    assert not checker.check_form(scope, form)
    assert not checker.check_upgrade(scope)


def test_a_scope_without_the_raw_path_is_refused() -> None:
    """A server that does not tell the bytes of the path gives nothing to check."""
    assert not SignatureChecker("12345", "https://voice.example").check_form(
        {"headers": [(b"x-twilio-signature", b"x")]}, {}
    )


def test_the_token_is_needed_and_stays_hidden() -> None:
    """An empty token, with which anybody could sign, cannot be used, and the repr shows none."""
    with pytest.raises(ValueError, match="auth_token"):
        SignatureChecker("", "https://voice.example")
    assert "12345" not in repr(SignatureChecker("12345", "https://voice.example"))
