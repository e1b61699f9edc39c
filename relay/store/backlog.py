"""How many messages wait in all, and since when the oldest: for the metrics and the console."""

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
    """The messages of all agents that are not acknowledged, and when the oldest was left: None without any."""

    waiting: int = 0
    held: int = 0
    oldest: datetime | None = None


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
            return Backlog(waiting=every - held, held=held, oldest=oldest)

        return await self.database.read_many(work)
