"""The desks of all agents: one for each, kept as long as it is needed."""

from __future__ import annotations

import gc

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.call_values import Availability, Owner
from tests.actors.test_turn_queue import AGENT, Ear, open_desks, words

GRACE = 10.0


async def test_an_agent_has_one_desk(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Whoever holds it shares it with whoever asks for it later, however long nothing happened at it."""
    desks = open_desks()
    nursery.start_soon(desks.run)
    desk = desks.of("anna")
    await trio.sleep(100)
    assert desks.of("anna") is desk
    assert desks.of("bert") is not desk
    nursery.cancel_scope.cancel()


async def test_a_grace_ends_by_itself(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """An agent whose client did not come back is away, without anybody asking."""
    desks = open_desks()
    nursery.start_soon(desks.run)
    desks.calls.claim(AGENT, "CA1", Owner(desks.of(AGENT), "one"))
    await trio.sleep(GRACE - 0.1)
    assert desks.presence.availability("my-client") is Availability.HERE
    await trio.sleep(0.2)
    assert desks.presence.availability("my-client") is Availability.AWAY
    nursery.cancel_scope.cancel()


async def test_nothing_is_left_of_calls_that_are_over(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """When calls are forgotten and clients gone, the desks are too."""
    desks = open_desks()
    nursery.start_soon(desks.run)
    for number in range(5):
        call_sid = f"CA{number}"
        async with trio.open_nursery() as turn:
            turn.start_soon(desks.of("my-client").respond, words("Hello?", call_sid=call_sid), Ear())
            await wait_all_tasks_blocked()
            assert await desks.of("my-client").next_words("one") is not None
            await desks.of("my-client").say("one", call_sid, 1, "Yes.")
        assert len(desks) == 1
        desks.calls.end(AGENT, call_sid)
    await trio.sleep(GRACE + 1)
    gc.collect()
    assert len(desks) == 0
    assert "my-client" not in desks._known
    nursery.cancel_scope.cancel()


async def test_what_is_unknown_can_be_forgotten() -> None:
    """Calls and clients that never came to a desk do no harm, and make none."""
    desks = open_desks()
    desks.on_call_gone("my-client")
    desks.leave("my-client", "one")
    assert len(desks) == 0
