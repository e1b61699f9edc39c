"""One life of a program behind the telephone: real processes, their pipes, and whose answer a line is."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from relay.attach.program import Program
from relay.attach.turn import BrainFailed
from tests.relay.attach.attach_fakes import ANSWER_IN_TEXT, LIMIT, KeptReport, Said, a_turn, file_has, python

# Prints each line of its first argument when it has read a line that holds the words before the bar.
SCRIPTED = """
import sys
script = [line.split("|", 1) for line in sys.argv[1].splitlines()]
for line in sys.stdin:
    while script and script[0][0] in line:
        print(script.pop(0)[1])
"""

# Writes what it reads to the file that is its first argument, and never answers.
RECORDING = """
import sys
with open(sys.argv[1], "a") as record:
    for line in sys.stdin:
        record.write(line)
        record.flush()
"""


@attrs.define(eq=False)
class Running:
    """A program that runs, what was reported of its lines, and how it ended."""

    program: Program
    report: KeptReport
    how: str = ""

    @property
    def bad_lines(self) -> list[str]:
        """Why lines were ignored."""
        return [each["why"] for each in self.report.of("bad_line")]

    async def answer(self, text: str, **changes: Any) -> str:
        """Ask a turn and return the answer."""
        return await self.program.answer(a_turn(text, **changes), Said().say)


@asynccontextmanager
async def running(command: list[str]) -> AsyncIterator[Running]:
    """Run a program for the length of the block."""
    report = KeptReport()
    here = Running(Program(lambda why: report.tell("bad_line", why=why)), report)
    started = trio.Event()

    async def run() -> None:
        here.how = await here.program.run(command, started.set)

    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await started.wait()
            yield here
            nursery.cancel_scope.cancel("the test is over")


def scripted(*lines: tuple[str, str]) -> list[str]:
    """Give the command of a program that prints lines in order, each once certain words were read."""
    return python(SCRIPTED, "\n".join(f"{words}|{line}" for words, line in lines))


async def until_in_hand(here: Running, text: str, nursery: trio.Nursery, answers: dict[str, str], **which: Any) -> None:
    """Ask a turn in a task of its own, whose answer is put into `answers`."""

    async def ask() -> None:
        answers[text] = await here.answer(text, **which)

    nursery.start_soon(ask)
    await trio.testing.wait_all_tasks_blocked(0.02)


# ── plain text ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_line_of_text_is_the_whole_answer() -> None:
    """A program that knows nothing of the protocol answers one turn after the other."""
    async with running(python(ANSWER_IN_TEXT)) as here:
        assert await here.answer("One.") == "You said: One."
        assert await here.answer("Zwei: Grüße 🙂") == "You said: Zwei: Grüße 🙂"


async def test_a_plain_program_is_asked_one_turn_at_a_time() -> None:
    """A second call's turn waits until the first one has its answer, so that nobody hears words meant for another."""
    answers: dict[str, str] = {}
    async with running(scripted(("One", "first"), ("Two", "second"))) as here, trio.open_nursery() as nursery:
        for number in ("One", "Two"):
            await until_in_hand(here, number, nursery, answers, call=f"CA-{number}")
    assert answers == {"One": "first", "Two": "second"}


async def test_the_line_of_a_withdrawn_turn_is_dropped() -> None:
    """A plain program answers the turn that was cancelled too; the next turn gets its own line."""
    command = scripted(("Two", "late, for One"), ("Two", "for Two"))
    async with running(command) as here:
        with trio.move_on_after(0.05):
            await here.answer("One")
        assert await here.answer("Two", number=2) == "for Two"


async def test_text_that_nobody_asked_for_is_reported_and_ignored() -> None:
    """A banner before the first turn is nobody's answer."""
    code = "print('Loading the model …')" + ANSWER_IN_TEXT
    async with running(python(code)) as here:
        await here.report.wait_for("bad_line")
        assert await here.answer("One.") == "You said: One."
    assert here.bad_lines == ["plain text that is an answer to nothing"]


async def test_a_program_that_has_too_many_unanswered_turns_is_stuck() -> None:
    """One that reads turns and never answers is ended, so that it can be begun again."""
    async with running(python("import sys\nfor line in sys.stdin: pass")) as here:
        for number in range(8):
            with trio.move_on_after(0.02):
                await here.answer("Hello?", number=number)
        await here.program.gone.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert here.how == "did not answer any more"


# ── JSON ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_pieces_are_said_as_they_come() -> None:
    """A piece is spoken before the next one is known, and `done` makes the pieces the answer."""
    said = Said()
    command = scripted(("Hello", '{"partial": "One. "}'), ("go on", '{"partial": "Two."}'), ("", '{"done": true}'))
    async with running(command) as here, trio.open_nursery() as nursery:
        answers: list[str] = []

        async def ask() -> None:
            answers.append(await here.program.answer(a_turn("Hello"), said.say))

        nursery.start_soon(ask)
        await said.first.wait()
        assert said.pieces == ["One. "]
        await here.program.hand_over({"id": "go on"})
    assert answers == ["One. Two."]


async def test_turns_of_a_json_program_come_side_by_side() -> None:
    """Once a program says which turn it means, a slow call holds up no other."""
    command = scripted(
        ("Zero", '{"turn": 1, "text": "zero"}'),
        ("Two", '{"callSid": "CA-Two", "turn": 1, "text": "second"}'),
        ("Two", '{"callSid": "CA-One", "turn": 1, "text": "first"}'),
    )
    answers: dict[str, str] = {}
    async with running(command) as here:
        assert await here.answer("Zero") == "zero"
        async with trio.open_nursery() as nursery:
            for call in ("One", "Two"):
                await until_in_hand(here, call, nursery, answers, call=f"CA-{call}")
    assert answers == {"One": "first", "Two": "second"}


async def test_the_first_json_line_lets_the_others_in() -> None:
    """A turn that waited for the program to show its way is asked as soon as it has."""
    command = scripted(
        ("One", '{"partial": "I am "}'),
        ("Two", '{"callSid": "CA-Two", "text": "second"}'),
        ("Two", '{"callSid": "CA-One", "done": true}'),
    )
    answers: dict[str, str] = {}
    async with running(command) as here, trio.open_nursery() as nursery:
        for call in ("One", "Two"):
            await until_in_hand(here, call, nursery, answers, call=f"CA-{call}")
    assert answers == {"One": "I am ", "Two": "second"}


async def test_an_answer_that_fits_two_turns_is_nobodys() -> None:
    """Two calls may be in their first turn; an answer to turn 1 alone is told and ignored."""
    command = scripted(
        ("Zero", '{"text": "zero"}'),
        ("Two", '{"turn": 1, "text": "whose?"}'),
        ("Two", '{"callSid": "CA-Two", "text": "second"}'),
        ("Two", '{"turn": 1, "text": "first"}'),
    )
    answers: dict[str, str] = {}
    async with running(command) as here:
        await here.answer("Zero", number=7)
        async with trio.open_nursery() as nursery:
            for call in ("One", "Two"):
                await until_in_hand(here, call, nursery, answers, call=f"CA-{call}")
        assert here.bad_lines == ["an answer that fits 2 turns: give callSid and turn"]
    assert answers["Two"] == "second"


async def test_a_program_may_refuse_a_turn() -> None:
    """What the program gives as its error is why there is no answer."""
    async with running(scripted(("", '{"error": "my model is down"}'))) as here:
        with pytest.raises(BrainFailed, match="my model is down"):
            await here.answer("Hello?")


async def test_bad_lines_are_reported_and_ignored() -> None:
    """What is no answer, or none to a turn that there is, changes nothing."""
    command = scripted(
        ("", '{"partial": "One"}'),
        ("", "{broken"),
        ("", "some debugging"),
        ("", '{"turn": 99, "text": "for whom?"}'),
        ("", '{"partial": " two."}'),
        ("", '{"done": true}'),
    )
    async with running(command) as here:
        assert await here.answer("Hello?") == "One two."
    assert [line.split(":")[0] for line in here.bad_lines] == [
        "a JSON line that is no answer",
        "plain text, from a program that answers in JSON",
        "an answer to a turn that was never asked",
    ]


async def test_an_answer_without_end_is_refused() -> None:
    """A program that never stops talking is not kept in memory."""
    piece = json.dumps({"partial": "x" * 60_000})
    async with running(scripted(("", piece), ("", piece))) as here:
        with pytest.raises(BrainFailed, match="too long"):
            await here.answer("Hello?")


# ── turns that are withdrawn, programs that end ─────────────────────────────────────────────────────────────────────


async def test_a_withdrawn_turn_is_reported_to_the_program(tmp_path: Path) -> None:
    """Cancelling a turn writes a line that names it, and waits for nothing."""
    record = tmp_path / "record"
    async with running(python(RECORDING, str(record))) as here:
        with trio.move_on_after(0.05):
            await here.answer("Hello?", call="CA9", number=4)
        lines = (await file_has(record, lambda text: text.count("\n") == 2)).splitlines()
    assert json.loads(lines[1]) == {"type": "cancel", "callSid": "CA9", "turn": 4}


async def test_a_late_line_of_a_withdrawn_turn_is_not_worth_a_word() -> None:
    """A program that is told too late that a turn is over does nothing wrong."""
    command = scripted(("cancel", '{"turn": 1, "text": "late"}'), ("Two", '{"turn": 2, "text": "second"}'))
    async with running(command) as here:
        with trio.move_on_after(0.05):
            await here.answer("One")
        assert await here.answer("Two", number=2) == "second"
    assert here.bad_lines == []


async def test_a_program_that_ends_fails_its_turn_at_once() -> None:
    """The caller need not wait for the time limit when the program has died."""
    async with running(python("import sys; sys.stdin.readline(); sys.exit(3)")) as here:
        with pytest.raises(BrainFailed, match="the program has ended"):
            await here.answer("Hello?")
        with pytest.raises(BrainFailed, match="the program has ended"):
            await here.answer("Still there?")
        assert not await here.program.hand_over({"id": "msg_1"})
        await here.program.gone.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert here.how == "ended with status 3"


async def test_the_last_words_count_without_their_end() -> None:
    """What a program printed before it ended is an answer, the end of the line being missing or not."""
    code = "import sys; sys.stdin.readline(); print('Goodbye.', end='')"
    async with running(python(code)) as here:
        assert await here.answer("Hello?") == "Goodbye."


async def test_a_program_that_does_not_read_holds_up_nobody_for_ever() -> None:
    """Turns that find no room can be withdrawn, and the program is ended like any other."""
    long = "x" * 100_000
    async with running(python("import time; time.sleep(60)")) as here:
        for number in range(3):
            with trio.move_on_after(0.02) as patience:
                await here.answer(long, number=number)
            assert patience.cancelled_caught


@pytest.mark.parametrize("stubborn", [False, True])
async def test_a_program_does_not_outlive_us(
    tmp_path: Path, *, stubborn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled, we end the program and its children, by force where SIGTERM is ignored."""
    monkeypatch.setattr("relay.attach.program._GRACE", 0.2)
    ignoring = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" if stubborn else ""
    pid = tmp_path / "pid"
    code = f"{ignoring}import os, time; open({str(pid)!r}, 'w').write(f'{{os.getpid()}}\\n'); time.sleep(60)"
    async with running(python(code)):
        number = int(await file_has(pid, lambda text: text.endswith("\n")))
    with pytest.raises(ProcessLookupError):
        os.kill(number, signal.SIGCONT)
