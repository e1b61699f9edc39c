"""A client in a process of its own that takes a turn and never answers it, to be killed with the turn in hand.

    async with run_silent_client(f"{origin}/mcp", token, by="converse") as client:
        ...                       a caller calls
        await client.asked()
        await client.kill()

A process, because what a killed one leaves behind is the operating system's work, and nothing that closing a connection
in order shows. It is the echo client that runs there, since starting a published SDK takes longer than all else.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

import attrs
import trio

from relay.simulator.load.echo_client import EchoClient, EchoFailed, Question, open_echo_client

Reachability = Literal["sampling", "converse", "waiting"]
"""How it gets its turn, and what of its connections tells that it is gone.

It is asked, or has the words from `comms_converse`, and its standing stream ends. Or it has no stream, like clients of
the revisions without sessions: then only a call of `comms_converse` that waits can tell, and it should be killed before
the first utterance.
"""

READY, ASKED = "ready", "asked"


@attrs.frozen(eq=False)
class SilentClient:
    """The process of a silent client."""

    _process: trio.Process

    async def asked(self) -> None:
        """Wait until it has got a turn. Raises `EchoFailed` when it ends first."""
        await self.wait_for_line(ASKED)

    async def wait_for_line(self, what: str) -> None:
        """Wait until it prints something. Raises `EchoFailed` when it ends first."""
        assert self._process.stdout is not None
        said = b""
        while not said.endswith(f"{what}\n".encode()):
            chunk = await self._process.stdout.receive_some()
            if not chunk:
                raise EchoFailed(f"the silent client ended before it was {what}")
            said += chunk

    async def kill(self) -> None:
        """Kill it without notice to the relay; when this returns its connections are closed."""
        self._process.send_signal(signal.SIGKILL)
        await self._process.wait()


@asynccontextmanager
async def run_silent_client(url: str, token: str, *, by: Reachability) -> AsyncIterator[SilentClient]:
    """Run one against `/sse` or `/mcp` for the length of the block, which begins when a caller's words would reach it.

    Raises `EchoFailed` when it cannot connect; why is on standard error.
    """
    command = [sys.executable, "-m", __name__, url, token, by]
    process = await trio.lowlevel.open_process(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    client = SilentClient(process)
    try:
        await client.wait_for_line(READY)
        yield client
    finally:
        process.kill()
        with trio.move_on_after(5, shield=True):
            await process.wait()


async def _be_silent(url: str, token: str, by: str) -> None:
    async def think(_question: Question) -> str:
        print(ASKED, flush=True)
        await trio.sleep_forever()
        raise AssertionError

    async with (
        open_echo_client(
            url, token=token, answer=think if by == "sampling" else None, stands=by != "waiting"
        ) as client,
        trio.open_nursery() as nursery,
    ):
        if by != "sampling":
            nursery.start_soon(_listen, client)
        await client.call_tool("comms_list_calls", {"limit": 1})  # answered when the relay knows of the rest
        print(READY, flush=True)
        await trio.sleep_forever()


async def _listen(client: EchoClient) -> None:
    while "caller" not in await client.call_tool("comms_converse", {}):
        pass
    print(ASKED, flush=True)


if __name__ == "__main__":
    _url, _token, _by = sys.argv[1:]
    trio.run(_be_silent, _url, _token, _by)
