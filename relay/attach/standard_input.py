"""Reading what is typed or piped, on Trio."""

from __future__ import annotations

import os
from contextlib import suppress

import trio

_MOST_READ = 65_536


async def read_some(descriptor: int) -> bytes:
    """Wait until a descriptor has something to read, and return it; empty at its end. Cancelling loses nothing.

    Not in a thread: one that is left in the middle of reading would swallow the next line typed in this terminal. Nor
    made non-blocking, as `trio.lowlevel.FdStream` has it: the shell shares the terminal.
    """
    # A file is no stream that can be waited for, and never blocks.
    with suppress(PermissionError):
        await trio.lowlevel.wait_readable(descriptor)
    await trio.lowlevel.checkpoint()
    return os.read(descriptor, _MOST_READ)
