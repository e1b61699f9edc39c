"""Messages, agents, history and set-up in a real browser: their look, what they do, what they are without scripts."""

from __future__ import annotations

import re
import secrets
from datetime import timedelta

import attrs
import pytest
from playwright.sync_api import expect
from sqlalchemy import insert

from actors.call_record import CallRecord
from actors.call_values import CallOutcome, Direction
from relay.simulator.load.local_daemon import LocalDaemon
from relay.store.call_record import row_of
from relay.store.message_record import MessageStatus
from relay.store.schema import call_turns, calls, utc_now
from relay.store.waiting_messages import WaitingMessages
from tests.contracts.message_store import draft
from tests.e2e.browser import SIZES, Chromium, OperatorAccess, Tab
from tests.e2e.parties import Access, connected, database_of, eventually, messages_of, own_url, register

pytestmark = pytest.mark.browser

HOSTILE = '<script>alert(1)</script><img src=x onerror=alert(1)><b hx-get="/x" style="color:red">'
LONG = "Pneumonoultramicroscopicsilicovolcanoconiosis" * 4


@attrs.frozen
class Seen:
    """An agent with what there is to see of it: messages in each state, calls of some days, turns."""

    operator: OperatorAccess
    access: Access
    message_id: str


@pytest.fixture
async def seen(daemon: LocalDaemon, operator: OperatorAccess) -> Seen:
    access = await register(daemon, name=HOSTILE)
    agent_id, now = access.agent_id, utc_now()
    records = [
        CallRecord(
            call_sid=f"CA{secrets.token_hex(16)}",
            agent_id=agent_id,
            direction=Direction.OUTBOUND if number % 3 else Direction.INBOUND,
            caller="+14155550123" if number else HOSTILE,
            called="+15551230002",
            started_at=now - timedelta(days=number // 2),
            connected_at=now - timedelta(days=number // 2),
            ended_at=now,
            line_ended_at=now,
            line_outcome=(CallOutcome.COMPLETED, CallOutcome.FAILED, CallOutcome.FAREWELL)[number % 3],
            line_seconds=75.0,
            answered_by={"client": number, "machine": 1},
        )
        for number in range(12)
    ]
    turns = [
        {"call_sid": each.call_sid, "turn": 1, "by": "client", "arrived_ms": 0.0, "out_ms": 300.0 + 100 * number}
        for number, each in enumerate(records)
    ]
    async with database_of(daemon) as database:
        rows = [row_of(each) | {"boot": "", "attempt": 0} for each in records]
        await database.write(lambda connection: connection.execute(insert(calls), rows))
        await database.write(lambda connection: connection.execute(insert(call_turns), turns))
        messages = WaitingMessages(database)
        planted = {"agent_id": agent_id, "caller": HOSTILE, "body": HOSTILE + LONG, "preferences": HOSTILE}
        confirmed = await messages.leave(draft(call_sid=records[0].call_sid, **planted))
        await messages.acknowledge(agent_id, [confirmed], by=HOSTILE)
        await messages.leave(draft(call_sid=records[1].call_sid, **planted))
        await messages.fetch(agent_id, by=LONG)
        waiting = await messages.leave(draft(call_sid=records[2].call_sid, agent_id=agent_id))
    return Seen(operator, access, waiting)


async def test_the_look(chromium: Chromium, daemon: LocalDaemon, seen: Seen) -> None:
    """Each page, full and empty: nothing that keeps anyone out, nothing too wide, nothing planted became markup."""
    agent_id = seen.access.agent_id
    pages = {
        "messages": f"/messages?state=all&agent={agent_id}",
        "messages-empty": "/messages?q=nowhere-to-be-found",
        "agents": "/agents",
        "history": f"/history?agent={agent_id}",
        "history-empty": "/history?number=%25&from=2026-02-02&to=2026-01-01",
        "set-up": "/set-up",
    }

    def work(tab: Tab) -> None:
        tab.sign_in(own_url(daemon), seen.operator.token)
        faults: dict[str, list[str]] = {}
        for name, path in pages.items():
            tab.goto(f"{own_url(daemon)}/console{path}")
            expect(tab.page.locator("h1")).to_be_visible()
            tab.page.set_viewport_size({"width": SIZES[-1][0], "height": SIZES[-1][1]})
            assert tab.page.locator(".top nav").evaluate("nav => nav.scrollWidth <= nav.clientWidth"), name
            assert tab.page.locator("main :is(img, b[hx-get], script, [style*=color])").count() == 0
            faults |= tab.faults_of_looks(name)
        tab.goto(f"{own_url(daemon)}/console/messages?agent={agent_id}")
        tab.page.get_by_role("button", name="Mark as dealt with…").first.click()
        expect(tab.page.get_by_role("button", name="Leave it")).to_be_focused()
        faults |= tab.faults_of_looks("messages-dialog")
        assert faults == {}

    async with connected(seen.access):
        await chromium.drive(work)


async def test_what_the_pages_do(chromium: Chromium, daemon: LocalDaemon, operator: OperatorAccess, seen: Seen) -> None:
    """A message is marked, a session ended, the checks run, the search kept: each by its button, each on record."""
    agent_id = seen.access.agent_id

    async def marked() -> bool:
        found = {each.id: each for each in await messages_of(daemon, seen.access)}[seen.message_id]
        return (found.status, found.acknowledged_by) == (MessageStatus.ACKNOWLEDGED, f"{seen.operator.name} (operator)")

    def work(tab: Tab) -> None:
        tab.sign_in(own_url(daemon), seen.operator.token, f"/console/messages?agent={agent_id}&state=waiting")
        message = tab.page.locator(f"#{seen.message_id}")
        message.get_by_role("button", name="Mark as dealt with…").click()
        message.get_by_role("button", name="Dealt with", exact=True).click()
        expect(tab.page.get_by_role("status").filter(has_text="Marked as dealt with")).to_be_visible()
        expect(message).to_have_count(0)
        assert f"agent={agent_id}" in tab.page.url
        chromium.wait_for(eventually, marked)

        tab.goto(f"{own_url(daemon)}/console/agents")
        card = tab.page.locator("#agents > li").filter(has_text=agent_id)
        expect(card).to_contain_text("is asked")
        card.get_by_role("button", name="End…").click()
        card.get_by_role("button", name="End it").click()
        expect(tab.page.get_by_role("status").filter(has_text="was ended")).to_be_visible()

        tab.goto(f"{own_url(daemon)}/console/history")
        tab.page.keyboard.press("/")
        tab.page.keyboard.type("(415) 555-01")
        tab.page.get_by_label("Agent").select_option(agent_id)
        tab.page.get_by_role("button", name="Search").click()
        expect(tab.page.locator("#calls tbody tr")).to_have_count(11)
        expect(tab.page.locator("#calls-chart")).to_be_visible()
        with tab.page.expect_download() as download:
            tab.page.get_by_role("link", name="CSV").click()
        text = download.value.path().read_text()
        assert text.count("\n") == 12
        assert agent_id in text

        tab.goto(f"{own_url(daemon)}/console/set-up")
        tab.page.get_by_role("button", name=re.compile("Run the checks|Check again")).click()
        expect(tab.page.locator("#checks")).to_contain_text("descriptors", timeout=60_000)
        expect(tab.page.get_by_role("button", name="Check again")).to_be_visible(timeout=120_000)
        expect(tab.page.locator("#checks")).to_contain_text("--local")
        for words in ("deal with message", "end session", "run checks"):
            expect(tab.page.locator("#actions")).to_contain_text(words)
        tab.shoot("set-up-checked")

    async with connected(seen.access):
        await chromium.drive(work)


async def test_without_scripts(chromium: Chromium, daemon: LocalDaemon, seen: Seen) -> None:
    """Every page can be read without JavaScript; what a chart would draw stands in its table."""

    def work(tab: Tab) -> None:
        tab.sign_in(own_url(daemon), seen.operator.token)
        for path, words in {
            "/messages": "Please call me back.",
            "/agents": seen.access.agent_id,
            f"/history?agent={seen.access.agent_id}": "First word p50",
            "/set-up": seen.operator.name,
        }.items():
            tab.page.goto(f"{own_url(daemon)}/console{path}")
            expect(tab.page.locator("main")).to_contain_text(words)
        assert tab.page.locator("canvas:visible").count() == 0

    await chromium.drive(work, check=False, java_script_enabled=False)
