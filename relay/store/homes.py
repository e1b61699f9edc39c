"""The homes: which node an agent's client sessions and calls are on.

    nobody's ──take──▶ node a, epoch 1 ──take, of those who know epoch 1──▶ node b, epoch 2 ──▶ …

A home is taken by compare and set: of two nodes that try at once one wins, and both are told which. No lock is held,
so a node that dies holds up nobody. A home is deleted with its agent, when no call of the agent goes on there.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs
from sqlalchemy import Connection, Insert, bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from relay.store.database import Database
from relay.store.schema import IS_OPEN, calls, homes

_FIND = select(homes).where(homes.c.agent_id == bindparam("of_agent"))
_ADD: Mapping[str, Insert] = {
    "sqlite": sqlite.insert(homes).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(homes).on_conflict_do_nothing(),
}
_TAKE = (
    update(homes)
    .where(homes.c.agent_id == bindparam("of_agent"), homes.c.epoch == bindparam("known_epoch"))
    .values(node=bindparam("new_node"), epoch=homes.c.epoch + 1)
)


@attrs.frozen
class Home:
    """The home of an agent. `had_client` is whether a client of the agent was there when its node last said so."""

    agent_id: str
    node: str
    epoch: int
    had_client: bool = False


@attrs.frozen(eq=False)
class Homes:
    """The homes of all agents. Each method is one transaction, and holds for every process at once."""

    database: Database

    async def find(self, agent_id: str) -> Home | None:
        """Return an agent's home, or None if no node was ever that. Raises `DatabaseError`."""
        return await self.database.read(lambda connection: _find(connection, agent_id))

    async def take(self, agent_id: str, node: str, known: Home | None) -> Home:
        """Make `node` the home of an agent, unless it has changed since it was `known`; return the home that it has.

        None is known of an agent that has no home. Whether a client was there stays as it is. Raises `StoreFailed`;
        cancelled, the home may be taken all the same.
        """

        def work(connection: Connection) -> Home:
            epoch = 0
            if known is not None:
                epoch = known.epoch
                connection.execute(_TAKE, {"of_agent": agent_id, "known_epoch": epoch, "new_node": node})
            # None was known, or it was deleted with its agent, which was registered anew.
            while (found := _find(connection, agent_id)) is None:
                new = {"agent_id": agent_id, "node": node, "epoch": epoch + 1, "had_client": False}
                connection.execute(_ADD[connection.dialect.name], new)
            return found

        return await self.database.write(work)


def forget_home(connection: Connection, agent_id: str) -> None:
    """Delete the home of an agent that is removed; while calls of it go on, they are found there."""
    live = select(calls.c.call_sid).where(calls.c.agent_id == agent_id, IS_OPEN).exists()
    connection.execute(delete(homes).where(homes.c.agent_id == agent_id, ~live))


def _find(connection: Connection, agent_id: str) -> Home | None:
    row = connection.execute(_FIND, {"of_agent": agent_id}).one_or_none()
    return None if row is None else Home(row.agent_id, row.node, row.epoch, row.had_client)
