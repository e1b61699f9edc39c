"""Any program as the brain: begun, begun again, handed messages."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from relay.attach.backoff import Pauses
from relay.attach.command_brain import CommandBrain, open_command_brain, split_command
from relay.attach.turn import BrainFailed
from relay.errors import RelayError
from tests.relay.attach.attach_fakes import BY_THE_WORD, LIMIT, KeptReport, Said, a_turn, file_has, python

QUICK = Pauses(first=0.01, most=0.05, steady=60.0)


@asynccontextmanager
async def kept_running(
    command: list[str], report: KeptReport | None = None, pauses: Pauses = QUICK
) -> AsyncIterator[CommandBrain]:
    """Run a program as the brain for the length of the block."""
    with trio.fail_after(LIMIT):
        async with open_command_brain(command, report or KeptReport(), pauses) as brain:
            yield brain


# Leaves at once in its first life, having read nothing; keeps a record of what it reads in the next.
SECOND_LIFE = """
import os, sys
if not os.path.exists(sys.argv[1]):
    os.close(0)  # first, so that nothing can be written to it any more
    open(sys.argv[1], "w").close()
    os._exit(1)
with open(sys.argv[1], "a") as record:
    for line in sys.stdin:
        record.write(line)
        record.flush()
"""


async def test_a_program_that_died_is_begun_again() -> None:
    """The turn in hand fails at once, it is told, and the next turn finds the program in its second life."""
    report = KeptReport()
    async with kept_running(python(BY_THE_WORD), report) as brain:
        with pytest.raises(BrainFailed):
            await brain.answer(a_turn("die"), Said().say)
        told = await report.wait_for("program")
        assert await brain.answer(a_turn("Hello."), Said().say) == "You said: Hello."
    assert told["why"] == "ended with status 3"


async def test_a_program_that_cannot_be_had_is_an_error() -> None:
    """A misspelt command is told at once, and not tried for ever."""
    with pytest.raises(RelayError, match="no-such-program cannot be run: No such file"):
        async with kept_running(["no-such-program"]):
            raise AssertionError


async def test_a_turn_does_not_wait_for_a_program_that_keeps_dying(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the program is down for longer, the answering machine may have the caller."""
    monkeypatch.setattr("relay.attach.command_brain._PATIENCE", 0.05)
    report = KeptReport()
    slow = Pauses(first=10**6, most=10**6, steady=60.0)
    async with kept_running(python(""), report, slow) as brain:
        await report.wait_for("program")
        with pytest.raises(BrainFailed, match="does not run"):
            await brain.answer(a_turn(), Said().say)


async def test_a_message_waits_for_the_next_life(tmp_path: Path) -> None:
    """A message that the program did not get before it died is handed to the one after it."""
    record = tmp_path / "record"
    async with kept_running(python(SECOND_LIFE, str(record))) as brain:
        await file_has(record, lambda _text: True)
        await brain.take_message({"id": "msg_1", "body": "Grüße"})
        line = await file_has(record, lambda text: text.endswith("\n"))
    assert json.loads(line) == {"type": "message", "id": "msg_1", "body": "Grüße"}


async def test_what_goes_wrong_beside_the_brain_comes_out_of_the_block() -> None:
    """The program is ended, and the error is not swallowed."""

    async def fail_beside() -> None:
        async with kept_running(python(BY_THE_WORD)):
            raise KeyError("beside")

    with pytest.RaisesGroup(KeyError):
        await fail_beside()


def test_a_command_is_split_as_in_a_shell() -> None:
    """Quotes keep words together; nothing is expanded."""
    assert split_command("python3 'my brain.py' $HOME") == ["python3", "my brain.py", "$HOME"]


@pytest.mark.parametrize("command", ["", "  ", "python3 'my brain.py"])
def test_a_command_that_is_none_is_refused(command: str) -> None:
    """An empty command, or a quote without its end, is wrong."""
    with pytest.raises(RelayError, match="--command"):
        split_command(command)
