"""The page's end of a phone call: its socket, read in frames, and not faster than a person can be."""

from __future__ import annotations

import json

import attrs
import trio

from relay.console.phone.frames import Frame, PhoneFault, read_frame
from relay.http.asgi import Receive, Send

MOST_FRAMES = 50
"""Frames that a page may send in a second: partial words and reports of the voice come a few times a second."""

SEND_SECONDS = 5.0
"""For the page to take a frame; one that reads nothing is gone."""


class PageGone(Exception):
    """The page was closed, or takes nothing any more."""


@attrs.define(eq=False)
class PageLink:
    """An accepted socket. One task reads, any number tell."""

    _receive: Receive
    _send: Send
    _second: float = attrs.field(default=0.0, init=False)
    _frames: int = attrs.field(default=0, init=False)

    async def next_frame(self) -> Frame:
        """Wait for the page's next frame. Raises `PageGone`, or `PhoneFault` for what is wrong with it."""
        message = await self._receive()
        if message["type"] != "websocket.receive":
            raise PageGone
        now = trio.current_time()
        if now - self._second >= 1:
            self._second, self._frames = now, 0
        self._frames += 1
        if self._frames > MOST_FRAMES:
            raise PhoneFault(f"The page sent more than {MOST_FRAMES} frames in a second. Reload it.")
        return read_frame(message.get("text"))

    async def tell(self, kind: str, **fields: object) -> None:
        """Send a frame. Raises `PageGone` when the page does not take it."""
        await self._put({"type": "websocket.send", "text": json.dumps({"type": kind, **fields})})

    async def close(self, code: int, reason: str = "") -> None:
        """Close the socket; what is told after that goes nowhere. Raises `PageGone`."""
        await self._put({"type": "websocket.close", "code": code, "reason": reason})

    async def _put(self, message: dict[str, object]) -> None:
        with trio.move_on_after(SEND_SECONDS) as patience:
            await self._send(message)
        if patience.cancelled_caught:
            raise PageGone
