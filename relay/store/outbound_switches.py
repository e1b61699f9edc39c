"""The kill switch of each agent: while it is thrown, the agent dials nothing. Calls that are up go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

import attrs
from sqlalchemy import Connection, delete, exists, select

from relay.store.database import Database
from relay.store.schema import outbound_switches, upsert, utc_now

_DISABLE = upsert(outbound_switches, ["disabled_at", "reason"])


@attrs.frozen(eq=False)
class OutboundSwitches:
    """The switches. `now` is the wall clock, with a zone. Each method is one transaction.

    Those that change something raise `StoreFailed`.
    """

    database: Database
    now: Callable[[], datetime] = utc_now

    async def disable(self, agent_id: str, *, reason: str) -> None:
        """Stop an agent from dialling, at once and until `enable`. One that is not there is refused by the database."""
        row = {"agent_id": agent_id, "disabled_at": self.now(), "reason": reason}
        await self.database.write(lambda connection: connection.execute(_DISABLE[connection.dialect.name], row))

    async def enable(self, agent_id: str) -> bool:
        """Allow an agent to dial again; False if it was allowed already."""
        thrown = delete(outbound_switches).where(outbound_switches.c.agent_id == agent_id)
        return await self.database.write(lambda connection: connection.execute(thrown).rowcount > 0)

    async def list(self) -> Mapping[str, str]:
        """Return why agents must not dial now, by agent. Raises `DatabaseError`."""
        wanted = select(outbound_switches.c.agent_id, outbound_switches.c.reason)

        def work(connection: Connection) -> Mapping[str, str]:
            return {row.agent_id: row.reason for row in connection.execute(wanted)}

        return await self.database.read_many(work)


def is_disabled(connection: Connection, agent_id: str) -> bool:
    """Return whether an agent must not dial."""
    return connection.execute(select(exists().where(outbound_switches.c.agent_id == agent_id))).scalar_one()
