"""A call in a process of its own, with the client that answers it, until standard input ends.

Prints a line once the call converses, and at the end one JSON document: how many turns there were, and what was wrong.

    python -m tests.e2e.other_process DATABASE_URL URL CARRIER_URL CARRIER_TOKEN AGENT_ID AGENT_TOKEN
"""

from __future__ import annotations

import json
import sys

import attrs
import trio

from tests.e2e.parties import Access, ask, calling, connected

PATIENCE = 40.0
"""Seconds that the caller waits for an answer before it is a fault; the relay itself gives the client less."""


@attrs.define
class Daemon:
    """The daemon as the parties need to know it."""

    database_url: str
    url: str
    carrier_url: str
    home_url: str
    token: str


async def converse(daemon: Daemon, access: Access) -> None:
    """Talk, turn after turn, until standard input ends."""
    turns, faults, over = 0, [], trio.Event()
    async with connected(access), calling(daemon, access) as call, trio.open_nursery() as nursery:
        nursery.start_soon(_wait_for_end_of_input, over)
        while not over.is_set():
            words, heard = f"Line {turns}.", "nothing"
            with trio.move_on_after(PATIENCE):
                heard = await ask(call, words)
            if heard != f"You said: {words}":
                faults.append(f"{words} was answered with {heard}")
                break
            if not turns:
                print("conversing", flush=True)
            turns += 1
            await trio.sleep(0.05)
        nursery.cancel_scope.cancel()
        if len(call.sessions) != 1:
            faults.append("the line was lost")
    print(json.dumps({"turns": turns, "faults": faults}), flush=True)


async def _wait_for_end_of_input(over: trio.Event) -> None:
    async with trio.lowlevel.FdStream(sys.stdin.fileno()) as stream:
        await stream.receive_some()
    over.set()


if __name__ == "__main__":
    database_url, url, carrier_url, carrier_token, agent_id, agent_token = sys.argv[1:]
    access = Access(agent_id, agent_token, f"{url}/sse?token={agent_token}")
    trio.run(converse, Daemon(database_url, url, carrier_url, url, carrier_token), access)
