"""Nodes that leave their cluster under calls, behind a balancer: nobody notices, and each is gone in time.

carrier, clients ──▶ balancer ──▶ a node that is not leaving (`GET /health/balance`)
"""

from __future__ import annotations

import itertools
import math
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import httpx2
import pytest
import trio

from relay.attach.backoff import Pauses
from relay.attach.client_session import Session, stay_attached
from relay.attach.link import Transport
from relay.attach.turn import Say, Turn
from relay.mcp.retirement import RETIRE_SECONDS
from relay.simulator.carrier.exchange import Carrier, open_carrier
from relay.simulator.carrier.fault_plan import WebhookFailed
from relay.simulator.carrier.simulated_call import SimulatedCall
from relay.simulator.load.local_daemon import ACCOUNT, LocalDaemon
from relay.store.homes import Home, Homes
from tests.e2e.calling_out import free_port
from tests.e2e.nodes import TOKEN
from tests.e2e.parties import Access, ask, database_of, eventually, messages_of, register
from tests.forked_process import run_local_daemon
from tests.postgresql_server import PostgresqlServer

# A client that is back at once, as an EventSource is.
AT_ONCE = Pauses(first=0.5, most=0.5, steady=0.0)

pytestmark = pytest.mark.slow
BOTH = pytest.mark.parametrize("transport", list(Transport))


@attrs.define(eq=False)
class Balancer:
    """A load balancer by TCP: new connections go in turn to the nodes whose check says 200; open ones stay.

    While `only` names a node, all new connections go to it, whatever it says.
    """

    ports: dict[str, int]
    only: str = ""
    _in_turn: Iterator[int] = attrs.field(factory=itertools.count, init=False)
    _up: list[str] = attrs.field(factory=list, init=False)
    _is_checked: trio.Event = attrs.field(factory=trio.Event, init=False)

    async def check(self) -> None:
        async with httpx2.AsyncClient() as http:
            while True:
                up = []
                for name, port in self.ports.items():
                    try:
                        answer = await http.get(f"http://127.0.0.1:{port}/health/balance")
                    except httpx2.HTTPError:
                        continue
                    if answer.status_code == 200:
                        up.append(name)
                self._up = up
                self._is_checked.set()
                await trio.sleep(0.2)

    async def serve(self, near: trio.SocketStream) -> None:
        await self._is_checked.wait()
        names = [self.only] if self.only else self._up
        if not names:
            return  # none was in time for its check
        try:
            far = await trio.open_tcp_stream("127.0.0.1", self.ports[names[next(self._in_turn) % len(names)]])
        except OSError:
            return
        async with far:
            # One request a connection, so that each goes where requests go now.
            try:
                first = await near.receive_some()
                await far.send_all(first.replace(b"Connection: keep-alive", b"Connection: close"))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_copy, near, far, nursery.cancel_scope)
                await _copy(far, near, nursery.cancel_scope)


async def _copy(source: trio.SocketStream, target: trio.SocketStream, both: trio.CancelScope) -> None:
    try:
        async for chunk in source:
            await target.send_all(chunk)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    both.cancel("one side is gone")


@attrs.define(eq=False)
class Cluster:
    nodes: dict[str, LocalDaemon]
    start: Callable[[str], Awaitable[None]]
    balancer: Balancer
    origin: str
    carrier: Carrier

    @property
    def any_node(self) -> LocalDaemon:
        return next(iter(self.nodes.values()))

    async def home(self, agent: Access) -> Home | None:
        """Return the agent's home, as the database has it."""
        async with database_of(self.any_node) as database:
            return await Homes(database).find(agent.agent_id)

    async def stop(self, name: str) -> float:
        """Tell a node to stop, and return how many seconds it took; it ends well."""
        began, node = trio.current_time(), self.nodes[name]
        node.process.send_signal(signal.SIGTERM)
        assert await node.process.wait() == 0
        return trio.current_time() - began


@asynccontextmanager
async def clustered(
    directory: Path, server: PostgresqlServer, names: str = "ab", **more: str
) -> AsyncIterator[Cluster]:
    balancer = Balancer({name: free_port() for name in names})
    async with trio.open_nursery() as daemons, trio.open_nursery() as nursery, AsyncExitStack() as stack:
        (listener,) = await nursery.start(partial(trio.serve_tcp, balancer.serve, 0, host="127.0.0.1"))
        origin = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        nodes: dict[str, LocalDaemon] = {}
        over = trio.Event()

        async def run(name: str, *, task_status: trio.TaskStatus[None]) -> None:
            port = balancer.ports[name]
            settings = {
                "DATABASE_URL": server.url,
                "RELAY_FILLER_SECONDS": "0",  # a busy machine takes longer than that without any fault
                "TWILIO_AUTH_TOKEN": TOKEN,
                "PUBLIC_URL": origin,
                "RELAY_NODE": name,
                "RELAY_NODE_URL": f"http://127.0.0.1:{port}",
                "RELAY_DRAIN": "handover",
                "RELAY_DRAIN_SECONDS": "10",
                **more,
            }
            (place := directory / name).mkdir(exist_ok=True)
            async with run_local_daemon(place, settings, port=port) as nodes[name]:
                task_status.started()
                await over.wait()

        async def start(name: str) -> None:
            await daemons.start(run, name)

        for name in names:
            await start(name)
        nursery.start_soon(balancer.check)
        carrier = await stack.enter_async_context(open_carrier(ACCOUNT, TOKEN, origin))
        yield Cluster(nodes, start, balancer, origin, carrier)
        over.set()
        nursery.cancel_scope.cancel("the test is over")


@attrs.define(eq=False)
class Client:
    """A client that stays attached: what happened to it, and a brain that repeats what callers say.

    It never answers the first `stuck` turns.
    """

    name: str = "repeats"
    events: list[str] = attrs.field(factory=list)
    stuck: int = 0
    asked: list[str] = attrs.field(factory=list)

    def tell(self, event: str, **_facts: Any) -> None:
        self.events.append(event)

    async def answer(self, turn: Turn, say: Say) -> str:
        self.asked.append(turn.text)
        await trio.sleep(0.1 if len(self.asked) > self.stuck else math.inf)
        return f"You said: {turn.text}"

    async def take_message(self, _record: Mapping[str, Any]) -> None:
        await trio.lowlevel.checkpoint()

    async def was_asked(self) -> bool:
        await trio.lowlevel.checkpoint()
        return bool(self.asked)

    async def is_connected(self, times: int) -> bool:
        await trio.lowlevel.checkpoint()
        return self.events.count("connected") >= times


@asynccontextmanager
async def attached(cluster: Cluster, agent: Access, transport: Transport = Transport.SSE) -> AsyncIterator[Client]:
    """Have a client of the MCP SDK come by way of the balancer, again and again."""
    client = Client()
    async with trio.open_nursery() as nursery:
        session = Session(brain=client, report=client, fetches=False)
        nursery.start_soon(stay_attached, session, cluster.origin, agent.token, transport, AT_ONCE)
        await eventually(partial(client.is_connected, 1))
        yield client
        nursery.cancel_scope.cancel("the test is over")


async def talk(call: SimulatedCall, until: trio.Event) -> None:
    """Say one thing after the other; each is answered by the client."""
    for number in itertools.count():
        if until.is_set():
            return
        assert await ask(call, f"Line {number}.") == f"You said: Line {number}."


def assert_unnoticed(call: SimulatedCall) -> None:
    """Check that no session of a call was lost, and that its caller heard nothing of it."""
    assert all(outcome.status != "failed" for outcome in call.outcomes)
    assert not [line for line in call.heard if not line.startswith("You said")], call.heard


@BOTH
async def test_calls_move_with_their_home(transport: Transport, tmp_path: Path, server: PostgresqlServer) -> None:
    """The home of an agent leaves while its callers talk: each is answered by the client all the time."""
    async with clustered(tmp_path, server) as cluster, AsyncExitStack() as stack:
        agent = await register(cluster.any_node, greeting="")
        client = await stack.enter_async_context(attached(cluster, agent, transport))
        calls = [await stack.enter_async_context(cluster.carrier.call(agent.agent_id)) for _ in range(4)]
        enough, home = trio.Event(), await cluster.home(agent)
        assert home is not None
        async with trio.open_nursery() as nursery:
            for call in calls:
                nursery.start_soon(talk, call, enough)
            await trio.sleep(1)
            took = await cluster.stop(home.node)
            await trio.sleep(1)
            enough.set()
        assert took < 6
        moved = await cluster.home(agent)
        assert moved is not None
        assert moved.node != home.node
        for call in calls:
            assert_unnoticed(call)
            assert len(call.sessions) >= 2
        assert await messages_of(cluster.any_node, agent) == ()
        assert client.events.count("connected") <= 3


async def test_every_node_is_restarted_under_calls(tmp_path: Path, server: PostgresqlServer) -> None:
    """One after the other, as a deployment does; one client comes over SSE, the other one over Streamable HTTP."""
    async with clustered(tmp_path, server, "abc") as cluster, AsyncExitStack() as stack:
        enough, calls = trio.Event(), []
        for transport in Transport:
            agent = await register(cluster.any_node, greeting="")
            await stack.enter_async_context(attached(cluster, agent, transport))
            calls += [await stack.enter_async_context(cluster.carrier.call(agent.agent_id)) for _ in range(3)]
        async with trio.open_nursery() as nursery:
            for call in calls:
                nursery.start_soon(talk, call, enough)
            for name in "abc":
                await cluster.stop(name)
                await cluster.start(name)
                await trio.sleep(1)
            enough.set()
        for call in calls:
            assert_unnoticed(call)


@BOTH
async def test_an_agent_without_calls_moves_at_once(
    transport: Transport, tmp_path: Path, server: PostgresqlServer
) -> None:
    """While another one's call may go on, and new calls of that come to it; both are there when the call is over."""
    async with clustered(tmp_path, server, RELAY_DRAIN_SECONDS="30") as cluster, AsyncExitStack() as stack:
        cluster.balancer.only = "a"
        quiet, busy = [await register(cluster.any_node, greeting="") for _ in range(2)]
        client = await stack.enter_async_context(attached(cluster, quiet, transport))
        other = await stack.enter_async_context(attached(cluster, busy, transport))
        async with cluster.carrier.call(busy.agent_id) as call:
            assert await ask(call, "One.") == "You said: One."
            cluster.balancer.only = ""
            cluster.nodes["a"].process.send_signal(signal.SIGTERM)
            await eventually(partial(client.is_connected, 2))
            home = await cluster.home(quiet)
            assert home is not None
            assert (home.node, home.epoch, home.had_client) == ("b", 2, True)
            async with cluster.carrier.call(quiet.agent_id) as moved, cluster.carrier.call(busy.agent_id) as second:
                assert await ask(moved, "Two.") == "You said: Two."
                assert await ask(second, "Three.") == "You said: Three."
                assert await ask(call, "Four.") == "You said: Four."
            assert len(await cluster.nodes["a"].events("call_admitted")) == 2
            assert other.events.count("connected") == 1
            assert cluster.nodes["a"].process.poll() is None
        with trio.fail_after(15):
            assert await cluster.nodes["a"].process.wait() == 0
        await eventually(partial(other.is_connected, 2))
        assert client.events == ["connected", "lost", "connected", "turn", "answer"]
        assert_unnoticed(call)
        assert len(call.sessions) == 1


@BOTH
async def test_what_passes_through_a_node_that_leaves_is_retired(
    transport: Transport, tmp_path: Path, server: PostgresqlServer
) -> None:
    """Client and voice come by way of a node that is not the home: they come by another one, and no call is cut."""
    async with clustered(tmp_path, server) as cluster, AsyncExitStack() as stack:
        agent = await register(cluster.any_node, greeting="")
        await _be_home(cluster, "b", agent)
        cluster.balancer.only = "a"
        client = await stack.enter_async_context(attached(cluster, agent, transport))
        call = await stack.enter_async_context(cluster.carrier.call(agent.agent_id))
        cluster.balancer.only = ""
        enough = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk, call, enough)
            await trio.sleep(0.5)
            took = await cluster.stop("a")
            await trio.sleep(1)
            enough.set()
        assert took < 8
        home = await cluster.home(agent)
        assert home is not None
        assert (home.node, home.epoch) == ("b", 1)
        assert_unnoticed(call)
        assert [outcome.handoff for outcome in call.outcomes] == ['{"moving":true}']
        assert await messages_of(cluster.nodes["b"], agent) == ()
        assert client.events.count("lost") <= 2


@BOTH
async def test_a_turn_in_hand_does_not_hold_up_the_home(
    transport: Transport, tmp_path: Path, server: PostgresqlServer
) -> None:
    """When the drain time is over its call moves all the same, and the next home asks the client again."""
    settings = {"RELAY_DRAIN_SECONDS": "2"}
    async with clustered(tmp_path, server, **settings) as cluster, AsyncExitStack() as stack:
        agent = await register(cluster.any_node, greeting="")
        client = await stack.enter_async_context(attached(cluster, agent, transport))
        call, home = await stack.enter_async_context(cluster.carrier.call(agent.agent_id)), await cluster.home(agent)
        assert home is not None
        client.stuck = 1
        await call.say("One.")
        await eventually(client.was_asked)
        assert await cluster.stop(home.node) < RETIRE_SECONDS
        assert (await call.hear()).text == "You said: One."
        assert client.asked == ["One.", "One."]
        assert_unnoticed(call)
        assert await messages_of(cluster.any_node, agent) == ()


@BOTH
async def test_a_turn_in_hand_does_not_hold_up_a_node_that_it_passes_through(
    transport: Transport, tmp_path: Path, server: PostgresqlServer
) -> None:
    """When the drain time is over the client's stream is cut off there; it comes another way, and is asked again."""
    settings = {"RELAY_DRAIN_SECONDS": "2"}
    async with clustered(tmp_path, server, **settings) as cluster, AsyncExitStack() as stack:
        agent = await register(cluster.any_node, greeting="")
        await _be_home(cluster, "b", agent)
        cluster.balancer.only = "a"
        client = await stack.enter_async_context(attached(cluster, agent, transport))
        cluster.balancer.only = ""
        call = await stack.enter_async_context(cluster.carrier.call(agent.agent_id))
        client.stuck = 1
        await call.say("One.")
        await eventually(client.was_asked)
        assert await cluster.stop("a") < RETIRE_SECONDS
        assert (await call.hear()).text == "You said: One."
        assert client.asked == ["One.", "One."]
        assert_unnoticed(call)
        assert await messages_of(cluster.nodes["b"], agent) == ()


async def test_a_node_that_dies_costs_no_turn_of_who_passed_through_it(
    tmp_path: Path, server: PostgresqlServer
) -> None:
    """It is killed, and the client is asked again when it has come another way."""
    async with clustered(tmp_path, server, RELAY_FILLER_SECONDS="0") as cluster, AsyncExitStack() as stack:
        agent = await register(cluster.any_node, greeting="")
        await _be_home(cluster, "b", agent)
        cluster.balancer.only = "a"
        client = await stack.enter_async_context(attached(cluster, agent))
        cluster.balancer.only = "b"
        async with cluster.carrier.call(agent.agent_id) as call:
            client.stuck = 1
            await call.say("One.")
            await eventually(client.was_asked)
            await cluster.nodes["a"].kill()
            assert (await call.hear()).text == "You said: One."
            assert client.asked == ["One.", "One."]
            assert_unnoticed(call)


async def _be_home(cluster: Cluster, name: str, agent: Access) -> None:
    """Make a node the agent's home, by connecting there once."""
    url = f"{cluster.nodes[name].url}/sse?token={agent.token}"
    async with httpx2.AsyncClient() as http, http.stream("GET", url) as answer:
        assert answer.status_code == 200


async def test_a_node_that_is_alone_waits_for_its_calls_and_takes_no_new_ones(
    tmp_path: Path, server: PostgresqlServer
) -> None:
    """As a daemon without a cluster does: at once it ends only where there are none."""
    async with clustered(tmp_path, server, "a", RELAY_DRAIN_SECONDS="60") as cluster, AsyncExitStack() as stack:
        agent = await register(cluster.any_node, greeting="")
        await stack.enter_async_context(attached(cluster, agent))
        cluster.balancer.only = "a"
        # The node ends with the call, and may not be there any more for what the carrier reports of it then.
        with suppress(WebhookFailed):
            async with cluster.carrier.call(agent.agent_id) as call:
                assert await ask(call, "One.") == "You said: One."
                cluster.nodes["a"].process.send_signal(signal.SIGTERM)
                await eventually(partial(_is_refused, cluster, agent))
                assert await ask(call, "Two.") == "You said: Two."
        assert call.heard[-1] == "You said: Two."
        with trio.fail_after(20):
            assert await cluster.nodes["a"].process.wait() == 0
        assert len(call.sessions) == 1


async def _is_refused(cluster: Cluster, agent: Access) -> bool:
    try:
        async with cluster.carrier.call(agent.agent_id) as call:
            return not call.sessions
    except WebhookFailed:
        return True


async def test_who_talks_at_the_end_hears_a_farewell(tmp_path: Path, server: PostgresqlServer) -> None:
    """With `finish`, as from a daemon that is alone; the next call is answered by the next home."""
    async with clustered(tmp_path, server, RELAY_DRAIN="finish") as cluster, AsyncExitStack() as stack:
        agent = await register(cluster.any_node, greeting="")
        client = await stack.enter_async_context(attached(cluster, agent))
        home = await cluster.home(agent)
        assert home is not None
        async with cluster.carrier.call(agent.agent_id) as call:
            assert await ask(call, "One.") == "You said: One."
            cluster.nodes[home.node].process.send_signal(signal.SIGTERM)
            assert "goodbye" in (await call.hear()).text.lower()
            await call.wait_ended()
        await eventually(partial(client.is_connected, 2))
        async with cluster.carrier.call(agent.agent_id) as call:
            assert await ask(call, "Two.") == "You said: Two."
        assert await cluster.nodes[home.node].process.wait() == 0
