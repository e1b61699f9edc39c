"""What the console's JSON says, made of the values that it is made of, and a console that says it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2

from actors.phases import Phase
from relay.cli.watching.console_api import ConsoleApi
from relay.console.views import CallState, Decided, Facts, LiveFilter, LiveState, Row, Said, Turn
from tests.sids import sid

BEGAN = datetime(2026, 11, 29, 14, 2, 0, tzinfo=UTC)
HOSTILE = "\x1b[31mred\x1b]0;title\x07 \u202ebidi\u200b [bold]markup[/]"


def at(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


def row(number: int = 1, **changes: Any) -> Row:
    """Give a call that a client answers."""
    values: dict[str, Any] = {
        "call_sid": sid(number),
        "agent_id": "my-client",
        "caller": f"+1415555{number:04}",
        "called": "+14155550100",
        "direction": "inbound",
        "by": "client",
        "operator": "",
        "phase": Phase.CLIENT_LISTENING,
        "since": BEGAN,
        "first_word": 0.41,
        "last_words": "Thursday at three is free.",
    }
    return Row(**values | changes)


def live(*rows: Row, **facts: Any) -> dict[str, Any]:
    """Give the state of the page Live."""
    values = {"live": len(rows), "most": 1000, "first_word": 0.61, "clients": 3, "with_machine": 0, "waiting": 0}
    return LiveState(facts=Facts(**values | facts), filter=LiveFilter(), rows=rows, found=len(rows)).document()


def said(seconds: float, speaker: str, text: str, **changes: Any) -> Said:
    return Said(speaker=speaker, text=text, at=at(seconds), **changes)


def decided(seconds: float, text: str) -> Decided:
    return Decided(at=at(seconds), kind="call", text=text)


def a_turn(**changes: Any) -> Turn:
    values: dict[str, Any] = {"turn": 1, "by": "client", "outcome": "answered", "heard": 6000.0}
    values |= {"arrived": 4000.0, "stored": 4001.5, "asked": 4002.0, "first": 4400.0, "out": 4410.0, "last": 5000.0}
    return Turn(**values | changes)


def call(*lines: Said, of: Row | None = None, **changes: Any) -> dict[str, Any]:
    """Give the state of the page Call."""
    return CallState(row=of or row(), info=None, **{"lines": lines} | changes).document()


def over(*, of: Row | None = None, **changes: Any) -> dict[str, Any]:
    """Give the state of a call that the caller has ended."""
    ended = {"lines": None, "is_live": False, "ended": "completed", "ended_at": at(65)}
    return CallState(row=of or row(phase=Phase.OVER), info=None, **ended | changes).document()


def stream(states: Iterable[dict[str, Any]], *, goes_on: Callable[[], Any] | None = None) -> httpx2.Response:
    """Give a stream of states, which then breaks off, or goes on as `goes_on` does."""

    async def body() -> AsyncIterator[bytes]:
        yield b": still here\n\n"
        for number, state in enumerate(states):
            yield f"event: state\nid: 1-{number}\ndata: {json.dumps(state)}\n\n".encode()
        if goes_on is not None:
            await goes_on()

    return httpx2.Response(200, headers={"content-type": "text/event-stream; charset=utf-8"}, content=body())


def refusal(status: int, code: str, message: str) -> httpx2.Response:
    return httpx2.Response(status, json={"error": {"code": code, "message": message}})


@asynccontextmanager
async def console(answer: Callable[[httpx2.Request], httpx2.Response]) -> AsyncIterator[ConsoleApi]:
    """Give a console that answers so."""
    url = "http://relay.test"
    async with httpx2.AsyncClient(base_url=url, transport=httpx2.MockTransport(answer)) as http:
        yield ConsoleApi(url, http)
