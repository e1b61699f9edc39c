"""What the clients of an agent may have under way together: so many requests at once, and of those that list, one.

Counted by agent, not by session: a client may open many of those. One list after the other, because a long one keeps
the database, and the event loop that words it, busy for some time: others get their turn in between.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import attrs
import trio


class TooManyUnderWay(Exception):
    """The agent has as many requests under way as it may."""


@attrs.define(eq=False)
class UnderWay:
    """The requests that are under way, by agent; `most` of one agent."""

    most: int
    _counts: Counter[str] = attrs.field(factory=Counter, init=False)
    _locks: dict[str, trio.Lock] = attrs.field(factory=dict, init=False)

    @contextmanager
    def counted(self, agent_id: str) -> Iterator[None]:
        """Count a request for the length of the block. Raises `TooManyUnderWay` before it begins."""
        if self._counts[agent_id] >= self.most:
            raise TooManyUnderWay
        self._counts[agent_id] += 1
        try:
            yield
        finally:
            self._counts[agent_id] -= 1
            if not self._counts[agent_id]:
                del self._counts[agent_id]
                self._locks.pop(agent_id, None)

    @asynccontextmanager
    async def alone(self, agent_id: str) -> AsyncIterator[None]:
        """Wait until no other block of the agent runs, then run this one. Only inside `counted`, which keeps it."""
        async with self._locks.setdefault(agent_id, trio.Lock()):
            yield
