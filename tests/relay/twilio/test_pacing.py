"""Starts are spaced evenly, in order, and whoever gives up wastes none."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from relay.twilio.pacing import Pacer


async def test_the_first_start_is_at_once(autojump_clock: trio.testing.MockClock) -> None:
    """Nobody waits where nobody was before."""
    assert await Pacer(1.0).wait_turn() == 0


async def test_starts_are_spaced(autojump_clock: trio.testing.MockClock) -> None:
    """Two a second means half a second between them, also for those that come together, and each knows its wait."""
    pacer = Pacer(2.0)
    waits: list[float] = []

    async def start() -> None:
        waits.append(await pacer.wait_turn())

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(start)
    assert waits == [0, 0.5, 1.0, 1.5]


async def test_idle_time_saves_no_starts_up(autojump_clock: trio.testing.MockClock) -> None:
    """After a quiet hour there is one start at once, not a burst."""
    pacer = Pacer(1.0)
    await pacer.wait_turn()
    await trio.sleep(3600)
    assert await pacer.wait_turn() == 0
    assert await pacer.wait_turn() == 1.0


async def test_a_start_that_was_given_up_is_not_lost(autojump_clock: trio.testing.MockClock) -> None:
    """Whoever is cancelled in the queue leaves his place to the next."""
    pacer = Pacer(1.0)
    await pacer.wait_turn()
    with trio.move_on_after(0.5):
        await pacer.wait_turn()
    assert await pacer.wait_turn() == 0.5


def test_a_pace_of_nothing_cannot_be_kept() -> None:
    """Zero starts a second would be waited for for ever."""
    with pytest.raises(ValueError, match="per_second"):
        Pacer(0.0)
