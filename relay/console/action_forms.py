"""The forms of actions: what operators type, checked before anything is done. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from relay.console.refused import Refused

LONGEST_TEXT = 2_000
"""Characters of what is said at once: two minutes of speech."""
LONGEST_NUMBER = 100
LONGEST_KEY = 64

# NUL, halves of characters, and what a server puts in the place of bytes that are no text.
_NO_TEXT = re.compile("[\0\ud800-\udfff\ufffd]")


def read_key(form: Mapping[str, str]) -> str:
    """Return the form's own key, empty if it has none. Raises `Refused`."""
    key = form.get("key", "")
    if len(key) > LONGEST_KEY or _NO_TEXT.search(key):
        raise Refused(400, "bad_key", f"The form's key is too long: take at most {LONGEST_KEY} characters.")
    return key


def read_words(form: Mapping[str, str], field: str, *, required: bool = False) -> str:
    """Return what is to be said, without space around it. Raises `Refused`."""
    text = form.get(field, "").strip()
    if required and not text:
        raise Refused(422, "nothing_to_say", "Type what is to be said.", field=field)
    if _NO_TEXT.search(text):
        message = "This holds characters that are no text, so it cannot be said. Type it anew."
        raise Refused(422, "no_text", message, field=field)
    if len(text) > LONGEST_TEXT:
        message = f"This is too long: {len(text):,} characters, of at most {LONGEST_TEXT:,}. Say it in parts."
        raise Refused(422, "text_too_long", message, field=field)
    return text


def read_number(form: Mapping[str, str]) -> str:
    """Return the number to transfer to, as it was typed: whether it is one, the gate says. Raises `Refused`."""
    number = form.get("to", "").strip()
    if not number:
        raise Refused(422, "number_missing", "Enter the number to transfer to, such as +14155552671.", field="to")
    if len(number) > LONGEST_NUMBER or _NO_TEXT.search(number):
        raise Refused(422, "number_invalid", "This is not a telephone number in E.164 form.", field="to")
    return number


def read_is_now(form: Mapping[str, str]) -> bool:
    """Return whether a call is to be taken now, and not at its next pause. Raises `Refused`."""
    when = form.get("when", "pause")
    if when not in {"pause", "now"}:
        raise Refused(422, "unknown_when", "Say when to take the call over: pause, or now.", field="when")
    return when == "now"
