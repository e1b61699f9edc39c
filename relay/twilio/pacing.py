"""Pacing of outbound calls: so many starts a second, first come, first served.

    tasks ──fair lock──▶ the next of this process ──alone: in memory; with others: `reserve`──▶ sleep ─▶ start

The carrier starts one outbound call a second by default and queues the rest in silence, up to a day. A task that waits
here instead can be cancelled, so that no call is placed hours later. Source: the vendor's help article on how fast
calls can be placed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import trio
from attrs.validators import gt


@attrs.define(eq=False)
class Pacer:
    """Allows `per_second` starts, evenly spaced and without bursts. For one event loop, any number of tasks.

    Where other processes start calls of the same account, `reserve` returns in how many seconds the next start is that
    none of them has; it is told how many seconds lie between two.
    """

    per_second: float = attrs.field(validator=gt(0))
    reserve: Callable[[float], Awaitable[float]] | None = None
    _free_at: float = attrs.field(default=0.0, init=False)
    # Trio's lock is fair, so the lock is the queue; reserving times instead would waste those of cancelled tasks.
    _turn: trio.Lock = attrs.field(factory=trio.Lock, init=False)

    async def wait_turn(self) -> float:
        """Wait for the next start and take it; return the seconds waited. Raises what `reserve` raises.

        Cancelled while waiting, none is taken: one that was reserved is the next task's, if it is there in time.
        """
        asked = trio.current_time()
        async with self._turn:
            if self.reserve is None:
                await trio.sleep_until(self._free_at)
                self._free_at = trio.current_time() + 1 / self.per_second
            else:
                await self._wait_reserved(self.reserve)
        return trio.current_time() - asked

    async def _wait_reserved(self, reserve: Callable[[float], Awaitable[float]]) -> None:
        if self._free_at <= trio.current_time():
            seconds = await reserve(1 / self.per_second)
            # From when the answer is here, so never too early.
            self._free_at = trio.current_time() + seconds
        await trio.sleep_until(self._free_at)
        self._free_at = 0.0
