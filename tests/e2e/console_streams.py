"""A reader of the console's streams: signed in as a browser is, or with a token as a program."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import httpx2

from tests.e2e.browser import OperatorAccess
from tests.e2e.parties import Daemon, own_url

OF_OURS = {"sec-fetch-site": "same-origin"}


@attrs.frozen
class Event:
    """An event of a stream."""

    name: str
    number: str
    data: str

    def json(self) -> dict[str, Any]:
        """Return its data, of a stream for programs."""
        document: dict[str, Any] = json.loads(self.data)
        return document


@attrs.define(eq=False)
class StreamReader:
    """A stream that is read event by event."""

    response: httpx2.Response
    _lines: AsyncIterator[str]

    async def next(self) -> Event | None:
        """Wait for the next event; None at the end of the stream. Comments are passed over."""
        fields: dict[str, list[str]] = {}
        async for line in self._lines:
            if not line and fields:
                name, number = ("".join(fields.get(each, [])) for each in ("event", "id"))
                return Event(name, number, "\n".join(fields.get("data", [])))
            field, _, value = line.partition(": ")
            if field:
                fields.setdefault(field, []).append(value)
        return None

    async def until(self, condition: Callable[[Event], object]) -> Event:
        """Read on to an event. Fails if the stream ends before."""
        while (event := await self.next()) is not None:
            if condition(event):
                return event
        raise AssertionError("the stream ended")

    async def named(self, name: str) -> Event:
        """Read on to an event of this name."""
        return await self.until(lambda event: event.name == name)


def program(daemon: Daemon, operator: OperatorAccess) -> httpx2.AsyncClient:
    """Return an HTTP client that sends the operator's token."""
    headers = {"authorization": f"Bearer {operator.token}"}
    return httpx2.AsyncClient(base_url=own_url(daemon), headers=headers, timeout=30)


@asynccontextmanager
async def signed_in(daemon: Daemon, operator: OperatorAccess) -> AsyncIterator[httpx2.AsyncClient]:
    """Yield an HTTP client that has a session, as a browser has."""
    async with httpx2.AsyncClient(base_url=own_url(daemon), headers=OF_OURS, timeout=30) as http:
        answer = await http.post("/console/sign-in", data={"token": operator.token})
        assert answer.status_code == 303, answer.text
        yield http


@asynccontextmanager
async def reading(
    http: httpx2.AsyncClient, path: str, *, accept: str = "text/event-stream", last: str = ""
) -> AsyncIterator[StreamReader]:
    """Open a stream for the length of a block; `last` is the id of the last event that was read before."""
    headers = {"accept": accept} | ({"last-event-id": last} if last else {})
    async with http.stream("GET", path, headers=headers) as response:
        yield StreamReader(response, response.aiter_lines())
