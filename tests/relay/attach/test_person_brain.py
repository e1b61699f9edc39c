"""A person at the keyboard: lines in a pipe."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from relay.attach.person_brain import PersonBrain, open_person_brain
from relay.attach.turn import BrainFailed
from tests.relay.attach.attach_fakes import LIMIT, KeptReport, Said, a_turn


@attrs.define(eq=False)
class TypingPerson:
    """A person's brain, the keyboard it reads, and whether the person has left."""

    brain: PersonBrain
    report: KeptReport
    left: trio.Event
    keyboard: int

    def type(self, text: str) -> None:
        """Type something."""
        os.write(self.keyboard, text.encode())


@asynccontextmanager
async def typing_person() -> AsyncIterator[TypingPerson]:
    """Seat a person for the length of the block."""
    reading, writing = os.pipe()
    report, left = KeptReport(), trio.Event()
    try:
        with trio.fail_after(LIMIT):
            async with open_person_brain(reading, report, left.set) as brain:
                person = TypingPerson(brain, report, left, writing)
                yield person
                if person.keyboard != -1:
                    os.close(writing)
    finally:
        os.close(reading)


async def test_a_line_typed_is_the_answer() -> None:
    """The person is asked, and what is typed up to the end of the line is spoken."""
    async with typing_person() as person, trio.open_nursery() as nursery:

        async def ask() -> None:
            assert await person.brain.answer(a_turn("Hello?"), Said().say) == "Good morning."

        nursery.start_soon(ask)
        await person.report.wait_for("asked")
        person.type("\n  Good ")
        person.type("morning. \n")


async def test_calls_come_one_after_the_other() -> None:
    """The second caller's turn is put to the person when the first one is answered."""
    answers: dict[str, str] = {}
    async with typing_person() as person, trio.open_nursery() as nursery:

        async def ask(call: str) -> None:
            answers[call] = await person.brain.answer(a_turn(call=call), Said().say)

        for call in ("CA1", "CA2"):
            nursery.start_soon(ask, call)
        for times in (1, 2):
            asked = await person.report.wait_for("asked", times)
            person.type(f"To {asked['callSid']}\n")
    assert answers == {"CA1": "To CA1", "CA2": "To CA2"}


async def test_a_line_for_nobody_is_reported() -> None:
    """What is typed while nobody waits is not kept for the next caller."""
    async with typing_person() as person:
        person.type("Too late\n")
        await person.report.wait_for("unasked")


async def test_the_end_of_input_is_leaving() -> None:
    """Ctrl-D refuses the turn in hand and ends it all."""
    async with typing_person() as person, trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(BrainFailed, match="left"):
                await person.brain.answer(a_turn(), Said().say)

        nursery.start_soon(ask)
        await person.report.wait_for("asked")
        os.close(person.keyboard)
        person.keyboard = -1
        await person.left.wait()


async def test_a_file_can_be_the_keyboard(tmp_path: Path) -> None:
    """Input from a file, which cannot be waited for, is read to its end."""
    lines = tmp_path / "lines"
    lines.write_text("One\nTwo\n")
    report, left = KeptReport(), trio.Event()
    with trio.fail_after(LIMIT), lines.open() as keyboard:
        async with open_person_brain(keyboard.fileno(), report, left.set):
            await left.wait()
    assert len(report.of("unasked")) == 2


async def test_the_person_sees_how_much_time_is_left(autojump_clock: MockClock) -> None:
    """Five, three, two and one second before the time is over; points that have passed already are left out."""
    async with typing_person() as person, trio.open_nursery() as nursery:
        nursery.start_soon(person.brain.answer, a_turn("Hello?", seconds=4.5), Said().say)
        began = trio.current_time()
        told = []
        for times in (1, 2, 3):
            left = await person.report.wait_for("seconds_left", times)
            told.append((left["seconds"], round(trio.current_time() - began, 1)))
        nursery.cancel_scope.cancel()
    assert (await person.report.wait_for("asked"))["seconds"] == 4.5
    assert told == [(3, 1.5), (2, 2.5), (1, 3.5)]
