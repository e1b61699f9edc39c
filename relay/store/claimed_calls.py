"""Which of the calls that were placed have an owner: who ordered it, in any process, or who is ending it.

    order ─▶ carrier ─▶ claim      the carrier's list ─▶ take: nobody's, and from now on of the one who ends it

The carrier does not say which request a call comes from, so a lost one is found by what it is not: a call that is on
record here is not lost, whichever node has placed it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import attrs
from sqlalchemy import Connection, delete

from relay.store.database import Database
from relay.store.rows import RowStatement
from relay.store.schema import claimed_calls, insert_if_new, utc_now

# A lost call is looked for within half a minute of its order.
_KEPT = timedelta(hours=1)

_CLAIM = RowStatement(insert_if_new(claimed_calls))


@attrs.frozen(eq=False)
class ClaimedCalls:
    """The calls that have an owner. `now` is the wall clock, with a zone."""

    database: Database
    now: Callable[[], datetime] = utc_now

    async def claim(self, call_sid: str) -> None:
        """Record that a call has an owner. Idempotent; kept while the database is in trouble. Raises `StoreFailed`."""
        now = self.now()
        await self.database.keep(lambda connection: _claim(connection, [call_sid], now))

    async def take(self, call_sids: Sequence[str]) -> str | None:
        """Claim the first call that nobody has claimed, and return it; None if there is none. Raises `StoreFailed`."""
        now = self.now()
        return await self.database.write(lambda connection: _claim(connection, call_sids, now))


def _claim(connection: Connection, call_sids: Sequence[str], now: datetime) -> str | None:
    connection.execute(delete(claimed_calls).where(claimed_calls.c.at < now - _KEPT))
    for call_sid in call_sids:
        if _CLAIM.execute(connection, [{"call_sid": call_sid, "at": now}]):
            return call_sid
    return None
