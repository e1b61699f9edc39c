"""The task that runs the turns of a call, and the answer of a turn on its way to the inbox.

    StartTurn ──start──▶ TurnTask ──respond──▶ a Responder ──say──▶ TurnAnswer ──▶ inbox

A turn may be cancelled at any time, so it runs in a scope, and in a task that nobody waits for. But hardly any turn is
cancelled: so the task and its scope are kept for the next turn, and are over when a turn was cancelled. A task and a
scope for each turn lost: to make and to end them was a tenth of all that a call does in a turn. The price is 2.2 kB for
each call that has had a turn.
"""

from __future__ import annotations

import attrs
import trio
from trio.lowlevel import Abort

from actors.commands import StartTurn
from actors.events import Event, GoodbyeSaid, MessageTaken, PieceSaid, TurnFinished
from actors.inbox import Inbox

# How long the answering machine waits to hear that a message is durable, before it must say something else: well within
# `Policy.answering_machine_timeout`, which bounds the silence.
RECEIPT_SECONDS = 3.0


@attrs.define(eq=False)
class TurnTask:
    """A task that runs one turn after another; between them it is parked. `scope` cancels the turn, and with it all."""

    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _next: StartTurn | None = attrs.field(default=None, init=False)
    _parked: trio.lowlevel.Task | None = attrs.field(default=None, init=False)

    @property
    def is_free(self) -> bool:
        """Whether it waits for a turn, and is not being cancelled."""
        return self._parked is not None

    def start(self, turn: StartTurn) -> None:
        """Start a turn, while it is free or before its first. Never waits."""
        self._next = turn
        parked, self._parked = self._parked, None
        if parked is not None:
            trio.lowlevel.reschedule(parked)

    async def next_turn(self) -> StartTurn:
        """Wait for the turn to run next. Does not yield to the scheduler if there is one."""
        if self._next is None:
            self._parked = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._stop_waiting)
        turn, self._next = self._next, None
        assert turn is not None
        return turn

    def _stop_waiting(self, _raise_cancel: object) -> Abort:
        self._parked = None
        return Abort.SUCCEEDED


@attrs.define(eq=False)
class TurnAnswer:
    """The `Answer` of one turn: everything said goes through the inbox, under the turn's number.

    `scope` cancels the turn. `receipt` is that of the message which it records; None as long as it has recorded none.
    """

    scope: trio.CancelScope
    _turn: int
    _inbox: Inbox[Event]
    is_finished: bool = attrs.field(default=False, init=False)
    receipt: Receipt | None = attrs.field(default=None, init=False)

    async def say(self, text: str, *, last: bool = False) -> None:
        piece = PieceSaid(self._turn, text, last)
        if last:
            # Nothing follows that could come too fast, so there is nothing to wait for either.
            await trio.lowlevel.checkpoint_if_cancelled()
            self._inbox.send_last(piece, TurnFinished(self._turn))
            self.is_finished = True
        else:
            await self._inbox.send(piece)

    async def take_message(self, body: str, preferences: str) -> bool:
        self.receipt = Receipt()
        await self._inbox.send(MessageTaken(self._turn, body, preferences))
        return await self.receipt.wait()

    async def say_goodbye(self) -> None:
        await self._inbox.send(GoodbyeSaid(self._turn))


@attrs.define(eq=False)
class Receipt:
    """Whether the message that a turn has just recorded is durable."""

    _number: int | None = attrs.field(default=None, init=False)
    _there: trio.Event = attrs.field(factory=trio.Event, init=False)

    def note_left(self, number: int, stored: int) -> None:
        """Set the number of the message, and up to which number messages are durable."""
        self._number = number
        self.note_stored(stored)

    def note_stored(self, stored: int) -> None:
        """Set up to which number messages are durable."""
        if self._number is not None and stored >= self._number:
            self._there.set()

    async def wait(self) -> bool:
        """Wait until it is durable, but no longer than a caller should; return whether it is."""
        with trio.move_on_after(RECEIPT_SECONDS) as waiting:
            await self._there.wait()
        return not waiting.cancelled_caught
