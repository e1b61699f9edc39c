"""Numbers that cost more than an ordinary call, or that pay the callee: the targets of toll fraud.

    parsed number ──toll_of──▶ premium │ directory │ personal │ satellite │ None: an ordinary number

libphonenumber knows most of them by type, but only those that are assigned. The switches on the way to a number go by
its first digits and drop those that are too many, so a premium number with a digit appended rings the same telephone:
of an unassigned number, every prefix is checked. What the library has under other types, or
leaves out, stands in the two tables here. Sources: the national numbering plans, as ITU-T lists them by country code
(https://www.itu.int/oth/T0202.aspx), and the list of assigned country codes (annex to E.164).
"""

from __future__ import annotations

import re
from enum import StrEnum

import phonenumbers
from phonenumbers import PhoneNumber, PhoneNumberType


class Toll(StrEnum):
    """Why a number is no ordinary one to call."""

    PREMIUM = "premium"
    DIRECTORY = "directory"
    PERSONAL = "personal"
    SATELLITE = "satellite"


# Sold as 0900, 1-900, 0180, 084 and such: the callee gets a share of what the caller pays.
_BY_TYPE = {
    PhoneNumberType.PREMIUM_RATE: Toll.PREMIUM,
    PhoneNumberType.SHARED_COST: Toll.PREMIUM,
    # Follow-me numbers: they ring wherever their owner is, and the caller pays for the way there.
    PhoneNumberType.PERSONAL_NUMBER: Toll.PERSONAL,
}

# By country code, what the national number begins with.
_BY_BEGINNING: dict[Toll, dict[int, re.Pattern[str]]] = {
    Toll.SATELLITE: {
        870: re.compile(""),  # Inmarsat
        881: re.compile(""),  # Iridium, Globalstar
        # International networks: satellites and the networks of ships and aeroplanes beside a few others, all dear.
        882: re.compile(""),
        883: re.compile(""),
        888: re.compile(""),  # withdrawn
        61: re.compile(r"14[57]"),
        62: re.compile(r"868"),
    },
    Toll.PERSONAL: {
        1: re.compile(r"5(?:00|2[1-9]|33|44|66|77|88)"),
        39: re.compile(r"178"),
        44: re.compile(r"70"),
        49: re.compile(r"700"),
        878: re.compile(""),
    },
    Toll.PREMIUM: {
        # The exchange 976 of every area code, from before there was 1-900.
        1: re.compile(r"900|[2-9]\d\d976"),
        31: re.compile(r"8[47]|90[069]"),
        32: re.compile(r"70|90"),
        33: re.compile(r"8[129]"),
        39: re.compile(r"1(?:44|66|99)|89[259]"),
        44: re.compile(r"84[2-5]|87[0-3]|9[018]"),
        49: re.compile(r"12|13[78]|180|19[0-4]|900"),
        55: re.compile(r"[359]00"),
        81: re.compile(r"570|990"),
        351: re.compile(r"6(?:0[1-9]|46)|70[78]|76[0-2]"),
        358: re.compile(r"[67]00"),
        808: re.compile(""),
        979: re.compile(""),
    },
    Toll.DIRECTORY: {
        1: re.compile(r"\d{3}5551212"),
        33: re.compile(r"118"),
        34: re.compile(r"118"),
        43: re.compile(r"118"),
        49: re.compile(r"118"),
    },
}
# No number of a service is shorter, its country code left out.
_SHORTEST = 4


def toll_of(number: PhoneNumber) -> Toll | None:
    """Return why a number is no ordinary one to call, None for one that is."""
    code, national = number.country_code or 0, phonenumbers.national_significant_number(number)
    for toll, beginnings in _BY_BEGINNING.items():
        if code in beginnings and beginnings[code].match(national):
            return toll
    if phonenumbers.is_valid_number(number):
        return _BY_TYPE.get(phonenumbers.number_type(number))
    parts = (_shortened(number, length) for length in range(len(national) - 1, _SHORTEST - 1, -1))
    tolls = (_BY_TYPE.get(phonenumbers.number_type(each)) for each in parts)
    return next((toll for toll in tolls if toll is not None), None)


def _shortened(number: PhoneNumber, length: int) -> PhoneNumber:
    """Return the number that the first `length` digits of a national number make."""
    shortened = PhoneNumber()
    shortened.merge_from(number)
    digits = phonenumbers.national_significant_number(number)[:length]
    shortened.national_number = int(digits)
    return shortened
