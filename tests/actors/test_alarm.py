"""The alarm: it interrupts a task when the time comes, wherever that has moved meanwhile. On the mock clock."""

from __future__ import annotations

import math

import attrs
import pytest
import trio
from trio.testing import MockClock

from actors.alarm import Alarm


@attrs.define(eq=False)
class Sleeper:
    """A task that sleeps, and notes when its alarm was due."""

    alarm: Alarm = attrs.field(factory=Alarm)
    rung: list[float] = attrs.field(factory=list)

    async def run(self) -> None:
        while True:
            with self.alarm.scope():
                await trio.sleep_forever()
            if self.alarm.is_due():
                self.rung.append(trio.current_time())


async def test_it_is_due_once_for_each_time_that_is_set(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A time that has come does not interrupt again and again; one that is past already does so at once."""
    sleeper = Sleeper()
    nursery.start_soon(sleeper.run)
    for at in (2.0, 12.0, 15.0):
        sleeper.alarm.set(at)
        await trio.sleep(8)
    assert sleeper.rung == pytest.approx([2.0, 12.0, 16.0])
    nursery.cancel_scope.cancel()


async def test_a_time_that_moves_is_due_where_it_is_in_the_end(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Away or nearer, by whatever steps, before the task runs or while it sleeps; and not at all once it is unset."""
    sleeper = Sleeper()
    sleeper.alarm.set(3.0)
    nursery.start_soon(sleeper.run)
    for now, at in ((1.0, 9.0), (2.0, 12.0), (5.0, 20.0), (6.0, 7.5), (10.0, 11.0), (10.5, math.inf)):
        await trio.sleep_until(now)
        sleeper.alarm.set(at)
    await trio.sleep_until(30)
    assert sleeper.rung == pytest.approx([7.5])
    nursery.cancel_scope.cancel()


async def test_a_task_that_is_cancelled_is_not_held_by_its_alarm(autojump_clock: MockClock) -> None:
    """A cancellation from outside is none of the alarm's."""
    sleeper = Sleeper()
    sleeper.alarm.set(5.0)
    with trio.move_on_after(1):
        await sleeper.run()
    assert trio.current_time() == pytest.approx(1.0)
    await trio.sleep(10)
    assert sleeper.rung == []
