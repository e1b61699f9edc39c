"""The form of a call SID: `CA` and 32 hexadecimal digits. Checked wherever a SID is received.

A SID becomes part of a path, a database key and a log field, so an invalid one is refused where it arrives. Source: the
carrier's page on SIDs, and its description of the API (`^CA[0-9a-fA-F]{32}$`).
"""

from __future__ import annotations

import re

CALL_SID_PATTERN = "CA[0-9a-fA-F]{32}"
"""Without anchors: `re.fullmatch` needs none, and a schema adds its own."""

_CALL_SID = re.compile(CALL_SID_PATTERN)


def is_call_sid(text: str) -> bool:
    """Return whether a text has the form of a call SID. There may be no such call."""
    return _CALL_SID.fullmatch(text) is not None
