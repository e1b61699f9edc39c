"""The inbox: what was posted comes first, and overflow is a fault of this one call."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from actors.inbox import Inbox, InboxOverflow
from tests.limits import HANGING


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
    with trio.fail_after(HANGING):
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


async def test_what_is_posted_comes_between_the_events_that_are_sent_together(nursery: trio.Nursery) -> None:
    """A barge-in overtakes the end of the turn, though that was sent with its last piece."""
    inbox = Inbox[str]()
    nursery.start_soon(inbox.send, "piece", "finished")
    await trio.testing.wait_all_tasks_blocked()
    assert await inbox.receive() == "piece"
    inbox.post("interrupt")
    assert [await inbox.receive(), await inbox.receive()] == ["interrupt", "finished"]


async def test_a_cancelled_sender_takes_back_what_was_not_received(nursery: trio.Nursery) -> None:
    """The turn after it sends at the same time, and is not held up by it."""
    inbox = Inbox[str]()
    scope = trio.CancelScope()

    async def talk() -> None:
        with scope:
            await inbox.send("old piece", "old end")

    nursery.start_soon(talk)
    await trio.testing.wait_all_tasks_blocked()
    nursery.start_soon(inbox.send, "new piece")
    await trio.testing.wait_all_tasks_blocked()
    assert await inbox.receive() == "old piece"
    scope.cancel()
    await trio.testing.wait_all_tasks_blocked()
    assert await inbox.receive() == "new piece"


async def test_an_event_that_comes_with_the_cancellation_is_not_lost(nursery: trio.Nursery) -> None:
    """The reader was woken and is cancelled before it runs: it takes the event all the same, or leaves it."""
    inbox = Inbox[int]()
    scope = trio.CancelScope()
    received: list[int] = []

    async def own() -> None:
        with scope:
            received.append(await inbox.receive())

    nursery.start_soon(own)
    await trio.testing.wait_all_tasks_blocked()
    inbox.post(1)
    scope.cancel()
    await trio.testing.wait_all_tasks_blocked()
    if not received:
        received.append(await inbox.receive())
    assert received == [1]


async def test_a_closed_inbox_refuses_what_is_sent_afterwards() -> None:
    """A turn that outlives its call's loop is not left waiting."""
    inbox = Inbox[int]()
    inbox.close()
    with pytest.raises(trio.BrokenResourceError):
        await inbox.send(1)


async def test_what_is_sent_last_is_not_waited_for_and_keeps_its_place(nursery: trio.Nursery) -> None:
    """The end of a turn comes behind its other pieces and behind what is posted, and holds nobody up."""
    inbox = Inbox[str]()
    nursery.start_soon(inbox.send, "piece")
    await trio.testing.wait_all_tasks_blocked()
    inbox.send_last("last piece", "end")
    inbox.post("interrupt")
    assert [await inbox.receive() for _ in range(4)] == ["interrupt", "piece", "last piece", "end"]


async def test_what_is_sent_last_wakes_a_waiting_owner(nursery: trio.Nursery) -> None:
    """An owner that waits gets it."""
    inbox = Inbox[str]()
    received: list[str] = []

    async def own() -> None:
        received.append(await inbox.receive())

    nursery.start_soon(own)
    await trio.testing.wait_all_tasks_blocked()
    inbox.send_last("end")
    await trio.testing.wait_all_tasks_blocked()
    assert received == ["end"]


async def test_what_is_sent_last_goes_nowhere_once_the_inbox_is_closed() -> None:
    """The call is over, and nobody has to learn of it: closing drops what waits, and later ends are ignored."""
    inbox = Inbox[str]()
    inbox.send_last("before")
    inbox.close()
    inbox.send_last("after")
    with trio.move_on_after(0) as waiting:
        await inbox.receive()
    assert waiting.cancelled_caught
