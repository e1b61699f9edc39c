"""Daemons as the nodes of one cluster, each a process with a directory of its own, on one PostgreSQL server.

A `Cable` leads to one of them, or from one of them to the database, and can be cut.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs
import trio

from relay.simulator.load.local_daemon import LocalDaemon
from relay.store.database import open_database
from relay.store.homes import Home, Homes
from relay.store.members import Members, NodeReport
from tests.e2e.calling_out import free_port
from tests.forked_process import run_local_daemon
from tests.postgresql_server import PostgresqlServer

TOKEN = "0" * 32
PUBLIC = "https://voice.example.com"
_BYTES_AT_ONCE = 65_536


@asynccontextmanager
async def node(
    directory: Path,
    server: PostgresqlServer,
    name: str,
    options: Mapping[str, Any] = MappingProxyType({}),
    /,
    **more: str,
) -> AsyncIterator[LocalDaemon]:
    """Run a daemon as a node, in a directory of its own; `options` are those of `run_local_daemon`, `more` settings."""
    port = free_port()
    settings = {
        "DATABASE_URL": server.url,
        "TWILIO_AUTH_TOKEN": TOKEN,
        "PUBLIC_URL": PUBLIC,
        "RELAY_NODE": name,
        "RELAY_NODE_URL": f"http://127.0.0.1:{port}",
        "RELAY_DRAIN_SECONDS": "0",
        **more,
    }
    (place := directory / f"{name}-{port}").mkdir()
    async with run_local_daemon(place, settings, port=port, **options) as daemon:
        yield daemon


async def reports(server: PostgresqlServer) -> list[NodeReport]:
    async with open_database(server.url) as database:
        return await Members(database).report()


async def home_of(server: PostgresqlServer, agent_id: str) -> Home | None:
    async with open_database(server.url) as database:
        return await Homes(database).find(agent_id)


async def give_home(server: PostgresqlServer, agent_id: str, node: str) -> Home:
    """Make a node the home of an agent, as another node does that has taken the one before for dead."""
    async with open_database(server.url) as database:
        homes = Homes(database)
        return await homes.take(agent_id, node, await homes.find(agent_id))


@attrs.define(eq=False)
class Cable:
    """An open address at `port`: what connects there is led to another port; cut, it gets nowhere."""

    port: int
    _leads_to: int
    _is_whole: trio.Event = attrs.field(factory=trio.Event)
    _connections: set[trio.CancelScope] = attrs.field(factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def lead_to(self, port: int) -> None:
        """Lead what connects from now on, and what waits, to a port; what is connected stays where it is."""
        self._leads_to = port
        self._is_whole.set()

    def cut(self) -> None:
        """Break every connection that there is, and let what comes from now on wait."""
        self._is_whole = trio.Event()
        for connection in tuple(self._connections):
            connection.cancel()

    async def serve(self, here: trio.SocketStream) -> None:
        """Pass on what goes both ways, until either side is done; both are closed then."""
        async with here:
            await self._is_whole.wait()
            with trio.CancelScope() as connection:
                self._connections.add(connection)
                try:
                    there = await trio.open_tcp_stream("127.0.0.1", self._leads_to)
                    async with there, trio.open_nursery() as nursery:
                        nursery.start_soon(_pump, there, here, nursery.cancel_scope)
                        await _pump(here, there, nursery.cancel_scope)
                except OSError:
                    pass
                finally:
                    self._connections.discard(connection)


async def _pump(source: trio.SocketStream, sink: trio.SocketStream, over: trio.CancelScope) -> None:
    try:
        while data := await source.receive_some(_BYTES_AT_ONCE):
            await sink.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    over.cancel()


@asynccontextmanager
async def open_cable(port: int) -> AsyncIterator[Cable]:
    """Open a cable that leads to a port of this machine, for the length of the block."""
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        cable = Cable(listener.socket.getsockname()[1], port)
        cable.lead_to(port)
        await nursery.start(trio.serve_listeners, cable.serve, [listener])
        yield cable
        nursery.cancel_scope.cancel("the cable is not needed any more")
