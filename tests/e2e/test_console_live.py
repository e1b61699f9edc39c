"""The pages Live and Call in a real browser: they change by themselves, and nothing that callers say acts in them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import attrs
import pytest
import trio
from playwright.sync_api import expect

from relay.simulator.carrier.simulated_call import SimulatedCall
from relay.simulator.load.local_daemon import LocalDaemon
from tests.e2e.browser import Chromium, OperatorAccess, Tab, register_operator
from tests.e2e.parties import Access, ask, calling, connected, own_url
from tests.forked_process import run_local_daemon

pytestmark = pytest.mark.browser

HOSTILE = "<script>window.hit=1</script><img src=x onerror=window.hit=1><b style=color:red hx-get=/console>bold</b>"
NOT_OURS = "main :is(script:not([src]), img, iframe, b[style], [onerror], b[hx-get])"


@attrs.define(eq=False)
class Telephone:
    """Callers of one agent, whom a function in the browser's thread has do things through `Chromium.wait_for`."""

    daemon: LocalDaemon
    agent: Access
    nursery: trio.Nursery
    calls: list[SimulatedCall] = attrs.field(factory=list)

    async def ring(self, caller: str) -> None:
        """Have a caller ring, and wait until it is connected."""
        self.calls.append(await self.nursery.start(self._call, caller))

    async def _call(self, caller: str, *, task_status: trio.TaskStatus[SimulatedCall]) -> None:
        async with calling(self.daemon, self.agent, caller=caller) as call:
            await call.connected()
            task_status.started(call)
            await trio.sleep_forever()

    async def say(self, words: str, last: bool = True) -> str:
        """Have the newest caller speak; return the answer, if what is said is complete."""
        if last:
            return await ask(self.calls[-1], words)
        await self.calls[-1].say(words, last=False)
        return ""

    async def hang_up(self) -> None:
        """Have all callers hang up."""
        for each in self.calls:
            await each.hang_up()


@asynccontextmanager
async def telephones(daemon: LocalDaemon, agent: Access) -> AsyncIterator[Telephone]:
    """Yield a telephone, and a client that answers; at the end of the block all calls are over."""
    async with connected(agent), trio.open_nursery() as nursery:
        telephone = Telephone(daemon, agent, nursery)
        yield telephone
        await telephone.hang_up()  # a line that is only cut may come back, and its daemon would wait for it
        nursery.cancel_scope.cancel("the test is over")


async def test_calls_come_and_go(
    chromium: Chromium, daemon: LocalDaemon, agent: Access, operator: OperatorAccess
) -> None:
    """Three calls appear by themselves and leave; one that is opened grows in place, with its times and decisions."""
    async with telephones(daemon, agent) as telephone:

        def work(tab: Tab) -> None:
            page, rows = tab.page, tab.page.locator("#calls tbody tr")
            tab.sign_in(own_url(daemon), operator.token, f"/console?agent={agent.agent_id}")
            expect(page.locator("#state")).to_have_text("live")
            expect(rows).to_have_count(0)
            for number in range(3):
                chromium.wait_for(telephone.ring, f"+1555011133{number}")
            expect(rows).to_have_count(3)
            expect(rows.nth(0)).to_contain_text("+15550111330")
            page.keyboard.press("j")
            chromium.wait_for(telephone.say, "Is it raining in the north?")
            expect(rows.nth(2)).to_contain_text("raining in the north")
            expect(rows.nth(0).locator("a")).to_be_focused()

            rows.nth(2).locator("a").click()
            expect(page.locator("h1")).to_contain_text("+15550111332")
            expect(page.locator("#state")).to_have_text("live")
            chromium.wait_for(telephone.say, "And now", False)
            expect(page.locator("#conversation li.partial")).to_contain_text("And now")
            chromium.wait_for(telephone.say, "And now in the south?")
            answer = page.locator("#conversation li.client").last
            expect(answer).to_contain_text("in the south")
            expect(answer).to_contain_text("first word")
            expect(page.locator("#conversation li.partial")).to_have_count(0)
            expect(page.locator("#decisions")).to_contain_text("The caller said")
            expect(page.locator("#turns tr[data-turn]")).to_have_count(2)
            for row in page.locator("#turns tr[data-turn]").all():
                parts = page.evaluate("row => JSON.parse(row.dataset.parts)", row.element_handle())
                spans = list(parts.values())
                assert all(before[1] == after[0] for before, after in pairwise(spans)), parts
            tab.shoot("call-grown")

            chromium.wait_for(telephone.hang_up)
            expect(page.locator("#head")).to_contain_text("the other party hung up")
            expect(answer).to_contain_text("in the south")
            page.reload()
            expect(page.locator("#conversation")).to_contain_text("Words were not kept")
            expect(page.locator("#turns tr[data-turn]")).to_have_count(2)
            page.go_back()
            expect(rows).to_have_count(0)

        await chromium.drive(work)


async def test_the_end_is_followed_only_by_who_is_there(
    chromium: Chromium, daemon: LocalDaemon, agent: Access, operator: OperatorAccess
) -> None:
    """Who has scrolled up stays there, and is told how many lines have come; End leads to them."""
    async with telephones(daemon, agent) as telephone:

        def work(tab: Tab) -> None:
            page, talk = tab.page, tab.page.locator("#talk")
            chromium.wait_for(telephone.ring, "+15550111444")
            for number in range(8):
                chromium.wait_for(telephone.say, f"Line {number}, and a few words more?")
            tab.sign_in(own_url(daemon), operator.token, f"/console/calls/{telephone.calls[0].call_sid}")
            expect(page.locator("#state")).to_have_text("live")
            expect(page.locator("#conversation li.client").last).to_be_in_viewport()
            talk.evaluate("talk => (talk.scrollTop = 0)")
            chromium.wait_for(telephone.say, "Are you still there?")
            expect(page.locator("#newer")).to_have_text("2 new lines ↓")
            assert talk.evaluate("talk => talk.scrollTop") == 0
            page.keyboard.press("End")
            expect(page.locator("#newer")).to_be_hidden()
            expect(page.locator("#conversation li.client").last).to_be_in_viewport()

        await chromium.drive(work, viewport={"width": 1280, "height": 600})


async def test_hostile_texts_and_the_look(
    chromium: Chromium, daemon: LocalDaemon, agent: Access, operator: OperatorAccess
) -> None:
    """What a caller says, and is called, is text on both pages; axe finds nothing grave, and nothing is too wide."""
    async with telephones(daemon, agent) as telephone:

        def work(tab: Tab) -> None:
            page = tab.page
            chromium.wait_for(telephone.ring, HOSTILE[:60])
            for words in ("Hello, is somebody there?", HOSTILE, "شكرا لك", "wide" * 60):
                chromium.wait_for(telephone.say, words)
            tab.sign_in(own_url(daemon), operator.token, f"/console?agent={agent.agent_id}")
            expect(page.locator("#state")).to_have_text("live")
            seen = tab.faults_of_looks("live-calls")
            _expect_text_only(tab)
            page.goto(f"{own_url(daemon)}/console/calls/{telephone.calls[0].call_sid}")
            expect(page.locator("#state")).to_have_text("live")
            expect(page.locator("#conversation")).to_contain_text("window.hit=1")
            page.locator("summary").click()
            seen |= tab.faults_of_looks("call")
            _expect_text_only(tab)
            assert seen == {}

        await chromium.drive(work)


def _expect_text_only(tab: Tab) -> None:
    expect(tab.page.locator(NOT_OURS)).to_have_count(0)
    assert not tab.page.evaluate("window.hit")


async def test_ten_tabs(chromium: Chromium, daemon: LocalDaemon, operator: OperatorAccess) -> None:
    """Over plain HTTP a browser has six connections: ten tabs load, four are live, and the one that is used is."""

    def work(tab: Tab) -> None:
        tab.sign_in(own_url(daemon), operator.token)
        pages = [tab.page, *(tab.context.new_page() for _ in range(9))]
        for page in pages[1:]:
            page.goto(f"{own_url(daemon)}/console")
            expect(page.locator("#state")).to_have_text("live")
        for page in pages[:6]:
            expect(page.locator("#state")).to_have_text("paused: live in another tab")
        for page in pages[6:]:
            expect(page.locator("#state")).to_have_text("live")
        pages[0].bring_to_front()
        pages[0].mouse.click(5, 400)
        expect(pages[0].locator("#state")).to_have_text("live")
        expect(pages[6].locator("#state")).to_have_text("paused: live in another tab")

    await chromium.drive(work)


async def test_a_tab_that_was_hidden_is_right_again(
    chromium: Chromium, daemon: LocalDaemon, agent: Access, operator: OperatorAccess
) -> None:
    """A hidden tab reads nothing; shown again it has what has come since."""
    async with telephones(daemon, agent) as telephone:

        def work(tab: Tab) -> None:
            page = tab.page
            tab.sign_in(own_url(daemon), operator.token, f"/console?agent={agent.agent_id}")
            expect(page.locator("#state")).to_have_text("live")
            page.evaluate(_HIDE, True)
            chromium.wait_for(telephone.ring, "+15550111555")
            chromium.wait_for(trio.sleep, 1.2)
            expect(page.locator("#calls tbody tr")).to_have_count(0)
            page.evaluate(_HIDE, False)
            expect(page.locator("#calls tbody tr")).to_have_count(1)

        await chromium.drive(work)


_HIDE = """hidden => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
    document.dispatchEvent(new Event("visibilitychange"));
}"""


@pytest.mark.one_daemon("its page is that of one process, which has its address again")
async def test_a_daemon_that_is_killed_and_comes_back(chromium: Chromium, tmp_path: Path) -> None:
    """The page says that it is an old picture, stops its clocks, and is whole again without being loaded anew."""
    async with run_local_daemon(tmp_path, {}) as first, trio.open_nursery() as nursery:
        operator = await register_operator(first)
        port = int(first.url.rpartition(":")[2])

        async def run_again(*, task_status: trio.TaskStatus[None]) -> None:
            async with run_local_daemon(tmp_path, {}, port=port):
                task_status.started()
                await over.wait()

        async def start_again() -> None:
            await nursery.start(run_again)

        over = trio.Event()

        def work(tab: Tab) -> None:
            page, banner = tab.page, tab.page.locator("#lost")
            tab.sign_in(first.url, operator.token)
            expect(page.locator("#state")).to_have_text("live")
            page.evaluate("window.loadedOnce = true")
            chromium.wait_for(first.kill)
            expect(banner).to_contain_text("Connection lost")
            assert page.evaluate("document.documentElement.classList.contains('off')")
            chromium.wait_for(start_again)
            expect(page.locator("#state")).to_have_text("live")
            expect(banner).to_be_hidden()
            assert page.evaluate("window.loadedOnce")

        await chromium.drive(work, check=False)  # what is asked in vain is an error in its console
        over.set()
