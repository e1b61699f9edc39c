"""The page of set-up: the checks, what runs here, operators and what they did."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import pytest
import trio

from relay.console.answers import Fragment, Redirect
from relay.console.audit import Audit
from relay.console.examination import Examination, Found
from relay.console.set_up import ACTIONS, Installation, SetUpPage
from relay.store.database import Database
from relay.store.members import Members
from relay.store.operator_actions import Action, OperatorActions
from relay.store.operators import Operators, Role
from tests.fakes_store import WallClock
from tests.relay.console.rendered import EVE, HOSTILE, asked, shown

PRINTS = """
import os, sys, time
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
print("ok       settings      All that real calls need is set.")
print("failed   public_url    There is no such host. Fix it.", flush=True)
print("not a finding")
assert os.environ["DATABASE_URL"] == "sqlite:///here.db"
sys.exit(1)
"""


def examination(clock: WallClock, *command: str) -> Examination:
    return Examination(database_url="sqlite:///here.db", now=clock, command=command or (sys.executable, "-c", PRINTS))


def page_of(database: Database, clock: WallClock, checks: Examination | None = None) -> SetUpPage:
    actions = OperatorActions(database, clock)
    return SetUpPage(
        installation=Installation(
            version="1.0", started_at=clock(), database="SQLite", public_url="https://relay.example"
        ),
        examination=checks or examination(clock),
        members=Members(database),
        operators=Operators(database, clock),
        actions=actions,
        audit=Audit(actions),
        trouble=lambda: None,
        is_leaving=lambda: False,
        now=clock,
    )


@pytest.fixture
def page(database: Database, clock: WallClock) -> SetUpPage:
    return page_of(database, clock)


async def _until(condition: Callable[[], bool]) -> None:
    for _ in range(6000):
        if condition():
            return
        await trio.sleep(0.01)
    pytest.fail("it never was")


async def test_running_the_checks(database: Database, clock: WallClock, tmp_path: Path) -> None:
    """One button runs them, once at a time, on record; what was found is shown, with the time."""
    may_end = tmp_path / "may-end"
    page = page_of(database, clock, examination(clock, sys.executable, "-c", PRINTS, str(may_end)))
    assert "Run the checks" in (await shown(page.show)).text
    async with trio.open_nursery() as nursery:
        nursery.start_soon(page.examination.run)
        for _ in range(2):
            assert await page.run_checks(asked()) == Redirect("/console/set-up#checks")
        under_way = await page.show_checks(attrs.evolve(asked(), is_part=True))
        assert isinstance(under_way, Fragment)
        assert under_way.values["is_under_way"]
        assert (await shown(page.show)).all("section", **{"hx-get": "/console/set-up/checks"})
        may_end.touch()
        await _until(lambda: not page.examination.is_under_way)
        nursery.cancel_scope.cancel("seen")
    text = (await shown(page.show)).text
    assert "All that real calls need is set." in text
    assert "public_url failed There is no such host. Fix it." in text
    assert "1 failed" in text
    assert "checked 22 Nov 2026 09:00:00" in text
    assert "not a finding" not in text
    assert [each.outcome for each in await page.actions.list()] == ["under_way", "done"]


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        (["/no/such/program"], "could not be started"),
        ([sys.executable, "-c", "raise SystemExit(3)"], "without a finding"),
    ],
)
async def test_checks_that_do_not_run(database: Database, clock: WallClock, command: Sequence[str], fault: str) -> None:
    """Why there is no finding is said, and they can be run again."""
    page = page_of(database, clock, examination(clock, *command))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(page.examination.run)
        for _ in range(2):
            await page.run_checks(asked())
            await _until(lambda: not page.examination.is_under_way)
            assert fault in (await shown(page.show)).text
        nursery.cancel_scope.cancel("seen")


async def test_a_cancelled_run_ends_its_process(clock: WallClock) -> None:
    """The process does not outlive the daemon."""
    checks = examination(clock, sys.executable, "-c", "print('ok a b', flush=True); import time; time.sleep(600)")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(checks.run)
        checks.ask()
        await _until(lambda: bool(checks.found))
        nursery.cancel_scope.cancel("stop")
    assert checks.found == [Found("ok", "a", "b")]


async def test_what_runs_here(page: SetUpPage, clock: WallClock) -> None:
    """Version, time since the start, database, whether it takes calls; operators and when they were seen."""
    await page.operators.add("ada", Role.ACT)
    clock.turn(seconds=3700)
    text = (await shown(page.show)).text
    for words in ("Version 1.0", "Up for 1 h 1 min", "SQLite", "New calls taken", "ada act", "not signed in"):
        assert words in text
    leaving = attrs.evolve(page, is_leaving=lambda: True)
    assert "New calls refused" in (await shown(leaving.show)).text
    node = attrs.evolve(page, installation=attrs.evolve(page.installation, node="one"))
    assert "what happens on one" in (await shown(node.show)).text
    assert "The carrier reaches it at https://relay.example" in text
    local = attrs.evolve(page, installation=attrs.evolve(page.installation, is_local=True))
    assert "real callers do not" in (await shown(local.show)).text


async def test_the_record_is_paged(page: SetUpPage) -> None:
    """What was done, newest first, by all or by one; the rest is a link away."""
    for number in range(ACTIONS + 1):
        await page.actions.begin(Action(operator="ada", name="hang_up", agent_id="anna", call_sid=f"CA{number}"))
    await page.actions.begin(Action(operator="ben", name="say"))
    document = await shown(page.show, query={"operator": "ada"})
    calls = [each for each in document.links() if "/calls/" in each]
    assert calls == [f"/console/calls/CA{number}" for number in range(ACTIONS, 0, -1)]
    (older,) = [each for each in document.links() if "before=" in each]
    assert older.startswith("/console/set-up?operator=ada&before=")
    before = older.partition("before=")[2].partition("#")[0]
    document = await shown(page.show, query={"operator": "ada", "before": before})
    assert [each for each in document.links() if "/calls/" in each] == ["/console/calls/CA0"]


async def test_who_only_reads_is_offered_nothing(page: SetUpPage) -> None:
    """The role read sees what was found, and no button."""
    document = await shown(page.show, EVE)
    assert not document.all("form", action="/console/set-up/checks")
    assert "An operator who may act can run them" in document.text


async def test_planted_markup_is_text(page: SetUpPage) -> None:
    """What operators did, and what a check says, is text on the page."""
    await page.actions.begin(Action(operator=HOSTILE, name=HOSTILE, agent_id=HOSTILE, call_sid=HOSTILE, detail=HOSTILE))
    page.examination.found.append(Found("ok", HOSTILE, HOSTILE))
    for query in ({}, {"operator": HOSTILE, "before": HOSTILE}):
        document = await shown(page.show, query=query)
        assert document.planted() == []
