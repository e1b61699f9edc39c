"""Which connections wait for their peer, and which of them gives way when another one needs the place.

A connection waits for its peer while nothing has come, while a request is incomplete, and between two requests. It may
be closed then: nothing is being worked on. Strangers give way first. A peer that has shown a good token or signature
keeps its place as long as a stranger's can be had: so who only holds connections open costs others of that kind their
places, and the carrier and the clients keep theirs.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

import attrs


class CanGiveWay(Protocol):
    """A connection that can be closed for another one."""

    is_known: bool
    """Whether its peer has shown a good token or signature."""

    def give_way(self) -> None:
        """Close. Never waits."""
        ...


Member = TypeVar("Member", bound=CanGiveWay)


@attrs.define(eq=False)
class IdleConnections(Generic[Member]):
    """The connections that wait for their peer, those first that have waited longest."""

    _strangers: dict[Member, None] = attrs.field(factory=dict, init=False)
    _known: dict[Member, None] = attrs.field(factory=dict, init=False)

    def add(self, connection: Member) -> None:
        """Note that a connection waits for its peer. No-op if it does already."""
        (self._known if connection.is_known else self._strangers).setdefault(connection)

    def discard(self, connection: Member) -> None:
        """Note that a connection does not wait any more. No-op if it did not."""
        self._strangers.pop(connection, None)
        self._known.pop(connection, None)

    def spare(self, *, known: bool) -> Member | None:
        """Close the connection of a stranger, or of a known peer, that has waited longest, and return it.

        None if there is none. Never waits.
        """
        for connection in self._known if known else self._strangers:
            self.discard(connection)
            connection.give_way()
            return connection
        return None
