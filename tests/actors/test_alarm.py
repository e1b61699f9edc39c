"""The alarm: it rings when the deadline comes, wherever that has moved meanwhile. On the mock clock."""

from __future__ import annotations

import attrs
import pytest
import trio
from trio.testing import MockClock

from actors.alarm import Alarm


@attrs.define(eq=False)
class Sleeper:
    """Who has a deadline, and notes when the alarm rings."""

    deadline: float
    rung: list[float] = attrs.field(factory=list)
    alarm: Alarm = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.alarm = Alarm(lambda: self.deadline, lambda: self.rung.append(trio.current_time()))

    def move(self, deadline: float) -> None:
        self.deadline = deadline
        self.alarm.note_deadline()


async def test_it_rings_at_each_deadline_that_was_noted_and_once(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A deadline that has come stays until it is moved; the alarm does not ring on and on."""
    sleeper = Sleeper(2.0)
    nursery.start_soon(sleeper.alarm.run)
    await trio.sleep(10)
    assert sleeper.rung == []
    for deadline in (12.0, 15.0):
        sleeper.move(deadline)
        await trio.sleep(5)
    assert sleeper.rung == pytest.approx([12.0, 15.0])
    nursery.cancel_scope.cancel()


async def test_a_deadline_that_moves_is_rung_for_where_it_is_in_the_end(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Away or nearer, by whatever steps, before the task runs or while it sleeps."""
    sleeper = Sleeper(3.0)
    sleeper.alarm.note_deadline()
    nursery.start_soon(sleeper.alarm.run)
    for at, deadline in ((1.0, 9.0), (2.0, 12.0), (5.0, 20.0), (6.0, 7.5)):
        await trio.sleep_until(at)
        sleeper.move(deadline)
    await trio.sleep_until(30)
    assert sleeper.rung == pytest.approx([7.5])
    nursery.cancel_scope.cancel()


async def test_it_is_cancelled_while_it_sleeps(autojump_clock: MockClock) -> None:
    """Its deadline does not keep a call from being stopped, and a cancelled alarm does not ring."""
    sleeper = Sleeper(5.0)
    sleeper.alarm.note_deadline()
    with trio.move_on_after(1):
        await sleeper.alarm.run()
    assert trio.current_time() == pytest.approx(1.0)
    await trio.sleep(10)
    assert sleeper.rung == []
