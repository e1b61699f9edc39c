"""The inbox: what was posted comes first, and overflow is a fault of this one call."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from actors.inbox import Inbox, InboxOverflow


async def test_posts_come_in_order() -> None:
    """What is posted is received in the order of posting."""
    inbox = Inbox[int]()
    for number in range(5):
        inbox.post(number)
    assert [await inbox.receive() for _ in range(5)] == list(range(5))


async def test_a_post_overtakes_what_the_turn_is_still_sending(nursery: trio.Nursery) -> None:
    """An interruption is received before the next piece of the turn, even when that piece was sent before it."""
    inbox = Inbox[str]()
    nursery.start_soon(inbox.send, "piece")
    await trio.testing.wait_all_tasks_blocked()
    inbox.post("interrupt")
    assert [await inbox.receive(), await inbox.receive()] == ["interrupt", "piece"]


async def test_a_sender_waits_until_its_piece_was_taken(nursery: trio.Nursery) -> None:
    """A turn that talks faster than the call can speak is held back."""
    inbox = Inbox[str]()
    done: list[str] = []

    async def talk() -> None:
        for piece in ("one", "two"):
            await inbox.send(piece)
            done.append(piece)

    nursery.start_soon(talk)
    await trio.testing.wait_all_tasks_blocked()
    assert done == []
    assert await inbox.receive() == "one"
    await trio.testing.wait_all_tasks_blocked()
    assert done == ["one"]
    assert await inbox.receive() == "two"


async def test_a_waiting_owner_is_woken_by_either_lane(nursery: trio.Nursery) -> None:
    """Post and send both wake a receiver that is already waiting."""
    inbox = Inbox[str]()
    received: list[str] = []

    async def own() -> None:
        while True:
            received.append(await inbox.receive())

    nursery.start_soon(own)
    await trio.testing.wait_all_tasks_blocked()
    inbox.post("posted")
    await trio.testing.wait_all_tasks_blocked()
    await inbox.send("sent")
    await trio.testing.wait_all_tasks_blocked()
    assert received == ["posted", "sent"]
    nursery.cancel_scope.cancel()


async def test_overflow_is_reported_to_the_owner_alone() -> None:
    """The poster is never made to wait or to fail; the owner's next receive raises."""
    inbox = Inbox[int](capacity=2)
    for number in range(3):
        inbox.post(number)
    with pytest.raises(InboxOverflow):
        await inbox.receive()


async def test_a_closed_inbox_takes_nothing_and_lets_senders_go(nursery: trio.Nursery) -> None:
    """After the call is over, posts go nowhere and a waiting turn is told."""
    inbox = Inbox[int]()
    told = trio.Event()

    async def talk() -> None:
        with pytest.raises(trio.BrokenResourceError):
            await inbox.send(1)
        told.set()

    nursery.start_soon(talk)
    await trio.testing.wait_all_tasks_blocked()
    inbox.close()
    inbox.post(2)
    with trio.fail_after(1):
        await told.wait()


async def test_a_cancelled_receive_loses_nothing() -> None:
    """An event that arrives while the owner's deadline comes is received next time."""
    inbox = Inbox[int]()
    with trio.move_on_after(0):
        await inbox.receive()
    inbox.post(1)
    with trio.CancelScope() as scope:
        scope.cancel()
        await inbox.receive()
    assert await inbox.receive() == 1
