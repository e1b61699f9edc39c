"""Which clients are at a desk: those that wait there, and those that have just left it with something to do.

Some clients open a session for each tool call, or have none at all. Such a client *parts*: it is around for its grace
like any other, but comes back under another key, so what it has in hand may be dealt with by any client of the agent.
"""

from __future__ import annotations

import math

import attrs
import trio


@attrs.define(eq=False)
class Attendance:
    """Keep the clients of one desk by their keys. One that was here a moment ago is around for `grace` seconds more."""

    grace: float
    # How many times each client waits, because one may have several tool calls under way.
    _waits: dict[str, int] = attrs.field(factory=dict, init=False)
    # Until when a client that does not wait counts as around.
    _until: dict[str, float] = attrs.field(factory=dict, init=False)
    # Those of them that will come back under another key, if at all.
    _parted: set[str] = attrs.field(factory=set, init=False)

    def begin_wait(self, client: str) -> None:
        """Count one more tool call of a client that waits."""
        self._waits[client] = self._waits.get(client, 0) + 1

    def end_wait(self, client: str) -> None:
        """Count one less."""
        self._waits[client] -= 1
        if not self._waits[client]:
            del self._waits[client]

    def see(self, client: str) -> None:
        """Take note that a client was here just now, and has something to come back with."""
        self._until[client] = trio.current_time() + self.grace
        self._parted.discard(client)

    def part(self, client: str) -> None:
        """Take note that a client comes back under another key. No-op if it was not seen within the grace."""
        if client in self._until:
            self._parted.add(client)

    def forget(self, client: str) -> None:
        """Take note that a client is gone for good, unless it waits."""
        self._until.pop(client, None)
        self._parted.discard(client)

    def waits(self, client: str) -> bool:
        """Whether a client waits."""
        return client in self._waits

    def is_around(self, client: str) -> bool:
        """Whether a client waits, or was here within the grace."""
        return self.gone_at(client) > trio.current_time()

    def has_parted(self, client: str) -> bool:
        """Whether a client that is around comes back under another key; not while it waits."""
        return client in self._parted and client not in self._waits

    def gone_at(self, client: str) -> float:
        """Say from when on a client is not around; infinite while it waits, minus infinity for one never seen."""
        return math.inf if client in self._waits else self._until.get(client, -math.inf)

    def empty_at(self) -> float:
        """Say from when on nobody is around if nobody comes; infinite while somebody waits."""
        now = trio.current_time()
        self._until = {client: until for client, until in self._until.items() if until > now}
        self._parted &= self._until.keys()
        return math.inf if self._waits else max(self._until.values(), default=-math.inf)
