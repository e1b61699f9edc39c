"""The page of calls that were: a search by number, agent, outcome and day, what each day came to, and its export.

The whole search stands in the address, so that it can be kept and sent. Days are those of UTC.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import Any

import attrs
import trio

from actors.call_record import CallRecord
from actors.call_values import CallOutcome, Direction
from relay.console import words
from relay.console.answers import Answer, Asked, Download, Page, Route, Section
from relay.console.listing import address, moment
from relay.console.words import NO_OUTCOME, OUTCOMES, on_clock
from relay.spreadsheets import without_formulas
from relay.store.agent_registry import AgentRegistry
from relay.store.call_history import CallFilter, CallHistory, Day, Place
from relay.store.call_record import record_as_json

PATH = "/console/history"
MOST_EXPORTED = 5_000
DAYS = 31
"""So many days are drawn, up to the last one of the search."""
_LONGEST = 100
_UNKNOWN = "unknown"

_WELL = {CallOutcome.COMPLETED, CallOutcome.ENDED, CallOutcome.TRANSFERRED, CallOutcome.MOVED}
_ILL = {CallOutcome.FAILED, CallOutcome.UNAVAILABLE, CallOutcome.RELAY_RESTARTED}
_KINDS = (
    ("well", "went well", _WELL),
    ("other", "not reached, or cut short", set(CallOutcome) - _WELL - _ILL),
    ("ill", "failed or unavailable", _ILL),
)
_COLUMNS = (
    "callSid",
    "agentId",
    "kind",
    "direction",
    "from",
    "to",
    "state",
    "startedAt",
    "endedAt",
    "durationSeconds",
    "outcome",
    "answeredBy",
    "pickedUpBy",
    "transfer",
    "carrierStatus",
    "carrierError",
)


@attrs.frozen(kw_only=True)
class HistoryPage:
    """`/console/history`. `now` is the wall clock, with a zone."""

    history: CallHistory
    agents: AgentRegistry
    now: Callable[[], datetime]

    def routes(self) -> Sequence[Route]:
        """Return its routes."""
        return [
            Route(rule="/history", function=self.show),
            Route(rule="/history/calls.csv", function=self.export_csv),
            Route(rule="/history/calls.json", function=self.export_json),
        ]

    async def show(self, asked: Asked) -> Answer:
        """Show the calls that the query asks for, newest first, and their days."""
        search = Search.read(asked.query)
        page = await self.history.page(search.filter, after=search.place)
        days = await self.history.days(search.of_days(self.now()))
        registered = [each.agent_id for each in await self.agents.list()]
        agents = [*registered, *([search.agent_id] if search.agent_id and search.agent_id not in registered else [])]
        values = {
            "search": search,
            "calls": [_shown(each) for each in page.calls],
            "days": [_day(each) for each in days],
            "kinds": [(key, words) for key, words, _outcomes in _KINDS],
            "agents": [("", "all"), *((each, each) for each in agents)],
            "outcomes": [
                ("", "all"),
                *OUTCOMES.items(),
                (_UNKNOWN, NO_OUTCOME),
            ],
            "faults": search.faults(),
            "first": address(PATH, search.query) if search.place is not None else None,
            "next": None if page.next is None else address(PATH, search.query | _after(page.next)),
            "csv": address(f"{PATH}/calls.csv", search.query),
            "json": address(f"{PATH}/calls.json", search.query),
            "most_exported": f"{MOST_EXPORTED:,}",
        }
        return Page(template="history.html", title="History", section=Section.HISTORY, values=values)

    async def export_csv(self, asked: Asked) -> Answer:
        """Return the calls of the search as comma-separated values, for a spreadsheet."""
        return await self._export(asked, as_csv, "text/csv; charset=utf-8", "calls.csv")

    async def export_json(self, asked: Asked) -> Answer:
        """Return the calls of the search as JSON."""
        return await self._export(asked, as_json, "application/json", "calls.json")

    async def _export(
        self, asked: Asked, write: Callable[[Sequence[CallRecord]], bytes], media_type: str, name: str
    ) -> Answer:
        found = await self.history.page(Search.read(asked.query).filter, rows=MOST_EXPORTED)
        # Some tenths of a second for so many, which no caller shall wait for.
        content = await trio.to_thread.run_sync(partial(write, found.calls))
        return Download(content=content, media_type=media_type, name=name)


@attrs.frozen(kw_only=True)
class Search:
    """What an address asks for: the texts as they were given, and what they mean."""

    number: str = ""
    agent_id: str = ""
    outcome: str = ""
    since: str = ""
    until: str = ""
    place: Place | None = None

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Search:
        """Read the query of an address; what it holds may be anything."""
        number, agent_id, outcome, since, until = (
            query.get(name, "").strip()[:_LONGEST] for name in ("number", "agent", "outcome", "from", "to")
        )
        place = _place(query.get("at", ""), query.get("sid", ""))
        return cls(number=number, agent_id=agent_id, outcome=outcome, since=since, until=until, place=place)

    @property
    def query(self) -> dict[str, str | None]:
        """The query of its first page."""
        return {
            "number": self.number,
            "agent": self.agent_id,
            "outcome": self.outcome,
            "from": self.since,
            "to": self.until,
        }

    @property
    def is_filtered(self) -> bool:
        """Whether it is for less than all calls."""
        return any(self.query.values()) or self.place is not None

    @property
    def filter(self) -> CallFilter:
        """Return what it means; a word that is no outcome is one that no call ended with."""
        since, until = _date(self.since), _date(self.until)
        outcome = CallOutcome(self.outcome) if self.outcome in set(CallOutcome) else None
        is_none = bool(self.outcome) and outcome is None and self.outcome != _UNKNOWN
        return CallFilter(
            number=_digits(self.number),
            agent_id=self.agent_id,
            outcome=outcome,
            is_unknown=self.outcome == _UNKNOWN,
            since=_begin(date.max if is_none else since),
            until=None if until is None or until == date.max else _begin(until + timedelta(days=1)),
        )

    def of_days(self, now: datetime) -> CallFilter:
        """Return the filter for the days that are drawn: the last ones of it."""
        wanted = self.filter
        end = min(wanted.until or now, now)
        earliest = _begin(max(end.date(), _EARLIEST) - timedelta(days=DAYS - 1))
        assert earliest is not None
        return attrs.evolve(wanted, since=max(earliest, wanted.since or earliest))

    def faults(self) -> list[str]:
        """Return what in it cannot be meant, in sentences."""
        found = [
            f"“{text}” is no day: write it as 2026-11-29."
            for text in (self.since, self.until)
            if text and _date(text) is None
        ]
        since, until = _date(self.since), _date(self.until)
        if since is not None and until is not None and since > until:
            found.append(f"The search ends ({self.until}) before it begins ({self.since}).")
        return found


_EARLIEST = date(1900, 1, 1)


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _begin(day: date | None) -> datetime | None:
    return None if day is None else datetime.combine(day, time(), UTC)


def _digits(text: str) -> str:
    """Return a number as it is kept: without what people write between its digits."""
    bare = "".join(each for each in text if each not in " ().-/\u00a0\u2011")
    return bare if bare and bare.removeprefix("+").isdigit() else text


def _place(at: str, call_sid: str) -> Place | None:
    try:
        began = datetime.fromisoformat(at)
        # The first and last hours of all time are, in some zones, times of no day in UTC.
        return Place(began.astimezone(UTC), call_sid[:_LONGEST]) if began.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def _after(place: Place) -> dict[str, str]:
    # To the microsecond: two calls may begin in one millisecond.
    return {"at": place.at.astimezone(UTC).isoformat(), "sid": place.call_sid}


def _shown(call: CallRecord) -> dict[str, Any]:
    outcome, is_outbound = call.outcome, call.direction is Direction.OUTBOUND
    tone = "" if outcome is None else "good" if outcome in _WELL else "bad" if outcome in _ILL else "warn"
    seconds = call.duration_seconds
    return {
        "call_sid": call.call_sid,
        "who": (call.called if is_outbound else call.caller) or "withheld",
        "is_outbound": is_outbound,
        "agent_id": call.agent_id,
        "at": moment(call.started_at),
        "lasted": "–" if seconds is None else on_clock(seconds),
        "outcome": words.outcome(outcome),
        "tone": tone,
        "turns": ", ".join(f"{words.answerer(by)} {count}" for by, count in call.answered_by.items()),
    }


def _day(day: Day) -> dict[str, Any]:
    known = {CallOutcome(name): count for name, count in day.outcomes.items() if name in set(CallOutcome)}
    return {
        "day": day.day,
        "calls": day.calls,
        "kinds": [
            sum(count for outcome, count in known.items() if outcome in outcomes) for _key, _words, outcomes in _KINDS
        ],
        "outcomes": ", ".join(
            f"{words.outcome(name if name in OUTCOMES else None)} {count}" for name, count in day.outcomes.items()
        ),
        "p50": _seconds(day.p50),
        "p95": _seconds(day.p95),
    }


def _seconds(milliseconds: float | None) -> str:
    return "" if milliseconds is None else f"{milliseconds / 1000:.2f}"


def as_csv(found: Sequence[CallRecord]) -> bytes:
    """Write records for a spreadsheet, with no cell that it would take for a formula."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\r\n")  # RFC 4180, section 2
    writer.writeheader()
    for each in found:
        writer.writerow({name: without_formulas(_cell(value)) for name, value in record_as_json(each).items()})
    return text.getvalue().encode("utf-8", "replace")


def _cell(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {each}" for name, each in value.items())
    return "" if value is None else str(value)


def as_json(found: Sequence[CallRecord]) -> bytes:
    """Write records as `relay calls list --json` does."""
    return json.dumps({"calls": [record_as_json(each) for each in found]}, indent=1).encode()
