"""What a line means that the caller enters. Pure."""

from __future__ import annotations

import attrs

KEYS = "0123456789*#ABCD"
"""The keys that a telephone can send."""

HELP = "Enter interrupts; 5 or /keys 12# presses keys; /say TEXT; Ctrl-D hangs up."


@attrs.frozen
class Say:
    """Say these words, over the answer if there is one."""

    words: str


@attrs.frozen
class Press:
    """Press these keys, one after the other."""

    keys: str


@attrs.frozen
class Interrupt:
    """Have the answer stop."""


@attrs.frozen
class HangUp:
    """Put the phone down."""


@attrs.frozen
class Mistake:
    """The line means nothing; `advice` says what would."""

    advice: str


Entry = Say | Press | Interrupt | HangUp | Mistake


def read_entry(line: str) -> Entry:
    """Read a line. One that is a single digit, `*` or `#` is a key; what begins with `/` is a command."""
    text = line.strip()
    if not text:
        return Interrupt()
    if not text.startswith("/"):
        return Press(text) if text in list("0123456789*#") else Say(text)
    command, _, rest = text.partition(" ")
    rest = rest.strip()
    match command:
        case "/say" if rest:
            return Say(rest)
        case "/keys":
            keys = rest.replace(" ", "").upper()
            is_keys = keys and set(keys) <= set(KEYS)
            return Press(keys) if is_keys else Mistake(f"/keys takes keys of a telephone ({KEYS}), such as /keys 12#")
        case "/hangup" if not rest:
            return HangUp()
        case _:
            return Mistake(HELP)
