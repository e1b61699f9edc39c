"""The database that the settings name, opened for the length of one command, and what is found in it by its id."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import click

from relay.cli.printing import warn
from relay.errors import OperatorError, RelayError

if TYPE_CHECKING:
    from relay.settings import Settings
    from relay.store.database import Database

T = TypeVar("T")

MOST_SHOWN = 10
"""How many ids are listed when a beginning fits several."""


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
    """Raise `AgentError` if no agent has this id; None stands for all agents.

    Asked only when nothing was found: what a removed agent left is still listed.
    """
    from relay.store.agent_registry import AgentRegistry, unknown_agent

    if agent_id is not None and await AgentRegistry(database).get(agent_id) is None:
        raise unknown_agent(agent_id)


async def choose_operator(database: Database, name: str | None, *, how: str) -> str:
    """Return the operator of this name, or the only one. `how` says how one is named. Raises `OperatorError`."""
    from relay.store.operators import Operators

    if name is not None:
        return name
    known = [each.name for each in await Operators(database).list()]
    if not known:
        raise OperatorError("There is no operator yet. Add one with: relay operators add NAME --role act")
    if len(known) > 1:
        raise OperatorError(f"Which operator are you: {', '.join(known)}? Name one: {how}")
    return known[0]


def find_id(given: str, ids: Sequence[str], *, what: str, command: str) -> str:
    """Return the one of `ids` that is `given`, or begins so. Raises `RelayError` for none or several.

    `what` names the thing ("message"), `command` lists those that there are.
    """
    if given in ids:
        return given
    fitting = [each for each in ids if given and each.startswith(given)]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise RelayError(f"There is no {what} {given!r}. See those that there are with: {command}")
    more = f", and {len(fitting) - MOST_SHOWN} more" if len(fitting) > MOST_SHOWN else ""
    raise RelayError(f"{given} begins {len(fitting)} ids: {', '.join(fitting[:MOST_SHOWN])}{more}. Give more of it.")
