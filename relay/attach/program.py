"""One run of the program behind `--command`: its pipes, its turns in hand, and which turn a line answers.

    turn, cancel, message ─▶ _lines ─▶ _write ─▶ its stdin          one task writes, so that no line is ever cut in two
    its stdout ─▶ Lines ─▶ _take ─▶ Asked ─▶ answer ─▶ say          one task reads, and waits for nothing else

A program that answers in JSON says which turn it means. One that answers in plain text cannot, so it is asked one turn
at a time, and what it prints belongs to the oldest turn that it was given and has not answered, withdrawn ones
included: such a program answers every turn, in order. Which kind it is shows with the first line that it prints.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import attrs
import trio

from relay.attach.answer_lines import AnswerLine, BadLine, Lines, read_line
from relay.attach.turn import BrainFailed, Say, Turn

_GRACE = 3.0
"""Seconds that the program has to end by itself after SIGTERM."""

# Lines that may wait for a program to read them. The pipe holds some dozens more; a program that reads none of them is
# stuck, and the turns that wait for it are withdrawn by the relay.
_UNREAD = 64

# A program with so many unanswered turns is stuck, and is restarted. One that only lags has caught up long before:
# once the relay has withdrawn a turn for its slowness, the answering machine keeps the call.
_MAX_AWAITING_ANSWER = 8

_LONGEST_ANSWER = 100_000
"""Characters."""

_REMEMBERED = 64
"""Turns that are over, for which a late line is expected and not reported."""


@attrs.define(eq=False)
class _Asked:
    """A turn that the program has, and the pieces of its answer so far."""

    turn: Turn
    said: str = ""
    sent: bool = False
    _taken: int = 0
    _result: str | BrainFailed | None = None
    _changed: trio.Event = attrs.field(factory=trio.Event)

    @property
    def over(self) -> bool:
        return self._result is not None

    def add(self, piece: str) -> None:
        self.said += piece
        if len(self.said) > _LONGEST_ANSWER:
            self.settle(BrainFailed("the program's answer is too long"))
        self._changed.set()

    def settle(self, result: str | BrainFailed) -> None:
        if not self.over:
            self._result = result
            self._changed.set()

    async def next_piece(self) -> str:
        """Wait for the next text; empty when the answer is over, because its end has the rest."""
        while not self.over:
            if piece := self.said[self._taken :]:
                self._taken = len(self.said)
                return piece
            self._changed = trio.Event()
            await self._changed.wait()
        return ""

    def result(self) -> str:
        assert self._result is not None
        if isinstance(self._result, BrainFailed):
            raise self._result
        return self._result


@attrs.define(eq=False)
class _Outgoing:
    """A line for the program, and whether it is in the program's pipe."""

    data: bytes
    written: bool = False


@attrs.define(eq=False)
class Program:
    """A running program.

    `report_line` gets the reason when a line that it printed is ignored; `gone` is set at its end.
    """

    _report_line: Callable[[str], None]
    gone: trio.Event = attrs.field(factory=trio.Event, init=False)
    _lines: trio.MemorySendChannel[_Outgoing] = attrs.field(init=False)
    _unread: trio.MemoryReceiveChannel[_Outgoing] = attrs.field(init=False)
    _in_hand: list[_Asked] = attrs.field(factory=list, init=False)
    _awaiting_answer: deque[_Asked] = attrs.field(factory=deque, init=False)
    _past: deque[Turn] = attrs.field(factory=lambda: deque(maxlen=_REMEMBERED), init=False)
    _speaks_json: bool = attrs.field(default=False, init=False)
    _over: bool = attrs.field(default=False, init=False)
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False)
    _life: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)

    def __attrs_post_init__(self) -> None:
        self._lines, self._unread = trio.open_memory_channel(_UNREAD)

    async def run(self, command: Sequence[str], started: Callable[[], None]) -> str:
        """Run the program until it ends, and say how it did; every turn in hand fails then.

        Raises `OSError` when it cannot be started. Cancelling has it end, and kills it when it does not.
        """
        process = await trio.lowlevel.open_process(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Python buffers output to a pipe until there are some kilobytes: far too late for a call.
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            # A group of its own: Ctrl-C in the terminal is for us, and its children end with it.
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        stuck = False
        try:
            started()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write, process.stdin)
                with self._life:
                    await self._read(process.stdout)
                stuck = self._life.cancelled_caught
                nursery.cancel_scope.cancel("the program prints no more")
        finally:
            self._end_turns()
            with trio.move_on_after(2 * _GRACE, shield=True):
                await _end(process)
            self.gone.set()
        return "did not answer any more" if stuck else f"ended with status {process.returncode}"

    # ── what is asked of it ─────────────────────────────────────────────────────────────────────────────────────────

    async def answer(self, turn: Turn, say: Say) -> str:
        """Ask the program, and say what it says as it comes.

        Raises `BrainFailed`, also when the program ends first. On cancellation the program gets a `cancel` line.
        """
        while self._in_hand and not (self._speaks_json or self._over):
            await self._changed.wait()
        if self._over:
            raise BrainFailed("the program has ended")
        asked = _Asked(turn)
        self._in_hand.append(asked)
        try:
            await self._ask(asked)
            while piece := await asked.next_piece():
                await say(piece)
        finally:
            if not asked.over:  # cancelled, or `say` failed
                self._withdraw(asked)
            self._in_hand.remove(asked)
            self._past.append(turn)
            self._note_change()
        return asked.result()

    async def hand_over(self, record: Mapping[str, Any]) -> bool:
        """Write a waiting message to the program; say whether it was written before the program ended."""
        line = _Outgoing(_as_line({"type": "message", **record}))
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._lines.send(line)
            while not (line.written or self._over):
                await self._changed.wait()
        return line.written

    async def _ask(self, asked: _Asked) -> None:
        line = _Outgoing(_as_line(asked.turn.as_json()))
        if not self._speaks_json:
            self._awaiting_answer.append(asked)
        try:
            await self._lines.send(line)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            asked.settle(BrainFailed("the program has ended"))
        except trio.Cancelled:
            with suppress(ValueError):
                self._awaiting_answer.remove(asked)
            raise
        asked.sent = True

    def _withdraw(self, asked: _Asked) -> None:
        if not asked.sent:
            return
        turn = asked.turn
        # Without room the program is stuck, and would read the line too late.
        with suppress(trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            self._lines.send_nowait(
                _Outgoing(_as_line({"type": "cancel", "callSid": turn.call_sid, "turn": turn.number}))
            )
        if len(self._awaiting_answer) >= _MAX_AWAITING_ANSWER:
            self._life.cancel("it owes too many answers")

    def _end_turns(self) -> None:
        self._over = True
        self._lines.close()
        self._unread.close()
        for asked in self._in_hand:
            asked.settle(BrainFailed("the program has ended"))
        self._note_change()

    def _note_change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    # ── its pipes ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _write(self, stdin: trio.abc.SendStream) -> None:
        # A program that has closed its input has ended, or will be seen to be stuck.
        with suppress(trio.BrokenResourceError):
            async for line in self._unread:
                await stdin.send_all(line.data)
                line.written = True
                self._note_change()

    async def _read(self, stdout: trio.abc.ReceiveStream) -> None:
        lines = Lines()
        async for chunk in stdout:
            for line in lines.feed(bytes(chunk)):
                self._take(line)
        for line in lines.feed(b"\n"):  # the program's last line may lack its newline
            self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            said = read_line(line)
        except BadLine as bad:
            self._report_line(str(bad))
            return
        if isinstance(said, AnswerLine):
            self._take_json(said)
        elif said:
            self._take_text(said)

    def _take_text(self, text: str) -> None:
        if self._speaks_json:
            self._report_line("plain text, from a program that answers in JSON")
        elif self._awaiting_answer:
            self._awaiting_answer.popleft().settle(text)
        else:
            self._report_line("plain text that is an answer to nothing")

    def _take_json(self, line: AnswerLine) -> None:
        if not self._speaks_json:
            self._speaks_json = True
            self._awaiting_answer.clear()
            self._note_change()
        fits = [asked for asked in self._in_hand if line.is_about(asked.turn.call_sid, asked.turn.number)]
        meant = [asked for asked in fits if not asked.over]
        if len(meant) == 1:
            _perform(line, meant[0])
        elif meant:
            self._report_line(f"an answer that fits {len(meant)} turns: give callSid and turn")
        elif not fits and not any(line.is_about(turn.call_sid, turn.number) for turn in self._past):
            self._report_line("an answer to a turn that was never asked")


def _perform(line: AnswerLine, asked: _Asked) -> None:
    if line.partial is not None:
        asked.add(line.partial)
    elif line.error is not None:
        asked.settle(BrainFailed(line.error))
    else:
        asked.settle(asked.said if line.text is None else line.text)


def _as_line(content: Mapping[str, Any]) -> bytes:
    # In ASCII, so that a program reads it right whatever encoding its input has.
    return json.dumps(content).encode("ascii") + b"\n"


async def _end(process: trio.Process) -> None:
    """End a program and its children: SIGTERM first, then SIGKILL."""
    for order in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, order)
            with trio.move_on_after(_GRACE):
                await process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            await pipe.aclose()
