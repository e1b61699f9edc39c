"""How a command gets in to the console of a daemon: with a session of its own, or with an operator's token.

    RELAY_OPERATOR_TOKEN ──────────────────────────────▶ Authorization: Bearer op_…     at --url, or the daemon found
    the daemon's database, on this machine ──session───▶ Cookie: relay-console-PORT=…   closed when the command ends

Who can open the database can add an operator to it, so on this machine no token is asked for. The session is that of an
operator who exists, with its role, and stands in the record of actions by that name: `sign_in`, with `terminal`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TypeVar

import attrs
import trio

from relay import settings as config
from relay.cli.opened_database import choose_operator
from relay.cli.printing import warn
from relay.console.sign_in import cookie_on_this_machine
from relay.daemon.address import RunningDaemon, find_daemon
from relay.environment import gather
from relay.errors import STORE_FAILURES, RelayError
from relay.settings import OF_OPERATORS
from relay.store.console_sessions import ConsoleSessions
from relay.store.database import Database, open_database
from relay.store.engine import name_of, require_database

T = TypeVar("T")

_TOKEN = "RELAY_OPERATOR_TOKEN"  # noqa: S105 - the name of the setting
_CLOSING = 3.0
"""Seconds that the end of a command may wait for its session's."""


@attrs.frozen
class Entrance:
    """Where the console of a daemon is, and the headers that open it; `acting` are more, for what changes something.

    `is_here` is that of the daemon's own address, to which no proxy of the environment leads.
    """

    url: str
    headers: Mapping[str, str] = attrs.field(repr=False)
    acting: Mapping[str, str] = attrs.field(factory=dict)
    is_here: bool = False


@contextmanager
def entered(url: str | None, operator: str | None) -> Iterator[Entrance]:
    """Yield the way in to a daemon: that of `url`, or of the database of the settings.

    `operator` is whose session to open where there are several. Raises `RelayError`, which says what to do.
    """
    given = gather(OF_OPERATORS)
    settings = config.load(warn=warn)
    token, daemon = given.values.get(_TOKEN, ""), find_daemon(settings.database_url)
    if url is None and daemon is None:
        raise RelayError(
            f"No daemon serves the database {name_of(settings.database_url)}. Start one with `relay serve`, or name "
            f"one elsewhere with --url, and {_TOKEN} set to an operator's token."
        )
    if token:
        if not token.isascii() or not token.isprintable() or " " in token:
            raise RelayError(f"That is no operator's token ({_TOKEN}, {given.places[_TOKEN]}); copy it again.")
        yield Entrance(url or _address(daemon), {"Authorization": f"Bearer {token}"}, is_here=url is None)
    elif daemon is not None and url in {None, daemon.url, daemon.public_url}:
        with _session(settings.database_url, daemon, operator) as entrance:
            yield entrance
    else:
        raise RelayError(
            f"The daemon at {url} does not serve the database {name_of(settings.database_url)}, so a token is needed: "
            f"set {_TOKEN} to that of one of its operators."
        )


def _address(daemon: RunningDaemon | None) -> str:
    assert daemon is not None
    return daemon.url


@contextmanager
def _session(database_url: str, daemon: RunningDaemon, operator: str | None) -> Iterator[Entrance]:
    """Sign in through the database for the length of the block."""
    require_database(database_url)

    async def open_it(database: Database) -> str:
        name = await choose_operator(database, operator, how="--as NAME")
        return await ConsoleSessions(database).open(name, by="terminal")

    async def close_it(database: Database) -> None:
        sessions = ConsoleSessions(database)
        session = await sessions.find(cookie)
        if session is not None:
            await sessions.close(session)

    cookie = _in_database(database_url, open_it)
    try:
        # With a cookie, only what says to come from a page of the console's own origin may act. Who looks says nothing,
        # as browsers do: where a host name is allowed, and no origin, looking is allowed all the same.
        cookies = {"Cookie": f"{cookie_on_this_machine(daemon.url)}={cookie}"}
        yield Entrance(daemon.url, cookies, {"Origin": daemon.url}, is_here=True)
    finally:
        # One that cannot be closed is over by itself, and the cookie is gone with this process.
        with suppress(*STORE_FAILURES, trio.TooSlowError):
            _in_database(database_url, close_it, seconds=_CLOSING)


def _in_database(url: str, work: Callable[[Database], Awaitable[T]], seconds: float = float("inf")) -> T:
    async def run() -> T:
        with trio.fail_after(seconds):
            async with open_database(url) as database:
                return await work(database)

    return trio.run(run)
