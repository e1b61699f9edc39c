"""The outbox never makes a sender wait, and never grows beyond its bound."""

from __future__ import annotations

import json

import anyio
import pytest
import trio
import trio.testing
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCNotification

from relay.mcp.transports.outbox import Outbox, event


def outbox(limit: int = 100) -> Outbox:
    return Outbox(lambda: None, limit=limit)


async def test_frames_are_taken_together_in_order(autojump_clock: trio.testing.MockClock) -> None:
    """One take gives all that was put, oldest first."""
    box = outbox()
    box.put(b"one ")
    box.put(b"two")
    assert await box.take() == b"one two"
    assert box.size == 0


async def test_take_waits_for_a_frame(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    """An empty outbox is waited on, also by several tasks that wait for different things."""
    box = outbox(limit=4)
    box.put(b"xxxxx")
    nursery.start_soon(box.room)
    await trio.testing.wait_all_tasks_blocked()
    assert await box.take() == b"xxxxx"
    with trio.move_on_after(1) as patience:
        await box.take()
    assert patience.cancelled_caught
    box.put(b"more")
    assert await box.take() == b"more"


async def test_frame_that_finds_too_much_unread_closes_the_outbox() -> None:
    """A reader that is more than the limit behind is given up, and whoever owns the outbox is told."""
    told: list[str] = []
    box = Outbox(lambda: told.append("overflow"), limit=10)
    box.put(b"x" * 50)  # as large as it likes: its reader was not behind
    with pytest.raises(anyio.BrokenResourceError):
        box.put(b"y")
    assert told == ["overflow"]
    assert await box.take() == b""


async def test_closed_outbox_takes_nothing() -> None:
    """After closing, senders get the error that the SDK reads as a closed connection."""
    box = outbox()
    box.put(b"unsent")
    async with box:
        pass
    with pytest.raises(anyio.ClosedResourceError):
        box.put(b"x")
    assert await box.take() == b""


async def test_room_is_there_once_the_reader_has_read(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """Who sends much by choice waits until the reader has caught up."""
    box = outbox(limit=100)
    box.put(b"x" * 26)
    with trio.move_on_after(1) as patience:
        await box.room()
    assert patience.cancelled_caught
    nursery.start_soon(box.take)
    await box.room()


async def test_room_is_not_waited_for_in_a_closed_outbox() -> None:
    """Closing releases those who wait for room."""
    box = outbox(limit=100)
    box.put(b"x" * 50)
    await box.aclose()
    await box.room()


async def test_message_is_one_line() -> None:
    """No character of a caller's words can break the stream into lines, whatever the client calls a line end."""
    box = outbox(limit=1000)
    words = "one\u2028two\u0085three\r\nfour 🙂"
    message = JSONRPCNotification(jsonrpc="2.0", method="x", params={"words": words})
    await box.send(SessionMessage(message))
    head, data = (await box.take()).decode().split("\n", 1)
    assert head == "event: message"
    assert len(data.splitlines()) == 2
    assert json.loads(data.removeprefix("data: "))["params"]["words"] == words


def test_event_carries_its_id_and_retry() -> None:
    """The first event of a stream names the client and says when to come back."""
    assert event("endpoint", "/m", event_id="e1", retry_ms=5) == b"event: endpoint\nid: e1\nretry: 5\ndata: /m\n\n"
    assert event("endpoint", "/m") == b"event: endpoint\ndata: /m\n\n"
