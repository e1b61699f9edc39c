"""Two listeners and a hop between them: whatever the first is asked, it passes on to the second."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import attrs
import trio

from relay.cluster.forwarding import Forwarder, Outcome
from relay.cluster.passed_request import PassedRequest, RequestBody
from relay.cluster.tunnel import Tunnels
from relay.http.asgi import CUT, refuse
from relay.http.listener import ListenerOptions, serve
from tests.limits import HANGING


@attrs.define(eq=False)
class Entry:
    """The app of a node that passes on all it is asked to the node at `url`, and notes what became of it."""

    url: str
    forwarder: Forwarder = attrs.field(factory=lambda: Forwarder("entry"))
    may_repeat: bool = False
    is_stream: bool = False
    gives_up: Callable[[], Awaitable[bool]] | None = None
    outcomes: list[Outcome] = attrs.field(factory=list)
    _noted: trio.Event = attrs.field(factory=trio.Event)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            tunnels = Tunnels(self.forwarder.name, self.forwarder.connections)
            self._note(await tunnels.run(self.url, scope, send, self.gives_up or _waits_on))
            return
        request = PassedRequest(
            scope, send, RequestBody.of(scope, receive), self.may_repeat, self.gives_up, is_stream=self.is_stream
        )
        outcome = await self.forwarder.pass_on(self.url, request)
        self._note(outcome)
        if outcome is not Outcome.ANSWERED:
            scope["extensions"].get(CUT, _nothing)()
            await refuse(send, 503, outcome.name, "The node did not answer.")

    def _note(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self._noted.set()
        self._noted = trio.Event()

    async def has_become(self, outcome: Outcome) -> None:
        """Wait until something that was passed on has become of this kind."""
        while outcome not in self.outcomes:
            await self._noted.wait()


async def _waits_on() -> bool:
    await trio.lowlevel.checkpoint()
    return False


def _nothing() -> None:
    pass


@attrs.frozen
class Hop:
    """Where the hop is entered, and both apps."""

    host: str
    port: int
    entry: Entry
    stop: trio.Event


@asynccontextmanager
async def hop_to(
    url: str, *, in_place: bool = True, limits: dict[str, Any] | None = None, **entry: Any
) -> AsyncIterator[Hop]:
    """Serve a node that passes all on to the one at `url`."""
    app, stop = Entry(url, **entry), trio.Event()
    with trio.fail_after(HANGING):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(app.forwarder.connections.run)
            host, port = await nursery.start(listener_of(app, stop, in_place=in_place, **limits or {}))
            yield Hop(host, port, app, stop)
            stop.set()
            nursery.cancel_scope.cancel("the test is over")


def listener_of(app: Any, stop: trio.Event, *, in_place: bool = True, **limits: Any) -> Callable[..., Awaitable[Any]]:
    """Return what serves an app at a free port of the loopback, for `nursery.start`."""
    options = ListenerOptions(**{"grace": 0.2, **limits})
    return partial(serve, app, options, host="127.0.0.1", port=0, stop=stop, runs_in_place=lambda _path: in_place)


@asynccontextmanager
async def node_of(app: Any, **limits: Any) -> AsyncIterator[str]:
    """Serve an app as a node of its own, and yield its address."""
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        host, port = await nursery.start(listener_of(app, stop, **limits))
        yield f"http://{host}:{port}"
        stop.set()
        nursery.cancel_scope.cancel("the test is over")


@asynccontextmanager
async def scripted_node(handle: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[str]:
    """Listen as a node whose connections are handled byte by byte, and yield its address."""

    async def contained(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            await handle(stream)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, contained, 0, host="127.0.0.1"))
        yield f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        nursery.cancel_scope.cancel("the test is over")
