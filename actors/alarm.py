"""The alarm of a call: it wakes the call session at the state machine's deadline, which moves with nearly every event.

It is set lazily. A deadline that moves away, as most do, costs a comparison: the alarm rings at the time it was told
first, finds that there is more time, and sets itself again. A cancel scope around each wait for an event lost: opening
and closing one costs more than handling most events.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import attrs
import trio


@attrs.define(eq=False)
class Alarm:
    """Calls `_ring` when the time that `_deadline` returns has come. One task, in `run`; `_ring` must not wait."""

    _deadline: Callable[[], float]
    _ring: Callable[[], None]
    # When the task wakes up; it may be earlier than the deadline, never later.
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _set_to: float = attrs.field(default=math.inf, init=False)

    def note_deadline(self) -> None:
        """Ring at the deadline as it is now; needed only where it may have come nearer. Never waits."""
        if (deadline := self._deadline()) < self._set_to:
            self._set_to = self._scope.deadline = deadline

    async def run(self) -> None:
        """Ring whenever the deadline comes, once for each that was noted. Runs until cancelled, at any point."""
        while True:
            with self._scope:
                await trio.sleep_forever()
            is_due = self._deadline() <= trio.current_time()
            self._set_to = math.inf if is_due else self._deadline()
            self._scope = trio.CancelScope(deadline=self._set_to)
            if is_due:
                self._ring()
