"""The form of a call SID, for every door at which one comes in: `CA` and 32 hexadecimal digits, and nothing else.

A SID becomes part of a path, a key of the database and a word of the log, so what is none is turned away where it
arrives. Source: the carrier's page on SIDs, and its description of the API (`^CA[0-9a-fA-F]{32}$`).
"""

from __future__ import annotations

import re

CALL_SID_PATTERN = "CA[0-9a-fA-F]{32}"
"""Without anchors: `re.fullmatch` needs none, and a schema adds its own."""

_CALL_SID = re.compile(CALL_SID_PATTERN)


def is_call_sid(text: str) -> bool:
    """Whether a text has the form of a call SID; nothing is known then of there being such a call."""
    return _CALL_SID.fullmatch(text) is not None
