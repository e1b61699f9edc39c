"""The line to a caller over an accepted WebSocket of the web server.

    ASGI receive() ──▶ frames.parse ──▶ PhoneEvent      one task, the reader of the call
    ASGI send()    ◀── frames.text, end ◀── speech      one task, the loop of the call

Why this keeps a state of its own: servers differ at the end of a socket. Ours (`relay.http.websocket`) delivers the
`websocket.disconnect` again and again, with the code of the peer's Close, or 1006 if it left without one, and drops
what is sent to a peer that is gone, or after our own close. Others deliver it once, and raise `OSError` for a send, as
ASGI has it.
"""

from __future__ import annotations

import attrs
import trio

from actors.errors import LineClosed
from actors.events import CallerGone, FrameRejected, PhoneEvent
from relay.http.asgi import Receive, Send
from relay.twilio import frames

_BROKEN = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)


@attrs.define(eq=False)
class AsgiPhoneLine:
    """Implement `actors.ports.PhoneLine` over an accepted WebSocket. One task receives, one task sends."""

    _receive: Receive
    _send: Send
    _gone: CallerGone | None = attrs.field(default=None, init=False)
    _closed: bool = attrs.field(default=False, init=False)

    async def receive_setup(self) -> frames.Setup | PhoneEvent:
        """Wait for the first frame, the only one that may be a `Setup`. Otherwise as `receive`."""
        if self._gone is not None:
            await trio.lowlevel.checkpoint()
            return self._gone
        try:
            message = await self._receive()
        except (*_BROKEN, trio.EndOfChannel):
            self._gone = CallerGone()
            return self._gone
        if message["type"] == "websocket.disconnect":
            self._gone = CallerGone(message.get("code"))
            return self._gone
        text = message.get("text")
        return frames.parse(message.get("bytes") or b"" if text is None else text)

    async def receive(self) -> PhoneEvent:
        """Wait for what the carrier says next.

        Never raises for anything that comes over the line: a bad frame, and a second `setup`, is `FrameRejected`,
        every end is `CallerGone`, and after `CallerGone` it is returned again. Cancelling loses nothing.
        """
        event = await self.receive_setup()
        return FrameRejected("setup_again") if isinstance(event, frames.Setup) else event

    async def speak(self, text: str, *, last: bool, preemptible: bool = False) -> None:
        """Send a piece of speech; `last` closes the talk cycle. Raises `LineClosed`. Cancelled, it may be sent or not.

        The next talk cycle interrupts what is `preemptible`; for the rest the attributes of the TwiML apply.
        A peer that vanished is noticed by the reader; until then pieces are taken and lost, as on any network.
        """
        await self._transmit(frames.text(text, last=last, preemptible=preemptible or None))

    async def end(self, handoff: str = "") -> None:
        """Ask the carrier to end the session and to hand `handoff` to the action URL. Raises `LineClosed`."""
        await self._transmit(frames.end(handoff))

    async def close(self, code: int) -> None:
        """Close the line with a WebSocket close code. No-op if it is closed already. Raises nothing."""
        if self._closed or self._gone is not None:
            await trio.lowlevel.checkpoint()
            return
        self._closed = True
        try:
            await self._send({"type": "websocket.close", "code": code})
        except _BROKEN:
            return

    async def _transmit(self, frame: str) -> None:
        if self._closed or self._gone is not None:
            raise LineClosed("the line to the caller is closed")
        try:
            await self._send({"type": "websocket.send", "text": frame})
        except _BROKEN as error:
            raise LineClosed("the line to the caller broke") from error
