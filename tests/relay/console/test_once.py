"""A form that is sent twice is done once, and both get the same answer."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from relay.console.answers import Answer, Nothing
from relay.console.once import Once
from relay.console.refused import Refused

KEY = ("ada", "/console/calls/CA1/say", "k")


class Work:
    """Something that is done when the test lets it; counts how often."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.times = 0
        self.may = trio.Event()

    async def __call__(self) -> Answer:
        self.times += 1
        await self.may.wait()
        if self.error is not None:
            raise self.error
        return Nothing()


async def test_a_double_click_is_done_once(nursery: trio.Nursery) -> None:
    """The second waits for the first, and gets its answer; so does one that comes later."""
    once, work, answers = Once(), Work(), list[Answer]()

    async def click() -> None:
        answers.append(await once.run(KEY, work))

    nursery.start_soon(click)
    nursery.start_soon(click)
    await wait_all_tasks_blocked()
    work.may.set()
    await wait_all_tasks_blocked()
    await click()
    assert (answers, work.times) == ([Nothing()] * 3, 1)


async def test_a_refusal_is_an_answer_too() -> None:
    """What was refused is refused again, and not tried."""
    once, work = Once(), Work(Refused(409, "taken_by", "Ben has it."))
    work.may.set()
    for _ in range(2):
        with pytest.raises(Refused, match="Ben has it"):
            await once.run(KEY, work)
    assert work.times == 1


async def test_other_forms_are_others() -> None:
    """Another operator, another action, another key: each is done."""
    once, work = Once(), Work()
    work.may.set()
    for key in (KEY, ("ben", *KEY[1:]), (KEY[0], "/console/calls/CA2/say", KEY[2]), (*KEY[:2], "l")):
        await once.run(key, work)
    assert work.times == 4


async def test_what_failed_may_be_tried_again(nursery: trio.Nursery) -> None:
    """Who waits for one that fails, or is cancelled, does it; nothing of it is kept."""
    once, failing, work, answers = Once(), Work(ValueError("no database")), Work(), list[Answer]()
    failing.may.set()
    with pytest.raises(ValueError, match="no database"):
        await once.run(KEY, failing)
    with trio.CancelScope() as scope:

        async def second() -> None:
            await wait_all_tasks_blocked()
            nursery.start_soon(third)
            await wait_all_tasks_blocked()
            scope.cancel()

        async def third() -> None:
            answers.append(await once.run(KEY, work))

        nursery.start_soon(second)
        await once.run(KEY, work)
    work.may.set()
    await wait_all_tasks_blocked()
    assert (answers, work.times) == ([Nothing()], 2)


async def test_memory_is_bounded() -> None:
    """The oldest answers make room."""
    once, work = Once(most=10), Work()
    work.may.set()
    for number in range(100):
        await once.run((*KEY[:2], str(number)), work)
    assert len(once) <= 11
