"""The database that the settings name, opened for the length of one command."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from relay import config
from relay.config import Settings
from relay.store.agent_registry import AgentRegistry, unknown_agent
from relay.store.database import Database, open_database

T = TypeVar("T")


def with_database(work: Callable[[Database, Settings], Awaitable[T]]) -> T:
    """Run `work` on the database that the settings name, and return its value.

    Raises `SettingsError`, `DatabaseError`, or what `work` raised.
    """
    settings = config.load()

    async def run() -> T:
        async with open_database(settings.database_url) as database:
            return await work(database, settings)

    return trio.run(run)


async def require_agent(database: Database, agent_id: str | None) -> None:
    """Raise `AgentError` for a name that is nobody's; None is anybody.

    Asked only when nothing was found: what a removed agent left is still listed.
    """
    if agent_id is not None and await AgentRegistry(database).get(agent_id) is None:
        raise unknown_agent(agent_id)
