"""Who withholds the number, and who has none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.twilio.parties import MAX_PARTY, read_party


@pytest.mark.parametrize(
    "given_as",
    [
        "anonymous",
        "Anonymous",
        "ANONYMOUS",
        " anonymous ",
        '"Anonymous"',
        "+266696687",
        "266696687",
        "+1266696687",
        "Restricted",
        "+7378742833",
        "+17378742833",
        "blocked",
        "+2562533",
        "unknown",
        "Unknown",
        "+8656696",
        "unavailable",
        "+86282452253",
        "private",
        "Private Number",
        "No Caller ID",
        "+7748283",
        "withheld",
        "Unknown Caller",
        "Restricted number",
        "Caller ID blocked",
        "client:Anonymous",
        "sip:anonymous@anonymous.invalid",
        "sip:anonymous@pbx.example;transport=tls",
        "sips:Restricted@pbx.example",
        "sip:+266696687@pbx.example",
        "sip:abc@anonymous.invalid",
        "sip:anonymous.invalid",
        "sip:anna@x.anonymous.invalid.",
        "",
        " ",
    ],
)
def test_a_withheld_number_is_none(given_as: str) -> None:
    """A word, the digits that it has on a telephone's keys, or an address that stands for it: nobody is named."""
    assert read_party(given_as) == ""


@pytest.mark.parametrize(
    "given_as",
    [
        "+14155552671",
        "+26669668712",
        "+862824522531",
        "+13125625330",
        "sip:anna@pbx.example",
        "sip:+14155552671@pbx.example",
        "sip:anonymous-donor@pbx.example",
        "sip:unknown.person@anonymous.example",
        "client:anna",
        "client:anonymouse",
        "whatsapp:+14155552671",
        "Anna",
        "Blocked Drains Ltd",
        "1" * MAX_PARTY,
    ],
)
def test_a_named_party_is_named(given_as: str) -> None:
    """A number or an address stays as the carrier gives it."""
    assert read_party(given_as) == given_as


@pytest.mark.parametrize("given_as", ["a\nb", "\x00", "+1415\u20285552671", "1" * (MAX_PARTY + 1)])
def test_what_is_no_party_is_none(given_as: str) -> None:
    """Control characters and endless texts are nobody's number."""
    assert read_party(given_as) == ""


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    """Nothing raises, and what comes out can be printed on one line."""
    party = read_party(text)
    assert party.isprintable()
    assert party in text
