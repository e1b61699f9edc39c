"""A person at the keyboard as the brain: a line typed is an answer. Several calls come one after the other."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from relay.attach.answer_lines import Lines, read_some
from relay.attach.report import Report
from relay.attach.turn import BrainFailed, Say, Turn

# Seconds before the time is over at which a line says so; more lines would disturb the typing.
_COUNTDOWN = (5, 3, 2, 1)


@asynccontextmanager
async def open_person_brain(keyboard: int, report: Report, leave: Callable[[], None]) -> AsyncIterator[PersonBrain]:
    """Read the file descriptor `keyboard` for as long as the block lasts; `leave` is called at its end (Ctrl-D)."""
    async with trio.open_nursery() as nursery:
        person = PersonBrain(keyboard, report, leave)
        nursery.start_soon(person.listen)
        yield person
        nursery.cancel_scope.cancel("the brain is closed")


@attrs.define(eq=False)
class PersonBrain:
    """Answers turns with what is typed. A `Brain`."""

    _keyboard: int
    _report: Report
    _leave: Callable[[], None]
    name: str = "person"
    _asked: trio.Lock = attrs.field(factory=trio.Lock, init=False)
    _typed: str | None = attrs.field(default=None, init=False)
    _waiting: trio.Event | None = attrs.field(default=None, init=False)

    async def answer(self, turn: Turn, say: Say) -> str:  # noqa: ARG002 - a line is typed before it is sent
        """Wait for a line. A second call waits for the first one's line; the person sees who says what."""
        async with self._asked:
            self._report.tell(
                "asked", callSid=turn.call_sid, turn=turn.number, seconds=turn.seconds, **{"from": turn.caller}
            )
            self._typed, self._waiting = None, trio.Event()
            try:
                await self._wait_for_line(self._waiting, turn)
            finally:
                self._waiting = None
            if self._typed is None:
                raise BrainFailed("the person left")
            return self._typed

    async def _wait_for_line(self, typed: trio.Event, turn: Turn) -> None:
        """Wait until a line was typed; print a few times how many seconds are left, if the relay gave a limit."""
        due = math.inf if turn.seconds is None else trio.current_time() + turn.seconds
        for left in _COUNTDOWN:
            if left >= due - trio.current_time():  # skip the points that have passed already
                continue
            with trio.move_on_at(due - left):
                await typed.wait()
                return
            self._report.tell("seconds_left", callSid=turn.call_sid, turn=turn.number, seconds=left)
        await typed.wait()

    async def take_message(self, record: Mapping[str, Any]) -> None:
        """Do nothing: the message was shown."""

    async def listen(self) -> None:
        """Take what is typed until the end of input, or until cancelled."""
        lines = Lines()
        while True:
            chunk = await read_some(self._keyboard)
            # The last line of a pipe need not end with a newline.
            for line in lines.feed(chunk or b"\n"):
                self._take(line.decode(errors="replace").strip())
            if not chunk:
                break
        if self._waiting is not None:
            self._waiting.set()
        self._leave()

    def _take(self, line: str) -> None:
        if not line:
            return
        if self._waiting is None or self._waiting.is_set():
            self._report.tell("unasked")
            return
        self._typed = line
        self._waiting.set()
