"""The database that the settings name, opened for the length of one command."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import click

from relay.cli.printing import warn

if TYPE_CHECKING:
    from relay.settings import Settings
    from relay.store.database import Database

T = TypeVar("T")


def with_database(work: Callable[[Database, Settings], Awaitable[T]], *, creates: bool = False) -> T:
    """Run `work` on the database that the settings name, and return its value.

    Which one that is goes to standard error, except with `--json`. A SQLite file is made only if `creates`: a command
    in the wrong directory must not answer from an empty database of its own. Raises `SettingsError`, `DatabaseError`,
    or what `work` raised.
    """
    import trio

    from relay import settings as config
    from relay.store.database import open_database
    from relay.store.engine import require_database

    settings = config.load(warn=warn)
    if not creates:
        require_database(settings.database_url)

    async def run() -> T:
        async with open_database(settings.database_url) as database:
            return await work(database, settings)

    value = trio.run(run)
    _show_database(settings.database_url)
    return value


def _show_database(url: str) -> None:
    """Print on standard error which database is asked, unless the command prints JSON."""
    from relay.store.engine import name_of

    context = click.get_current_context(silent=True)
    if context is None or not context.params.get("as_json"):
        click.echo(f"Database: {name_of(url)}", err=True)


async def require_agent(database: Database, agent_id: str | None) -> None:
    """Raise `AgentError` for a name that is nobody's; None is anybody.

    Asked only when nothing was found: what a removed agent left is still listed.
    """
    from relay.store.agent_registry import AgentRegistry, unknown_agent

    if agent_id is not None and await AgentRegistry(database).get(agent_id) is None:
        raise unknown_agent(agent_id)
