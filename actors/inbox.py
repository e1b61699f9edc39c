"""The inbox of a call: where everything that happens to it arrives.

Two lanes, because two kinds of sender exist:

    reader, supervisors, tools ──post──▶ ┌────────────┐
                                         │ 128 places │ ──┐
                                         └────────────┘   ├─▶ receive
    the running turn ──────────send────▶ (rendezvous) ────┘

Senders that must never wait use `post`. The running turn uses `send`, which returns when its piece was taken. Posted
events are received first, so a barge-in is always handled before another piece of the turn that it interrupts, and a
turn that produces text faster than the line takes it is held back. One queue for both lost: pieces that were queued
before the barge-in would still be spoken after it.

Overflow policy: a call whose inbox is full is broken, not slow, because its loop only ever waits for one socket write
or one database write, both bounded in time. Nothing is dropped silently and no other sender has to wait: `post` marks
the inbox, and the owner's next `receive` raises `InboxOverflow`, which ends this one call at its firewall. An unbounded
channel lost because one flooding peer would grow the process; dropping the oldest lost because it could be the hang-up.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import trio

from actors.errors import CallError

# The carrier sends at most one frame for each piece of speech we sent plus a few a second for what the caller does, and
# the loop is held up for at most one bounded write. 128 is some seconds of the busiest call seen in load runs.
CAPACITY = 128

T = TypeVar("T")


class InboxOverflow(CallError):
    """Events came faster than the call could take them."""


class Inbox(Generic[T]):
    """A bounded mailbox with one reader."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._post, self._posted = trio.open_memory_channel[T](capacity)
        # Capacity 0: the turn waits until its piece was taken.
        self._send, self._sent = trio.open_memory_channel[T](0)
        self._wake = trio.Event()
        self._overflowed = False

    def post(self, event: T) -> None:
        """Add an event without waiting. Never raises: a full inbox is marked as overflowed, a closed one ignores it."""
        try:
            self._post.send_nowait(event)
        except trio.WouldBlock:
            self._overflowed = True
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
        self._wake.set()

    async def send(self, event: T) -> None:
        """Add an event and wait until it was received.

        Raises `trio.BrokenResourceError` or `trio.ClosedResourceError` when the inbox is closed. When cancelled, the
        event was not taken.
        """
        self._wake.set()
        await self._send.send(event)

    async def receive(self) -> T:
        """Wait for the next event. Raises `InboxOverflow` once one was lost. Cancelling loses nothing.

        Checks for cancellation, but does not yield to the scheduler while events are there: its owner waits for the
        line or the store anyway, and with hundreds of calls a schedule point for each event costs most of the CPU time.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            if self._overflowed:
                raise InboxOverflow("the inbox of this call is full: events come faster than it handles them")
            for lane in (self._posted, self._sent):
                try:
                    return lane.receive_nowait()
                except trio.WouldBlock:
                    continue
            self._wake = trio.Event()
            await self._wake.wait()

    def close(self) -> None:
        """Close the inbox: later posts are ignored, and a waiting sender gets an error."""
        for channel in (self._posted, self._sent):
            channel.close()
