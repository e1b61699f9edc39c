"""Telephone numbers: the normal form, regions, time zones, and emergency numbers.

All of it comes from libphonenumber's metadata, through the `phonenumbers` package, which knows ranges of numbers and no
subscribers: a range that it does not know is "unassigned" here, though a carrier may have opened it last week.
Emergency numbers are detected even in texts that are no valid number, so that no spelling of one is dialled.
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote

import attrs
import phonenumbers
from phonenumbers import PhoneMetadata, PhoneNumber, PhoneNumberType, ValidationResult
from phonenumbers import timezone as zones_of_numbers

from relay.dialling.tolls import Toll, toll_of
from relay.errors import RelayError

# A number as people write it. The library would also read "call +1 415 555 2671 or" and "+1-800-FLOWERS": what a model
# wrote around a number, or spelled, was not meant as one.
_WRITTEN = re.compile(r"(?:tel:)?\+\d[\d\s.()/\-\u2010-\u2015]*", re.IGNORECASE)
_LONGEST_TEXT = 64
# An address that may hold a number: of a SIP caller, a WhatsApp user, an app. What follows the number names a host or
# parameters (RFC 3261, 19.1.1; RFC 3966).
_ADDRESS = re.compile(r"(?:sips?|whatsapp|client|tel):(?P<user>[^@;?]{1,64})(?:[@;?].*)?", re.IGNORECASE | re.DOTALL)
# ITU-T E.164, section 6: country code and national number together have at most 15 digits.
_LONGEST_NUMBER = 15
# No number with its country code is this short, and no emergency number is longer.
_SHORT_FORM = 6
# How libphonenumber names the region of numbers that belong to no country, such as +800 and satellite networks.
NO_COUNTRY = "001"
REGIONS = frozenset(phonenumbers.SUPPORTED_REGIONS) | {NO_COUNTRY}


class NumberError(RelayError):
    """The text is not a telephone number in E.164 form."""


@attrs.frozen(kw_only=True)
class TelephoneNumber:
    """A possible number. `regions` and `zones` are all that it may belong to; `zones` is empty if they are not known.

    A range that the metadata does not know has the regions that its leading digits point to, or else the main one of
    its country code, and all zones of the country code or area code.
    """

    e164: str
    is_assigned: bool
    toll: Toll | None
    regions: tuple[str, ...]
    zones: tuple[str, ...]


def normalise(text: str) -> str:
    """Return a number in E.164 form, digits after a plus sign. Raises `NumberError`."""
    number = _parse(text)
    if number is None:
        raise NumberError(
            f"{text!r} is not a telephone number in E.164 form: write a plus sign, the country code and the number, "
            "such as +14155552671."
        )
    return _e164(number)


def read_number(text: str) -> TelephoneNumber | None:
    """Read a number in E.164 form, spaces and the like allowed; None for what cannot be one."""
    number = _parse(text)
    if number is None:
        return None
    is_assigned = phonenumbers.is_valid_number(number)
    return TelephoneNumber(
        e164=_e164(number),
        is_assigned=is_assigned,
        toll=toll_of(number),
        regions=_regions(number),
        zones=_zones(number, is_assigned=is_assigned),
    )


def number_in(address: str) -> str | None:
    """Return the number, in E.164 form, of what a carrier calls a party: a number, or an address with one inside.

    `sip:+14155552671@pbx.example` and `whatsapp:+14155552671` hold one; `sip:anna@pbx.example` holds none.
    """
    match = _ADDRESS.fullmatch(address.strip())
    number = _parse(address if match is None else unquote(match["user"]))
    return None if number is None else _e164(number)


def names_an_emergency(text: str) -> bool:
    """Return whether a text, number or not, is an emergency number: "911", "112", "+911", "+1 911", "+49 30 112".

    A short form counts if it is an emergency number anywhere in the world, because the country is not known.
    """
    digits = phonenumbers.normalize_digits_only(_visible(text[:_LONGEST_TEXT]))
    if len(digits) <= _SHORT_FORM and any(
        phonenumbers.is_emergency_number(digits, region) for region in phonenumbers.SUPPORTED_SHORT_REGIONS
    ):
        return True
    number = _parsed(text)
    return number is not None and _is_emergency(number)


def _visible(text: str) -> str:
    """Remove invisible characters, such as the marks of direction with which address books wrap a number.

    Full-width digits and signs become plain ones (Unicode, NFKC).
    """
    plain = unicodedata.normalize("NFKC", text)
    return "".join(each for each in plain if unicodedata.category(each) != "Cf")


def _parsed(text: str) -> PhoneNumber | None:
    if len(text) > _LONGEST_TEXT:  # before any work on it
        return None
    written = _visible(text).strip()
    if len(written) > _LONGEST_TEXT or _WRITTEN.fullmatch(written) is None:
        return None
    try:
        return phonenumbers.parse(written)
    except phonenumbers.NumberParseException:
        return None


def _parse(text: str) -> PhoneNumber | None:
    number = _parsed(text)
    if number is None:
        return None
    # `is_possible_number` would also take what can only be dialled locally, such as +1 555 1234.
    possible = phonenumbers.is_possible_number_with_reason(number) == ValidationResult.IS_POSSIBLE
    e164 = _e164(number)
    # Of several zeros after a country code the library strips one, as a trunk prefix: the result would then be parsed
    # as a different number. No subscriber has such a number.
    again = _parsed(e164)
    stays = again is not None and _e164(again) == e164
    return number if possible and stays and len(e164) <= _LONGEST_NUMBER + 1 else None


def _regions_of_code(number: PhoneNumber) -> tuple[str, ...]:
    return tuple(phonenumbers.region_codes_for_country_code(number.country_code or 0))


def _e164(number: PhoneNumber) -> str:
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _is_emergency(number: PhoneNumber) -> bool:
    """Return whether a region's emergency number is all that follows the country code, or the area code.

    The library itself takes no number with a plus sign for an emergency one, because "we do not believe" that dialling
    it so works; a carrier that makes it work must not be found by us.
    """
    national = phonenumbers.national_significant_number(number)
    area = phonenumbers.length_of_geographical_area_code(number)
    forms = {national, national.lstrip("0"), national[area:]}
    regions = _regions_of_code(number)
    return any(phonenumbers.is_emergency_number(form, region) for form in forms if form for region in regions)


def _regions(number: PhoneNumber) -> tuple[str, ...]:
    region = phonenumbers.region_code_for_number(number)
    if region is not None:
        return (region,)
    candidates = _regions_of_code(number)
    national = phonenumbers.national_significant_number(number)
    # +1 876 is Jamaica whether or not the rest is assigned; +1 555 is not assigned, and counts as the main region, the
    # first. All of the country code's regions would be safer, but then no list with the United States allowed +1 555.
    pointed = tuple(each for each in candidates if _leads_to(each, national))
    return pointed or candidates[:1]


def _leads_to(region: str, national: str) -> bool:
    metadata = PhoneMetadata.metadata_for_region(region)
    leading = None if metadata is None else metadata.leading_digits
    return leading is not None and re.match(leading, national) is not None


def _zones(number: PhoneNumber, *, is_assigned: bool) -> tuple[str, ...]:
    # Of a number that is not assigned the first function says nothing; the other one goes by the longest known prefix.
    # So it must for a mobile of a territory that shares the code of a larger country, which is given all its zones.
    goes_by_prefix = not is_assigned or (
        phonenumbers.number_type(number) == PhoneNumberType.MOBILE
        and phonenumbers.region_code_for_number(number) != _regions_of_code(number)[0]
    )
    by_prefix, by_type = zones_of_numbers.time_zones_for_geographical_number, zones_of_numbers.time_zones_for_number
    zones = by_prefix(number) if goes_by_prefix else by_type(number)
    return tuple(each for each in zones if each != zones_of_numbers.UNKNOWN_TIMEZONE)
