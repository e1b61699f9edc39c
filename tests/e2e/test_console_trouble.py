"""The page of a call while the database is locked by another process: it says so, goes on, and nothing is half done."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import trio
from playwright.sync_api import expect

from tests.e2e.browser import Chromium, Tab, register_operator
from tests.e2e.console_operator import recorded
from tests.e2e.parties import ask, calling, connected, eventually, register
from tests.e2e.test_database_trouble import fault, is_not_ready, is_ready, locked
from tests.forked_process import run_local_daemon

pytestmark = [
    pytest.mark.browser,
    pytest.mark.sqlite_only("it is about the file; of a server's troubles is tests/e2e/test_postgresql.py"),
]

REFUSED = "Nothing was done"


async def test_a_locked_database(chromium: Chromium, tmp_path: Path) -> None:
    """The banner has readiness's words, the call and its page go on, and what cannot be recorded is refused."""
    async with run_local_daemon(tmp_path, {}) as daemon:
        agent, operator = await register(daemon), await register_operator(daemon)
        async with connected(agent), calling(daemon, agent) as call, trio.open_nursery() as nursery:
            unlocked = trio.Event()

            async def lock(*, task_status: trio.TaskStatus[None]) -> None:
                async with locked(tmp_path / "relay.db"):
                    task_status.started()
                    await unlocked.wait()

            async def unlock() -> None:
                await trio.lowlevel.checkpoint()
                unlocked.set()

            def work(tab: Tab) -> None:
                tab.sign_in(daemon.url, operator.token, f"/console/calls/{call.call_sid}")
                page, field, said = tab.page, tab.page.locator("#say-text"), tab.page.locator("#say-outcome")
                conversation, banner = page.locator("#conversation"), page.locator("#banners")
                expect(page.locator("#state")).to_have_text("live")
                page.evaluate("window.loadedOnce = true")
                chromium.wait_for(partial(nursery.start, lock))
                assert chromium.wait_for(ask, call, "Which day is it?") == "You said: Which day is it?"
                chromium.wait_for(eventually, partial(is_not_ready, daemon))
                expect(banner).to_contain_text(chromium.wait_for(fault, daemon))
                expect(conversation.locator("li.client").last).to_contain_text("Which day is it?")
                field.fill("I am Ada.")
                field.press("Enter")
                page.locator("#take").click()
                page.get_by_role("button", name="At the next pause").click()
                expect(said).to_contain_text(REFUSED)
                expect(field).to_have_value("I am Ada.")
                expect(page.locator("#take-over .outcome")).to_contain_text(REFUSED)
                tab.shoot("call-locked")
                page.keyboard.press("Escape")
                assert chromium.wait_for(ask, call, "And tomorrow?") == "You said: And tomorrow?"
                expect(conversation.locator("li.client").last).to_contain_text("And tomorrow?")
                expect(page.locator("#state")).to_have_text("live")
                chromium.wait_for(unlock)
                chromium.wait_for(eventually, partial(is_ready, daemon))
                expect(banner).to_be_empty()
                field.press("Enter")
                assert chromium.wait_for(call.hear).text == "I am Ada."
                expect(said).to_be_empty()
                expect(page.locator("#take")).to_contain_text("Take over")
                assert page.evaluate("window.loadedOnce")

            await chromium.drive(work)
        assert await recorded(daemon, call.call_sid) == [(operator.name, "say", "done")]
