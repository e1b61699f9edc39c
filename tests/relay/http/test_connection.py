"""A connection outlives each of its requests in order, or is closed; it is never left open and dead."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from contextvars import ContextVar
from functools import partial
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from relay.http.asgi import BODY_AT_HAND, BodyTooLarge, Head
from relay.http.connection import KNOWN_PEER, Connection
from relay.http.listener import ListenerOptions, serve
from tests.hostile_inputs import HTTP2_PREFACE, Upgrade, upgrade_request
from tests.http1_peer import CHUNKED, Peer, chunk, head, peer
from tests.limits import HANGING
from tests.relay.http.tending import tended

SOON = 0.1
"""Seconds: a limit that a test waits out."""


@attrs.define(eq=False)
class App:
    """Answers at once, without reading, on most paths; `/read` returns the body's length, `/hold` waits for `go`.

    `/read-late` does both.

    `/at-hand` returns the body, or its length if that has to be waited for.

    On `/framework` it does as web frameworks do: a watch cancels the handler when the exchange is over. `/known` counts
    its peer as known.
    """

    go: trio.Event = attrs.field(factory=trio.Event)
    inside: int = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.inside += 1
        try:
            match scope["path"]:
                case "/read":
                    await _say(send, str(await _body_length(receive)))
                case "/read-late":
                    await self.go.wait()
                    await _say(send, str(await _body_length(receive)))
                case "/at-hand":
                    body = Head(scope).take_body(100)
                    await _say(send, str(await _body_length(receive)) if body is None else f"{body.decode()} at hand")
                case "/hold":
                    await self.go.wait()
                    await _say(send, "held")
                case "/known":
                    scope["extensions"][KNOWN_PEER]()
                    await _say(send, "known")
                case "/framework":
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(_watch, receive, nursery.cancel_scope)
                        await _say(send, "framework")
                        nursery.cancel_scope.cancel()
                case "/late":
                    await _say(send, "late")
                    await self.go.wait()
                case path:
                    await _say(send, path)
        finally:
            self.inside -= 1


async def _say(send: Any, text: str) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(text))]})
    await send({"type": "http.response.body", "body": text.encode()})


async def _body_length(receive: Any) -> int:
    length = 0
    while True:
        message = await receive()
        length += len(message.get("body", b""))
        if not message.get("more_body"):
            return length


async def _watch(receive: Any, scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel("the exchange is over")


@attrs.frozen
class Served:
    """A listener that runs."""

    address: tuple[str, int]
    app: App
    stop: trio.Event

    @asynccontextmanager
    async def peer(self) -> AsyncIterator[Peer]:
        """Connect to it."""
        async with peer(*self.address) as connected:
            yield connected


IN_PLACE = ContextVar("IN_PLACE", default=True)


@pytest.fixture(params=[True, False], ids=["in place", "as a framework"], autouse=True)
def way(request: pytest.FixtureRequest) -> None:
    """Have apps served in the connection's task, and as a web framework is: whatever holds for one does for both."""
    IN_PLACE.set(request.param)


@asynccontextmanager
async def serving(**limits: Any) -> AsyncIterator[Served]:
    app, stop = App(), trio.Event()
    with trio.fail_after(HANGING):
        async with trio.open_nursery() as nursery:
            options = ListenerOptions(**{"grace": 0.2, **limits})
            in_place = IN_PLACE.get()
            run = partial(serve, app, options, host="127.0.0.1", port=0, stop=stop)
            address = await nursery.start(partial(run, runs_in_place=lambda _path: in_place))
            yield Served(address, app, stop)
            app.go.set()
            stop.set()


# ── an answer before the request is complete ────────────────────────────────────────────────────────────────────────

BODIES = {
    "three bytes": ("Content-Length: 3", [b"abc"]),
    "one at a time": ("Content-Length: 3", [b"a", b"b", b"c"]),
    "a megabyte": ("Content-Length: 1048576", [bytes(1 << 20)]),
    "one chunk": (CHUNKED, [chunk(b"abc"), chunk(b"")]),
    "a chunk in pieces": (CHUNKED, [b"3\r", b"\nab", b"c\r\n0", b"\r\n\r\n"]),
    "many chunks": (CHUNKED, [chunk(b"x") * 50, chunk(b"")]),
    "no chunk": (CHUNKED, [chunk(b"")]),
    "a trailer": (CHUNKED, [chunk(b"x"), b"0\r\nChecksum: 7\r\n\r\n"]),
}


@pytest.mark.parametrize("path", ["/", "/framework", "/late"])
@pytest.mark.parametrize("body", BODIES)
async def test_rest_of_a_request_is_read_after_its_answer(body: str, path: str) -> None:
    """A request that is answered before its body has come leaves the connection in order for the next one."""
    field, pieces = BODIES[body]
    async with serving() as served, served.peer() as client:
        for _ in range(2):
            await client.send(head("POST", path, field))
            assert (await client.answer("POST")).body == path.strip("/").encode() or path == "/"
            for piece in pieces:
                await client.send(piece)
                await trio.lowlevel.checkpoint()
        assert (await client.get("/next")).body == b"/next"


@pytest.mark.parametrize("body", BODIES)
async def test_rest_of_a_request_may_come_with_the_next_one(body: str) -> None:
    """Part of a body with the head, the rest in one go with the next request: both are answered, in their order."""
    field, pieces = BODIES[body]
    whole = b"".join(pieces)
    async with serving() as served, served.peer() as client:
        await client.send(head("POST", "/framework", field) + whole[:1])
        await client.answer("POST")
        await client.send(whole[1:] + head("POST", "/read", "Content-Length: 2") + b"hi")
        assert (await client.answer("POST")).body == b"2"


async def test_body_that_came_with_its_head_is_had_at_once() -> None:
    """An app of our own need not receive it; one that has to be waited for is received, as in a web framework."""
    async with serving() as served, served.peer() as client:
        for field, first, rest in [
            ("Content-Length: 3", b"abc", b""),
            ("Content-Length: 3", b"ab", b"c"),
            ("Content-Length: 3", b"", b"abc"),
            (CHUNKED, chunk(b"abc") + chunk(b""), b""),
        ]:
            await client.send(head("POST", "/at-hand", field) + first)
            if rest:
                await trio.sleep(0.01)
                await client.send(rest)
            is_at_hand = first == b"abc" and IN_PLACE.get()
            assert (await client.answer("POST")).body == (b"abc at hand" if is_at_hand else b"3")
        await client.send(head("POST", "/at-hand", "Content-Length: 0"))
        assert (await client.answer("POST")).body == b"0"


def test_body_that_came_with_its_head_may_be_too_large() -> None:
    """The limit holds whether a body is received or not."""
    scope = {"extensions": {BODY_AT_HAND: lambda: b"abc"}}
    assert Head(scope).take_body(3) == b"abc"
    with pytest.raises(BodyTooLarge):
        Head(scope).take_body(2)


async def test_request_with_a_body_that_is_too_long_to_be_dropped_is_the_last() -> None:
    """Where more is announced than would be dropped, the answer says that the connection closes, and it does."""
    async with serving(drain_bytes=1000) as served, served.peer() as client:
        await client.send(head("POST", "/", "Content-Length: 1001"))
        assert (await client.answer("POST")).closes
        assert await client.is_closed()


async def test_endless_chunks_after_the_answer_end_the_connection() -> None:
    """Chunks beyond what is dropped close the connection."""
    async with serving(drain_bytes=1000) as served, served.peer() as client:
        await client.send(head("POST", "/", CHUNKED))
        await client.answer("POST")
        await trio.sleep(0.02)  # what comes before the handler has ended is not counted
        await client.send(chunk(bytes(1001)))
        assert await client.is_closed()


async def test_body_that_never_comes_ends_the_connection() -> None:
    """A peer that has its answer, and does not complete its request, is closed."""
    async with serving(drain_within=SOON) as served, served.peer() as client:
        await client.send(head("POST", "/", "Content-Length: 3"))
        await client.answer("POST")
        assert await client.is_closed()


async def test_chunks_that_the_handler_does_not_read_hold_nobody_up() -> None:
    """A handler that answers with more unread pieces before it than it is handed at once still answers, and is over."""
    async with serving() as served, served.peer() as client:
        await client.send(head("POST", "/hold", CHUNKED))
        for _ in range(40):
            await client.send(chunk(b"x"))
            await trio.sleep(0.001)
        served.app.go.set()
        assert (await client.answer("POST")).body == b"held"
        await client.send(chunk(b""))
        assert (await client.get()).status == 200
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert served.app.inside == 0


async def test_answer_is_not_lost_with_what_is_still_sent() -> None:
    """A peer that goes on sending to a connection that closes has its answer all the same."""
    async with serving(drain_bytes=100_000) as served, served.peer() as client:
        await client.send(head("POST", "/", "Content-Length: 1000000"))
        await client.send(bytes(50_000))
        answer = await client.answer("POST")
        assert (answer.body, answer.closes) == (b"/", True)


@pytest.mark.parametrize("path", ["/", "/framework"])
@pytest.mark.parametrize(
    "request_head",
    [
        head("GET", "%s", "Connection: close"),
        head("GET", "%s", "connection: Keep-Alive, CLOSE"),
        head("GET", "%s", version="1.0"),
        head("POST", "%s", "Content-Length: 3", version="1.0"),
        head("POST", "%s", "Content-Length: 3", "Connection: close"),
    ],
)
async def test_last_request_is_the_last(request_head: bytes, path: str) -> None:
    """What the peer said is its last request, or sent as HTTP/1.0, is answered, and the connection closed."""
    async with serving() as served, served.peer() as client:
        await client.send(request_head.replace(b"%s", path.encode()))
        assert (await client.answer()).closes
        assert await client.is_closed()


async def test_bytes_after_the_last_request_do_not_spoil_it() -> None:
    """An old client's line break after its body, behind `Connection: close`, is passed over."""
    async with serving() as served, served.peer() as client:
        await client.send(head("POST", "/read", "Content-Length: 3", "Connection: close") + b"abc\r\n")
        assert (await client.answer("POST")).body == b"3"


@pytest.mark.parametrize("body", ["three bytes", "one chunk"])
async def test_peer_that_has_asked_and_says_no_more_gets_its_answer(body: str) -> None:
    """Its half of the connection is ended, and seen to be, before the handler asks for the body."""
    field, pieces = BODIES[body]
    own, ended = Connection.tend, trio.Event()

    def tend(connection: Connection, now: float) -> None:
        own(connection, now)
        if connection._wire.has_left:
            ended.set()

    with tended(tend):
        async with serving(linger=0.04) as served, served.peer() as client:
            await client.send(head("POST", "/read-late", field) + b"".join(pieces))
            await client.stream.send_eof()
            await ended.wait()
            served.app.go.set()
            assert (await client.answer()).body == b"3"


async def test_handler_may_go_on_after_its_answer() -> None:
    """Work that a handler does after its answer is not cut short when the peer closes the connection, nor by the next
    request.
    """
    async with serving(linger=SOON) as served, served.peer() as client:
        await client.send(head("GET", "/late"))
        await client.answer()
        assert (await client.get("/next")).body == b"/next"
        await client.send(head("GET", "/late", "Connection: close"))
        await client.answer()
        await trio.sleep(2 * SOON)
        assert served.app.inside == 2


async def test_handler_may_end_in_the_moment_in_which_the_next_request_is_read() -> None:
    """Its connection has one reader all the same: each next request is answered."""
    look_at = Connection.tend
    async with serving(linger=SOON) as served, AsyncExitStack() as clients:
        peers = [await clients.enter_async_context(served.peer()) for _ in range(10)]
        for client in peers:
            await client.send(head("GET", "/late"))
            await client.answer()

        def end_and_look_at(connection: Connection, now: float) -> None:
            served.app.go.set()
            look_at(connection, now)

        with tended(end_and_look_at):
            await served.app.go.wait()
            for client in peers:
                assert (await client.get("/next")).body == b"/next"


# ── how long a connection may wait ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("begun", [b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: relay\r\nX-A: b"])
async def test_every_head_has_its_deadline(begun: bytes) -> None:
    """A request that is begun and not finished ends the connection, be it the first or a later one."""
    async with serving(head_within=SOON) as served, served.peer() as first, served.peer() as later:
        await first.send(begun)
        await later.get()
        await later.send(begun)
        assert await first.is_closed()
        assert await later.is_closed()


@pytest.mark.parametrize("sent", [b"", b"\r\n"], ids=["nothing", "line end"])
async def test_first_head_has_its_deadline_before_it_is_begun(sent: bytes) -> None:
    """A peer that connects and asks nothing is not kept for as long as one that has asked."""
    async with serving(head_within=SOON) as served, served.peer() as client:
        await client.send(sent)
        assert await client.is_closed()


async def test_head_that_came_with_the_request_before_has_its_deadline() -> None:
    """The beginning of a second request, sent along with the first, does not keep the connection."""
    async with serving(head_within=SOON) as served, served.peer() as client:
        await client.send(head("GET", "/") + b"GET / HT")
        assert (await client.answer()).body == b"/"
        assert await client.is_closed()


async def test_trickle_does_not_extend_the_deadline() -> None:
    """A head that comes byte by byte has no more time than another."""
    async with serving(head_within=2 * SOON) as served, served.peer() as client:
        await client.get()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_trickle, client)
            assert await client.is_closed()
            nursery.cancel_scope.cancel()


async def _trickle(client: Peer) -> None:
    with suppress(trio.BrokenResourceError):
        await client.send(b"GET /")
        while True:
            await client.send(b"x")
            await trio.sleep(SOON / 10)


async def test_idle_connection_may_stay_for_the_keep_alive_time() -> None:
    """Between two requests a connection outlives the time for a head, and ends after its own time."""
    async with serving(head_within=SOON, keep_alive=5 * SOON) as served, served.peer() as client:
        await client.get("/framework")
        await trio.sleep(2 * SOON)
        assert (await client.get("/framework")).status == 200
        assert await client.is_closed()


# ── who gives way ───────────────────────────────────────────────────────────────────────────────────────────────────

WAITING = {
    "nothing sent": b"",
    "half a head": b"GET / HT",
    "idle": head("GET", "/"),
    "half a body": head("POST", "/read", "Content-Length: 3") + b"a",
    "answered before its body": head("POST", "/", "Content-Length: 3"),
}


@pytest.mark.parametrize("how", WAITING)
async def test_connection_that_waits_for_its_peer_gives_way(how: str) -> None:
    """When all places are taken, the one that has waited longest is closed for the next peer, in whatever it waits."""
    async with serving(max_connections=2) as served, served.peer() as oldest, served.peer() as older:
        for each in (oldest, older):
            await each.send(WAITING[how])
            if how in {"idle", "answered before its body"}:
                await each.answer()
            await trio.sleep(0.02)
        async with served.peer() as newcomer:
            assert (await newcomer.get()).status == 200
            assert await oldest.is_closed()
            with trio.move_on_after(SOON) as still_open:
                await older.is_closed()
            assert still_open.cancelled_caught


async def test_connection_that_is_worked_for_does_not_give_way() -> None:
    """A request under way keeps its place; where all places are so, the next peer is turned away."""
    async with serving(max_connections=1) as served, served.peer() as busy:
        await busy.send(head("GET", "/hold"))
        await trio.sleep(0.02)
        async with served.peer() as refused:
            assert await refused.is_closed()
        served.app.go.set()
        assert (await busy.answer()).body == b"held"


async def test_request_that_has_come_does_not_give_way() -> None:
    """One that is there whole, in one piece or in two, keeps its place before its handler asks for the body, too."""
    own, looked = Connection.tend, trio.Event()

    def tend(connection: Connection, now: float) -> None:
        own(connection, now)
        looked.set()

    async def look() -> None:
        nonlocal looked
        looked = trio.Event()
        await looked.wait()

    request = head("POST", "/hold", "Content-Length: 3") + b"abc"
    with tended(tend):
        async with serving(max_connections=2, linger=0.04) as served, served.peer() as one, served.peer() as other:
            await one.send(request)
            await other.send(request[:-2])
            while served.app.inside < 2:
                await look()
            await other.send(request[-2:])
            await look()
            async with served.peer() as refused:
                assert await refused.is_closed()
            served.app.go.set()
            assert [(await each.answer()).body for each in (one, other)] == [b"held", b"held"]


async def test_handler_that_goes_on_after_its_answer_keeps_its_place() -> None:
    """A connection whose handler still works does not give way, although its peer has the answer."""
    async with serving(max_connections=1) as served, served.peer() as busy:
        await busy.send(head("GET", "/late"))
        await busy.answer()
        async with served.peer() as refused:
            assert await refused.is_closed()
        assert served.app.inside == 1


async def test_known_peer_gives_way_last() -> None:
    """Strangers cost each other their places; a peer that has shown who it is keeps its idle connection."""
    async with serving(max_connections=3) as served, served.peer() as known, AsyncExitStack() as strangers:
        assert (await known.get("/known")).body == b"known"
        for _ in range(30):
            stranger = await strangers.enter_async_context(served.peer())
            assert (await stranger.get()).status == 200
        assert (await known.get()).status == 200


async def test_known_peers_give_way_where_there_are_no_strangers() -> None:
    """Idle connections of known peers are closed for the next one, too, the longest idle first."""
    async with serving(max_connections=2) as served, served.peer() as first, served.peer() as second:
        for each in (first, second, first):
            await each.get("/known")
        async with served.peer() as newcomer:
            assert (await newcomer.get()).status == 200
            assert await second.is_closed()
            assert (await first.get()).status == 200


async def test_flood_keeps_nobody_out() -> None:
    """While strangers open one connection after another, each new peer is answered."""
    async with serving(max_connections=20) as served, AsyncExitStack() as flood:
        for _ in range(10):
            for _ in range(30):
                await flood.enter_async_context(served.peer())
            async with served.peer() as client:
                assert (await client.get()).status == 200


# ── what is not spoken ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "field", [CHUNKED, "Transfer-Encoding: Chunked", "transfer-encoding: chunked", "TRANSFER-ENCODING: chunked"]
)
async def test_two_lengths_are_refused(field: str) -> None:
    """A request with both a length and chunks is refused, and what follows it is not taken for a request."""
    async with serving() as served, served.peer() as client:
        await client.send(head("POST", "/read", "Content-Length: 4", field) + b"0\r\n\r\n" + head("GET", "/smuggled"))
        answer = await client.answer("POST")
        assert (answer.status, answer.closes) == (400, True)
        assert await client.is_closed()


@pytest.mark.parametrize(
    "data", [HTTP2_PREFACE, head("GET", "/", version="2.0"), head("GET", "/", version="3.7")], ids=["preface", "2", "3"]
)
async def test_other_versions_are_refused(data: bytes) -> None:
    """HTTP/2 by prior knowledge, and versions that do not exist, get 505 in HTTP/1.1."""
    async with serving() as served, served.peer() as client:
        await client.send(data)
        answer = await client.answer()
        assert (answer.status, answer.closes) == (505, True)


async def test_upgrade_to_http2_is_passed_over() -> None:
    """A request that offers h2c is answered in HTTP/1.1, as one without the offer, and so is the next."""
    async with serving() as served, served.peer() as client:
        await client.send(
            head("GET", "/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAA")
        )
        assert (await client.answer()).body == b"/"
        assert (await client.get("/next")).body == b"/next"


@pytest.mark.parametrize("offer", [b"permessage-deflate", b"permessage-deflate; client_max_window_bits, x-other"])
async def test_compression_of_messages_is_not_taken_up(offer: bytes) -> None:
    """A WebSocket that offers compression is opened without it."""
    async with websocket_server() as address, peer(*address) as client:
        await client.send(upgrade_request(b"/", Upgrade({b"Sec-WebSocket-Extensions": offer}), {}))
        reply = bytes(await client.stream.receive_some())
        assert reply.startswith(b"HTTP/1.1 101 ")
        assert b"extensions" not in reply.lower()


@asynccontextmanager
async def websocket_server() -> AsyncIterator[tuple[str, int]]:
    async def accept(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()

    with trio.fail_after(HANGING):
        async with trio.open_nursery() as nursery:
            options = ListenerOptions(grace=0)
            stop = trio.Event()
            yield await nursery.start(partial(serve, accept, options, host="127.0.0.1", port=0, stop=stop))
            stop.set()


# ── stopping ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_answer_after_stop_is_the_last_of_its_connection() -> None:
    """A request under way when the listener stops is answered, with the word that the connection closes."""
    async with serving(grace=5) as served, served.peer() as client:
        await client.send(head("GET", "/hold"))
        await trio.sleep(0.02)
        served.stop.set()
        await trio.sleep(0.02)
        served.app.go.set()
        answer = await client.answer()
        assert (answer.body, answer.closes) == (b"held", True)
        assert await client.is_closed()
