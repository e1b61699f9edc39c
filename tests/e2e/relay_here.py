"""A relay in the test's own process, where its tasks can be counted and its constants changed."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

from relay.daemon.address import RunningDaemon
from relay.daemon.credentials import Credentials
from relay.daemon.life_cycle import run
from relay.daemon.vendors import Vendors
from relay.daemon.wiring import Relay
from relay.dialling.orphaned_calls import Reconciliation
from relay.http.listener import address_of, bind
from relay.settings import Settings
from relay.store.claimed_calls import ClaimedCalls
from relay.store.database import open_database
from scripts.local_postgresql import free_port
from tests.e2e.three_nodes import run_nodes
from tests.forked_process import database_in, is_one_of_many


@attrs.define
class RelayHere:
    """A running relay, as the parties of a call see a daemon; see `tests.e2e.three_nodes.Doors`."""

    database_url: str
    url: str
    carrier_url: str
    home_url: str
    token: str
    relay: Relay


@asynccontextmanager
async def run_relay_here(directory: Path, **given: Any) -> AsyncIterator[RelayHere]:
    """Run a relay with default settings but those `given`, without an answering machine; at the end it is drained.

    Where three nodes run in the place of each daemon, it is node c, and only the others are processes.
    """
    token = secrets.token_hex(16)
    listeners = await bind("127.0.0.1", 0)
    host, port = address_of(listeners)
    home_url = f"http://{host}:{port}"
    database_url = database_in(directory) if is_one_of_many() else f"sqlite:///{directory / 'relay.db'}"
    settings = Settings(database_url=database_url, relay_port=0, **given)
    url = carrier_url = home_url
    doors: dict[str, str] = {}
    if is_one_of_many():
        doors = {name: f"http://127.0.0.1:{free_port()}" for name in "ab"}
        url, carrier_url = doors.values()
        settings = settings.model_copy(update={"relay_node": "c", "relay_node_url": home_url})
    daemon = RunningDaemon(pid=os.getpid(), url=home_url, public_url=url, is_local=True)
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(database_url))
        beats = None
        if is_one_of_many():
            beats = await stack.enter_async_context(open_database(database_url, for_beats=True))
        nursery = await stack.enter_async_context(trio.open_nursery())
        vendors = Vendors(Reconciliation(ClaimedCalls(database)))
        relay = Relay(settings, Credentials(None, token, None), database, vendors, daemon, beats=beats)
        stopping = trio.Event()
        await nursery.start(run, relay, listeners, home_url, stopping)
        # They are stopped when this one begins to stop, so that nothing moves to them.
        given = {"DATABASE_URL": database_url, "TWILIO_AUTH_TOKEN": token, "PUBLIC_URL": url}
        async with run_nodes(directory, given, doors):
            yield RelayHere(database_url, url, carrier_url, home_url, token, relay)
            stopping.set()
