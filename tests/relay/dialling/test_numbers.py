"""What a number is: its written form, and what must not be dialled."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.dialling.numbers import NumberError, TelephoneNumber, names_an_emergency, normalise, number_in, read_number


def read(text: str) -> TelephoneNumber:
    number = read_number(text)
    assert number is not None
    return number


@pytest.mark.parametrize(
    "text",
    [
        "+14155552671",
        " +1 (415) 555-2671 ",
        "+1.415.555.2671",
        "tel:+1-415-555-2671",
        "+1\N{NO-BREAK SPACE}415\N{NON-BREAKING HYPHEN}555\N{EN DASH}2671",
        "+\N{FULLWIDTH DIGIT ONE}4155552671",
        "\N{FULLWIDTH PLUS SIGN}14155552671",
        "\N{LEFT-TO-RIGHT EMBEDDING}+14155552671\N{POP DIRECTIONAL FORMATTING}",
        "\N{LEFT-TO-RIGHT MARK}+14155552671",
        "+1415\N{ZERO WIDTH SPACE}5552671",
        "\N{FIRST STRONG ISOLATE}+14155552671\N{POP DIRECTIONAL ISOLATE}",
        "\N{ZERO WIDTH NO-BREAK SPACE}+14155552671",
        "+1\N{WORD JOINER}415\N{SOFT HYPHEN}555\N{ZERO WIDTH JOINER}2671",
        "+1\N{RIGHT-TO-LEFT MARK} 415 555 2671",
        "\N{RIGHT-TO-LEFT OVERRIDE}+14155552671",
        "+1\N{THIN SPACE}415\N{FIGURE SPACE}555\N{IDEOGRAPHIC SPACE}2671",
        "tel:\N{ZERO WIDTH NON-JOINER}+14155552671",
    ],
)
def test_a_number_has_one_form(text: str) -> None:
    """However people space a number, it comes out as E.164."""
    assert normalise(text) == "+14155552671"


def test_the_zero_after_the_country_code_is_dropped() -> None:
    """A trunk prefix in brackets, as it stands on letterheads, is not dialled from abroad."""
    assert normalise("+49 (0) 30 123456") == "+4930123456"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "+",
        "4155552671",
        "0014155552671",
        "+1",
        "+1 415 555 267",
        "+1 555 1234",
        "+1 415 555 26712",
        "+14155552671 ext 5",
        "+14155552671;ext=5",
        "+1-800-FLOWERS",
        "call +14155552671",
        "+14155552671 or +14155552672",
        "+14155552671\0",
        "+999123456789",
        "client:alice",
        "sip:ada@example.com",
        "anonymous",
        "+1" + " " * 100 + "4155552671",
        "+" + "1" * 500,
    ],
)
def test_what_is_no_number_is_refused(text: str) -> None:
    """Neither words around a number, extensions, letters nor what can only be dialled locally make a number."""
    assert read_number(text) is None
    with pytest.raises(NumberError, match=r"E\.164"):
        normalise(text)


@settings(deadline=None)
@given(st.text() | st.text(alphabet="+0123456789 -()").map(lambda text: f"+{text}"))
def test_any_text_is_read(text: str) -> None:
    """No text is too strange to be told from a number, and what is one comes out in a form that stays."""
    number = read_number(text)
    names_an_emergency(text)
    if number is not None:
        assert normalise(number.e164) == number.e164
        assert number.e164[1:].isascii()
        assert number.e164[1:].isdecimal()
        assert len(number.e164) <= 16


@pytest.mark.parametrize(
    ("text", "is_assigned", "is_premium", "regions", "zones"),
    [
        ("+14155552671", True, False, ("US",), ("America/Los_Angeles",)),
        ("+493012345678", True, False, ("DE",), ("Europe/Berlin",)),
        ("+19005551234", True, True, ("US",), None),
        ("+491801234567", True, True, ("DE",), ("Europe/Berlin",)),
        ("+80012345678", True, False, ("001",), ()),
        ("+15559876543", False, False, ("US",), None),
        ("+18761234567", False, False, ("JM",), ("America/Jamaica",)),
        ("+18765234567", True, False, ("JM",), ("America/Jamaica",)),
        ("+18687804321", True, False, ("TT",), ("America/Port_of_Spain",)),
        ("+18765551234", True, False, ("JM",), ("America/Jamaica",)),
        ("+14412921234", True, False, ("BM",), ("Atlantic/Bermuda",)),
        ("+12462301234", True, False, ("BB",), ("America/Barbados",)),
        ("+16842581234", True, False, ("AS",), ("Pacific/Pago_Pago",)),
        ("+12684641234", True, False, ("AG",), ("America/Antigua",)),
        ("+17672251234", True, False, ("DM",), ("America/Dominica",)),
        ("+14734031234", True, False, ("GD",), ("America/Grenada",)),
        ("+13453231234", True, False, ("KY",), ("America/Cayman",)),
        ("+16713001234", True, False, ("GU",), ("Pacific/Guam",)),
        ("+77011234567", True, False, ("KZ",), ("Asia/Almaty", "Asia/Aqtobe")),
        ("+447781123456", True, False, ("GG",), ("Europe/Guernsey", "Europe/Isle_of_Man", "Europe/London")),
        ("+18003569377", True, False, ("US",), None),
    ],
)
def test_a_number_is_known(
    text: str, is_assigned: bool, is_premium: bool, regions: tuple[str, ...], zones: tuple[str, ...] | None
) -> None:
    """A number tells where it belongs and what it costs, and one that nobody has at least its country."""
    number = read(text)
    assert (number.is_assigned, number.toll is not None, number.regions) == (is_assigned, is_premium, regions)
    # None stands for all the zones of North America.
    assert len(number.zones) > 40 if zones is None else number.zones == zones


@pytest.mark.parametrize(
    ("address", "number"),
    [
        ("+14155552671", "+14155552671"),
        ("sip:+14155552671@pbx.example", "+14155552671"),
        ("sip:+1-415-555-2671@pbx.example;user=phone", "+14155552671"),
        ("SIPS:%2B14155552671@pbx.example:5061", "+14155552671"),
        ("sip:+14155552671;npdi=yes@pbx.example", "+14155552671"),
        ("sip:+14155552671", "+14155552671"),
        ("whatsapp:+14155552671", "+14155552671"),
        ("client:+14155552671", "+14155552671"),
        ("tel:+14155552671", "+14155552671"),
        ("sip:anna@pbx.example", None),
        ("sip:14155552671@pbx.example", None),
        ("sip:4155552671@pbx.example", None),
        ("sip:+1@pbx.example", None),
        ("sip:pbx.example", None),
        ("sip:anna+14155552671@pbx.example", None),
        ("client:anna", None),
        ("whatsapp:anna", None),
        ("mailto:+14155552671@pbx.example", None),
        ("anonymous", None),
        ("", None),
        ("sip:" + "+1" * 200 + "@pbx.example", None),
    ],
)
def test_an_address_may_hold_a_number(address: str, number: str | None) -> None:
    """What stands before the host is a number only where it is a whole one with its country code."""
    assert number_in(address) == number


@pytest.mark.parametrize(
    "text",
    ["911", "112", "999", "000", "110", "9-1-1", "+911", "+1911", "+1 911", "+44 999", "+49112", "+49 0112", "+61 000"],
)
def test_emergency_numbers_are_seen(text: str) -> None:
    """An emergency number is one in short form, wherever it holds, and after a country code of its own."""
    assert names_an_emergency(text)


def test_an_emergency_number_behind_an_area_code_is_seen() -> None:
    """The emergency service of a city is one too, though it has the form of a subscriber's number."""
    assert names_an_emergency("+49 30 112")


@pytest.mark.parametrize(
    "text", ["+14155552671", "+4991112345678", "+19115552671", "411", "12", "+1 555 911 0000", "x"]
)
def test_other_numbers_are_no_emergency(text: str) -> None:
    """Digits that only look alike, such as Nuremberg's area code 911, are left alone."""
    assert not names_an_emergency(text)


@pytest.mark.parametrize("region", sorted(phonenumbers.SUPPORTED_REGIONS))
def test_numbers_of_every_country_are_read(region: str) -> None:
    """An ordinary number of each country is read as what it is."""
    example = phonenumbers.example_number(region)
    assert example is not None
    number = read(phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.INTERNATIONAL))
    assert (number.is_assigned, number.toll) == (True, None)
    assert not names_an_emergency(number.e164)
    assert number.regions == (phonenumbers.region_code_for_number(example),)
    assert number.zones
