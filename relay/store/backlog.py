"""How many messages wait in all, and for how long the oldest: for the metrics."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import attrs
from sqlalchemy import Connection, and_, case, func, select

from relay.store.database import Database
from relay.store.message_record import hold_end
from relay.store.schema import messages, utc_now


@attrs.frozen
class Backlog:
    """The messages of all agents that are not acknowledged, and the age of the oldest in seconds: 0 without any."""

    waiting: int = 0
    held: int = 0
    oldest_seconds: float = 0.0


@attrs.frozen
class Backlogs:
    """Looks at the waiting messages of all agents, of every node on the database."""

    database: Database
    now: Callable[[], datetime] = utc_now

    async def look(self) -> Backlog:
        """Return the backlog as it is now. Raises `DatabaseError`."""
        now = self.now()
        # A hold that ends later than any given now was given before the clock was set back: it counts no more.
        is_held = and_(messages.c.held_until > now, messages.c.held_until <= hold_end(now))
        asked = select(
            func.count(), func.coalesce(func.sum(case((is_held, 1), else_=0)), 0), func.min(messages.c.created_at)
        ).where(messages.c.acknowledged_at.is_(None))

        def work(connection: Connection) -> Backlog:
            every, held, oldest = connection.execute(asked).one()
            age = 0.0 if oldest is None else max((now - oldest).total_seconds(), 0.0)
            return Backlog(waiting=every - held, held=held, oldest_seconds=age)

        return await self.database.read_many(work)
