"""The console's door and frame in a real browser: signing in and out, what other sites cannot do, keys, look."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from relay.simulator.load.local_daemon import LocalDaemon
from tests.e2e.browser import Chromium, OperatorAccess, Tab, register_operator
from tests.e2e.parties import own_url

pytestmark = pytest.mark.browser


async def test_signing_in_and_out(chromium: Chromium, daemon: LocalDaemon, operator: OperatorAccess) -> None:
    """The page that was asked for comes after signing in; nothing comes from elsewhere, no rule is broken."""

    def work(tab: Tab) -> None:
        tab.sign_in(own_url(daemon), operator.token, "/console?q=1")
        assert tab.page.url == f"{own_url(daemon)}/console?q=1"
        expect(tab.page.locator("h1")).to_have_text("Live calls")
        expect(tab.page.locator("header")).to_contain_text(f"{operator.name} · act")
        assert tab.page.evaluate("document.cookie") == ""
        tab.page.reload()
        expect(tab.page.locator("h1")).to_have_text("Live calls")
        tab.page.get_by_role("button", name="Sign out").click()
        expect(tab.page.get_by_label("Operator's token")).to_be_focused()
        tab.page.go_back()
        expect(tab.page.get_by_label("Operator's token")).to_be_visible()
        assert "Live calls" not in tab.page.content()

    await chromium.drive(work)


async def test_two_daemons_of_one_host(
    chromium: Chromium, daemon: LocalDaemon, hasty_daemon: LocalDaemon, operator: OperatorAccess
) -> None:
    """A browser sends a host's cookies to all of its ports: each daemon keeps its own session, and ends only that."""
    other = await register_operator(hasty_daemon)

    def work(tab: Tab) -> None:
        tab.sign_in(own_url(daemon), operator.token)
        tab.sign_in(own_url(hasty_daemon), other.token)
        header, stream = tab.page.locator("header"), tab.page.locator("#state")
        for url, name in (
            (own_url(daemon), operator.name),
            (own_url(hasty_daemon), other.name),
            (own_url(daemon), operator.name),
        ):
            tab.goto(f"{url}/console")
            expect(header).to_contain_text(f"{name} · act")
            expect(stream).to_have_text("live")
        tab.page.get_by_role("button", name="Sign out").click()
        expect(tab.page.get_by_label("Operator's token")).to_be_visible()
        tab.goto(f"{own_url(hasty_daemon)}/console")
        expect(header).to_contain_text(f"{other.name} · act")

    await chromium.drive(work)


async def test_a_link_of_the_command_signs_in(
    chromium: Chromium, daemon: LocalDaemon, operator: OperatorAccess
) -> None:
    """`relay console` prints a link for the running daemon; its page asks, and its button signs in."""
    printed = json.loads(await daemon.command("console", operator.name, "--json"))
    assert printed["url"].startswith(f"{own_url(daemon)}/console/sign-in?link=")

    def work(tab: Tab) -> None:
        tab.goto(printed["url"])
        tab.page.get_by_role("button", name=f"Sign in as {operator.name}").click()
        expect(tab.page.locator("h1")).to_have_text("Live calls")
        assert "link=" not in tab.page.url
        tab.goto(printed["url"])
        expect(tab.page.get_by_role("alert")).to_contain_text("relay console")

    await chromium.drive(work)


async def test_a_wrong_token_is_told(chromium: Chromium, daemon: LocalDaemon, operator: OperatorAccess) -> None:
    """What is entered wrong is said in words, as text, and does not stand in the page."""

    def work(tab: Tab) -> None:
        tab.goto(f"{own_url(daemon)}/console")
        tab.page.get_by_label("Operator's token").fill("<img src=x onerror=alert(1)>")
        tab.page.get_by_role("button", name="Sign in").click()
        expect(tab.page.get_by_role("alert")).to_contain_text("relay operators rotate")
        assert "onerror" not in tab.page.content()
        assert tab.page.locator("img").count() == 0

    await chromium.drive(work)


async def test_a_link_from_elsewhere_finds_the_session(
    chromium: Chromium, daemon: LocalDaemon, operator: OperatorAccess
) -> None:
    """The browser keeps the cookie back when another site leads here; the page loads itself again, and is there."""

    def work(tab: Tab) -> None:
        tab.sign_in(own_url(daemon), operator.token)
        tab.page.goto("data:text/html," + quote(f'<a href="{own_url(daemon)}/console?q=2">look</a>'))
        tab.page.get_by_role("link", name="look").click()
        expect(tab.page.locator("h1")).to_have_text("Live calls")
        assert tab.page.url == f"{own_url(daemon)}/console?q=2"

    await chromium.drive(work)


async def test_a_page_from_elsewhere_does_nothing(
    chromium: Chromium, daemon: LocalDaemon, operator: OperatorAccess
) -> None:
    """A form of another site that ends the session is refused: the operator stays signed in."""

    def work(tab: Tab) -> None:
        tab.sign_in(own_url(daemon), operator.token)
        form = f'<form method="post" action="{own_url(daemon)}/console/sign-out"><button>win</button></form>'
        tab.page.goto("data:text/html," + quote(form))
        tab.page.get_by_role("button", name="win").click()
        expect(tab.page.locator("h1")).to_have_text("Not allowed")
        tab.goto(f"{own_url(daemon)}/console")
        expect(tab.page.locator("h1")).to_have_text("Live calls")

    await chromium.drive(work)


async def test_keys(chromium: Chromium, daemon: LocalDaemon, operator: OperatorAccess) -> None:
    """`?` lists the keys, Escape closes the list, the focus goes back; a switch turns them off."""

    def work(tab: Tab) -> None:
        tab.sign_in(own_url(daemon), operator.token)
        brand, dialog = tab.page.locator("a.brand"), tab.page.locator("dialog#keys")
        brand.focus()
        tab.page.keyboard.press("?")
        expect(dialog).to_be_visible()
        expect(dialog.get_by_role("button", name="Close")).to_be_focused()
        tab.page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        expect(brand).to_be_focused()
        tab.page.keyboard.press("g")
        with tab.page.expect_navigation():
            tab.page.keyboard.press("l")
        tab.page.keyboard.press("?")
        dialog.get_by_label("Single keys off").check()
        tab.page.keyboard.press("Escape")
        tab.page.keyboard.press("?")
        expect(dialog).to_be_hidden()

    await chromium.drive(work)


async def test_the_look(chromium: Chromium, daemon: LocalDaemon, operator: OperatorAccess) -> None:
    """Sign-in, a page, and a page that is not there: nothing that keeps anyone out, nothing wider than the window."""

    def work(tab: Tab) -> None:
        tab.goto(f"{own_url(daemon)}/console")
        seen = tab.faults_of_looks("sign-in")
        tab.sign_in(own_url(daemon), operator.token)
        seen |= tab.faults_of_looks("live")
        tab.page.keyboard.press("?")
        seen |= tab.faults_of_looks("keys")
        tab.goto(f"{own_url(daemon)}/console/nowhere")
        expect(tab.page.get_by_role("link", name="Back to Live")).to_be_visible()
        seen |= tab.faults_of_looks("not-found")
        assert seen == {}

    await chromium.drive(work)
