"""Where tool calls wait for a caller: a bounded number of an agent's, each telling its client that it goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import attrs
import trio

from actors.turn_queue import CallOver, TurnQueues, Utterance
from relay.mcp.tools.toolbox import ToolCall, ToolError

# The TypeScript SDK gives up on a request after 60 seconds, and so do some hosts.
DEFAULT_WAIT = 45.0
LONGEST_WAIT = 50.0
WAITING_AT_ONCE = 100
"""Tool calls of one agent that may wait; each of its clients needs one."""
# Clients that know of progress wait longer for a request that shows some.
PROGRESS_SECONDS = 10.0


@attrs.define(eq=False)
class WaitingRoom:
    """The places of tool calls that wait at the turn queues."""

    queues: TurnQueues
    _taken: Counter[str] = attrs.field(factory=Counter, init=False)

    @contextmanager
    def place(self, agent_id: str) -> Iterator[None]:
        """Take a place for the length of a block. Raises `ToolError` when the agent has none left."""
        if self._taken[agent_id] >= WAITING_AT_ONCE:
            raise ToolError(
                "too_many_requests", f"{WAITING_AT_ONCE} calls of this kind are waiting already; let some end first."
            )
        self._taken[agent_id] += 1
        try:
            yield
        finally:
            self._taken[agent_id] -= 1
            if not self._taken[agent_id]:
                del self._taken[agent_id]

    def waiting(self, agent_id: str) -> int:
        """Count the places of an agent that are taken."""
        return self._taken[agent_id]

    def all_waiting(self) -> dict[str, int]:
        """Count the places that are taken, by agent."""
        return dict(self._taken)

    @contextmanager
    def present(self, call: ToolCall) -> Iterator[None]:
        """Keep a client at its queue for the length of a block; one that is not seen to leave has parted then."""
        try:
            yield
        finally:
            if not call.shows_its_end:
                self.queues.detach(call.agent.agent_id, call.client)

    async def next_utterance(self, call: ToolCall, seconds: float, *, call_sid: str = "") -> Utterance | None:
        """Wait so long for words that the client may have, of one call if named; None when there are none.

        Raises `CallOver`. Reports progress meanwhile. Cancelled, the client is taken for gone.
        """
        queue = self.queues.of(call.agent.agent_id)
        words: Utterance | None = None
        over: CallOver | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_show_progress, call)
            try:
                words = await queue.next_utterance(call.client, call_sid, within=seconds)
            except CallOver as error:
                over = error
            nursery.cancel_scope.cancel("the wait is over")
        if over is not None:
            raise over
        return words


async def _show_progress(call: ToolCall) -> None:
    began = trio.current_time()
    while True:
        await trio.sleep(PROGRESS_SECONDS)
        await call.report(round(trio.current_time() - began), "waiting for a caller")
