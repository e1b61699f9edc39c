"""Acting in a call from its page, in a real browser: what the caller hears, what the client gets, what is on record."""

from __future__ import annotations

import re

import pytest
import trio
from playwright.sync_api import Locator, Page, expect

from actors.take_over import SPOKE_NOTE
from relay.simulator.carrier.callee import Answers, Unanswered
from relay.simulator.carrier.simulated_call import SimulatedCall
from relay.simulator.load.local_daemon import LocalDaemon
from tests.e2e.browser import Chromium, OperatorAccess, Tab, register_operator
from tests.e2e.calling_out import HUMAN, Outside
from tests.e2e.console_operator import recorded
from tests.e2e.parties import Access, AiClient, Turn, ask, calling, connected, own_url, repeat

pytestmark = pytest.mark.browser


def open_call(tab: Tab, url: str, token: str, call_sid: str) -> Page:
    """Sign in on the way to the page of a call, and wait until it is live."""
    tab.sign_in(url, token, f"/console/calls/{call_sid}")
    expect(tab.page.locator("#state")).to_have_attribute("data-state", "live")
    return tab.page


def dialog(page: Page, name: str) -> Locator:
    """Return an open dialog of a page."""
    found = page.locator(f"dialog#{name}")
    expect(found).to_be_visible()
    return found


async def heard(call: SimulatedCall) -> str:
    """Return what the caller hears next."""
    return (await call.hear()).text


async def silent_about_people(turn: Turn) -> str:
    """Answer everything but the question whether one is a person."""
    if turn.words == "Are you a person?":
        await trio.sleep_forever()
    return await repeat(turn)


async def last_turn(client: AiClient) -> Turn:
    """Return the newest turn that the client was asked."""
    turn = await client.asked.receive()
    while True:
        try:
            turn = client.asked.receive_nowait()
        except trio.WouldBlock:
            return turn


async def test_a_call_is_taken_spoken_in_handed_back_and_ended_by_keys(
    chromium: Chromium, daemon: LocalDaemon, agent: Access, operator: OperatorAccess
) -> None:
    """With the keyboard alone: find a call, take it now, say, hand it back, hang up; the focus is never lost."""
    async with connected(agent, silent_about_people) as client, calling(daemon, agent) as call:
        assert await ask(call, "Hello?") == "You said: Hello?"
        await call.say("Are you a person?")
        await client.asked.receive()
        await client.asked.receive()
        took: list[float] = []

        def work(tab: Tab) -> None:
            tab.sign_in(own_url(daemon), operator.token, f"/console?agent={agent.agent_id}")
            page, keys = tab.page, tab.page.keyboard
            expect(page.locator("#state")).to_have_attribute("data-state", "live")
            keys.press("j")
            with page.expect_navigation():
                keys.press("Enter")
            expect(page.locator("#state")).to_have_attribute("data-state", "live")
            keys.press("t")
            expect(dialog(page, "take-over").get_by_role("button", name="At the next pause")).to_be_focused()
            keys.press("Shift+Tab")
            keys.press("Enter")
            expect(page.locator("dialog#take-over")).to_be_hidden()
            assert chromium.wait_for(client.withdrawn.receive).words == "Are you a person?"
            expect(page.locator("#take")).to_contain_text("Hand back")
            keys.press("s")
            for line in ("Yes, I am Ada.", "How can I help?"):
                keys.type(line)
                pressed = trio_now(chromium)
                keys.press("Enter")
                assert chromium.wait_for(heard, call) == line
                took.append(trio_now(chromium) - pressed)
            expect(page.locator("#conversation")).to_contain_text("How can I help?")
            expect(page.locator("#say-text")).to_be_focused()
            expect(page.locator("#say-text")).to_have_value("")
            page.locator("#take").focus()
            keys.press("t")
            expect(page.locator("#take")).to_contain_text("Take over")
            expect(page.locator("#take")).to_be_focused()
            assert chromium.wait_for(ask, call, "Thank you.") == "You said: Thank you."
            keys.press("h")
            expect(dialog(page, "hang-up").get_by_role("button", name="Cancel")).to_be_focused()
            keys.press("Shift+Tab")
            keys.type("Goodbye.")
            keys.press("Enter")
            assert chromium.wait_for(heard, call) == "Goodbye."

        await chromium.drive(work)
        await call.wait_ended()
        turn = await last_turn(client)
        assert [text for _role, text in turn.history[-4:]] == [
            "Yes, I am Ada.",
            "How can I help?",
            f"({SPOKE_NOTE})",
            "Thank you.",
        ]
        done = ["take_over", "say", "say", "hand_back", "hang_up"]
        assert await recorded(daemon, call.call_sid) == [(operator.name, each, "done") for each in done]
        print("ms from Enter to the caller:", [round(each * 1000) for each in took])
        assert max(took) < 5


def trio_now(chromium: Chromium) -> float:
    """Return the time by the clock of the test's event loop, which is the caller's."""

    async def now() -> float:
        await trio.lowlevel.checkpoint()
        return trio.current_time()

    return chromium.wait_for(now)


async def test_a_call_is_taken_at_its_pause_and_comes_back_when_the_browser_is_killed(
    chromium: Chromium, daemon: LocalDaemon, agent: Access, operator: OperatorAccess
) -> None:
    """The operator is asked; then the page is gone, and within ten seconds the client answers the same words."""
    async with connected(agent, repeat) as client, calling(daemon, agent) as call:

        def work(tab: Tab) -> None:
            page = open_call(tab, own_url(daemon), operator.token, call.call_sid)
            page.keyboard.press("t")
            dialog(page, "take-over").get_by_role("button", name="At the next pause").click()
            expect(page.locator("#take")).to_contain_text("Hand back")
            chromium.wait_for(call.say, "Are you a person?")
            expect(page.locator("#conversation")).to_contain_text("Are you a person?")
            page.locator("#say-text").fill("Yes, I am Ada.")
            page.locator("#say-text").press("Enter")
            assert chromium.wait_for(heard, call) == "Yes, I am Ada."
            chromium.wait_for(call.say, "What do I owe you?")
            expect(page.locator("#conversation")).to_contain_text("What do I owe you?")

        await chromium.drive(work)
        closed = trio.current_time()
        while (words := await heard(call)) != "You said: What do I owe you?":
            assert "moment" in words.lower() or "still" in words.lower(), words
        print("seconds until the client answered:", round(trio.current_time() - closed, 1))
        assert trio.current_time() - closed < 20
        assert ("assistant", "Yes, I am Ada.") in (await last_turn(client)).history
        assert await client.fetch() == []


async def test_transfers(chromium: Chromium, outside: Outside, dialling_agent: Access) -> None:
    """Refused by the gate with its rule; not answered, and back; allowed and connected: the caller hears each."""
    operator = await register_operator(outside.daemon)
    outside.rest.callee(HUMAN, Unanswered("no-answer"))
    async with connected(dialling_agent) as client, outside.carrier.call(dialling_agent.agent_id) as call:
        assert await ask(call, "I want a human.") == "You said: I want a human."
        await client.asked.receive()

        def transfer(page: Page) -> None:
            page.keyboard.press("x")
            form = dialog(page, "transfer")
            expect(form.get_by_label("Number")).to_be_focused()
            form.get_by_label("Number").fill(HUMAN)
            form.get_by_label("Said to the caller first").fill("I am connecting you.")
            form.get_by_role("button", name="Check the number").click()
            expect(form).to_contain_text("Nothing was dialled yet")
            form.get_by_role("button", name=f"Transfer to {HUMAN}").click()
            expect(form).to_be_hidden()

        def work(tab: Tab) -> None:
            page = open_call(tab, own_url(outside.daemon), operator.token, call.call_sid)
            page.keyboard.press("x")
            form = dialog(page, "transfer")
            form.get_by_label("Number").fill("112")
            form.get_by_label("Number").press("Enter")
            expect(form.locator(".outcome")).to_contain_text("emergency_number")
            expect(form.get_by_label("Number")).to_have_attribute("aria-invalid", "true")
            assert tab.axe() == []
            tab.shoot("transfer-refused")
            page.keyboard.press("Escape")
            expect(form).to_be_hidden()
            assert call.dialled == []
            transfer(page)
            assert "not answered" in chromium.wait_for(client.asked.receive).words
            expect(page.locator("#state")).to_have_attribute("data-state", "live")
            chromium.wait_for(call.until, lambda: "not answered" in call.heard[-1])
            outside.rest.callee(HUMAN, Answers(talks=0.3))
            transfer(page)
            expect(page.locator("#decisions")).to_contain_text(f"Operator {operator.name} began a transfer")

        await chromium.drive(work)
        await call.wait_ended()
    assert "I am connecting you." in call.heard
    assert call.dialled == [HUMAN, HUMAN]
    assert call.legs[-1].bridged
    assert await recorded(outside.daemon, call.call_sid) == [(operator.name, "transfer", "done")] * 2


async def test_two_operators_and_a_caller_who_hangs_up(
    chromium: Chromium, daemon: LocalDaemon, agent: Access, operator: OperatorAccess
) -> None:
    """Who comes second reads who has the call, and takes it; a dialog that is open when the call ends says so."""
    ben = await register_operator(daemon)
    async with connected(agent, repeat), calling(daemon, agent) as call:
        assert await ask(call, "Hello?") == "You said: Hello?"

        def work(tab: Tab) -> None:
            ada = open_call(tab, own_url(daemon), operator.token, call.call_sid)
            ada.keyboard.press("t")
            ada.keyboard.press("Enter")
            expect(ada.locator("#take")).to_contain_text("Hand back")
            with chromium.tab() as other:
                page = open_call(other, own_url(daemon), ben.token, call.call_sid)
                page.locator("#say-text").fill("Ben here.")
                page.locator("#say-text").press("Enter")
                said = page.locator("#say-outcome")
                expect(said).to_contain_text(re.compile(rf"{operator.name} has had this call since \d\d:\d\d UTC"))
                said.get_by_role("button", name=f"Take it from {operator.name}").click()
                expect(ada.locator("#take")).to_contain_text("Take over")
                expect(page.locator("#take")).to_contain_text("Hand back")
                expect(page.locator("#say-text")).to_have_value("Ben here.")
                page.locator("#say-text").press("Enter")
                assert chromium.wait_for(heard, call) == "Ben here."
                page.keyboard.press("Tab")
                page.locator("#take").focus()
                page.keyboard.press("h")
                form = dialog(page, "hang-up")
                chromium.wait_for(call.hang_up)
                page.wait_for_timeout(500)
                form.get_by_role("button", name="Hang up now").click()
                expect(form.locator(".outcome")).to_contain_text("This call ended")
                expect(form.locator(".outcome")).to_contain_text("the caller hung up")

        await chromium.drive(work)


async def test_at_a_telephones_width(
    chromium: Chromium, daemon: LocalDaemon, agent: Access, operator: OperatorAccess
) -> None:
    """The actions stick to the bottom, and nothing is wider than the window."""
    async with connected(agent, repeat), calling(daemon, agent) as call:
        assert await ask(call, "Hello?") == "You said: Hello?"

        def work(tab: Tab) -> None:
            page = open_call(tab, own_url(daemon), operator.token, call.call_sid)
            for name in ("", "take-over", "transfer", "hang-up"):
                if name:
                    page.locator(f"[data-opens={name}]").click()
                    dialog(page, name)
                assert not tab.is_too_wide()
                assert tab.axe() == []
                tab.shoot(f"call-actions-390-{name or 'page'}")
                page.keyboard.press("Escape")
            box = page.locator("#take").bounding_box()
            assert box is not None
            assert box["y"] > 700

        await chromium.drive(work, viewport={"width": 390, "height": 844})
