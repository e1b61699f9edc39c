"""The parties of a call, as the carrier names them in `From` and `To`.

A caller who withholds the number comes under a word, or under the digits that the word has on a telephone's keys:
`anonymous` and `+266696687` are one. Neither is a number that can be called back.

Source: the carrier's help page on anonymous and unknown callers; RFC 3323, 4.1.1.3, for `anonymous.invalid`.
"""

from __future__ import annotations

import re

# A SIP URI can be longer than any number, but not by much.
MAX_PARTY = 255

_WORDS = ("anonymous", "restricted", "blocked", "unknown", "unavailable", "private", "withheld")
_PHRASES = frozenset({
    *(f"{word}{more}" for word in _WORDS for more in ("", " caller", " number")),
    *("no caller id", "number withheld", "id withheld", "caller id blocked", "undisclosed", "not available"),
    *("null", "none"),
})  # fmt: skip
_KEYS = str.maketrans("abcdefghijklmnopqrstuvwxyz", "22233344455566677778889999")
_DIALLED_WORDS = frozenset(word.translate(_KEYS) for word in _WORDS)
_SIP = re.compile(r"sips?:(?:(?P<user>[^@;?]*)@)?(?P<host>[^;?]*).*", re.IGNORECASE | re.DOTALL)


def read_party(given: str) -> str:
    """Return the number or address of a party as the carrier gives it; empty where it is withheld or no such thing."""
    party = given.strip()
    if not party.isprintable() or len(party) > MAX_PARTY or is_withheld(party):
        return ""
    return party


def is_withheld(party: str) -> bool:
    """Whether this is how a carrier says that the caller withholds the number."""
    address = _SIP.fullmatch(party)
    if address is not None:
        host = address["host"].casefold().rstrip(".")
        return host == "anonymous.invalid" or host.endswith(".anonymous.invalid") or _is_word(address["user"] or "")
    # The carrier's own name for a browser that has not said who it is.
    return _is_word(party.removeprefix("client:"))


def _is_word(name: str) -> bool:
    word = name.strip().strip('"').casefold()
    digits = word.removeprefix("+")
    # With or without the country code that some networks put before it.
    return word in _PHRASES or digits in _DIALLED_WORDS or digits.removeprefix("1") in _DIALLED_WORDS
