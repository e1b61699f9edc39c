"""The do-not-call list: numbers that must not be called, by one agent or by any.

A number stays on the list until an operator removes it. A repeat changes nothing: the day and
the reason of the first opt-out are kept. Numbers come in here in E.164 form; another form is not found again.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import attrs
from sqlalchemy import Connection, RowMapping, delete, select, update

from relay.store.database import Database
from relay.store.rows import RowStatement
from relay.store.schema import do_not_call, insert_if_new, timestamp, utc_now

UNVERIFIED_CALLER = "unverified caller"
"""Who put a number on the list that may have been forged: it was granted at once, and any later entry replaces it."""

_ADD = RowStatement(insert_if_new(do_not_call))
# Stands for all agents; no agent's id can be this.
_EVERY_AGENT = "*"


@attrs.frozen(kw_only=True)
class DoNotCallEntry:
    """A number that must not be called by an agent, or by any where `agent_id` is None."""

    number: str
    agent_id: str | None
    reason: str
    added_at: datetime
    added_by: str

    def as_json(self) -> dict[str, Any]:
        """Write the entry as the command line prints it."""
        return {
            "number": self.number,
            "agentId": self.agent_id,
            "reason": self.reason,
            "addedAt": timestamp(self.added_at),
            "addedBy": self.added_by,
            "verified": self.added_by != UNVERIFIED_CALLER,
        }


@attrs.frozen(eq=False)
class DoNotCallList:
    """The list. `now` is the wall clock, with a zone.

    Each method is one transaction, and what it changed holds for every process at once. Those that change something
    raise `StoreFailed`, those that only read `DatabaseError`.
    """

    database: Database
    now: Callable[[], datetime] = utc_now

    async def add(self, number: str, *, agent_id: str | None, reason: str, added_by: str) -> bool:
        """Put a number on the list, for one agent or (None) for all; False where it was there already.

        While the database is in trouble it is kept and listed later, and that is True: no dial is counted before it, as
        both are writes and in order. An opt-out of an unverified caller gives way to a certain one. Cancelled once it
        waits for the disk, the number is listed all the same.
        """
        row = {
            "number": number,
            "agent_id": _key(agent_id),
            "reason": reason,
            "added_at": self.now(),
            "added_by": added_by,
        }
        confirm = (
            update(do_not_call)
            .where(do_not_call.c.number == number, do_not_call.c.agent_id == row["agent_id"])
            .where(do_not_call.c.added_by == UNVERIFIED_CALLER)
            .values(reason=reason, added_by=added_by)
        )

        def work(connection: Connection) -> bool:
            if _ADD.execute(connection, [row]):
                return True
            connection.execute(confirm)
            return False

        return await self.database.keep(work) is not False

    async def remove(self, number: str, *, agent_id: str | None) -> bool:
        """Take a number off the list of one agent, or (None) off that for all; False where it was not there.

        The two are apart: what holds for all agents is not lifted for one.
        """
        entry = delete(do_not_call).where(do_not_call.c.number == number, do_not_call.c.agent_id == _key(agent_id))
        return await self.database.write(lambda connection: connection.execute(entry).rowcount > 0)

    async def list_all(self, agent_id: str | None = None) -> tuple[DoNotCallEntry, ...]:
        """List the entries, newest first; of an agent, those that hold for it, with those for all."""
        wanted = select(do_not_call).order_by(do_not_call.c.added_at.desc(), do_not_call.c.number)
        if agent_id is not None:
            wanted = wanted.where(do_not_call.c.agent_id.in_([agent_id, _EVERY_AGENT]))
        return await self.database.read_many(
            lambda connection: tuple(_entry(row) for row in connection.execute(wanted).mappings())
        )


def listed(connection: Connection, number: str, agent_id: str | None) -> DoNotCallEntry | None:
    """Find the entry that keeps an agent from calling a number, the one for all agents first; None where there is none.

    Without an agent only entries for all count.
    """
    wanted = (
        select(do_not_call)
        .where(do_not_call.c.number == number, do_not_call.c.agent_id.in_([_EVERY_AGENT, _key(agent_id)]))
        .order_by(do_not_call.c.agent_id != _EVERY_AGENT)
        .limit(1)
    )
    row = connection.execute(wanted).mappings().one_or_none()
    return None if row is None else _entry(row)


def _key(agent_id: str | None) -> str:
    return _EVERY_AGENT if agent_id is None else agent_id


def _entry(row: RowMapping) -> DoNotCallEntry:
    return DoNotCallEntry(**{**row, "agent_id": None if row["agent_id"] == _EVERY_AGENT else row["agent_id"]})
