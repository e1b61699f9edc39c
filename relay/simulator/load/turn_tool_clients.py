"""Clients that cannot be asked for an answer: each calls `comms_converse` again and again, and repeats what it is told.

    comms_converse {} ──────────▶ waits … ──▶ {"callSid", "turn", "caller": "Hello?"}
    comms_converse {callSid, turn, "say": "You said: Hello?"} ──▶ waits … ──▶ the next words, of whichever call

They are the other end of a load run on turn tools. Every other one comes over Streamable HTTP, the rest over SSE. An
answer that the relay did not take, because the caller had gone on or another client had the call, is counted and not
repeated: whether a caller missed it is for the load's own tally to say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import attrs
import trio

from relay.simulator.load.echo_client import EchoClient, EchoFailed, open_echo_client

NOT_TAKEN = frozenset({"turn_over", "taken_by_another_client"})
"""What an answer may be refused with in the ordinary course of things."""


@attrs.define(eq=False)
class TurnToolClient:
    """One client; `said` counts its answers that the relay took, `not_taken` the others by the code of the refusal."""

    _mcp: EchoClient
    said: int = 0
    not_taken: Counter[str] = attrs.field(factory=Counter)

    async def arrive(self, nursery: trio.Nursery) -> None:
        """Begin to answer calls, in a task of this nursery; return when a caller's words would reach it.

        Raises `EchoFailed` when the relay does not have the tool.
        """
        nursery.start_soon(self.run)
        # Asked behind the first wait, and answered when that has begun.
        result = await self._mcp.call_tool("comms_list_calls", {"state": "live", "limit": 1})
        if "error" in result:
            raise EchoFailed(f"a client cannot use its tools: {result['error']['message']}")

    async def run(self) -> None:
        """Answer calls until cancelled. Raises `EchoFailed` when the relay is gone, or refuses for another reason."""
        arguments: dict[str, Any] = {}
        while True:
            result = await self._mcp.call_tool("comms_converse", arguments)
            is_answer = "say" in arguments
            arguments = {}
            if "error" in result:
                code = result["error"]["code"]
                if code not in NOT_TAKEN:
                    raise EchoFailed(f"comms_converse failed with {code}: {result['error']['message']}")
                self.not_taken[code] += 1
                continue
            self.said += is_answer
            if "caller" in result:
                said = f"You said: {result['caller']}"
                arguments = {"callSid": result["callSid"], "turn": result["turn"], "say": said}


@asynccontextmanager
async def open_turn_tool_clients(origin: str, token: str, count: int) -> AsyncIterator[Sequence[TurnToolClient]]:
    """Connect so many clients of one agent, and have them answer its calls for the length of the block.

    Raises `OSError` or `EchoFailed` when one cannot connect or is lost, the latter in a group.
    """
    async with AsyncExitStack() as stack:
        paths = ("mcp", "sse")
        opened = [open_echo_client(f"{origin}/{paths[n % 2]}", token=token, answer=None) for n in range(count)]
        clients = [TurnToolClient(await stack.enter_async_context(each)) for each in opened]
        async with trio.open_nursery() as nursery:
            for client in clients:
                await client.arrive(nursery)
            yield clients
            nursery.cancel_scope.cancel()
