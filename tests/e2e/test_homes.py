"""The home of an agent on whole nodes: a node that has it no more lets go, and calls and clients go on at the other."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
from sqlalchemy import func, select

from relay.cluster.directory import LOST_SECONDS
from relay.simulator.carrier.exchange import Carrier, open_carrier
from relay.simulator.load.local_daemon import ACCOUNT, LocalDaemon
from relay.store.database import open_database
from relay.store.members import SILENT_SECONDS
from relay.store.schema import held_words
from tests.e2e.nodes import TOKEN, Cable, give_home, home_of, node, open_cable
from tests.e2e.parties import Access, ask, connected, eventually
from tests.postgresql_server import PostgresqlServer

AGENT = "my-client"

pytestmark = pytest.mark.slow


@attrs.frozen(eq=False)
class Two:
    """Two nodes behind a door, which leads to the first one; `cable` is between that one and the database."""

    a: LocalDaemon
    b: LocalDaemon
    door: Cable
    cable: Cable
    carrier: Carrier
    agent: Access
    server: PostgresqlServer

    def lead_to(self, daemon: LocalDaemon) -> None:
        """Lead carrier and clients to this node from now on."""
        self.door.lead_to(port_of(daemon))

    async def is_home_with_client(self, name: str) -> bool:
        home = await home_of(self.server, AGENT)
        return home is not None and (home.node, home.had_client) == (name, True)

    async def is_all_answered(self) -> bool:
        """Whether the database knows of no words that are to be answered."""
        async with open_database(self.server.url) as database:
            return not await database.read(lambda connection: connection.scalar(select(func.count(held_words.c.turn))))


def port_of(daemon: LocalDaemon) -> int:
    return int(daemon.url.rpartition(":")[2])


@asynccontextmanager
async def two_nodes(directory: Path, server: PostgresqlServer) -> AsyncIterator[Two]:
    """Run two nodes, of which a is the home of an agent."""
    async with open_cable(server.port) as cable, open_cable(0) as door:
        by_cable = server.url.replace(f":{server.port}/", f":{cable.port}/")
        async with (
            node(directory, server, "a", PUBLIC_URL=door.url, DATABASE_URL=by_cable) as a,
            node(directory, server, "b", PUBLIC_URL=door.url) as b,
            open_carrier(ACCOUNT, TOKEN, door.url) as carrier,
        ):
            door.lead_to(port_of(a))
            token = (await b.register(AGENT))["token"]
            await give_home(server, AGENT, "a")
            yield Two(a, b, door, cable, carrier, Access(AGENT, token, f"{door.url}/sse?token={token}"), server)


async def test_a_call_and_its_client_go_on_where_the_home_is(tmp_path: Path, server: PostgresqlServer) -> None:
    """The node that had it lets go of both within a second or two, and nobody has to repeat anything."""
    async with two_nodes(tmp_path, server) as nodes:
        async with nodes.carrier.call(AGENT) as call:
            async with connected(nodes.agent):
                assert await ask(call, "One.") == "You said: One."
                await eventually(lambda: nodes.is_home_with_client("a"))
                nodes.lead_to(nodes.b)
                await give_home(server, AGENT, "b")
                await call.until(lambda: len(call.sessions) == 2)
            async with connected(nodes.agent) as client:
                assert await ask(call, "Two.") == "You said: Two."
                turn = await client.asked.receive()
                await eventually(lambda: nodes.is_home_with_client("b"))
        assert [each["agent_id"] for each in await nodes.a.events("home_gone")] == [AGENT]
        assert not await nodes.b.events("call_crashed")
    assert turn.history[-3:] == [("user", "One."), ("assistant", "You said: One."), ("user", "Two.")]


async def test_a_node_that_alone_has_no_database_lets_go(tmp_path: Path, server: PostgresqlServer) -> None:
    """Within ten seconds its calls go on at the other node; when it has its database again, it is a node like any."""
    async with two_nodes(tmp_path, server) as nodes:
        async with nodes.carrier.call(AGENT) as call:
            async with connected(nodes.agent):
                assert await ask(call, "One.") == "You said: One."
                await eventually(lambda: nodes.is_home_with_client("a"))
                await eventually(nodes.is_all_answered)
                nodes.lead_to(nodes.b)
                nodes.cable.cut()
                await call.until(lambda: len(call.sessions) == 2)
            async with connected(nodes.agent):
                assert await ask(call, "Two.") == "You said: Two."
        assert len(await nodes.a.events("node_lost")) == 1
        nodes.cable.lead_to(server.port)
        await eventually(lambda: _is_back(nodes.a))


async def test_a_node_that_was_frozen_lets_go_of_what_was_taken(tmp_path: Path, server: PostgresqlServer) -> None:
    """Its client has come back to the other node, which has taken the home; then its call follows, and is answered."""
    async with two_nodes(tmp_path, server) as nodes, nodes.carrier.call(AGENT) as call:
        async with connected(nodes.agent):
            assert await ask(call, "One.") == "You said: One."
            await eventually(lambda: nodes.is_home_with_client("a"))
            nodes.a.process.send_signal(signal.SIGSTOP)
            await trio.sleep(SILENT_SECONDS + 1)
        nodes.lead_to(nodes.b)
        async with connected(nodes.agent):
            await eventually(lambda: nodes.is_home_with_client("b"))
            nodes.a.process.send_signal(signal.SIGCONT)
            await call.until(lambda: len(call.sessions) == 2)
            assert await ask(call, "Two.") == "You said: Two."
        assert not await nodes.a.events("node_lost")


async def test_an_outage_of_the_database_moves_nothing(tmp_path: Path, server: PostgresqlServer) -> None:
    """All nodes are without it, so each goes on with what it has, however long that is."""
    async with two_nodes(tmp_path, server) as nodes:
        async with nodes.carrier.call(AGENT) as call, connected(nodes.agent):
            assert await ask(call, "One.") == "You said: One."
            await eventually(lambda: nodes.is_home_with_client("a"))
            server.pause()
            try:
                await trio.sleep(LOST_SECONDS + 2)
            finally:
                server.go_on()
            assert await ask(call, "Two.") == "You said: Two."
            await trio.sleep(1.5)
            assert await ask(call, "Three.") == "You said: Three."
            assert len(call.sessions) == 1
        assert not await nodes.a.events("node_lost")


async def _is_back(daemon: LocalDaemon) -> bool:
    return bool(await daemon.events("node_back"))
