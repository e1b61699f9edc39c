"""The pace of outgoing calls where several nodes share a server: one row with the time from which the next may start.

By the server's clock, so that the clocks of the nodes count nowhere. Each node asks for one start at a time, and asks
again when that has come (`relay.twilio.pacing`): so the row is never more than one start a node ahead.
"""

from __future__ import annotations

import attrs
from sqlalchemy import Connection, text

from relay.store.database import Database

# A clock that was set back would leave the row in the future: nobody would call for as long. No cluster has more nodes.
_MOST_AHEAD = 100

_RESERVE = text("""
    INSERT INTO pace AS kept (id, next_at) VALUES (1, clock_timestamp() + make_interval(secs => :gap))
    ON CONFLICT (id) DO UPDATE SET next_at = make_interval(secs => :gap) + CASE
        WHEN kept.next_at > clock_timestamp() + make_interval(secs => :most * :gap) THEN clock_timestamp()
        ELSE greatest(kept.next_at, clock_timestamp())
    END
    RETURNING extract(epoch FROM next_at - make_interval(secs => :gap) - clock_timestamp())
""")


@attrs.frozen(eq=False)
class SharedPace:
    """The pace of all processes on one server."""

    database: Database

    async def reserve(self, gap: float) -> float:
        """Reserve the next start, `gap` seconds or more after the one before; return in how many seconds it is.

        Raises `StoreFailed`. Cancelled, the start may be reserved and is nobody's.
        """

        def work(connection: Connection) -> float:
            return max(0.0, float(connection.execute(_RESERVE, {"gap": gap, "most": _MOST_AHEAD}).scalar_one()))

        return await self.database.write(work)
