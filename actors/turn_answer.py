"""What a responder says in a turn, on its way to the call; and whether what it recorded is durable."""

from __future__ import annotations

import attrs
import trio

from actors.events import Event, GoodbyeSaid, MessageTaken, PieceSaid
from actors.inbox import Inbox

# How long the answering machine waits to hear that a message is durable, before it must say something else: well within
# `Policy.answering_machine_timeout`, which bounds the silence.
RECEIPT_SECONDS = 3.0


@attrs.define(eq=False)
class Receipt:
    """Whether the message that a turn has just recorded is durable."""

    _number: int | None = attrs.field(default=None, init=False)
    _there: trio.Event = attrs.field(factory=trio.Event, init=False)

    def expect(self) -> None:
        """Begin with another message."""
        self._number, self._there = None, trio.Event()

    def is_due(self, number: int, stored: int) -> None:
        """Hear under which number it was left, when that has been done."""
        self._number = number
        self.is_stored(stored)

    def is_stored(self, stored: int) -> None:
        """Hear up to which number messages are durable."""
        if self._number is not None and stored >= self._number:
            self._there.set()

    async def wait(self) -> bool:
        """Wait for it, but no longer than a caller should."""
        with trio.move_on_after(RECEIPT_SECONDS) as waiting:
            await self._there.wait()
        return not waiting.cancelled_caught


@attrs.frozen
class TurnAnswer:
    """The `Answer` of one turn: everything said goes through the inbox, under the turn's number."""

    _turn: int
    _inbox: Inbox[Event]
    _receipt: Receipt

    async def say(self, text: str) -> None:
        await self._inbox.send(PieceSaid(self._turn, text))

    async def take_message(self, body: str, preferences: str) -> bool:
        self._receipt.expect()
        await self._inbox.send(MessageTaken(self._turn, body, preferences))
        return await self._receipt.wait()

    async def say_goodbye(self) -> None:
        await self._inbox.send(GoodbyeSaid(self._turn))
