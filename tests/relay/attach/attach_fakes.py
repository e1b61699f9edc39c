"""What the tests of `relay attach` share: a report that keeps what it is told, turns, and programs in Python."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import trio

from relay.attach.turn import Line, Turn

ANSWER_IN_TEXT = """
import json, sys
for line in sys.stdin:
    turn = json.loads(line)
    if turn["type"] == "turn":
        print("You said: " + turn["text"])
"""

LIMIT = 60.0
"""Seconds after which a test of these hangs."""

BY_THE_WORD = """
import json, os, sys, time

def say(turn, **answer):
    print(json.dumps({"callSid": turn["callSid"], "turn": turn["turn"], **answer}))

for line in sys.stdin:
    turn = json.loads(line)
    print(json.dumps(turn), file=sys.stderr)
    words = turn.get("text", "")
    if turn["type"] != "turn" or "wait" in words:
        continue
    if "die" in words:
        os._exit(3)
    say(turn, text=f"You said: {words}")
"""
"""Answers in JSON, leaves a turn that says "wait" alone, and dies of one that says "die"."""


def python(code: str, *arguments: str) -> list[str]:
    """Give the command that runs a Python program."""
    return [sys.executable, "-c", code, *arguments]


def a_turn(text: str = "Hello?", *, call: str = "CA1", number: int = 1, **changes: Any) -> Turn:
    """Make a turn in which the caller says this after the greeting."""
    lines = (Line("assistant", "How can I help you?"), Line("user", text))
    usual: dict[str, Any] = {
        "call_sid": call,
        "number": number,
        "caller": "+15550100001",
        "called": "+15550100002",
        "direction": "inbound",
        "verified": True,
        "system_prompt": "Be brief.",
        "max_tokens": 300,
        "lines": lines,
    }
    return Turn(**(usual | changes))


@attrs.define(eq=False)
class KeptReport:
    """A `Report` that keeps events for tests to look at."""

    events: list[dict[str, Any]] = attrs.field(factory=list)
    _changed: trio.Event = attrs.field(factory=trio.Event)

    def tell(self, event: str, **facts: Any) -> None:
        """Keep the event."""
        self.events.append({"event": event, **facts})
        self._changed.set()
        self._changed = trio.Event()

    def of(self, event: str) -> list[dict[str, Any]]:
        """Return the events of one kind so far."""
        return [each for each in self.events if each["event"] == event]

    async def wait_for(self, event: str, times: int = 1) -> dict[str, Any]:
        """Wait until an event was told so many times, and return the last of them."""
        while len(self.of(event)) < times:
            await self._changed.wait()
        return self.of(event)[times - 1]


async def file_has(path: Path, condition: Callable[[str], bool]) -> str:
    """Wait until a file's text is as wanted, and return it."""
    file = trio.Path(path)
    while True:
        if await file.exists() and condition(text := await file.read_text()):
            return text
        await trio.sleep(0.02)


@attrs.define(eq=False)
class Said:
    """Keeps the pieces of an answer."""

    pieces: list[str] = attrs.field(factory=list)
    first: trio.Event = attrs.field(factory=trio.Event)

    async def say(self, piece: str) -> None:
        """Keep a piece."""
        await trio.lowlevel.checkpoint()
        self.pieces.append(piece)
        self.first.set()
