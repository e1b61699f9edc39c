"""Pacing of outbound calls: so many starts a second, first come, first served.

The carrier starts one outbound call a second by default and queues the rest in silence, up to a day. A task that waits
here instead can be cancelled, so that no call is placed hours later. Source: the vendor's help article on how fast
calls can be placed.
"""

from __future__ import annotations

import attrs
import trio
from attrs.validators import gt


@attrs.define(eq=False)
class Pacer:
    """Allows `per_second` starts, evenly spaced and without bursts. For one event loop, any number of tasks."""

    per_second: float = attrs.field(validator=gt(0))
    _free_at: float = attrs.field(default=0.0, init=False)
    # Trio's lock is fair, so the lock is the queue; reserving times instead would waste those of cancelled tasks.
    _turn: trio.Lock = attrs.field(factory=trio.Lock, init=False)

    async def wait_turn(self) -> float:
        """Wait for the next start and take it; return the seconds waited. Cancelled while waiting, none is taken."""
        asked = trio.current_time()
        async with self._turn:
            await trio.sleep_until(self._free_at)
            self._free_at = trio.current_time() + 1 / self.per_second
        return trio.current_time() - asked
