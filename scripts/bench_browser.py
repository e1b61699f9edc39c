"""A browser with the page Live, in a process of its own: an operator's, for a load run.

bench ──"open", "leave"──▶ browser ──signs in, looks──▶ daemon
bench ◀──a JSON line each──┘
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_ROWS = "#calls tbody tr"


def find_browser() -> str | None:
    """Return the path of a Chromium that can be driven here; None without one, or without Playwright."""
    has_playwright = importlib.util.find_spec("playwright") is not None
    return next(filter(None, map(shutil.which, _PROGRAMS)), None) if has_playwright else None


@contextmanager
def _window(program: str) -> Iterator[Page]:
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - is not everywhere

    with sync_playwright() as playwright:
        # Chromium's sandbox cannot be had by root.
        browser = playwright.chromium.launch(executable_path=program, chromium_sandbox=os.getuid() != 0)
        yield browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
        browser.close()


def _open(page: Page, url: str, token: str) -> dict[str, int]:
    page.goto(f"{url}/console")
    field = page.get_by_label("Operator's token")
    if field.count():
        field.fill(token)
        page.get_by_role("button", name="Sign in").click()
    page.locator(_ROWS).first.wait_for()
    return {}


def _leave(page: Page) -> dict[str, int]:
    rows = page.locator(_ROWS).count()
    page.goto("about:blank")
    return {"rows": rows}


def main(program: str, url: str, token: str) -> None:
    """Open the page and leave it as standard input says, until that ends."""
    with _window(program) as page:
        for order in sys.stdin:
            told = _open(page, url, token) if order.strip() == "open" else _leave(page)
            print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
