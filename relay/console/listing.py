"""What all lists of the console have in common: how a time is shown, and addresses that keep the filter."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from urllib.parse import urlencode

from relay.console.words import day
from relay.store.schema import timestamp

# Above what SQLite and PostgreSQL take as a position.
_LARGEST = 2**31 - 1


def moment(value: datetime | None) -> dict[str, str] | None:
    """Return a time for the macro `moment`: for machines, and for people in UTC; None stays None."""
    if value is None:
        return None
    return {"exact": timestamp(value), "words": day(value)}


def address(path: str, query: Mapping[str, str | None]) -> str:
    """Return a path of the console with what is not empty in its query."""
    given = {name: value for name, value in query.items() if value}
    return f"{path}?{urlencode(given, errors='replace')}" if given else path


def position(text: str) -> int | None:
    """Return the position at which a page is to begin; None for a text that is none."""
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(_LARGEST))
    return min(int(text), _LARGEST) if is_number else None
