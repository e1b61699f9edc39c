"""What the value of a setting must look like: converters that tidy it up, validators that say what is wrong with it."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import attrs

from relay.dialling.calling_hours import CallingHours
from relay.given_settings import is_invisible
from relay.speech.languages import read_language
from relay.speech.voices import read_voice


class Unusable(ValueError):
    """Say what is wrong with a value, in a sentence that does not repeat it."""


def listed(text: str) -> list[str]:
    """Take a list apart that is written with commas."""
    return [each for each in (part.strip() for part in text.split(",")) if each]


def origin(_settings: object, _attribute: object, value: str | None) -> None:
    """Refuse what is no origin: scheme, server, perhaps a port, and nothing else."""
    if value is None:
        return
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as error:
        raise Unusable("Its port is no number up to 65535, or a bracket is missing.") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise Unusable("It must begin with https:// (or http://) and the name of a server.")
    if "@" in parts.netloc:
        raise Unusable("It holds a user name or a password; leave out what is before the @.")
    if not value.isascii():
        raise Unusable("The server's name has letters that DNS does not know; write it in its xn-- form.")
    if not re.fullmatch(r"[A-Za-z0-9._-]+(:\d+)?|\[[0-9A-Fa-f:.]+\](:\d+)?", parts.netloc):
        raise Unusable("The server's name has a blank or another character that no name has.")
    if parts.path or parts.query or parts.fragment:
        raise Unusable("Leave out what follows the name of the server and its port.")


def address(_settings: object, _attribute: object, value: str | None) -> None:
    """Refuse what is no address of a server; a path may follow."""
    if value is not None and not re.fullmatch(r"https?://[^/\s]+(/\S*)?", value):
        raise Unusable("It must begin with https:// (or http://) and the name of a server.")


def origins(settings: object, attribute: attrs.Attribute[Any], value: str) -> None:
    """Refuse a list with anything in it that is no origin."""
    for each in listed(value):
        origin(settings, attribute, each)


def secret(_settings: object, _attribute: object, value: str | None) -> None:
    """Refuse what no token or key can hold: it was not copied whole, or not alone."""
    if value is None:
        return
    if any(is_invisible(each) for each in value):
        raise Unusable("It has a blank or an invisible character in its middle. Copy it again.")
    if not value.isascii() or "'" in value or '"' in value:
        raise Unusable("It has a character that no key has, such as … or a quote. Copy it again.")


def language(_settings: object, _attribute: object, value: str) -> None:
    """Refuse what is no language tag."""
    try:
        read_language(value)
    except ValueError as error:
        raise Unusable(_capitalised(str(error))) from error


def voice(_settings: object, _attribute: object, value: str) -> None:
    """Refuse what is no voice of a conversation; an empty one is the carrier's own."""
    try:
        read_voice(value or "none")
    except ValueError as error:
        raise Unusable(_capitalised(str(error))) from error


def e164(_settings: object, attribute: attrs.Attribute[str | None], value: str | None) -> None:
    """Refuse what is no number in E.164 form."""
    if value is not None and not re.fullmatch(r"\+[1-9]\d{1,14}", value, re.ASCII):
        raise ValueError(f"{attribute.name} must be a number such as +14155552671")


def calling_hours(_settings: object, _attribute: object, value: str) -> None:
    """Refuse what is no span of a day."""
    CallingHours.parse(value)


def countries(_settings: object, _attribute: object, value: str) -> None:
    """Refuse a list with anything in it that is no country's code."""
    for each in listed(value):
        if not re.fullmatch(r"[A-Za-z]{2}|001|all", each, re.IGNORECASE):
            raise Unusable("Countries are codes of two letters, separated by commas, such as US,CA; or all.")


def lowered_origin(value: str | None) -> str | None:
    """Return an origin without the slash at its end, scheme and host in small letters (RFC 3986, section 6.2.2.1)."""
    if not value:
        return None
    try:
        parts = urlsplit(value.rstrip("/"))
        return urlunsplit(parts._replace(netloc=parts.netloc.lower()))
    except ValueError:
        return value  # what is wrong with it, the validator says


def origin_of(value: str) -> str:
    """Return an origin as `lowered_origin` does, an empty one as it is."""
    return lowered_origin(value) or value


def usual_case(value: str) -> str:
    """Return a language tag in its usual case; what is none, the validator refuses."""
    try:
        return read_language(value)
    except ValueError:
        return value


def voice_of(value: str) -> str:
    """Return a voice, empty where it is the word for the carrier's own."""
    return "" if value == "none" else value


def _capitalised(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
