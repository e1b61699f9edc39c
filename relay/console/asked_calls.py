"""Which calls a request asks for: read from its query or path, and refused where that cannot be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlencode

from relay.console.refused import Refused
from relay.console.views import LiveFilter

LONGEST_TEXT = 200
LONGEST_AGENT_ID = 64
MOST_PAGES = 1_000

_CALL_SID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PAGE = re.compile(r"[1-9][0-9]{0,3}")


def filter_of(query: Mapping[str, str]) -> LiveFilter:
    """Return the filter that a query names with `q`, `agent` and `page`. Raises `Refused`."""
    text, agent_id, page = query.get("q", "").strip(), query.get("agent", ""), query.get("page", "") or "1"
    if len(text) > LONGEST_TEXT or len(agent_id) > LONGEST_AGENT_ID:
        raise Refused(400, "filter_too_long", f"The filter is too long: take at most {LONGEST_TEXT} characters.")
    if not _PAGE.fullmatch(page) or int(page) > MOST_PAGES:
        raise Refused(400, "no_page", f"The page is a number from 1 to {MOST_PAGES}.")
    return LiveFilter(text=text, agent_id=agent_id, page=int(page))


def query_of(wanted: LiveFilter, *, page: int | None = None) -> str:
    """Return the query that names a filter, of another page of it if one is given; empty for all calls."""
    number = wanted.page if page is None else page
    named = {"q": wanted.text, "agent": wanted.agent_id, "page": "" if number == 1 else str(number)}
    return urlencode({name: value for name, value in named.items() if value}, errors="replace")


def call_sid_of(text: str) -> str:
    """Return a call SID. Raises `Refused` for what can be none."""
    if not _CALL_SID.fullmatch(text):
        raise Refused(404, "unknown_call", "This is no call's id: it has 1 to 64 letters, digits, dashes, underscores.")
    return text
