"""Lines that are typed, piped or printed, and those of a program read as answers (docs/attach.md).

read_some ──▶ Lines ──▶ read_line ──▶ AnswerLine (a JSON object) │ str (plain text: the whole answer) │ BadLine
"""

from __future__ import annotations

import os
from contextlib import suppress

import attrs
import pydantic
import trio
from pydantic.alias_generators import to_camel

LONGEST_LINE = 1_000_000
"""Bytes; an answer that is spoken is a thousandth of it."""

_MOST_READ = 65_536


class BadLine(Exception):
    """What is wrong with a line. It is ignored."""


class AnswerLine(pydantic.BaseModel):
    """A piece of an answer, the end of one, or the refusal of one: exactly one of the four last fields."""

    model_config = pydantic.ConfigDict(alias_generator=to_camel)

    call_sid: str | None = None
    turn: int | None = None
    partial: str | None = None
    text: str | None = None
    done: bool | None = None
    error: str | None = None

    @pydantic.model_validator(mode="after")
    def _says_one_thing(self) -> AnswerLine:
        given = [self.partial is not None, self.text is not None, self.done is True, self.error is not None]
        if sum(given) != 1:
            raise ValueError("it must hold exactly one of partial, text, done (true) and error")
        return self

    def is_about(self, call_sid: str, turn: int) -> bool:
        """Return whether it may belong to a turn: a field that it leaves out fits any."""
        return self.call_sid in {None, call_sid} and self.turn in {None, turn}


def read_line(line: bytes) -> AnswerLine | str:
    """Read one line: what begins with a brace is JSON, anything else plain text. Raises `BadLine`."""
    try:
        text = line.decode().strip()
    except UnicodeDecodeError as error:
        raise BadLine("a line that is not UTF-8") from error
    if not text.startswith("{"):
        return text
    try:
        return AnswerLine.model_validate_json(text)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(each) for each in first["loc"])
        raise BadLine(f"a JSON line that is no answer: {where}{': ' if where else ''}{first['msg']}") from error


@attrs.define
class Lines:
    """Cuts a stream of bytes into lines."""

    _unread: bytes = b""
    _skips: bool = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """Add bytes, and return the lines that are now complete. A line that is too long is dropped."""
        *lines, self._unread = (self._unread + chunk).split(b"\n")
        if self._skips and lines:
            del lines[0]
            self._skips = False
        if len(self._unread) > LONGEST_LINE:
            self._unread = b""
            self._skips = True
        return lines


async def read_some(descriptor: int) -> bytes:
    """Wait until a descriptor has something to read, and return it; empty at its end. Cancelling loses nothing.

    Not in a thread: an abandoned one would still read the next line that is typed in this terminal. Nor
    made non-blocking, as `trio.lowlevel.FdStream` has it: the shell shares the terminal.
    """
    # A file is no stream that can be waited for, and never blocks.
    with suppress(PermissionError):
        await trio.lowlevel.wait_readable(descriptor)
    await trio.lowlevel.checkpoint()
    return os.read(descriptor, _MOST_READ)
