"""The alarm of a call: when the state machine's deadline has come, it interrupts a task that waits for something else.

The deadline moves with nearly every event, mostly away. So the alarm is set lazily: one that moves away costs a
comparison, and a task that was interrupted too early finds that there is more time, and waits on. A cancel scope for
each event lost: it costs more than handling most events. So did a task that only sleeps: 2.6 kB for each call.
"""

from __future__ import annotations

import math

import attrs
import trio


@attrs.define(eq=False)
class Alarm:
    """The time to be interrupted at, and the scope that is cancelled then. One task is interrupted, any may set it."""

    _at: float = attrs.field(default=math.inf, init=False)
    # Its deadline is never later than `_at`.
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)

    def set(self, at: float) -> None:
        """Set the time, instead of any that was set before; `inf` for never. Never waits."""
        self._at = at
        if at < self._scope.deadline:  # noqa: PLR1730 - to assign it costs, also where it stays as it is
            self._scope.deadline = at

    def scope(self) -> trio.CancelScope:
        """Return a scope that is cancelled at the time that is set, or earlier; see `is_due` behind it."""
        self._scope = trio.CancelScope(deadline=self._at)
        return self._scope

    def is_due(self) -> bool:
        """Return, once, whether the time has come; from then on none is set."""
        if self._at > trio.current_time():
            return False
        self._at = math.inf
        return True
