"""Any program as the brain: it gets turns over its pipes, and is restarted when it ends."""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from relay.attach.backoff import Ended, Pauses, repeat_with_pauses
from relay.attach.program import Program
from relay.attach.report import Report
from relay.attach.turn import BrainFailed, Say, Turn
from relay.errors import RelayError

PAUSES = Pauses(first=0.5, most=15.0, steady=10.0)

# A caller waits only as long as a program takes to start that ended a moment ago.
_PATIENCE = 2.0


@asynccontextmanager
async def open_command_brain(
    command: Sequence[str], report: Report, pauses: Pauses = PAUSES
) -> AsyncIterator[CommandBrain]:
    """Run a program for as long as the block lasts, and again whenever it ends.

    Raises `RelayError` when it cannot be started at all.
    """
    brain = CommandBrain(command, report, pauses)
    failure: RelayError | None = None
    async with trio.open_nursery() as nursery:
        try:
            await nursery.start(brain.run)
        except RelayError as error:
            failure = error
        else:
            yield brain
        nursery.cancel_scope.cancel("the brain is closed")
    if failure is not None:
        raise failure


def split_command(command: str) -> list[str]:
    """Split a command as a shell does; no shell runs it. Raises `RelayError`."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise RelayError(f"--command cannot be read: {error}") from error
    if not words:
        raise RelayError("--command names no program")
    return words


@attrs.define(eq=False)
class CommandBrain:
    """Answers turns with what a program prints. A `Brain`."""

    _command: Sequence[str]
    _report: Report
    _pauses: Pauses
    name: str = "command"
    _program: Program | None = attrs.field(default=None, init=False)
    _started: trio.Event = attrs.field(factory=trio.Event, init=False)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the program until cancelled; `started` at its first start. Raises `RelayError` if that start fails."""
        has_run = False

        async def live() -> None:
            program = Program(lambda why: self._report.tell("bad_line", why=why))

            def started() -> None:
                nonlocal has_run
                self._program = program
                self._started.set()
                if not has_run:
                    has_run = True
                    task_status.started()

            try:
                how = await program.run(self._command, started)
            except OSError as error:
                if not has_run:
                    raise RelayError(f"{self._command[0]} cannot be run: {error.strerror}") from error
                how = f"cannot be run: {error.strerror}"
            finally:
                self._program = None
                self._started = trio.Event()
            raise Ended(how)

        await repeat_with_pauses(
            live, self._pauses, lambda why, pause: self._report.tell("program", why=why, pause=pause)
        )

    async def answer(self, turn: Turn, say: Say) -> str:
        """Ask the program. Raises `BrainFailed`, also while the program is down and does not come back at once."""
        with trio.move_on_after(_PATIENCE):
            await self._running()
        if self._program is None:
            raise BrainFailed("the program does not run")
        return await self._program.answer(turn, say)

    async def take_message(self, record: Mapping[str, Any]) -> None:
        """Write a message to the program; if it ends before that, it gets the message after its restart."""
        while True:
            program = await self._running()
            if await program.hand_over(record):
                return
            await program.gone.wait()

    async def _running(self) -> Program:
        while self._program is None:
            await self._started.wait()
        return self._program
