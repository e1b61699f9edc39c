"""The JSON of a daemon's console, for programs: a state once, or one after the other as they come.

    get ──▶ a state                 follow ──▶ state, state, … ──lost──▶ (pause) ──▶ the whole state again …
    act ──▶ done, or why not

What the daemon refuses ends a command with a sentence. A connection that is lost is made anew for as long as it takes,
once there has been one: a stream begins with the whole state, so nothing is missed that is still so.
"""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeAlias
from urllib.parse import quote

import anyio
import attrs
import httpx2

from relay.cli.printing import printable
from relay.cli.watching.entrance import Entrance
from relay.errors import RelayError
from relay.store.operators import Role

State: TypeAlias = Mapping[str, Any]

LIVE = "/console/api/live"
_ME = "/console/api/me"

_PATIENCE = 10.0
_SILENCE = 40.0
"""Seconds that a stream may say nothing: the daemon sends a comment each 15."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0
_LATER = frozenset({502, 503, 504})
"""What is answered while a daemon starts again, by it or by the proxy before it."""
_EVENTS = "text/event-stream"


@attrs.define(eq=False)
class _Attempts:
    """How it went so far: whether the daemon has answered, and how many seconds to wait before it is asked again."""

    was_there: bool = False
    pause: float = _FIRST_PAUSE

    def note_news(self) -> None:
        """Note a state of a stream: if that breaks off, it is asked again soon."""
        self.was_there, self.pause = True, _FIRST_PAUSE

    async def wait(self) -> None:
        """Wait, and longer the next time."""
        await anyio.sleep(self.pause * random.uniform(0.5, 1))  # noqa: S311 - so that not all come back at once
        self.pause = min(2 * self.pause, _LONGEST_PAUSE)


class Lost(Exception):
    """The daemon cannot be reached, or not now; the text says why."""


class UnknownCall(RelayError):
    """The daemon knows no call of this id."""


class NotDone(RelayError):
    """The daemon has refused to do something in a call; the text says why. `operator` has the call, if that is why.

    `field` is the field of the form that the text is about, empty if it is about none.
    """

    def __init__(self, text: str, *, field: str = "", operator: str = "") -> None:
        super().__init__(text)
        self.field = field
        self.operator = operator


@attrs.frozen
class Me:
    """The operator who looks. `acts` says whether this one may do more than look."""

    operator: str
    acts: bool


def call_path(call_sid: str) -> str:
    """Return where a call's state is."""
    return f"/console/api/calls/{quote(call_sid, safe='')}"


@attrs.frozen(eq=False)
class ConsoleApi:
    """The console of one daemon. Works under Trio, and under asyncio, on whose loop the screen of `relay top` runs.

    `acting` are headers for what changes something.
    """

    url: str
    http: httpx2.AsyncClient = attrs.field(repr=False)
    acting: Mapping[str, str] = attrs.field(factory=dict)

    async def get(self, path: str, **query: str) -> State:
        """Return a state as it is now. Raises `RelayError`, or `Lost`."""
        try:
            response = await self.http.get(path, params=query)
        except httpx2.HTTPError as error:
            raise self._lost(error) from error
        return self._document(response)

    async def me(self) -> Me:
        """Return who the daemon takes this for. Raises as `get`."""
        answer = await self.get(_ME)
        return Me(answer["operator"], answer["role"] == Role.ACT)

    async def act(self, call_sid: str, action: str, form: Mapping[str, str]) -> State:
        """Do something in a call; return what the daemon answers, empty if it is just done.

        Raises `NotDone`; or `Lost` where no answer comes, and it may have been done. Cancelled, it may have been, too.
        """
        try:
            response = await self.http.post(f"{call_path(call_sid)}/{action}", data=dict(form), headers=self.acting)
        except httpx2.HTTPError as error:
            raise self._lost(error) from error
        if response.status_code == 204:
            return {}
        answer = _json_of(response)
        if response.is_success and answer is not None:
            return answer
        match answer:
            case {"error": {"message": str(why), "details": {**details}}}:
                texts = {name: printable(str(details.get(name, ""))) for name in ("field", "operator")}
                raise NotDone(printable(why), **texts)
            case {"error": {"message": str(why)}}:
                raise NotDone(printable(why))
            case _:  # of a proxy
                raise Lost(f"The relay at {self.url} answered {response.status_code}")

    async def live_calls(self, **query: str) -> list[State]:
        """Return all calls that are going on, oldest first, whatever the number of pages. Raises as `get`."""
        state = await self.get(LIVE, **query)
        return [*state["calls"], *await self.later_pages(state, **query)]

    async def later_pages(self, state: State, **query: str) -> list[State]:
        """Return the calls that a state of the first page has no room for. Raises as `get`."""
        pages = [await self.get(LIVE, **query, page=str(number)) for number in range(2, state["pages"] + 1)]
        return [call for page in pages for call in page["calls"]]

    async def follow(
        self, path: str, take: Callable[[State], Awaitable[bool]], lost: Callable[[str], None], **query: str
    ) -> None:
        """Pass each state on as it comes, until `take` returns False. `lost` hears why there is none for a while.

        `take` may raise `Lost`. Raises `RelayError` for what is refused, and if there is nobody to begin with.
        """
        attempts = _Attempts()
        while True:
            try:
                if await self._pass_on(path, query, take, attempts):
                    return
            except Lost as error:
                if not attempts.was_there:
                    raise RelayError(f"{error}.") from error
                lost(str(error))
            await attempts.wait()

    async def _pass_on(
        self,
        path: str,
        query: Mapping[str, str],
        take: Callable[[State], Awaitable[bool]],
        attempts: _Attempts,
    ) -> bool:
        """Pass on the states of one response; return whether those were all. Raises `Lost`, or `RelayError`.

        The daemon is there once a stream begins, which may break off before its first state. What is answered instead,
        of a call that has no session now, is asked for ever more seldom.
        """
        headers, timeout = {"Accept": _EVENTS}, httpx2.Timeout(_PATIENCE, read=_SILENCE)
        try:
            async with self.http.stream("GET", path, params=query, headers=headers, timeout=timeout) as response:
                if not response.headers.get("content-type", "").startswith(_EVENTS):
                    # A refusal, or a call that has no session now.
                    await response.aread()
                    state = self._document(response)
                    attempts.was_there = True
                    return not await take(state)
                attempts.was_there = True
                async for event in httpx2.EventSource(response, max_event_size=None):
                    if event.event == "state":
                        attempts.note_news()
                        if not await take(json.loads(event.data)):
                            return True
        except httpx2.HTTPError as error:
            raise self._lost(error) from error
        raise Lost(f"The relay at {self.url} ended the connection")

    def _document(self, response: httpx2.Response) -> State:
        """Return the state that was answered. Raises `RelayError` for a refusal, `Lost` for one that will pass."""
        answer = _json_of(response)
        if response.is_success and answer is not None:
            return answer
        match answer:
            case {"error": {"code": str(code), "message": str(message)}}:
                why = printable(message)
            case _:
                code, why = "not_found" if response.status_code == 404 else "", "It does not say why."
        if code == "not_found":
            raise RelayError(
                f"There is no console at {self.url}: it has no operator yet (relay operators add NAME --role read), or "
                "something else answers there."
            )
        if code == "unknown_call":
            raise UnknownCall(f"{why} Those that are going on: relay top --once")
        text = f"The relay at {self.url} answered {response.status_code}: {why}"
        raise Lost(text.rstrip(".")) if response.status_code in _LATER else RelayError(text)

    def _lost(self, error: httpx2.HTTPError) -> Lost:
        if isinstance(error, httpx2.ConnectError):
            return Lost(f"Nobody answers at {self.url}")
        why = "it says nothing" if isinstance(error, httpx2.TimeoutException) else "the connection broke"
        return Lost(f"The relay at {self.url} is lost: {why}")


def _json_of(response: httpx2.Response) -> State | None:
    """Return the object that was answered; None for anything else."""
    try:
        answer = json.loads(response.content)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


@asynccontextmanager
async def console_api(entrance: Entrance) -> AsyncIterator[ConsoleApi]:
    """Yield the console behind an entrance."""
    async with httpx2.AsyncClient(
        base_url=entrance.url, headers=entrance.headers, timeout=_PATIENCE, trust_env=not entrance.is_here
    ) as http:
        yield ConsoleApi(entrance.url, http, entrance.acting)
