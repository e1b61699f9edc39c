"""A view in one form, for all who look at it: its newest state, as the events that its streams send.

    Board ──put──▶ Feed ──after──▶ every stream that shows it, each from what it has seen last

A feed holds the newest state and no queue, so a slow reader skips what it missed. An event is written once for all who
have seen the same: at a beat that is nearly everybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import attrs
import trio

from relay.console.views import LiveFilter


class Form(StrEnum):
    """How a state is written: parts of a page, or JSON."""

    HTML = "html"
    JSON = "json"


@attrs.frozen
class OneCall:
    """The view of one call."""

    call_sid: str


View = LiveFilter | OneCall


@attrs.define(eq=False)
class Feed:
    """One view in one form. `version` is that of its newest state, and 0 before the first; `boot` is in all ids.

    A state has parts, by their names: of a page, each with the id of its element; of JSON the one `state`.
    """

    view: View
    form: Form
    boot: str
    viewers: int = 0
    version: int = 0
    is_broken: bool = False
    _parts: dict[str, tuple[int, str]] = attrs.field(factory=dict, init=False)
    # The events for those who have seen these versions.
    _events: dict[int, bytes] = attrs.field(factory=dict, init=False)
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False)

    @property
    def id(self) -> str:
        """What `Last-Event-ID` is of who has the newest state."""
        return f"{self.boot}-{self.version}"

    def put(self, parts: Mapping[str, str], version: int) -> None:
        """Keep the parts that have changed; no-op if none has."""
        new = {name: (version, text) for name, text in parts.items() if self._text(name) != text}
        if new:
            self._parts |= new
            self.version = version
            self._notify()

    def fail(self) -> None:
        """End all who look at it: it cannot be shown."""
        self.is_broken = True
        self._notify()

    async def after(self, version: int) -> bytes:
        """Wait for a state that is newer than a version, and return an event of what is; nothing if it is broken."""
        while self.version <= version and not self.is_broken:
            await self._changed.wait()
        if self.is_broken:
            return b""
        written = self._events.get(version)
        if written is None:
            parts = {name: text for name, (since, text) in self._parts.items() if since > version}
            written = self._events[version] = self._write(parts)
        return written

    def _write(self, parts: Mapping[str, str]) -> bytes:
        if self.form is Form.JSON:
            return event("state", parts["state"], self.id)
        swap = 'hx-swap="innerMorph"'
        html = "".join(f'<hx-partial hx-target="#{name}" {swap}>{text}</hx-partial>' for name, text in parts.items())
        return event("", html, self.id)

    def _text(self, name: str) -> str | None:
        known = self._parts.get(name)
        return None if known is None else known[1]

    def _notify(self) -> None:
        self._events.clear()
        changed, self._changed = self._changed, trio.Event()
        changed.set()


def event(name: str, data: str, number: str = "") -> bytes:
    """Return an event of a stream; without a name it is for htmx, without a number it leaves the reader's id."""
    head = (f"event: {name}\n" if name else "") + (f"id: {number}\n" if number else "")
    lines = data.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\ndata: ")
    return f"{head}data: {lines}\n\n".encode()
