"""Readers of the console's streams for a load run: operators' tabs and programs, which count what they are sent.

    sign-in ─▶ a session for each four readers ─▶ the page Live, the page of a call, each as parts of it and as JSON

An event's id ends in a number that counts the renderings of all views: so those are known that changed nothing, too.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from time import perf_counter
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from scripts.bench_http import EventReader, HttpReader, request
from scripts.bench_target import PeerFailed, Relay
from scripts.bench_wire import Connection

READERS_A_SESSION = 4
"""So many streams of a session are live; the oldest of more are paused."""

_COOKIE = re.compile(rb"\r\nset-cookie:\s*([^;\s]+)", re.IGNORECASE)


class View(NamedTuple):
    """What a stream shows, by its name in a table; `path` is completed by a call's SID."""

    name: str
    path: str
    is_of_a_call: bool


VIEWS = (
    View("Live, page", "/console/stream?view=live", is_of_a_call=False),
    View("Call, page", "/console/stream?view=call&call={}", is_of_a_call=True),
    View("Live, JSON", "/console/api/live", is_of_a_call=False),
    View("Call, JSON", "/console/api/calls/{}", is_of_a_call=True),
)
"""What the readers read, one after another and again from the beginning."""


class _Reader:
    """One stream, and what came of it: events, bytes, and the number of the newest rendering."""

    def __init__(self, relay: Relay, cookie: str, view: View, path: str) -> None:
        self.view, self.path = view, path
        self.events = self.bytes = self.newest = 0
        self._events = EventReader(self._take)
        self._is_over = False
        reader = HttpReader(self._begin, self._read, self._end)
        self._connection = Connection(relay.wheel, relay.address, lambda data: self._feed(reader, data))
        headers = {"Host": urlsplit(relay.url).netloc, "Cookie": cookie, "Accept": "text/event-stream"}
        self._connection.send(request("GET", path, headers))

    def close(self) -> None:
        self._is_over = True
        self._connection.close()

    def _feed(self, reader: HttpReader, data: bytes) -> None:
        if data:
            reader.feed(data)
        else:
            self._end()

    def _end(self) -> None:
        if not self._is_over:
            raise PeerFailed(f"the stream {self.path} has ended")

    def _begin(self, status: int, _head: bytes) -> None:
        if status != 200:
            raise PeerFailed(f"the stream {self.path} was answered {status}")

    def _read(self, body: bytes) -> None:
        self.bytes += len(body)
        self._events.feed(body)

    def _take(self, name: bytes, _data: bytes) -> None:
        if name in {b"pause", b"bye"}:
            raise PeerFailed(f"the stream {self.path} was ended with {name.decode()}")
        self.events += 1
        self.newest = int(self._events.last_id.rpartition(b"-")[2])


class Watchers:
    """All readers of a run; they come and go together, their sessions stay."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._cookies: list[str] = []
        self._readers: list[_Reader] = []
        self._began = 0.0
        self._first: list[tuple[int, int]] = []
        self._renderings = 0

    def watch(self, count: int, operator_token: str, call_sids: Sequence[str]) -> dict[str, Any]:
        """Open so many streams, those of calls each of another one, and wait until each has shown all."""
        wheel, sids = self._relay.wheel, itertools.cycle(call_sids)
        while len(self._cookies) * READERS_A_SESSION < count:
            self._sign_in(operator_token)
        for number, view in zip(range(count), itertools.cycle(VIEWS), strict=False):
            path = view.path.format(next(sids)) if view.is_of_a_call else view.path
            cookie = self._cookies[number // READERS_A_SESSION]
            self._readers.append(_Reader(self._relay, cookie, view, path))
        wheel.run(lambda: all(each.events for each in self._readers))
        self._began, self._renderings = perf_counter(), self._newest()
        self._first = [(each.events, each.bytes) for each in self._readers]
        return {"sessions": len(self._cookies)}

    def leave(self) -> dict[str, Any]:
        """Close the streams; return what was read since each had shown all."""
        seconds, renderings = perf_counter() - self._began, self._newest() - self._renderings
        views: dict[str, dict[str, Any]] = {}
        for reader, (events, size) in zip(self._readers, self._first, strict=True):
            view = views.setdefault(reader.view.name, {"readers": 0, "paths": set(), "events": 0, "bytes": 0})
            view["readers"] += 1
            view["paths"].add(reader.path)
            view["events"] += reader.events - events
            view["bytes"] += reader.bytes - size
            reader.close()
        self._readers.clear()
        paths = sum(len(each["paths"]) for each in views.values())
        return {
            "seconds": seconds,
            "renderingsPerSecond": renderings / max(1, paths) / seconds,
            "views": {
                name: {
                    "readers": each["readers"],
                    "views": len(each["paths"]),
                    "eventsPerSecond": each["events"] / each["readers"] / seconds,
                    "kbAnEvent": each["bytes"] / max(1, each["events"]) / 1000,
                }
                for name, each in views.items()
            },
        }

    def _newest(self) -> int:
        return max((each.newest for each in self._readers), default=0)

    def _sign_in(self, operator_token: str) -> None:
        told: list[tuple[int, bytes]] = []
        headers = {
            "Host": urlsplit(self._relay.url).netloc,
            "Content-Type": "application/x-www-form-urlencoded",
            "Sec-Fetch-Site": "same-origin",
        }
        form = urlencode({"token": operator_token}).encode()
        asked = request("POST", "/console/sign-in", headers, form)
        self._relay.webhooks.request(asked, lambda status, head, _body: told.append((status, head)))
        self._relay.wheel.run(lambda: bool(told))
        status, head = told[0]
        cookie = _COOKIE.search(head)
        if status != 303 or cookie is None:
            raise PeerFailed(f"an operator could not sign in: {status}")
        self._cookies.append(cookie[1].decode())
