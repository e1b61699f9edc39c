"""The caller's lines: where they come from, a terminal with a prompt that stays below the conversation, or a pipe; and
what each means.

The prompt is prompt_toolkit's, which lives on asyncio and therefore in a thread of its own; what is printed meanwhile
goes above it. In a pipe a line is read when the one before has been answered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Protocol

import attrs
import trio

from relay.attach.answer_lines import Lines, read_some

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.formatted_text import StyleAndTextTuples

KEYS = "0123456789*#ABCD"
"""The keys that a telephone can send."""

HELP = "Enter interrupts; 5 or /keys 12# presses keys; /say TEXT; Ctrl-D hangs up."

# Lines that were typed faster than they are said. A paste may have some; a hundred is no conversation any more.
_TYPED_AHEAD = 100


class LineSource(Protocol):
    """The caller's lines: `PipedLines` or `TypedLines`."""

    async def next_line(self) -> str | None:
        """Wait for the next line and return it without its end, or None when there are no more."""
        ...


@attrs.define(eq=False)
class PipedLines:
    """The lines of a pipe, a file, or a terminal without a prompt, by its descriptor."""

    _descriptor: int
    _lines: Lines = attrs.field(factory=Lines, init=False)
    _read: deque[bytes] = attrs.field(factory=deque, init=False)
    _is_over: bool = attrs.field(default=False, init=False)

    async def next_line(self) -> str | None:
        """Wait for the next line, or None at the end of input. Cancelling loses nothing."""
        await trio.lowlevel.checkpoint()
        while not self._read and not self._is_over:
            chunk = await read_some(self._descriptor)
            # The last line need not end with a newline.
            self._read.extend(self._lines.feed(chunk or b"\n"))
            self._is_over = not chunk
        return self._read.popleft().decode(errors="replace") if self._read else None


@attrs.define(eq=False)
class TypedLines:
    """What is typed at a prompt. `show` puts a line above it that may change, for the answer that is being spoken."""

    _sender: trio.MemorySendChannel[str]
    _receiver: trio.MemoryReceiveChannel[str]
    _token: trio.lowlevel.TrioToken = attrs.field(factory=trio.lowlevel.current_trio_token)
    _shown: str = ""
    _closing: bool = False
    _session: PromptSession[str] | None = None

    async def next_line(self) -> str | None:
        """Wait for the next line; None when the person pressed Ctrl-D or Ctrl-C."""
        try:
            return await self._receiver.receive()
        except trio.EndOfChannel:
            return None

    def show(self, text: str) -> None:
        """Show this text above the prompt in place of the former one."""
        self._shown = text
        if self._session is not None:
            self._session.app.invalidate()

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Read lines until Ctrl-D, Ctrl-C or `close`; then the terminal is as it was."""
        task_status.started()
        await trio.to_thread.run_sync(self._read)

    def close(self) -> None:
        """End the prompt, from Trio's thread. No-op if it has ended."""
        self._closing = True
        loop = self._session.app.loop if self._session is not None else None
        if loop is not None:
            with suppress(RuntimeError):  # it ended meanwhile
                loop.call_soon_threadsafe(self._exit)

    def _read(self) -> None:
        # They take a moment to import, which the other commands need not wait for.
        from prompt_toolkit import PromptSession
        from prompt_toolkit.patch_stdout import patch_stdout

        self._session = session = PromptSession[str](self._message, erase_when_done=True)
        try:
            with patch_stdout(raw=True):
                while not self._closing:
                    line = session.prompt(pre_run=self._exit_if_closing)
                    self._from_thread(self._take, line)
        except (EOFError, KeyboardInterrupt):
            pass  # the person hung up, or nobody listens any more
        finally:
            self._from_thread(self._sender.close)

    def _from_thread(self, function: object, *arguments: str) -> None:
        with suppress(trio.RunFinishedError):
            trio.from_thread.run_sync(function, *arguments, trio_token=self._token)  # type: ignore[arg-type]

    def _take(self, line: str) -> None:
        with suppress(trio.WouldBlock, trio.BrokenResourceError):
            self._sender.send_nowait(" ".join(line.splitlines()))

    def _exit_if_closing(self) -> None:
        if self._closing:
            self._exit()

    def _exit(self) -> None:
        app = self._session.app if self._session is not None else None
        if app is not None and app.future is not None and not app.future.done():
            app.exit(exception=EOFError)

    def _message(self) -> StyleAndTextTuples:
        if not self._shown or self._session is None:
            return [("bold ansicyan", "   you  ")]
        # The library shows one row of it; of a long answer the end is what is new.
        room = self._session.app.output.get_size().columns - len(" relay  ") - 1
        tail = self._shown if len(self._shown) <= room else f"…{self._shown[1 - room :]}"
        return [("bold ansiyellow", " relay  "), ("ansiyellow", f"{tail}\n"), ("bold ansicyan", "   you  ")]


@asynccontextmanager
async def open_typed_lines() -> AsyncIterator[TypedLines]:
    """Show the prompt for the length of the block."""
    lines = TypedLines(*trio.open_memory_channel[str](_TYPED_AHEAD))
    async with trio.open_nursery() as nursery:
        await nursery.start(lines.run)
        try:
            yield lines
        finally:
            lines.close()


@attrs.frozen
class Say:
    """Speak these words, over the answer if there is one."""

    words: str


@attrs.frozen
class Press:
    """Press these keys, one after the other."""

    keys: str


@attrs.frozen
class Interrupt:
    """Stop the answer."""


@attrs.frozen
class HangUp:
    """Put the phone down."""


@attrs.frozen
class Mistake:
    """The line means nothing; `advice` says what would."""

    advice: str


Entry = Say | Press | Interrupt | HangUp | Mistake


def read_entry(line: str) -> Entry:
    """Read a line. One that is a single digit, `*` or `#` is a key; what begins with `/` is a command."""
    text = line.strip()
    if not text:
        return Interrupt()
    if not text.startswith("/"):
        return Press(text) if text in list("0123456789*#") else Say(text)
    command, _, rest = text.partition(" ")
    rest = rest.strip()
    match command:
        case "/say" if rest:
            return Say(rest)
        case "/keys":
            keys = rest.replace(" ", "").upper()
            is_keys = keys and set(keys) <= set(KEYS)
            return Press(keys) if is_keys else Mistake(f"/keys takes keys of a telephone ({KEYS}), such as /keys 12#")
        case "/hang-up" | "/hangup" if not rest:
            return HangUp()
        case _:
            return Mistake(HELP)
