"""What a node does with a request that belongs elsewhere: whom it asks, and what it does when that does not answer.

The nodes are listeners of this process, with the directory of the product over members and homes in memory.
"""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import urlencode

import attrs
import pytest
import structlog.testing
import trio

from relay.cluster.directory import Directory, Tenants
from relay.cluster.node_connections import NodeConnections
from relay.cluster.passed_request import KEPT_BYTES
from relay.cluster.router import Router
from relay.http.asgi import refuse_upgrade
from relay.http.gateway import Gateway
from relay.http.listener import ListenerOptions, address_of, bind, serve_on
from relay.known_agents import KnownAgents
from relay.simulator.carrier.websocket import WebSocket, WebSocketRefused, open_websocket
from relay.store.agent_registry import AgentRegistry
from relay.store.database import Database
from relay.store.database_clock import DatabaseClock
from relay.store.runs import GONE_SECONDS
from relay.twilio.signatures import SignatureChecker
from tests.fakes_cluster import MemoryCluster, MemoryHomes, MemoryMembers, candidate, wall
from tests.http1_peer import Answer, Cut, head, peer
from tests.limits import HANGING
from tests.relay.http.asgi_driver import ORIGIN, TOKEN, signature

AGENT = "shop"


@attrs.define(eq=False)
class Parts:
    """What a node serves, in place of the product's parts: each answer says which node it was, and what it saw.

    `broken` is called before an answer; a node that is `frozen` answers nothing.
    """

    node: str
    served: list[str] = attrs.field(factory=list)
    frozen: bool = False
    broken: Callable[[], Awaitable[None]] | None = None

    async def page(self, scope: Any, receive: Any, send: Any) -> None:
        self.served.append(scope["path"])
        body = b""
        # What opens a stream is complete only when its client has left.
        while scope["method"] != "GET" and (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message.get("more_body"):
                break
        if self.broken is not None:
            await self.broken()
        if self.frozen:
            await trio.sleep_forever()
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        seen = {
            "node": self.node,
            "path": scope["path"],
            "target": (scope["raw_path"] + b"?" + scope["query_string"]).decode().removesuffix("?"),
            "hop": headers.get("relay-hop"),
            "body": body.decode(errors="replace"),
        }
        answer = json.dumps(seen).encode()
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(answer))]}
        )
        await send({"type": "http.response.body", "body": answer})

    async def socket(self, agent_id: str, scope: Any, receive: Any, send: Any) -> None:
        self.served.append(scope["path"])
        if self.frozen:
            await trio.sleep_forever()
        if dict(scope["headers"])[b"x-twilio-signature"] == b"bad":
            await refuse_upgrade(scope, send, 403)
            return
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": f"{self.node} {agent_id} {scope['raw_path'].decode()}"})
        while (await receive())["type"] != "websocket.disconnect":
            pass


@attrs.define(eq=False)
class NodeHere:
    """A node that runs in this process."""

    name: str
    host: str
    port: int
    parts: Parts
    directory: Directory
    cluster: MemoryCluster
    life: trio.CancelScope

    def kill(self) -> None:
        """End it as SIGKILL does: nobody listens, nothing beats, every connection is gone."""
        self.life.cancel("killed")

    async def send(self, method: str, target: str, body: bytes = b"", **headers: str) -> Answer:
        """Ask this node something, over a connection of its own. Raises `Cut` where it closes that unanswered."""
        fields = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        async with peer(self.host, self.port) as asker:
            await asker.send(head(method, target, *fields, f"Content-Length: {len(body)}") + body)
            return await asker.answer(method)

    async def ask(self, method: str, target: str, body: bytes = b"", **headers: str) -> dict[str, Any]:
        """Ask this node something, and return which node has answered, and what that saw."""
        answer = await self.send(method, target, body, **headers)
        assert answer.status == 200, answer
        seen: dict[str, Any] = json.loads(answer.body)
        return seen

    @asynccontextmanager
    async def dial(self, path: str, **headers: str) -> AsyncIterator[WebSocket]:
        """Open a socket at this node, signed."""
        given = [(name.replace("_", "-"), value) for name, value in {"X_Twilio_Signature": "s", **headers}.items()]
        async with open_websocket(f"ws://{self.host}:{self.port}{path}", headers=given) as opened:
            yield opened

    async def dial_status(self, path: str, **headers: str) -> int:
        """Return with which status a socket is refused at this node."""
        with pytest.raises(WebSocketRefused) as refused:
            async with self.dial(path, **headers):
                pass
        return refused.value.status

    async def webhook(self, name: str = "voice", agent_id: str = AGENT, *, token: str = TOKEN) -> Answer:
        """Have the carrier ask this node."""
        target, form = f"/webhooks/{agent_id}/{name}?attempt=0", {"CallSid": "CA1"}
        sign = signature(ORIGIN + target, form, token)
        return await self.send("POST", target, urlencode(form).encode(), X_Twilio_Signature=sign)

    async def webhook_at(self, name: str = "voice") -> str:
        """Have the carrier ask this node, and return which one has answered."""
        answer = await self.webhook(name)
        assert answer.status == 200, answer
        node: str = json.loads(answer.body)["node"]
        return node


@attrs.define(eq=False)
class Made:
    """A cluster of which each test starts its nodes."""

    cluster: MemoryCluster
    database: Database
    token: str
    nursery: trio.Nursery

    async def start(self, name: str) -> NodeHere:
        """Start a node, and return it when the others know it."""
        listeners = await bind("127.0.0.1", 0)
        host, port = address_of(listeners)
        directory = Directory(
            candidate=candidate(name, url=f"http://{host}:{port}"),
            members=MemoryMembers(self.cluster, name),  # type: ignore[arg-type]
            homes=MemoryHomes(self.cluster, name),  # type: ignore[arg-type]
            tenants=Tenants(on_come=_ignore, on_gone=_ignore, with_client=_without),
            clock=DatabaseClock(wall=wall),
        )
        parts = Parts(name)
        registry = AgentRegistry(self.database)
        router = Router(
            directory=directory,
            connections=(connections := NodeConnections()),
            gateway=Gateway(pages=parts.page, voice=parts.socket, mcp=parts.page),
            registry=registry,
            agents=KnownAgents(registry),
            checker=SignatureChecker(TOKEN, ORIGIN),
        )
        life = trio.CancelScope()
        await directory.join()
        options = ListenerOptions(grace=0)
        serve = partial(serve_on, listeners, router, options, stop=trio.Event(), runs_in_place=router.runs_in_place)

        async def live(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
            with life:
                async with trio.open_nursery() as own:
                    own.start_soon(directory.run)
                    own.start_soon(connections.run)
                    await own.start(serve)
                    task_status.started()
            for each in listeners:
                await each.aclose()

        await self.nursery.start(live)
        return NodeHere(name, host, port, parts, directory, self.cluster, life)


@pytest.fixture
async def made(database: Database) -> AsyncIterator[Made]:
    _, token = await AgentRegistry(database).add(AGENT)
    async with trio.open_nursery() as nursery:
        yield Made(MemoryCluster(), database, token, nursery)
        nursery.cancel_scope.cancel("the test is over")


@asynccontextmanager
async def three(made: Made, home: str | None = "c") -> AsyncIterator[tuple[NodeHere, NodeHere, NodeHere]]:
    """Run nodes a, b and c that know each other; one of them is the agent's home."""
    with trio.fail_after(HANGING):
        a, b, c = [await made.start(name) for name in "abc"]
        for node in (a, b, c):
            await node.directory._beat()  # a second early
        if home is not None:
            await {"a": a, "b": b, "c": c}[home].directory.take_home(AGENT)
        yield a, b, c


def _ignore(*_given: Any) -> None:
    pass


def _without(_agents: Iterable[str]) -> frozenset[str]:
    return frozenset()


# ── to the home ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_webhook_goes_to_the_home(made: Made) -> None:
    """Whichever node the carrier asks, the agent's home answers, with path, query and body as they were signed."""
    async with three(made) as (a, b, c):
        for node in (a, b):
            answer = await node.webhook("voice-ended")
            assert json.loads(answer.body) == {
                "node": "c",
                "path": "/webhooks/shop/voice-ended",
                "target": "/webhooks/shop/voice-ended?attempt=0",
                "hop": node.name,
                "body": "CallSid=CA1",
            }
        assert json.loads((await c.webhook()).body)["hop"] is None
        assert made.cluster.homes[AGENT].epoch == 1


async def test_a_client_goes_to_the_home_of_its_agent(made: Made) -> None:
    """By its token, over both transports; what has a session goes to the node that made it."""
    async with three(made) as (a, _, _):
        bearer = f"Bearer {made.token}"
        assert (await a.ask("GET", f"/sse?token={made.token}"))["node"] == "c"
        assert (await a.ask("GET", "/sse", Authorization=bearer))["node"] == "c"
        assert (await a.ask("POST", "/mcp", b"{}", Authorization=bearer))["node"] == "c"
        stateless = {"Authorization": bearer, "MCP_Protocol_Version": "2026-07-28"}
        assert (await a.ask("POST", "/mcp", b"{}", **stateless))["node"] == "c"
        assert (await a.ask("POST", "/messages?session_id=b~xyz", b"{}"))["node"] == "b"
        assert (await a.ask("GET", "/mcp", Mcp_Session_Id="b~xyz"))["node"] == "b"
        assert (await a.ask("POST", "/mcp", b"{}", Mcp_Session_Id="a~xyz"))["node"] == "a"
        assert (await a.ask("POST", "/messages?session_id=xyz", b"{}"))["node"] == "a"


async def test_an_address_that_names_a_node_goes_there(made: Made) -> None:
    """What serves it sees a path without that name, and the signed target with it."""
    async with three(made) as (a, b, _):
        for node in (a, b):
            seen = await node.ask("POST", "/n/b/webhooks/shop/x?a=b")
            assert (seen["node"], seen["path"], seen["target"]) == ("b", "/webhooks/shop/x", "/n/b/webhooks/shop/x?a=b")
            path = "/n/b/webhooks/shop/voice-ws"
            async with node.dial(path) as opened:
                assert await opened.receive() == f"b shop {path}"
            assert await node.dial_status(path, X_Twilio_Signature="bad") == 403


async def test_a_socket_without_a_node_goes_to_the_home(made: Made) -> None:
    """As an address of a version before clusters is."""
    async with three(made) as (a, _, _), a.dial("/webhooks/shop/voice-ws") as opened:
        assert await opened.receive() == "c shop /webhooks/shop/voice-ws"


async def test_what_is_no_agent_s_is_served_where_it_is_asked(made: Made) -> None:
    """Health, metrics, pages, and what browsers and OAuth ask about."""
    async with three(made) as (a, _, _):
        for path in ("/health/live", "/metrics", "/nowhere"):
            assert (await a.ask("GET", path))["node"] == "a"
        assert (await a.send("POST", "/register")).status == 400


async def test_a_node_that_does_not_exist(made: Made) -> None:
    """Its addresses are not found; its sessions are over, which is said where it is asked."""
    async with three(made) as (a, _, _):
        assert (await a.send("POST", "/n/z/webhooks/shop/x")).status == 404
        assert await a.dial_status("/n/z/webhooks/shop/voice-ws") == 404
        assert (await a.ask("POST", "/messages?session_id=z~xyz", b"{}"))["node"] == "a"
        assert (await a.ask("GET", "/mcp", Mcp_Session_Id="z~xyz"))["node"] == "a"


# ── whose home is taken ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_first_authentic_request_takes_the_home(made: Made) -> None:
    """The node that is asked first becomes the home, by a webhook or by a client."""
    async with three(made, home=None) as (a, b, _):
        assert await b.webhook_at() == "b"
        assert made.cluster.homes[AGENT].node == "b"
        assert (await a.ask("GET", f"/sse?token={made.token}"))["node"] == "b"


@pytest.mark.parametrize("by", ["sse", "mcp"])
async def test_a_client_takes_the_home(made: Made, by: str) -> None:
    """With a good token and nothing else."""
    async with three(made, home=None) as (a, _, _):
        if by == "sse":
            assert (await a.ask("GET", f"/sse?token={made.token}"))["node"] == "a"
        else:
            assert (await a.ask("POST", "/mcp", b"{}", Authorization=f"Bearer {made.token}"))["node"] == "a"
        assert made.cluster.homes[AGENT].node == "a"


async def test_nothing_else_takes_a_home(made: Made) -> None:
    """What is not signed, signed by others, of no agent, or without a good token is served here, to be refused."""
    form = urlencode({"CallSid": "CA1"}).encode()
    async with three(made, home=None) as (a, _, _):
        assert (await a.ask("POST", "/webhooks/shop/voice", form))["node"] == "a"
        assert json.loads((await a.webhook(token="another")).body)["body"] == "CallSid=CA1"
        assert json.loads((await a.webhook(agent_id="nobody")).body)["node"] == "a"
        assert (await a.ask("POST", "/webhooks/shop/voice", b"\xff=", X_Twilio_Signature="s"))["node"] == "a"
        assert (await a.ask("GET", "/sse?token=wrong"))["node"] == "a"
        assert (await a.ask("POST", "/mcp", b"{}", Authorization="Bearer wrong"))["node"] == "a"
        too_long = await a.send("POST", "/webhooks/shop/voice", bytes(KEPT_BYTES + 1), X_Twilio_Signature="s")
        assert too_long.status == 413
        async with a.dial("/webhooks/shop/voice-ws"):
            pass
        assert made.cluster.homes == {}


async def test_two_nodes_that_are_asked_at_once_agree(made: Made) -> None:
    """Both serve one home, whichever of them took it."""
    async with three(made, home=None) as nodes:
        answered: list[str] = []

        async def ask(node: NodeHere) -> None:
            answered.append(await node.webhook_at())

        async with trio.open_nursery() as nursery:
            for node in nodes * 3:
                nursery.start_soon(ask, node)
        assert set(answered) == {made.cluster.homes[AGENT].node}
        assert made.cluster.homes[AGENT].epoch == 1


async def test_a_leaving_node_takes_no_home(made: Made) -> None:
    """It gives it to another node, and passes on what it was asked, at once."""
    async with three(made, home=None) as (a, _, _):
        await a.directory.leave()
        answered = await a.webhook_at()
        assert answered in {"b", "c"}
        assert made.cluster.homes[AGENT].node == answered


# ── nodes that do not answer ────────────────────────────────────────────────────────────────────────────────────────


async def test_the_home_of_a_killed_node_is_taken_at_once(made: Made) -> None:
    """Who refuses a connection is dead: the webhook is answered by the new home, and so is the client."""
    async with three(made) as (a, b, c):
        assert await a.webhook_at() == "c"
        c.kill()
        with trio.fail_after(2.5):
            assert await a.webhook_at("voice-ended") == "a"
        assert made.cluster.homes[AGENT].epoch == 2
        assert (await b.ask("GET", f"/sse?token={made.token}"))["node"] == "a"
        assert (await a.ask("GET", "/mcp", Mcp_Session_Id="c~xyz"))["node"] == "a"
        assert (await b.send("POST", "/n/c/webhooks/shop/x")).status == 404


async def test_a_webhook_in_hand_of_a_node_that_dies_is_asked_again(made: Made) -> None:
    """The carrier gets its answer from the new home, with the same body; so does what only asks."""
    async with three(made) as (a, b, c):

        async def die() -> None:
            c.kill()
            await trio.sleep_forever()

        c.parts.broken = die
        assert json.loads((await a.webhook()).body) == {
            "node": "a",
            "path": "/webhooks/shop/voice",
            "target": "/webhooks/shop/voice?attempt=0",
            "hop": None,
            "body": "CallSid=CA1",
        }
        assert (await b.ask("GET", f"/sse?token={made.token}"))["node"] == "a"


@pytest.mark.parametrize("target", ["/mcp", "/messages?session_id=c~xyz"])
async def test_a_post_of_a_client_is_performed_once_or_not_answered(made: Made, target: str) -> None:
    """A request that may have been performed ends like a connection that breaks."""
    async with three(made) as (a, b, c):

        async def die() -> None:
            c.kill()
            await trio.sleep_forever()

        c.parts.broken = die
        with pytest.raises(Cut):
            await a.send("POST", target, b"{}", Authorization=f"Bearer {made.token}")
        assert (len(c.parts.served), a.parts.served, b.parts.served) == (1, [], [])


async def test_a_post_of_a_client_that_was_not_sent_goes_to_the_new_home(made: Made) -> None:
    """Where the connection is refused nothing was performed."""
    async with three(made) as (a, _, c):
        c.kill()
        assert (await a.ask("POST", "/mcp", b"{}", Authorization=f"Bearer {made.token}"))["body"] == "{}"


async def test_a_silent_home_is_taken_when_it_was_not_seen(made: Made) -> None:
    """A node that answers nothing is waited for while it is seen; when it is not, another one takes its homes."""
    async with three(made) as (a, _, c):
        c.parts.frozen = True
        made.cluster.cut_off.add("c")
        began = trio.current_time()
        assert await a.webhook_at() == "a"
        assert 2.5 < trio.current_time() - began < 8


async def test_a_post_of_a_client_is_not_answered_by_a_node_that_is_gone(made: Made) -> None:
    """It is frozen, and its homes are others' by now: the connection is closed, so that the client comes to them."""
    async with three(made) as (a, b, c):
        c.parts.frozen = True
        made.cluster.cut_off.add("c")
        a.directory._steady_since -= GONE_SECONDS  # as if it had run for longer
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _vanish() -> None:
                await trio.sleep(0.5)
                made.cluster.age("boot-c", GONE_SECONDS)

            with pytest.raises(Cut):
                await a.send("POST", "/mcp", b"{}", Authorization=f"Bearer {made.token}")
        assert [node.parts.served.count("/mcp") for node in (a, b, c)] == [0, 0, 1]
        assert (await a.ask("POST", "/mcp", b"{}", Authorization=f"Bearer {made.token}"))["node"] == "a"


async def test_a_slow_home_that_is_seen_keeps_its_agents(made: Made) -> None:
    """It is waited for, however long it takes."""
    async with three(made) as (a, _, c):
        c.parts.broken = partial(trio.sleep, 2)
        assert await a.webhook_at() == "c"
        assert made.cluster.homes[AGENT].epoch == 1


async def test_a_home_that_cannot_be_reached_from_here_is_not_taken(made: Made) -> None:
    """It is seen, so it lives: who asks is to try again, each in its own way."""
    async with three(made) as (a, _, c):
        with ExitStack() as stack:
            full = stack.enter_context(socket.socket())
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            port = full.getsockname()[1]
            for _ in range(3):  # who listens and accepts nobody has room for one
                each = stack.enter_context(socket.socket())
                each.setblocking(False)
                each.connect_ex(("127.0.0.1", port))
            known = made.cluster.candidates["boot-c"]
            away = attrs.evolve(known, node=attrs.evolve(known.node, url=f"http://127.0.0.1:{port}"))
            made.cluster.candidates["boot-c"] = away
            await a.directory._beat()

            async def call() -> None:
                answer = await a.webhook()
                assert (answer.status, answer.headers["retry-after"]) == (503, "1")

            async def post() -> None:
                answer = await a.send("POST", "/mcp", b"{}", Authorization=f"Bearer {made.token}")
                assert (answer.status, json.loads(answer.body)["error"]["data"]["code"]) == (503, "try_again")

            async def listen() -> None:
                answer = await a.send("GET", f"/sse?token={made.token}")
                assert (answer.status, answer.body) == (200, b"retry: 1000\n\n")

            async def dial() -> None:
                assert await a.dial_status("/n/c/webhooks/shop/voice-ws") == 503

            async with trio.open_nursery() as nursery:
                for ask in (call, post, listen, dial):
                    nursery.start_soon(ask)
        assert made.cluster.homes[AGENT] == c.directory._here[AGENT].home


async def test_while_the_homes_cannot_be_read_who_asks_tries_again(made: Made) -> None:
    """A node that does not know where an agent is serves nobody in its place."""
    async with three(made) as (a, _, _):
        made.cluster.cut_off.add("a")
        assert (await a.webhook()).status == 503
        assert (await a.send("GET", f"/sse?token={made.token}")).body == b"retry: 1000\n\n"
        assert a.parts.served == []


# ── nodes that are mistaken ─────────────────────────────────────────────────────────────────────────────────────────


async def test_an_outdated_home_costs_a_hop(made: Made) -> None:
    """A node that is not the home any more says so, and the one that asked looks again."""
    async with three(made) as (a, b, c):
        assert await a.webhook_at() == "c"
        made.cluster.homes[AGENT] = attrs.evolve(made.cluster.homes[AGENT], node="b", epoch=2)
        for node in (b, c):
            await node.directory._beat()
        assert await a.webhook_at() == "b"
        assert c.parts.served == ["/webhooks/shop/voice"]


async def test_a_home_that_was_given_to_a_node_is_known_there_at_once(made: Made) -> None:
    """Who is asked as home, and does not know it yet, looks."""
    async with three(made, home=None) as (a, _, c):
        made.cluster.homes[AGENT] = await MemoryHomes(made.cluster).take(AGENT, "c", None)
        assert await a.webhook_at() == "c"
        assert c.directory.is_here(AGENT)


async def test_a_second_hop_is_a_loop(made: Made) -> None:
    """What a node has passed on is served or refused, and never passed on; that is logged once."""
    async with three(made) as (a, _, _):
        with structlog.testing.capture_logs() as logs:
            for _ in range(2):
                answer = await a.send("POST", "/webhooks/shop/voice", Relay_Hop="b")
                assert (answer.status, answer.headers["relay-hop"]) == (421, "a")
                answer = await a.send("POST", "/messages?session_id=c~xyz", Relay_Hop="b")
                assert (answer.status, answer.headers["relay-hop"]) == (421, "a")
            assert await a.dial_status("/n/c/webhooks/shop/voice-ws", Relay_Hop="b") == 421
        assert [each["hop"] for each in logs if each["event"] == "taken_for_another_node"] == ["b"]


async def test_a_hop_that_is_no_node_counts_for_nothing(made: Made) -> None:
    """A client that names one is served as if it had named none, and the home hears of the true one only."""
    async with three(made) as (a, _, _):
        seen = await a.ask("GET", f"/sse?token={made.token}", Relay_Hop="z")
        assert (seen["node"], seen["hop"]) == ("c", "a")


async def test_a_hop_grants_nothing(made: Made) -> None:
    """A request that is said to be passed on takes no home, and is checked like any other."""
    async with three(made, home=None) as (a, _, _):
        assert (await a.send("POST", "/webhooks/shop/voice", Relay_Hop="b")).status == 421
        assert (await a.ask("GET", "/sse?token=wrong", Relay_Hop="b"))["node"] == "a"
        assert made.cluster.homes == {}
