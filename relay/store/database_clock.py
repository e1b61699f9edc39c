"""The clock that all nodes of a cluster share: that of their database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import attrs

from relay.store.schema import utc_now


@attrs.define(eq=False)
class DatabaseClock:
    """The wall clock of this machine and its offset to the database's. In place of `utc_now` for what nodes compare.

    Each beat of a member measures the offset anew (`relay.store.members`); a daemon that is alone needs none.
    """

    offset: timedelta = timedelta()
    wall: Callable[[], datetime] = utc_now

    def __call__(self) -> datetime:
        """Return the time by the database's clock, in UTC."""
        return self.wall() + self.offset
