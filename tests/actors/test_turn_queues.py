"""The queues of all agents: one for each, kept as long as it is needed."""

from __future__ import annotations

import gc

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.call_values import Availability, Owner
from tests.actors.test_turn_queue import AGENT, Ear, open_queues, words

GRACE = 10.0


async def test_an_agent_has_one_queue(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Whoever holds it shares it with whoever asks for it later, however long nothing happened at it."""
    queues = open_queues()
    nursery.start_soon(queues.run)
    queue = queues.of("anna")
    await trio.sleep(100)
    assert queues.of("anna") is queue
    assert queues.of("bert") is not queue
    nursery.cancel_scope.cancel()


async def test_a_grace_ends_by_itself(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """An agent whose client did not come back is away, without anybody asking."""
    queues = open_queues()
    nursery.start_soon(queues.run)
    queues.calls.claim(AGENT, "CA1", Owner(queues.of(AGENT), "one"))
    await trio.sleep(GRACE - 0.1)
    assert queues.presence.availability("my-client") is Availability.HERE
    await trio.sleep(0.2)
    assert queues.presence.availability("my-client") is Availability.AWAY
    nursery.cancel_scope.cancel()


async def test_nothing_is_left_of_calls_that_are_over(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """When calls are forgotten and clients gone, the queues are too."""
    queues = open_queues()
    nursery.start_soon(queues.run)
    for number in range(5):
        call_sid = f"CA{number}"
        async with trio.open_nursery() as turn:
            turn.start_soon(queues.of("my-client").respond, words("Hello?", call_sid=call_sid), Ear())
            await wait_all_tasks_blocked()
            assert await queues.of("my-client").next_utterance("one") is not None
            await queues.of("my-client").say("one", call_sid, 1, "Yes.")
        assert len(queues) == 1
        queues.calls.end(AGENT, call_sid)
    await trio.sleep(GRACE + 1)
    gc.collect()
    assert len(queues) == 0
    assert "my-client" not in queues._known
    nursery.cancel_scope.cancel()


async def test_nothing_is_left_of_a_wait_for_nobody(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """A client that waited while nobody called leaves no queue behind."""
    queues = open_queues()
    nursery.start_soon(queues.run)
    assert await queues.of("my-client").next_utterance("one", within=1) is None
    await wait_all_tasks_blocked()
    assert len(queues) == 0
    nursery.cancel_scope.cancel()


async def test_what_is_unknown_can_be_forgotten() -> None:
    """Calls and clients that never came to a queue do no harm, and make none."""
    queues = open_queues()
    queues.on_call_gone("my-client")
    queues.leave("my-client", "one")
    assert len(queues) == 0
