"""Which connections wait for their peer, and which of them gives way when another one needs the place.

A connection waits for its peer while nothing has come, while a request is incomplete, and between two requests. It may
be closed then: nothing is being worked on. One whose peer has shown a good token or signature gives way last, so that
strangers who only hold connections open cost each other their places, and the carrier and the clients keep theirs.
"""

from __future__ import annotations

from typing import Protocol

import attrs


class CanGiveWay(Protocol):
    """A connection that can be closed for another one."""

    is_known: bool
    """Whether its peer has shown a good token or signature."""

    def give_way(self) -> None:
        """Close. Never waits."""
        ...


@attrs.define(eq=False)
class IdleConnections:
    """The connections that wait for their peer, those first that have waited longest."""

    _strangers: dict[CanGiveWay, None] = attrs.field(factory=dict, init=False)
    _known: dict[CanGiveWay, None] = attrs.field(factory=dict, init=False)

    def add(self, connection: CanGiveWay) -> None:
        """Note that a connection waits for its peer. No-op if it does already."""
        (self._known if connection.is_known else self._strangers).setdefault(connection)

    def discard(self, connection: CanGiveWay) -> None:
        """Note that a connection does not wait any more. No-op if it did not."""
        self._strangers.pop(connection, None)
        self._known.pop(connection, None)

    def make_room(self) -> bool:
        """Close the connection that can best be spared. Return whether there was one."""
        for waiting in (self._strangers, self._known):
            for connection in waiting:
                self.discard(connection)
                connection.give_way()
                return True
        return False

    def __len__(self) -> int:
        """Count them."""
        return len(self._strangers) + len(self._known)
