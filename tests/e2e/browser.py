"""Chromium for the tests of the console: found, started once, and watched for what no page of ours may do.

    async def test(chromium: Chromium, daemon: LocalDaemon):
        def look(tab: Tab) -> None:
            tab.sign_in(daemon.url, token)
            expect(tab.page.locator("h1")).to_have_text("Live calls")

        await chromium.drive(look)

Playwright's own calls block, and all belong to the thread that has started it: so that thread is one for the whole
session, and a test's work is a function that runs in it, while the test's event loop goes on. `Chromium.wait_for` calls
back into that loop, so that one function can drive a caller, a client and the browser.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

import attrs
import pytest
import trio
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect, sync_playwright

from relay.store.operators import Operators, Role
from tests.e2e.parties import Daemon, database_of

T = TypeVar("T")

AXE = Path(__file__).parents[1] / "vendor" / "axe-core-4.14.1.min.js"
SECONDS = 30.0
"""How long Playwright waits for what it expects, also on a busy machine."""

SIZES = ((1280, 800), (390, 844))
"""A desktop's window and a telephone's."""

SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_MISSING = "Install Chromium to run the browser tests"
_VIOLATIONS = """
    window.__violations = [];
    document.addEventListener("securitypolicyviolation", (event) => {
        window.__violations.push(`${event.violatedDirective} ${event.blockedURI}`);
    });
"""
_GRAVE = {"serious", "critical"}


@attrs.frozen
class OperatorAccess:
    """What an operator of a test knows of itself."""

    name: str
    token: str


async def register_operator(daemon: Daemon, role: Role = Role.ACT) -> OperatorAccess:
    """Register an operator of its own for a test."""
    name = f"operator-{secrets.token_hex(4)}"
    async with database_of(daemon) as database:
        _operator, token = await Operators(database).add(name, role)
    return OperatorAccess(name, token)


def find_chromium() -> str:
    """Return the path of a Chromium. Skips the test where there is none; with CI=true it fails."""
    path = os.environ.get("BROWSER_PROGRAM") or next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if path is not None:
        return path
    if os.environ.get("CI") == "true":
        pytest.fail(_MISSING)
    pytest.skip(_MISSING)


@attrs.define(eq=False)
class Tab:
    """A window of its own, with its own cookies, and what its pages did that none of ours may do.

    `allowed` are the origins that its pages may ask; the first one asked for is.
    """

    context: BrowserContext
    page: Page
    screenshots: Path
    allowed: set[str] = attrs.field(factory=set)
    faults: list[str] = attrs.field(factory=list)

    def watch(self) -> None:
        """Watch the page from now on."""
        self.page.on("request", lambda request: self._note_request(request.url))
        self.page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        self.page.on("console", lambda message: self._note_message(message.type, message.text))

    def goto(self, url: str) -> None:
        """Open a page, whose origin is then allowed."""
        self.allowed.add(_origin(url))
        self.page.goto(url)

    def sign_in(self, url: str, token: str, path: str = "/console") -> None:
        """Open a page of a daemon's console, and sign in on the way."""
        self.goto(url + path)
        self.page.get_by_label("Operator's token").fill(token)
        self.page.get_by_role("button", name="Sign in").click()
        expect(self.page.get_by_role("button", name="Sign out")).to_be_visible()
        self.page.wait_for_load_state()  # the page can be seen before its scripts have run

    def violations(self) -> list[str]:
        """Return what the page's policy has refused."""
        found: list[str] = self.page.evaluate("window.__violations")
        return found

    def axe(self) -> list[str]:
        """Return the serious and critical faults that axe finds on the page."""
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(AXE.read_text())
        results: dict[str, Any] = self.page.evaluate("axe.run({ resultTypes: ['violations'] })")
        return [
            f"{each['id']}: {node['target']}"
            for each in results["violations"]
            if each["impact"] in _GRAVE
            for node in each["nodes"]
        ]

    def is_too_wide(self) -> bool:
        """Whether the page has to be scrolled sideways."""
        root = "document.documentElement"
        wide: bool = self.page.evaluate(f"{root}.scrollWidth > {root}.clientWidth")
        return wide

    def faults_of_looks(self, name: str) -> dict[str, list[str]]:
        """Look at the page in a desktop's window and in a telephone's, each light and dark, and keep a picture of each.

        Return what is wrong with a look, by its name: axe's serious and critical faults, and a page that is wider than
        the window.
        """
        found = {}
        for width, height in SIZES:
            self.page.set_viewport_size({"width": width, "height": height})
            for scheme in SCHEMES:
                self.page.emulate_media(color_scheme=scheme)
                self.page.evaluate("scrollTo(0, 0)")  # the header sticks to where the picture was scrolled to
                look = f"{name}-{width}-{scheme}"
                self.shoot(look)
                found[look] = [*self.axe(), *(["too wide"] if self.is_too_wide() else [])]
        return {look: faults for look, faults in found.items() if faults}

    def shoot(self, name: str) -> None:
        """Keep a picture of the page: see SCREENSHOTS_FOLDER."""
        self.page.screenshot(path=self.screenshots / f"{name}.png", full_page=True)

    def _note_request(self, url: str) -> None:
        if urlsplit(url).scheme not in {"data", "about", "blob"} and _origin(url) not in self.allowed:
            self.faults.append(f"asked for {url}")

    def _note_message(self, kind: str, text: str) -> None:
        # A page that is an error is one on purpose.
        if kind in {"error", "warning"} and not text.startswith("Failed to load resource"):
            self.faults.append(f"{kind}: {text}")


@attrs.define(eq=False, slots=False)
class Chromium:
    """A running Chromium. `screenshots` is where pictures are kept."""

    screenshots: Path
    _path: str
    _thread: ThreadPoolExecutor = attrs.field(factory=lambda: ThreadPoolExecutor(1, "playwright"), init=False)
    _playwright: Playwright | None = attrs.field(default=None, init=False)
    _token: trio.lowlevel.TrioToken | None = attrs.field(default=None, init=False)

    async def drive(self, work: Callable[[Tab], T], *, check: bool = True, **options: Any) -> T:
        """Run `work` with a tab of its own, in the browser's thread, and return its value.

        `options` are Playwright's for a context, such as `viewport` and `color_scheme`. Afterwards no page of the tab
        may have asked another origin for something, or have been refused something by its policy, unless `check` is
        off. Cancelled, it ends when the work does.
        """
        self._token = trio.lowlevel.current_trio_token()

        def run() -> T:
            with self.tab(check=check, **options) as tab:
                return work(tab)

        done = self._thread.submit(run)
        return await trio.to_thread.run_sync(done.result)

    def wait_for(self, work: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        """Run an async function in the test's event loop. Only from within `drive`."""
        return trio.from_thread.run(work, *arguments, trio_token=self._token)

    @contextmanager
    def tab(self, *, check: bool = True, **options: Any) -> Iterator[Tab]:
        """Open a window for the length of a block. Only from within `drive`, for a second operator."""
        context = self._browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        try:
            context.set_default_timeout(SECONDS * 1000)
            context.add_init_script(_VIOLATIONS)
            tab = Tab(context, context.new_page(), self.screenshots)
            tab.watch()
            yield tab
            if check:
                assert tab.faults == [], tab.faults
                assert tab.violations() == []
        finally:
            context.close()

    def close(self) -> None:
        """End the browser, in its own thread."""
        self._thread.submit(self._end).result()
        self._thread.shutdown()

    @cached_property
    def _browser(self) -> Browser:
        self._playwright = sync_playwright().start()
        expect.set_options(timeout=SECONDS * 1000)
        # Chromium's sandbox cannot be had by root.
        return self._playwright.chromium.launch(executable_path=self._path, chromium_sandbox=os.getuid() != 0)

    def _end(self) -> None:
        if self._playwright is not None:
            self._browser.close()
            self._playwright.stop()


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
