"""A call as the REST API shows it: the JSON of one, and of a list with its filters and pages.

Source: Twilio's published description of the API (`api.v2010.account.call`) and its page on the Call resource.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from email.utils import format_datetime
from urllib.parse import urlencode

from relay.simulator.carrier.simulated_call import SimulatedCall

_EQUALS = {"To": "called", "From": "caller"}
_DATES = {"StartTime": "answered_at", "EndTime": "ended_at"}


def resource(account_sid: str, call: SimulatedCall) -> dict[str, object]:
    """Return the JSON of a call. Dates are RFC 2822; a queued call has none, which the description allows."""
    is_queued = call.status == "queued"
    return {
        "sid": call.call_sid,
        "account_sid": account_sid,
        "api_version": "2010-04-01",
        "to": call.facts.called,
        "from": call.facts.caller,
        "direction": call.facts.direction,
        "status": call.status,
        "answered_by": call.answered_by or None,
        "date_created": None if is_queued else format_datetime(call.created_at),
        "date_updated": None if is_queued else format_datetime(call.ended_at or call.answered_at or call.created_at),
        "start_time": _date(call.answered_at),
        "end_time": _date(call.ended_at) if call.answered_at else None,
        "duration": str(call.duration) if call.ended_at and call.answered_at else None,
        "queue_time": str(round(call.queued_seconds * 1000)),
        "parent_call_sid": None,
        "price": None,
        "price_unit": "USD",
        "uri": f"/2010-04-01/Accounts/{account_sid}/Calls/{call.call_sid}.json",
    }


def listed(account_sid: str, calls: Iterable[SimulatedCall], query: Mapping[str, str]) -> dict[str, object]:
    """Return the JSON of a page of calls, newest first, filtered as the query says; an unknown filter is ignored."""
    found = [call for call in reversed([*calls]) if _matches(call, query)]
    size, page = int(query.get("PageSize", "50")), int(query.get("Page", "0"))
    shown = found[page * size : (page + 1) * size]
    path = f"/2010-04-01/Accounts/{account_sid}/Calls.json"
    more = f"{path}?{urlencode({**query, 'Page': page + 1})}" if len(found) > (page + 1) * size else None
    return {
        "calls": [resource(account_sid, call) for call in shown],
        "page": page,
        "page_size": size,
        "start": page * size,
        "end": page * size + max(len(shown) - 1, 0),
        "uri": f"{path}?{urlencode(query)}",
        "first_page_uri": f"{path}?{urlencode({**query, 'Page': 0})}",
        "next_page_uri": more,
        "previous_page_uri": f"{path}?{urlencode({**query, 'Page': page - 1})}" if page else None,
    }


def _matches(call: SimulatedCall, query: Mapping[str, str]) -> bool:
    if any(getattr(call.facts, field) != query[name] for name, field in _EQUALS.items() if name in query):
        return False
    if "Status" in query and call.status != query["Status"]:
        return False
    return all(_is_on(getattr(call, field), name, query) for name, field in _DATES.items())


def _is_on(moment: datetime | None, name: str, query: Mapping[str, str]) -> bool:
    """Compare by day: that is all that the service's filters do, whatever time of day they are given."""
    day = moment.date().isoformat() if moment else ""
    wanted = {sign: query[name + sign][:10] for sign in ("", "<", ">") if name + sign in query}
    if wanted and not day:
        return False
    return all(
        day == limit if sign == "" else day <= limit if sign == "<" else day >= limit for sign, limit in wanted.items()
    )


def _date(moment: datetime | None) -> str | None:
    return format_datetime(moment) if moment else None
