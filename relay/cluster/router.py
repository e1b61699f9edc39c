"""The app in front of the gateway where the daemon is a node of a cluster: it serves what belongs here.

    request ──▶ find_destination ──▶ whose? ─┬─ here: the gateway
                                             ├─ at a node: pass on ── gone ─▶ 404, as after a restart
                                             └─ at an agent's home ─┬─ passed on by a node that took us for it ─▶ 421
                                                                    ├─ alive: pass on
                                                                    └─ none, or dead: authentic? ─▶ take it

Whatever is passed on is checked where it is served, by its signature or its token: the node that asks is trusted with
nothing. Only where a home has to be taken is a request checked here too, so that no stranger can move one.

What became of a request decides what follows. Nothing was sent, or may be sent again: the home is looked for once more,
and by then it is dead, and another one is taken. Something was sent that must not be sent twice: the connection is
closed without an answer, as it would be if the node had been asked directly. The node lives, but not for us: 503.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import assert_never

import attrs
import structlog
import trio

from relay.cluster.destination import AtNode, Elsewhere, Here, HomeOf, HomeOfToken, find_destination
from relay.cluster.directory import Directory
from relay.cluster.forwarding import Forwarder, Outcome
from relay.cluster.node_connections import NodeConnections
from relay.cluster.not_served import refuse_as_gone, refuse_as_misdirected, refuse_for_now
from relay.cluster.passed_request import PassedRequest, RequestBody, hop_of
from relay.cluster.tunnel import Tunnels
from relay.errors import STORE_FAILURES
from relay.http.asgi import BODY_AT_HAND, CUT, Receive, Scope, Send, refuse
from relay.http.connection import KNOWN_PEER
from relay.http.gateway import Gateway
from relay.http.pages import BODY_SECONDS
from relay.known_agents import KnownAgents
from relay.store.agent_registry import AgentRegistry
from relay.store.members import Node
from relay.twilio.forms import parse_form
from relay.twilio.signatures import SignatureChecker

log = structlog.get_logger(__name__)

# Each look in vain buries a node, or forgets where the home was.
_MOST_LOOKS = 5


@attrs.define(eq=False, kw_only=True)
class Router:
    """Serve with `gateway` what belongs here, and pass on the rest, over `connections`, which run beside it.

    Tokens are looked up in `registry`; webhooks are known by `checker` and `agents`. `note_passed` gets the outcome of
    each request that was passed on to another node, in small letters; of one that was cut off it is `left`.
    """

    directory: Directory
    connections: NodeConnections
    gateway: Gateway
    registry: AgentRegistry
    agents: KnownAgents
    checker: SignatureChecker
    note_passed: Callable[[str], None] = lambda _outcome: None
    forwarder: Forwarder = attrs.field(init=False)
    tunnels: Tunnels = attrs.field(init=False)
    _noted_loops: set[str] = attrs.field(factory=set, init=False)
    _passing: set[trio.CancelScope] = attrs.field(factory=set, init=False)
    _is_passed: trio.Event = attrs.field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self.forwarder = Forwarder(self.directory.node, self.connections)
        self.tunnels = Tunnels(self.directory.node, self.connections)

    @contextmanager
    def passing(self) -> Iterator[trio.CancelScope]:
        """Count what passes to another node for the length of a block, which `cut_passing` cancels."""
        with trio.CancelScope() as scope:
            self._passing.add(scope)
            try:
                yield scope
            finally:
                self._passing.remove(scope)
                if not self._passing:
                    self._is_passed.set()
                    self._is_passed = trio.Event()

    async def nothing_passes(self) -> None:
        """Wait until nothing passes through this node to another one. May be cancelled."""
        while self._passing:
            await self._is_passed.wait()

    def cut_passing(self) -> None:
        """Cut off what passes through this node: streams and sockets break, requests get no answer. Never waits."""
        for scope in self._passing:
            scope.cancel("the node is stopped")

    def runs_in_place(self, path: str) -> bool:
        """Return what the gateway says of a path; what is passed on goes the same way."""
        return self.gateway.runs_in_place(path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, or the server's lifespan."""
        destination = Here() if scope["type"] == "lifespan" else find_destination(scope)
        match destination:
            case Here():
                await self.gateway(scope, receive, send)
            case AtNode(node, path) if node == self.directory.node:
                await self.gateway(scope if path == scope["path"] else {**scope, "path": path}, receive, send)
            case AtNode() | HomeOf() | HomeOfToken():
                await _Asked(self, destination, scope, receive, send).answer()
            case unknown:
                assert_never(unknown)

    def hop_of(self, scope: Scope) -> str | None:
        """Return which node has passed a request on; None also where no node has the name that is given."""
        hop = hop_of(scope)
        return hop if hop is not None and self.directory.find_node(hop) is not None else None

    def note_loop(self, hop: str) -> None:
        """Log that a node takes us for another one, once: it may do so with each request."""
        if hop not in self._noted_loops:
            self._noted_loops.add(hop)
            log.error("taken_for_another_node", hop=hop, why="Check RELAY_NODE_URL of all nodes: each needs its own.")


class _Asked:
    """A request, or an upgrade, that may belong elsewhere, until it is answered."""

    __slots__ = ("_body", "_destination", "_directory", "_is_socket", "_receive", "_router", "_scope", "_send")

    def __init__(self, router: Router, destination: Elsewhere, scope: Scope, receive: Receive, send: Send) -> None:
        self._router = router
        self._directory = router.directory
        self._destination = destination
        self._scope = scope
        self._receive = receive
        self._send = send
        self._is_socket = scope["type"] == "websocket"
        self._body = RequestBody.of(scope, receive)

    async def answer(self) -> None:
        """Serve it here, or pass it on, or refuse it."""
        try:
            match self._destination:
                case AtNode() as at_node:
                    await self._ask_node(at_node)
                case HomeOf(agent_id):
                    await self._ask_home(agent_id, partial(self._is_signed, agent_id))
                case HomeOfToken(token):
                    agent = await self._router.registry.by_token(token)
                    if agent is None:
                        await self._serve()  # and be refused
                    else:
                        await self._ask_home(agent.agent_id, None)
        except STORE_FAILURES as error:
            log.warning("home_not_found_out", path=self._scope["path"], error=type(error).__name__)
            await refuse_for_now(self._scope, self._send, self._router.gateway.cors)

    # ── whom to ask ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _ask_node(self, wanted: AtNode) -> None:
        if (hop := self._router.hop_of(self._scope)) is not None:
            self._router.note_loop(hop)
            await refuse_as_misdirected(self._directory.node, self._scope, self._send)
            return
        for _ in range(_MOST_LOOKS):
            node = self._directory.find_node(wanted.node)
            if node is None:
                if wanted.is_session:
                    await self._serve()  # of which nobody knows, as if it was closed
                else:
                    await refuse_as_gone(self._scope, self._send)
                return
            outcome = await self._pass_on(node)
            if outcome is Outcome.MISDIRECTED:
                break
            if not await self._looks_again(outcome, node.name):
                return
        await refuse_for_now(self._scope, self._send, self._router.gateway.cors)

    async def _ask_home(self, agent_id: str, is_authentic: Callable[[], Awaitable[bool]] | None) -> None:
        """Ask an agent's home; `is_authentic` is None for a request that is known to be."""
        directory, misdirecting = self._directory, ""
        for _ in range(_MOST_LOOKS):
            if directory.is_here(agent_id) or await self._has_come(agent_id):
                await self._serve()
                return
            if self._router.hop_of(self._scope) is not None:
                await refuse_as_misdirected(self._directory.node, self._scope, self._send)
                return
            home = await directory.find_home(agent_id)
            if home is None or directory.find_node(home.node) is None:
                if is_authentic is not None and not await is_authentic():
                    await self._serve()  # and be refused
                    return
                home = await directory.take_home(agent_id)
            node = directory.find_node(home.node)
            if node is None or node.name == directory.node:
                continue
            outcome = await self._pass_on(node)
            if outcome is Outcome.MISDIRECTED:
                directory.forget(agent_id)
                if node.name == misdirecting and not directory.silent(node.name):
                    break
                misdirecting = node.name
            if not await self._looks_again(outcome, node.name):
                return
        await refuse_for_now(self._scope, self._send, self._router.gateway.cors)

    async def _has_come(self, agent_id: str) -> bool:
        """Return whether this node has become the home just now, as the node that passes the request on says."""
        if self._router.hop_of(self._scope) is None or self._directory.is_lost:
            return False
        self._directory.forget(agent_id)
        await self._directory.find_home(agent_id)
        return self._directory.is_here(agent_id)

    async def _is_signed(self, agent_id: str) -> bool:
        """Return whether it is a webhook of a registered agent that the carrier has signed."""
        checker = self._router.checker
        if self._is_socket or not checker.is_claimed(self._scope):
            return False
        body = None
        with trio.move_on_after(BODY_SECONDS):  # if it comes later than that, the pages answer
            body = await self._body.receive_all()
        form = None if body is None else parse_form(body)
        if form is None or not checker.check_form(self._scope, form):
            return False
        return await self._router.agents.get(agent_id) is not None

    async def _pass_on(self, node: Node) -> Outcome:
        with self._router.passing():
            outcome = await self._pass(node)
            self._router.note_passed(outcome.name.lower())
            return outcome
        self._router.note_passed(Outcome.LEFT.name.lower())
        self._extension(CUT)()
        return Outcome.LEFT

    async def _pass(self, node: Node) -> Outcome:
        router, scope = self._router, self._scope
        if self._is_socket:
            return await router.tunnels.run(node.url, scope, self._send, partial(self._is_dead, node.name))
        request = PassedRequest(
            scope,
            self._send,
            self._body,
            may_repeat=self._may_repeat,
            gives_up=partial(self._is_dead if self._may_repeat else self._is_gone, node.name),
            is_stream=self._is_stream,
            note_status=self._note_status,
        )
        return await router.forwarder.pass_on(node.url, request)

    @property
    def _may_repeat(self) -> bool:
        """Whether it may be performed twice: a webhook, because it is made so, and what only asks."""
        match self._destination:
            case HomeOf() | AtNode(is_session=False):
                return True
            case _:
                return self._scope["method"] in {"GET", "HEAD"}

    @property
    def _is_stream(self) -> bool:
        """Whether a client opens its stream, whose head comes at once."""
        match self._destination, self._scope["method"]:
            case HomeOfToken() | AtNode(is_session=True), "GET":
                return True
            case _:
                return False

    async def _is_dead(self, name: str) -> bool:
        return self._directory.silent(name)

    async def _is_gone(self, name: str) -> bool:
        """Return whether a node is dead; its silence says nothing where an answer may take minutes."""
        return self._directory.find_node(name) is None

    async def _looks_again(self, outcome: Outcome, name: str) -> bool:
        """Draw the conclusions for a node; return whether another one is to be asked, else all is said."""
        match outcome:
            case Outcome.ANSWERED | Outcome.LEFT:
                return False
            case Outcome.REFUSED:
                self._directory.refused(name)
            case Outcome.UNREACHABLE if not self._directory.silent(name):
                await refuse_for_now(self._scope, self._send, self._router.gateway.cors)
                return False
            case Outcome.LOST | Outcome.SILENT if not (self._may_repeat and self._body.can_repeat):
                self._extension(CUT)()
                return False
            case _:
                pass
        if not self._body.can_repeat:
            await refuse_for_now(self._scope, self._send, self._router.gateway.cors)
            return False
        return True

    # ── what is said here ───────────────────────────────────────────────────────────────────────────────────────────

    async def _serve(self) -> None:
        scope, receive = self._scope, self._receive
        if not self._body.is_untouched:
            if not self._body.can_repeat:
                await refuse(self._send, 413, "too_large", "The body is too long for a webhook.")
                return
            extensions = {name: each for name, each in scope["extensions"].items() if name != BODY_AT_HAND}
            scope, receive = {**scope, "extensions": extensions}, self._body.replay
        await self._router.gateway(scope, receive, self._send)

    def _note_status(self, status: int) -> None:
        """Show the listener that its peer has a good token or signature, where the answer says so."""
        if 200 <= status < 300:
            self._extension(KNOWN_PEER)()

    def _extension(self, name: str) -> Callable[[], object]:
        extension: Callable[[], object] = self._scope.get("extensions", {}).get(name, _ignore)
        return extension


def _ignore() -> None:
    """Do nothing: a web framework's scope has no such extension."""
