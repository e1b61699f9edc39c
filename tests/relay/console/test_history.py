"""The page of calls that were: its search, its days, its pages, its export."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta

import attrs
import pytest
from sqlalchemy import insert

from actors.call_record import CallRecord
from actors.call_values import CallOutcome, Direction
from relay.console.answers import Download
from relay.console.history import HistoryPage
from relay.console.words import OUTCOMES
from relay.store.agent_registry import AgentRegistry
from relay.store.call_history import PAGE_ROWS, CallHistory
from relay.store.call_record import row_of
from relay.store.database import Database
from relay.store.schema import call_turns, calls
from tests.fakes_store import WallClock
from tests.relay.console.rendered import HOSTILE, asked, shown

BEGAN = WallClock().time
CALL = CallRecord(
    call_sid="CA1",
    agent_id="anna",
    direction=Direction.INBOUND,
    caller="+14155550123",
    called="+15551230002",
    started_at=BEGAN,
    connected_at=BEGAN,
    line_ended_at=BEGAN + timedelta(seconds=75),
    ended_at=BEGAN + timedelta(seconds=75),
    line_outcome=CallOutcome.COMPLETED,
    line_seconds=75.0,
    answered_by={"client": 3},
)


@pytest.fixture
def page(database: Database, clock: WallClock) -> HistoryPage:
    return HistoryPage(history=CallHistory(database), agents=AgentRegistry(database, clock), now=clock)


async def store(page: HistoryPage, *records: CallRecord) -> None:
    rows = [row_of(each) | {"boot": "b", "attempt": 0} for each in records]
    await page.history.database.write(lambda connection: connection.execute(insert(calls), rows))


def test_every_outcome_has_its_words() -> None:
    """No outcome is shown as a word of the program's."""
    assert OUTCOMES.keys() == set(CallOutcome)


async def test_a_call_and_its_day(page: HistoryPage) -> None:
    """Who, when, for how long, how it ended, who answered; its day's figures in a table; the call one link away."""
    await store(page, CALL)
    turn = {"call_sid": "CA1", "turn": 1, "by": "client", "arrived_ms": 0.0, "out_ms": 412.0}
    await page.history.database.write(lambda connection: connection.execute(insert(call_turns), [turn]))
    document = await shown(page.show)
    for words in ("+14155550123", "anna", "22 Nov 2026 09:00:00", "1:15", "the other party hung up", "client 3"):
        assert words in document.text
    assert "2026-11-22 1 1 0 0 the other party hung up 1 0.41 s 0.41 s" in document.text
    assert "/console/calls/CA1" in document.links()


async def test_no_call(page: HistoryPage) -> None:
    """Without calls the page says how to get one; a search that finds none can be cleared."""
    assert "There was no call yet." in (await shown(page.show)).text
    document = await shown(page.show, query={"number": "999"})
    assert "No call matches “999”." in document.text
    assert "/console/history" in document.links()


@pytest.mark.parametrize(
    ("query", "finds"),
    [
        ({"number": "(415) 555-01"}, True),
        ({"number": "0002"}, True),
        ({"agent": "anna", "outcome": "completed", "from": "2026-11-22", "to": "2026-11-22"}, True),
        ({"to": "9999-12-31"}, True),
        ({"number": "%"}, False),
        ({"number": "1_1"}, False),
        ({"number": "' OR 1=1 --"}, False),
        ({"number": "\x00"}, False),
        ({"agent": "' OR 1=1 --"}, False),
        ({"outcome": "' OR 1=1 --"}, False),
        ({"outcome": "unknown"}, False),
        ({"outcome": "busy"}, False),
        ({"from": "2026-11-23", "to": "2026-11-21"}, False),
        ({"from": "9999-12-31"}, False),
        ({"to": "0001-01-01"}, False),
        ({"at": "2020-01-01T00:00:00+00:00", "sid": "CA1"}, False),
        ({"at": "9999-12-31T23:59:59-14:00", "sid": "CA1"}, True),
        ({"at": "0001-01-01T00:00:00+14:00", "sid": "CA1"}, True),
    ],
)
async def test_what_is_found(page: HistoryPage, query: dict[str, str], finds: bool) -> None:
    """A search finds what it says, or nothing; it is quoted back as text."""
    await store(page, CALL)
    document = await shown(page.show, query=query)
    assert ("/console/calls/CA1" in document.links()) is finds
    for name, value in query.items():
        if name in {"number", "from", "to"}:
            assert document.all("input", name=name)[0]["value"] == value.strip()


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ({"from": "2026-11-23", "to": "2026-11-21"}, "ends (2026-11-21) before it begins (2026-11-23)"),
        ({"from": "yesterday"}, "“yesterday” is no day"),
        ({"to": "2026-02-30"}, "“2026-02-30” is no day"),
    ],
)
async def test_what_cannot_be_meant_is_said(page: HistoryPage, query: dict[str, str], fault: str) -> None:
    """Days that are reversed, or none, are named."""
    assert fault in (await shown(page.show, query=query)).text


@pytest.mark.parametrize("at", ["x", "2026-11-22", "-1", "9" * 500, "2026-11-22T00:00:00+99:99"])
async def test_a_place_that_is_none(page: HistoryPage, at: str) -> None:
    """Rubbish for a place begins at the newest."""
    await store(page, CALL)
    assert "/console/calls/CA1" in (await shown(page.show, query={"at": at, "sid": "x" * 10_000})).links()


async def test_pages_keep_the_search(page: HistoryPage) -> None:
    """The next page is an address with the whole search in it."""
    await store(page, *(attrs.evolve(CALL, call_sid=f"CA{n}") for n in range(PAGE_ROWS + 1)))
    document = await shown(page.show, query={"number": "415"})
    (older,) = [each for each in document.links() if "sid=" in each]
    assert older.startswith("/console/history?number=415&at=2026-11-22T09%3A00%3A00%2B00%3A00&sid=CA")
    last = await shown(
        page.show, query={"number": "415", "at": "2026-11-22T09:00:00+00:00", "sid": older.rpartition("=")[2]}
    )
    assert [each for each in last.links() if "/calls/CA" in each] == ["/console/calls/CA0"]
    assert "/console/history?number=415" in last.links()


async def test_an_export_holds_the_search(page: HistoryPage) -> None:
    """Only what the search finds, whole; what a spreadsheet would take for a formula begins with an apostrophe."""
    evil = attrs.evolve(CALL, call_sid="CA2", agent_id="ben", caller="=cmd|'/C calc'!A0", carrier_error="@SUM(1)")
    await store(page, CALL, evil)
    written = await page.export_csv(asked(query={"agent": "ben"}))
    assert isinstance(written, Download)
    (row,) = csv.DictReader(io.StringIO(written.content.decode()))
    assert (row["from"], row["to"], row["carrierError"]) == ("'=cmd|'/C calc'!A0", "+15551230002", "'@SUM(1)")
    assert row["answeredBy"] == "client: 3"
    document = await page.export_json(asked(query={"number": "0123"}))
    assert isinstance(document, Download)
    (call,) = json.loads(document.content)["calls"]
    assert (call["callSid"], call["outcome"], call["durationSeconds"]) == ("CA1", "completed", 75.0)


async def test_planted_markup_is_text(page: HistoryPage) -> None:
    """Numbers, agents, SIDs and whatever an address holds are text on the page."""
    await store(page, attrs.evolve(CALL, call_sid=HOSTILE, agent_id=HOSTILE, caller=HOSTILE, answered_by={HOSTILE: 1}))
    names = ("number", "agent", "outcome", "from", "to", "at", "sid")
    for query in ({}, dict.fromkeys(names, HOSTILE)):
        document = await shown(page.show, query=query)
        assert document.planted() == []
