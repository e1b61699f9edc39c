"""Three nodes, where nothing enters at the agent's home: a call is as with one daemon.

These few always run so; with `--cluster` all of this directory do, see `tests.e2e.three_nodes`.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import httpx2
import pytest
import trio
from mcp.shared.exceptions import MCPError
from mcp_types import CreateMessageRequestParams, CreateMessageResult, TextContent

from relay.simulator.carrier.exchange import Carrier
from relay.simulator.carrier.simulated_call import SimulatedCall
from relay.simulator.load.local_daemon import LocalDaemon
from relay.store.homes import Home, Homes
from tests.e2e.parties import Access, ask, carrier_of, connected, database_of, messages_of, register, repeat
from tests.e2e.test_take_over import saved
from tests.e2e.test_turn_tools import at_the_same_time
from tests.e2e.test_turn_tools import repeat as answer_by_tools
from tests.e2e.three_nodes import ThreeNodes, run_three_nodes
from tests.forked_process import daemons_with, run_local_daemon
from tests.postgresql_server import PostgresqlServer
from tests.relay.mcp.tool_client import EACH_WAY, HTTP, STATELESS, tool_client

WORDS = ("Hello?", "What is the time?", "Thank you, goodbye.")

pytestmark = pytest.mark.slow


@pytest.fixture
def server(postgresql: PostgresqlServer) -> PostgresqlServer:
    """Return the server that no test kills: these kill nodes alone."""
    return postgresql


@attrs.define(eq=False)
class Three:
    """Nodes a, b and c, of which the carrier reaches b, and an agent whose home is c."""

    nodes: dict[str, LocalDaemon]
    carrier: Carrier
    agent: Access

    async def home(self) -> Home:
        """Return the agent's home, as the database has it."""
        async with database_of(self.nodes["a"]) as database:
            home = await Homes(database).find(self.agent.agent_id)
        assert home is not None
        return home


@asynccontextmanager
async def three(directory: Path, server: PostgresqlServer) -> AsyncIterator[Three]:
    with daemons_with(server.new_database, run_three_nodes):
        daemon = run_local_daemon(directory, {"RELAY_DRAIN_SECONDS": "0"})
    async with daemon as home, carrier_of(home) as carrier:
        assert isinstance(home, ThreeNodes)
        a, b = home.others
        yield Three({"a": a, "b": b, "c": home}, carrier, await register(home))


async def sample(_context: Any, params: CreateMessageRequestParams) -> CreateMessageResult:
    """Answer a turn with what the caller said."""
    await trio.lowlevel.checkpoint()
    said = params.messages[-1].content
    assert isinstance(said, TextContent)
    return CreateMessageResult(role="assistant", model="test", content=TextContent(text=f"You said: {said.text}"))


async def talk(cluster: Three) -> None:
    """Have three turns of a call, which are answered by the client, and nothing is left of it."""
    async with cluster.carrier.call(cluster.agent.agent_id) as call:
        for words in WORDS:
            assert await ask(call, words) == f"You said: {words}"
        assert len(call.sessions) == 1
    home = await cluster.home()
    assert (home.node, home.epoch) == ("c", 1)
    assert await messages_of(cluster.nodes["a"], cluster.agent) == ()
    assert [len(await node.events("call_admitted")) for node in cluster.nodes.values()] == [0, 0, 1]


async def test_a_client_over_sse(tmp_path: Path, server: PostgresqlServer) -> None:
    """Its stream and its answers go through one node, webhooks and voice through another."""
    async with three(tmp_path, server) as cluster, connected(cluster.agent, repeat, at=cluster.nodes["a"]):
        await talk(cluster)


async def test_a_client_over_streamable_http(tmp_path: Path, server: PostgresqlServer) -> None:
    """So do the requests of a session that its `Mcp-Session-Id` names."""
    async with three(tmp_path, server) as cluster:
        url, token = cluster.nodes["a"].url, cluster.agent.token
        async with tool_client(url, token, HTTP, sampling_callback=sample) as client:
            await client.mcp.list_tools()
            await talk(cluster)


@EACH_WAY
async def test_a_client_with_turn_tools(way: str, tmp_path: Path, server: PostgresqlServer) -> None:
    """Tool calls that wait for a caller are passed on as well, with a session and without one."""
    heard: list[dict[str, Any]] = []
    async with (
        three(tmp_path, server) as cluster,
        tool_client(cluster.nodes["a"].url, cluster.agent.token, way) as client,
    ):
        assert "waiting" in await client.converse(waitSeconds=0)
        async with at_the_same_time(answer_by_tools, client, heard):
            await talk(cluster)
    assert [each["caller"] for each in heard] == list(WORDS)


async def test_a_call_outlives_its_home(tmp_path: Path, server: PostgresqlServer) -> None:
    """The home is killed: the carrier asks another node, the client comes back, and the call goes on with all of it."""
    async with three(tmp_path, server) as cluster:
        a, agent = cluster.nodes["a"], cluster.agent
        async with cluster.carrier.call(agent.agent_id) as call:
            async with connected(agent, repeat, at=a):
                await ask_and_kill(cluster, call)
            await call.say("Two.")
            async with connected(agent, repeat, at=a) as client:
                assert (await call.hear()).text == "You said: Two."
                turn = await client.asked.receive()
                assert await ask(call, "Three.") == "You said: Three."
        await went_on(cluster)
    assert ("user", "One.") in turn.history
    assert ("assistant", "You said: One.") in turn.history


async def test_a_call_of_a_client_over_streamable_http_outlives_its_home(
    tmp_path: Path, server: PostgresqlServer
) -> None:
    """Its session is over with its node, and the next one is at the new home."""
    async with three(tmp_path, server) as cluster:
        url, token = cluster.nodes["a"].url, cluster.agent.token
        async with cluster.carrier.call(cluster.agent.agent_id) as call:
            async with tool_client(url, token, HTTP, sampling_callback=sample) as client:
                await client.mcp.list_tools()
                await ask_and_kill(cluster, call)
                with pytest.raises(MCPError):
                    await client.mcp.list_tools()
            await call.say("Two.")
            async with tool_client(url, token, HTTP, sampling_callback=sample):
                assert (await call.hear()).text == "You said: Two."
                assert await ask(call, "Three.") == "You said: Three."
        await went_on(cluster)


async def test_a_call_of_a_client_with_turn_tools_outlives_its_home(tmp_path: Path, server: PostgresqlServer) -> None:
    """The tool call that waits breaks with its node; the next one waits at the new home."""
    async with three(tmp_path, server) as cluster:
        url, token = cluster.nodes["a"].url, cluster.agent.token
        async with cluster.carrier.call(cluster.agent.agent_id) as call:
            try:
                async with tool_client(url, token, STATELESS) as client:
                    assert "waiting" in await client.converse(waitSeconds=0)
                    async with at_the_same_time(answer_by_tools, client, []):
                        await ask_and_kill(cluster, call)
            except* httpx2.TransportError:
                pass  # which is how the SDK shows a connection that breaks
            await call.until(lambda: len(call.sessions) == 2)  # the error may have been quicker
            async with tool_client(url, token, STATELESS) as client, at_the_same_time(answer_by_tools, client, []):
                assert await ask(call, "Two.") == "You said: Two."
                assert await ask(call, "Three.") == "You said: Three."
        await went_on(cluster)


async def ask_and_kill(cluster: Three, call: SimulatedCall) -> None:
    """Have a turn, kill the agent's home when it is stored, and wait for the next session of the call."""
    assert await ask(call, "One.") == "You said: One."
    await saved(cluster.nodes["a"], call, "You said: One.")
    await cluster.nodes["c"].kill()
    await call.until(lambda: len(call.sessions) == 2)


async def went_on(cluster: Three) -> None:
    """Check that the home was taken once, by who was asked first, and that nothing was left as a message."""
    home = await cluster.home()
    assert home.node in {"a", "b"}
    assert home.epoch == 2
    assert await messages_of(cluster.nodes["a"], cluster.agent) == ()


async def test_a_call_goes_on_when_the_node_of_its_client_is_killed(tmp_path: Path, server: PostgresqlServer) -> None:
    """A node that only passes things on takes nothing along but the connections: the client comes by another one."""
    async with three(tmp_path, server) as cluster:
        agent = cluster.agent
        async with cluster.carrier.call(agent.agent_id) as call:
            async with connected(agent, repeat, at=cluster.nodes["a"]):
                assert await ask(call, "One.") == "You said: One."
                await cluster.nodes["a"].kill()
            async with connected(agent, repeat, at=cluster.nodes["b"]):
                assert await ask(call, "Two.") == "You said: Two."
            assert len(call.sessions) == 1
        home = await Three(cluster.nodes | {"a": cluster.nodes["b"]}, cluster.carrier, agent).home()
        assert (home.node, home.epoch) == ("c", 1)


# ── a client that does what none of the published ones does ─────────────────────────────────────────────────────────

KEPT = 4_000_000
"""Bytes by which a node may grow; what the kernel takes, and the limit for a session, come to several times as much."""
HELLO = {
    "protocolVersion": "2025-03-26",
    "capabilities": {"sampling": {}},
    "clientInfo": {"name": "raw", "version": "1"},
}


@attrs.define(eq=False)
class RawClient:
    """A client over SSE that reads its stream only when it is told to, and posts to any node."""

    stream: trio.SocketStream
    http: httpx2.AsyncClient
    _seen: bytes = b""
    _address: str = ""

    async def until(self, pattern: bytes) -> re.Match[bytes]:
        """Read on to what matches."""
        while (found := re.search(pattern, self._seen)) is None:
            self._seen += (piece := await self.stream.receive_some(65_536))
            assert piece, "the stream has ended"
        self._seen = self._seen[found.end() :]
        return found

    async def begin(self, node: LocalDaemon, token: str) -> None:
        """Open the session by way of the node that the stream leads to."""
        head = f"GET /sse HTTP/1.1\r\nHost: relay\r\nAuthorization: Bearer {token}\r\n\r\n"
        await self.stream.send_all(head.encode())
        self._address = (await self.until(rb"data: (/messages\S+)"))[1].decode()
        assert (await self.post(node, id=0, method="initialize", params=HELLO)).status_code == 202
        await self.post(node, method="notifications/initialized")
        # A notification is taken note of after it was accepted, but before what comes behind it is answered.
        await self.post(node, id=1, method="ping")
        await self.until(rb'data: (.*"id":\s*1\b)')

    async def post(self, node: LocalDaemon, **message: Any) -> httpx2.Response:
        """Send a message by way of a node."""
        return await self.http.post(f"{node.url}{self._address}", json={"jsonrpc": "2.0", **message})

    async def write_on(self) -> None:
        """Write to the stream's connection for as long as it is there."""
        while True:
            await self.stream.send_all(b"x")
            await trio.sleep(0.1)


@asynccontextmanager
async def raw_client(node: LocalDaemon, token: str) -> AsyncIterator[RawClient]:
    port = int(node.url.rpartition(":")[2])
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream, httpx2.AsyncClient() as http:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        client = RawClient(stream, http)
        await client.begin(node, token)
        yield client


async def test_the_answer_of_a_session_that_is_gone_is_refused(tmp_path: Path, server: PostgresqlServer) -> None:
    """The home is killed while it waits for a client's answer: that comes too late, and the caller hears the next one.

    Whichever node the client sends it to, before and after the new home has asked again.
    """
    async with three(tmp_path, server) as cluster:
        a, b, agent = cluster.nodes["a"], cluster.nodes["b"], cluster.agent
        late = {"role": "assistant", "model": "test", "content": {"type": "text", "text": "Too late."}}
        async with cluster.carrier.call(agent.agent_id) as call, raw_client(a, agent.token) as client:
            await call.say("One.")
            asked = await client.until(rb'data: (.*"sampling/createMessage".*)')
            await cluster.nodes["c"].kill()
            answer = {"id": json.loads(asked[1])["id"], "result": late}
            refused = [await client.post(node, **answer) for node in (a, b)]
            async with connected(agent, repeat, at=a):
                assert (await call.hear()).text == "You said: One."
                refused += [await client.post(node, **answer) for node in (a, b)]
                assert await ask(call, "Two.") == "You said: Two."
        await went_on(cluster)
    assert [(each.status_code, each.json()["error"]["code"]) for each in refused] == [(404, "unknown_session")] * 4
    assert [line for line in call.heard if line in {"Too late.", "You said: One."}] == ["You said: One."]


async def test_a_client_that_does_not_read_is_dropped(tmp_path: Path, server: PostgresqlServer) -> None:
    """By way of another node as by its home; in neither of them what it does not read piles up, and nobody else waits.

    Its session ends when what waits for it is too much, and its connection soon after.
    """
    async with three(tmp_path, server) as cluster:
        a, c = cluster.nodes["a"], cluster.nodes["c"]
        other = await register(c)
        async with (
            connected(other, repeat, at=a),
            cluster.carrier.call(other.agent_id) as call,
            raw_client(a, cluster.agent.token) as client,
        ):
            before = [await memory_of(node) for node in (a, c)]
            asked = 1
            while (answer := await client.post(a, id=asked, method="tools/list")).status_code == 202:
                asked += 1
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_session")
            assert await ask(call, "Hello?") == "You said: Hello?"
            after = [await memory_of(node) for node in (a, c)]
            with pytest.raises(trio.BrokenResourceError):
                await client.write_on()
    assert max(now - then for now, then in zip(after, before, strict=True)) < KEPT, asked


async def memory_of(node: LocalDaemon) -> float:
    async with httpx2.AsyncClient() as http:
        lines = (await http.get(f"{node.url}/metrics")).text.splitlines()
    return next(float(each.split()[1]) for each in lines if each.startswith("process_resident_memory_bytes "))
