"""The inbox of a call: where everything that happens to it arrives.

Two lanes, because two kinds of sender exist:

    reader, supervisors, tools ──post──▶ ┌────────────┐
                                         │ 128 places │ ──┐
                                         └────────────┘   ├─▶ receive
    the running turn ──────────send────▶ (rendezvous) ────┘

Senders that must never wait use `post`. The running turn uses `send`, which returns when its event was taken, and at
its end `send_last`: what nothing follows cannot be too fast, and to wait for it costs the turn's task a step. Posted
events are received first, so a barge-in is always handled before another piece of the turn that it interrupts, and a
turn that produces text faster than the line takes it is held back. One queue for both lost: pieces that were queued
before the barge-in would still be spoken after it.

Overflow policy: a call whose inbox is full is broken, not slow, because its loop only ever waits for one socket write
or one database write, both bounded in time. Nothing is dropped silently and no other sender has to wait: `post` marks
the inbox, and the owner's next `receive` raises `InboxOverflow`, which ends this one call at its firewall. An unbounded
channel lost because one flooding peer would grow the process; dropping the oldest lost because it could be the hang-up.

Two lists and parked tasks, because every event of every call passes here: a memory channel for each lane, with an
`Event` to wait for both, took twice the time. Deques lost by 600 bytes each while empty, as they are in a quiet call.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import attrs
import trio
from trio.lowlevel import Abort

from actors.errors import CallError

# The carrier sends at most one frame for each piece of speech we sent plus a few a second for what the caller does, and
# the loop is held up for at most one bounded write. 128 is some seconds of the busiest call seen in load runs.
CAPACITY = 128

T = TypeVar("T")


class InboxOverflow(CallError):
    """Events came faster than the call could take them."""


@attrs.frozen(eq=False)
class _Sender(Generic[T]):
    """What a turn sends, in the order in which it is received; and the task that waits until it was, if one does."""

    task: trio.lowlevel.Task | None
    events: list[T]


class Inbox(Generic[T]):
    """A bounded mailbox with one reader."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._posted: list[T] = []
        # Bounded by the turns of one call: each sends from one task, and one begins when the one before is cancelled or
        # what it sent last was received.
        self._senders: list[_Sender[T]] = []
        # The task that waits in `receive`.
        self._reader: trio.lowlevel.Task | None = None
        self._overflowed = False
        self._closed = False

    @property
    def depth(self) -> int:
        """How many posted events were not received yet."""
        return len(self._posted)

    def post(self, event: T) -> None:
        """Add an event without waiting. Never raises: a full inbox is marked as overflowed, a closed one ignores it."""
        if self._closed:
            return
        if len(self._posted) < self._capacity:
            self._posted.append(event)
        else:
            self._overflowed = True
        self._wake_reader()

    async def send(self, *events: T) -> None:
        """Add events and wait until all were received; what is posted meanwhile is received between them.

        Raises `trio.BrokenResourceError` when the inbox is closed. When cancelled, the last event was not taken.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if not self._closed:
            sender = _Sender(trio.lowlevel.current_task(), list(events))
            self._senders.append(sender)
            self._wake_reader()

            def withdraw(_raise_cancel: object) -> Abort:
                self._senders.remove(sender)
                return Abort.SUCCEEDED

            await trio.lowlevel.wait_task_rescheduled(withdraw)
            if not sender.events:
                return
        raise trio.BrokenResourceError("the inbox is closed")

    def send_last(self, *events: T) -> None:
        """Add events behind all that is sent by now, and do not wait. A closed inbox ignores them."""
        if not self._closed:
            self._senders.append(_Sender(None, list(events)))
            self._wake_reader()

    async def receive(self) -> T:
        """Wait for the next event. Raises `InboxOverflow` once one was lost. Cancelling loses nothing.

        Checks for cancellation, but does not yield to the scheduler while events are there: its owner waits for the
        line or the store anyway, and with hundreds of calls a schedule point for each event costs most of the CPU time.
        """
        if self._posted or self._senders or self._overflowed:
            await trio.lowlevel.checkpoint_if_cancelled()
        while not (self._posted or self._senders or self._overflowed):  # what woke it may be withdrawn by now
            self._reader = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._stop_waiting)
        if self._overflowed:
            raise InboxOverflow("the inbox of this call is full: events come faster than it handles them")
        if self._posted:
            return self._posted.pop(0)
        sender = self._senders[0]
        event = sender.events.pop(0)
        if not sender.events:
            self._senders.pop(0)
            if sender.task is not None:
                trio.lowlevel.reschedule(sender.task)
        return event

    def close(self) -> None:
        """Close the inbox: later posts are ignored, and a waiting sender gets an error."""
        self._closed = True
        self._posted.clear()
        senders, self._senders = self._senders, []
        for sender in senders:
            if sender.task is not None:
                trio.lowlevel.reschedule(sender.task)

    def _wake_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            trio.lowlevel.reschedule(reader)

    def _stop_waiting(self, _raise_cancel: object) -> Abort:
        self._reader = None
        return Abort.SUCCEEDED
