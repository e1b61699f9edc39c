"""The screen of `relay top` in the framework's own terminal, on a console that says what a test wants."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

import httpx2
from textual.events import Key
from textual.pilot import Pilot
from textual.widgets import DataTable, Static

from relay.cli.watching.console_api import LIVE, Me
from relay.cli.watching.top_screen import Top
from tests.relay.cli.watching.states import a_turn, call, console, decided, live, said, stream

_CHARACTERS = {"slash": "/", "plus": "+"}


class Board:
    """A console whose live calls can be changed; `asked` are the queries for them, `done` what was done in a call.

    `answers` are those to what is done, by the action, each given once; an exception is raised. Without one it is done.
    """

    def __init__(self, *rows: Any) -> None:
        self.state = live(*rows)
        self.call = call(said(1, "relay", "Hello."), decisions=(decided(1, "It rang."),), turns=(a_turn(),))
        self.asked: list[dict[str, str]] = []
        self.done: list[tuple[str, dict[str, str]]] = []
        self.answers: dict[str, list[httpx2.Response | Exception]] = {}
        self.refusal: httpx2.Response | None = None
        self._changed = asyncio.Event()

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        if self.refusal is not None:
            return self.refusal
        if request.method == "POST":
            return self._act(request)
        if request.url.path == LIVE:
            self.asked.append(dict(request.url.params))
            return stream([self.state], goes_on=self._changed.wait)
        return stream([self.call], goes_on=self._changed.wait)

    def _act(self, request: httpx2.Request) -> httpx2.Response:
        call_sid, action = request.url.path.removeprefix("/console/api/calls/").split("/")
        form = dict(parse_qsl(request.content.decode(), strict_parsing=True))
        self.done.append((action, {"call": call_sid, **form}))
        answer = next(iter(self.answers.get(action, ())), httpx2.Response(204))
        del self.answers.get(action, [])[:1]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def sent(self, action: str) -> list[dict[str, str]]:
        """Return the forms of an action, without their keys and their call."""
        return [
            {name: value for name, value in form.items() if name not in {"key", "call"}}
            for each, form in self.done
            if each == action
        ]

    def change(self, *rows: Any) -> None:
        """Show other calls; the stream breaks, which the screen has to bear."""
        self.state = live(*rows)
        self.break_off()

    def break_off(self) -> None:
        """Break the streams; the next ones have what is so by then."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def on_screen(
    board: Callable[[], Board],
    work: Callable[[Pilot[None], Board], Awaitable[None]],
    *,
    size: tuple[int, int] = (100, 24),
    acts: bool = True,
) -> Top:
    """Run the screen of the operator ada on a board, and what is done to it; return it when it is over."""

    async def run() -> Top:
        there = board()
        async with console(there.answer) as api:
            app = Top(api, Me("ada", acts))
            async with app.run_test(size=size) as pilot:
                await until(pilot, lambda: bool(there.refusal) or "relay ·" in text(pilot, "#facts"))
                await work(pilot, there)
            return app

    return asyncio.run(run())


async def until(pilot: Pilot[None], what: Callable[[], bool]) -> None:
    """Let the screen go on until something is so."""
    for _ in range(400):
        await pilot.pause(0.02)
        if what():
            return
    raise AssertionError("it did not come to that")


def press_at_once(pilot: Pilot[None], *keys: str) -> None:
    """Press keys that arrive together, as what is pasted does, or what is typed while the screen is busy."""
    driver = pilot.app._driver
    assert driver is not None
    for each in keys:
        key = Key(each, _CHARACTERS.get(each, each if len(each) == 1 else None))
        key.set_sender(pilot.app)
        driver.send_message(key)


def text(pilot: Pilot[None], name: str) -> str:
    found = pilot.app.screen.query(name)
    return str(found.first(Static).render()) if found else ""


def table(pilot: Pilot[None]) -> DataTable[Any]:
    return pilot.app.screen.query_one("#calls", DataTable)


def cells(pilot: Pilot[None]) -> list[list[str]]:
    return [[str(cell) for cell in table(pilot).get_row_at(number)] for number in range(table(pilot).row_count)]


async def picture(pilot: Pilot[None], name: str) -> None:
    """Keep a picture of the screen where pictures are kept."""
    if kept := os.environ.get("SCREENSHOTS_FOLDER"):
        await pilot.pause(0.5)  # for the footer, and what is animated
        pilot.app.save_screenshot(f"{name}.svg", path=kept)
