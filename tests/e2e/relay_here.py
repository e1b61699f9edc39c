"""A relay in the test's own process, where its tasks can be counted and its constants changed."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

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


@attrs.define
class RelayHere:
    """A running relay, as the parties of a call see a daemon."""

    database_url: str
    url: str
    token: str
    relay: Relay


@asynccontextmanager
async def run_relay_here(directory: Path) -> AsyncIterator[RelayHere]:
    """Run a relay with default settings and without an answering machine; at the end of the block it is drained."""
    settings = Settings(database_url=f"sqlite:///{directory / 'relay.db'}", relay_port=0)
    token = secrets.token_hex(16)
    listeners = await bind("127.0.0.1", 0)
    host, port = address_of(listeners)
    url = f"http://{host}:{port}"
    daemon = RunningDaemon(pid=os.getpid(), url=url, public_url=url, is_local=True)
    async with open_database(settings.database_url) as database, trio.open_nursery() as nursery:
        vendors = Vendors(Reconciliation(ClaimedCalls(database)))
        relay = Relay(settings, Credentials(None, token, None), database, vendors, daemon)
        stopping = trio.Event()
        await nursery.start(run, relay, listeners, url, stopping)
        yield RelayHere(settings.database_url, url, token, relay)
        stopping.set()
