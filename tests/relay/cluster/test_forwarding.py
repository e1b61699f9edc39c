"""What is passed on to another node arrives as it was sent, and so does the answer, however either side behaves."""

from __future__ import annotations

import gc
import socket
import struct
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio

from relay.cluster import forwarding
from relay.cluster.forwarding import Outcome
from relay.cluster.passed_request import KEPT_BYTES
from relay.http.asgi import HOP
from tests.hostile_inputs import RAW_INPUTS, HostileInput, throw
from tests.http1_peer import CHUNKED, Cut, chunk, head, peer
from tests.relay.cluster.hop import Hop, hop_to, node_of, scripted_node

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
both_ways = pytest.mark.parametrize("in_place", [True, False], ids=["in place", "as a framework"])


@attrs.define(eq=False)
class Home:
    """The app of the node that requests are passed on to; it notes what it was asked.

    `/early` answers before the request is complete, `/stream` sends a piece when `go` is set anew, until its asker has
    left; `/hold` waits for that; `/flood` sends without end; `/cut` leaves its answer incomplete.
    """

    asked: list[tuple[Any, bytes]] = attrs.field(factory=list)
    left: trio.Event = attrs.field(factory=trio.Event)
    was_told: bool = False
    """Whether the request of who left was complete."""
    go: trio.Event = attrs.field(factory=trio.Event)
    flooded: int = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        match scope["path"]:
            case "/early":
                await self._answer(send, 413, b"too long")
            case "/stream":
                await self._stream(receive, send)
            case "/hold":
                await self._hold(receive)
            case "/flood":
                await send({"type": "http.response.start", "status": 200, "headers": []})
                while self.flooded < 1 << 30:
                    await send({"type": "http.response.body", "body": bytes(65_536), "more_body": True})
                    self.flooded += 65_536
            case "/cut":
                await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
                await send({"type": "http.response.body", "body": b"half", "more_body": True})
            case "/empty":
                await self._answer(send, 204, b"")
            case _:
                body = await self._body(receive)
                self.asked.append((dict(scope), body))
                await self._answer(send, 200, b"%d bytes" % len(body), (b"x-told", b"a, b"), (b"set-cookie", b"c=d"))

    async def _answer(self, send: Any, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
        length = (b"content-length", b"%d" % len(body))
        await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
        await send({"type": "http.response.body", "body": body})

    async def _body(self, receive: Any) -> bytes:
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message.get("more_body"):
                break
        return body

    async def _hold(self, receive: Any) -> None:
        while (message := await receive())["type"] != "http.disconnect":
            self.was_told = not message.get("more_body")
        self.left.set()

    async def _stream(self, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pieces, send)
            await self._hold(receive)
            nursery.cancel_scope.cancel("the asker has left")

    async def _pieces(self, send: Any) -> None:
        while True:
            await self.go.wait()
            self.go = trio.Event()
            await send({"type": "http.response.body", "body": b"data: x\n\n", "more_body": True})


@asynccontextmanager
async def hop(home: Home | None = None, **entry: Any) -> AsyncIterator[tuple[Hop, Home]]:
    home = home or Home()
    async with node_of(home) as url, hop_to(url, **entry) as hop:
        yield hop, home


# ── as it was sent ──────────────────────────────────────────────────────────────────────────────────────────────────

BODIES = {
    "none": ([], [], b""),
    "three bytes": (["Content-Length: 3"], [b"abc"], b"abc"),
    "one at a time": (["Content-Length: 3"], [b"a", b"b", b"c"], b"abc"),
    "a megabyte": (["Content-Length: 1048576"], [b"x" * (1 << 20)], b"x" * (1 << 20)),
    "chunks": ([CHUNKED], [chunk(b"abc"), chunk(b"de"), chunk(b"")], b"abcde"),
    "no chunk": ([CHUNKED], [chunk(b"")], b""),
    "a trailer": ([CHUNKED], [chunk(b"x"), b"0\r\nChecksum: 7\r\n\r\n"], b"x"),
}


@both_ways
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
async def test_a_request_arrives_as_it_was_sent(body: tuple[list[str], list[bytes], bytes], *, in_place: bool) -> None:
    """Method, raw path, query, headers and body are those of the request; the connection serves several."""
    fields, pieces, whole = body
    async with hop(in_place=in_place) as (hop_, home), peer(hop_.host, hop_.port) as asker:
        for _ in range(2):
            path = "/n/b/webhooks/caf%C3%A9/voice?a=%20b&&c=+"
            await asker.send(head("POST", path, "X-Twilio-Signature: a+b/c=", "X-Two: 1", "X-Two: 2", *fields))
            for piece in pieces:
                await asker.send(piece)
                await trio.sleep(0.01)
            answer = await asker.answer("POST")
            assert (answer.status, answer.body) == (200, b"%d bytes" % len(whole))
            assert (answer.headers["x-told"], answer.headers["set-cookie"]) == ("a, b", "c=d")
            scope, arrived = home.asked[-1]
            assert arrived == whole
            assert (scope["method"], scope["raw_path"]) == ("POST", b"/n/b/webhooks/caf%C3%A9/voice")
            assert scope["query_string"] == b"a=%20b&&c=+"
            assert [value for name, value in scope["headers"] if name == b"x-two"] == [b"1", b"2"]
            assert dict(scope["headers"])[b"x-twilio-signature"] == b"a+b/c="
            assert dict(scope["headers"])[b"host"] == b"relay"
        assert home.asked[0][0]["client"] == home.asked[1][0]["client"]  # over one connection


async def test_the_hop_is_named_by_who_passes_on() -> None:
    """A hop that the asker names is left out; ours is the only one."""
    async with hop() as (hop_, home), peer(hop_.host, hop_.port) as asker:
        await asker.send(head("GET", "/", "Relay-Hop: elsewhere", "Connection: keep-alive, x-y", "X-Y: kept"))
        await asker.answer()
        headers = home.asked[0][0]["headers"]
        assert [value for name, value in headers if name == HOP] == [b"entry"]
        assert (b"x-y", b"kept") in headers
        assert b"connection" not in dict(headers)


async def test_a_length_that_is_called_the_connections_own_stays() -> None:
    """A peer cannot have its body taken for a request by naming its length in `Connection`."""
    async with hop() as (hop_, home), peer(hop_.host, hop_.port) as asker:
        smuggled = head("GET", "/smuggled")
        await asker.send(head("POST", "/", "Connection: content-length", f"Content-Length: {len(smuggled)}") + smuggled)
        await asker.answer("POST")
        assert [body for _, body in home.asked] == [smuggled]


@both_ways
async def test_answers_without_a_body(*, in_place: bool) -> None:
    """HEAD and 204 have none, whatever they say, and the connection goes on."""
    async with hop(in_place=in_place) as (hop_, _), peer(hop_.host, hop_.port) as asker:
        for _ in range(2):
            await asker.send(head("HEAD", "/"))
            answer = await asker.answer("HEAD")
            assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "7")
            answer = await asker.get("/empty")
            assert (answer.status, answer.body) == (204, b"")


async def test_a_peer_of_http_1_0_is_served() -> None:
    """It needs no host, and learns by the end of the connection where a stream ends."""
    async with hop() as (hop_, home), peer(hop_.host, hop_.port) as asker:
        await asker.send(b"GET /old HTTP/1.0\r\n\r\n")
        answer = await asker.answer()
        assert (answer.status, answer.body) == (200, b"0 bytes")
        assert home.asked[0][0]["path"] == "/old"


async def test_who_waits_to_be_asked_for_the_body_is_asked() -> None:
    """`Expect: 100-continue` is answered where it arrives, and not asked of the node once more."""
    async with hop() as (hop_, home), peer(hop_.host, hop_.port) as asker:
        await asker.send(head("POST", "/", "Expect: 100-continue", "Content-Length: 3"))
        assert (await asker.stream.receive_some()).startswith(b"HTTP/1.1 100")
        await asker.send(b"abc")
        assert (await asker.answer("POST")).body == b"3 bytes"
        assert b"expect" not in dict(home.asked[0][0]["headers"])


async def test_an_answer_that_comes_early_is_relayed() -> None:
    """A node that answers before the request is complete is heard, and the next request is served."""
    async with hop() as (hop_, _), peer(hop_.host, hop_.port) as asker:
        await asker.send(head("POST", "/early", "Content-Length: 1000") + b"x" * 500)
        assert (await asker.answer("POST")).status == 413
        await asker.send(b"x" * 500)
        assert (await asker.get()).status == 200


@both_ways
@pytest.mark.parametrize("hostile", RAW_INPUTS, ids=lambda hostile: hostile.name)
async def test_no_input_harms_what_else_is_passed_on(hostile: HostileInput, *, in_place: bool) -> None:
    """Whatever one peer sends, a stream that is passed on goes on, and new requests are."""
    async with hop(in_place=in_place) as (hop_, home), peer(hop_.host, hop_.port) as other:
        await other.send(head("GET", "/stream"))
        attacker = await throw(hostile, hop_.host, hop_.port)
        assert await _streams(other, home)
        await trio.aclose_forcefully(attacker)
        assert await _streams(other, home)
        async with peer(hop_.host, hop_.port) as next_one:
            assert (await next_one.get()).status == 200


async def _streams(asker: Any, home: Home) -> bool:
    home.go.set()
    seen = b""
    while b"data: x" not in seen:
        seen += bytes(await asker.stream.receive_some()) or b"data: x is missing: the end"
    return b"missing" not in seen


# ── a side that leaves ──────────────────────────────────────────────────────────────────────────────────────────────


@both_ways
@pytest.mark.parametrize("path", ["/stream", "/hold"])
async def test_a_node_learns_that_the_asker_hung_up(path: str, *, in_place: bool) -> None:
    """When who asks leaves, so does what was opened for it at the node, before an answer and in it."""
    async with hop(in_place=in_place) as (hop_, home):
        async with peer(hop_.host, hop_.port) as asker:
            await asker.send(head("GET", path))
            if path == "/stream":
                assert await _streams(asker, home)
            else:
                await trio.sleep(0.05)
        if in_place or path == "/stream":  # a framework's handler is told only when its answer has begun
            with trio.fail_after(10):
                await home.left.wait()


@pytest.mark.parametrize("fields", [(), ("Content-Length: 0",)], ids=["no length", "length"])
async def test_a_node_is_told_that_the_client_of_a_stream_has_left(fields: tuple[str, ...]) -> None:
    """Its request is complete then, and the next stream finds a connection that takes it."""
    async with hop(is_stream=True) as (hop_, home):
        for _ in range(3):
            home.left, home.was_told = trio.Event(), False
            async with peer(hop_.host, hop_.port) as asker:
                await asker.send(head("GET", "/stream", *fields))
                assert await _streams(asker, home)
                assert not home.was_told
            await home.left.wait()
            assert home.was_told


async def test_a_node_is_told_nothing_by_a_hop_that_is_gone() -> None:
    """The client may be there, and come by another way."""
    async with hop(is_stream=True) as (hop_, home), peer(hop_.host, hop_.port) as asker:
        await asker.send(head("GET", "/stream"))
        assert await _streams(asker, home)
        hop_.stop.set()  # which cuts off what has not ended after a moment
        await home.left.wait()
        assert not home.was_told


async def test_streams_that_are_refused_do_not_wait_for_each_other() -> None:
    """Each is answered, and what follows it."""
    async with hop(is_stream=True) as (hop_, _), peer(hop_.host, hop_.port) as asker:
        for _ in range(3):
            assert (await asker.get("/early")).status == 413


async def test_an_asker_that_ends_its_half_gets_its_answer() -> None:
    """A peer may end its half behind its request, as with a single node, and is answered."""
    async with hop() as (hop_, _), peer(hop_.host, hop_.port) as asker:
        await asker.send(head("POST", "/", "Content-Length: 3") + b"abc")
        await asker.stream.send_eof()
        assert (await asker.answer("POST")).body == b"3 bytes"


async def test_an_asker_that_leaves_in_its_request_takes_it_along() -> None:
    """What is not complete is given up at both ends, and the node serves others."""
    async with hop() as (hop_, home):
        async with peer(hop_.host, hop_.port) as asker:
            await asker.send(head("POST", "/", "Content-Length: 1000") + b"x" * 500)
            await trio.sleep(0.05)
        async with peer(hop_.host, hop_.port) as asker:
            assert (await asker.get()).status == 200
        await hop_.entry.has_become(Outcome.LEFT)
        assert [len(body) for _, body in home.asked if body] in ([], [500])


@both_ways
async def test_an_answer_that_breaks_off_is_seen_to(*, in_place: bool) -> None:
    """An answer which the node leaves incomplete is incomplete for who asks as well."""
    async with hop(in_place=in_place) as (hop_, _), peer(hop_.host, hop_.port) as asker:
        with pytest.raises(Cut):
            await asker.get("/cut")


async def test_a_stream_ends_with_its_node() -> None:
    """When the node is gone its streams are over at once for who listens to them."""

    async def die(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await trio.aclose_forcefully(stream)

    async with scripted_node(die) as url, hop_to(url) as hop_, peer(hop_.host, hop_.port) as asker:
        with pytest.raises(Cut), trio.fail_after(10):
            await asker.get()


async def test_an_asker_that_does_not_read_stops_the_node() -> None:
    """Nothing piles up in between: the node sends no more than the sockets hold, and memory stays as it is."""
    async with hop(limits={"peer_patience": 60}) as (hop_, home), peer(hop_.host, hop_.port) as asker:
        asker.stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        await asker.send(head("GET", "/flood"))
        await trio.sleep(0.5)
        before = home.flooded
        tracemalloc.start()
        await trio.sleep(0.3)
        assert home.flooded == before
        for _ in range(200):  # megabytes pass, and none stays
            await asker.stream.receive_some(65_536)
        gc.collect()
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert home.flooded > before
        assert most < 2_000_000


async def test_an_asker_that_never_reads_is_dropped() -> None:
    """As one that asks the node itself, after the listener's patience; and what it asked for ends at the node."""
    over = trio.Event()

    class Flood(Home):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            try:
                await super().__call__(scope, receive, send)
            finally:
                over.set()

    async with hop(Flood(), limits={"peer_patience": 0.2}) as (hop_, _), peer(hop_.host, hop_.port) as asker:
        await asker.send(head("GET", "/flood"))
        await over.wait()  # it would wait for ever: what is sent to who has left goes nowhere
        async with peer(hop_.host, hop_.port) as other:
            assert (await other.get()).status == 200


async def test_a_node_that_does_not_read_stops_the_asker() -> None:
    """A body is read no faster than the node takes it."""

    async def deaf(_stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with scripted_node(deaf) as url, hop_to(url) as hop_, peer(hop_.host, hop_.port) as asker:
        await asker.send(head("POST", "/", f"Content-Length: {1 << 30}"))
        sent = 0
        with trio.move_on_after(1):
            while sent < 1 << 30:
                await asker.send(bytes(1 << 20))
                sent += 1 << 20
        assert sent < 100 << 20


# ── nodes that do not answer ────────────────────────────────────────────────────────────────────────────────────────


async def test_a_node_that_is_not_there_refuses() -> None:
    """Where nobody listens nothing was sent, and the outcome says so."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with hop_to(f"http://127.0.0.1:{unused.getsockname()[1]}") as hop_:
            async with peer(hop_.host, hop_.port) as asker:
                with pytest.raises(Cut):
                    await asker.get()
            assert hop_.entry.outcomes == [Outcome.REFUSED]


async def test_a_node_that_cannot_be_reached_is_given_up_in_time() -> None:
    """A node whose host does not answer is unreachable after the time for a connection."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        fillers = [await trio.open_tcp_stream(*address) for _ in range(1)]
        async with hop_to(f"http://127.0.0.1:{address[1]}") as hop_:
            hop_.entry.forwarder.connections.connect_seconds = 0.2
            async with peer(hop_.host, hop_.port) as asker:
                with pytest.raises(Cut):
                    await asker.get()
            assert hop_.entry.outcomes == [Outcome.UNREACHABLE]
        for each in fillers:
            await trio.aclose_forcefully(each)


async def test_a_node_that_is_silent_is_given_up_when_it_is_dead() -> None:
    """A node that does not answer in time is asked about, and waited for as long as it is alive."""
    asked_about: list[float] = []

    async def gives_up() -> bool:
        await trio.lowlevel.checkpoint()
        asked_about.append(trio.current_time())
        return len(asked_about) == 2

    async def silent(_stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with scripted_node(silent) as url, hop_to(url, gives_up=gives_up) as hop_:
        async with peer(hop_.host, hop_.port) as asker:
            with pytest.raises(Cut):
                await asker.get()
        assert hop_.entry.outcomes == [Outcome.SILENT]
        assert 1.4 < asked_about[1] - asked_about[0] < 5


async def test_a_stream_whose_node_falls_silent_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the client looks for another way; what comes within that time keeps it open."""
    monkeypatch.setattr(forwarding, "STREAM_SECONDS", 0.3)
    async with hop() as (hop_, home), peer(hop_.host, hop_.port) as asker:
        await asker.send(head("GET", "/stream"))
        for _ in range(3):
            assert await _streams(asker, home)
            await trio.sleep(0.15)
        await hop_.entry.has_become(Outcome.ANSWERED)
        await home.left.wait()
        with pytest.raises(Cut):
            await asker.answer()


async def test_a_node_that_is_not_the_home_has_done_nothing() -> None:
    """421 with the hop's header is no answer; without it, it is one like another."""

    async def not_home(stream: trio.SocketStream) -> None:
        while request := bytes(await stream.receive_some()):
            hop_header = b"relay-hop: b\r\n" if b"/mine" not in request else b""
            await stream.send_all(b"HTTP/1.1 421 \r\n" + hop_header + b"content-length: 0\r\n\r\n")

    async with scripted_node(not_home) as url, hop_to(url) as hop_:
        async with peer(hop_.host, hop_.port) as asker:
            assert (await asker.get("/mine")).status == 421
        async with peer(hop_.host, hop_.port) as asker:
            with pytest.raises(Cut):
                await asker.get("/not-mine")
        assert hop_.entry.outcomes == [Outcome.ANSWERED, Outcome.MISDIRECTED]


BROKEN = {
    "no answer": b"",
    "half a head": b"HTTP/1.1 200 OK\r\ncontent-le",
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx",
    "a head without end": b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000,
}


@pytest.mark.parametrize("said", BROKEN.values(), ids=BROKEN.keys())
async def test_what_is_no_answer_is_none(said: bytes) -> None:
    """A node that breaks before it has answered has answered nothing."""

    async def broken(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(said)

    async with scripted_node(broken) as url, hop_to(url) as hop_, peer(hop_.host, hop_.port) as asker:
        with pytest.raises(Cut):
            await asker.get()
        assert hop_.entry.outcomes == [Outcome.LOST]


# ── kept connections ────────────────────────────────────────────────────────────────────────────────────────────────


@attrs.define(eq=False)
class Leaving:
    """A node that answers the first request of a connection, and closes it when the second has come."""

    asked: int = 0

    async def __call__(self, stream: trio.SocketStream) -> None:
        for _ in range(2):
            if not await stream.receive_some():
                return
            self.asked += 1
            if self.asked != 2:
                await stream.send_all(OK)
            else:
                return


async def test_a_post_is_never_sent_twice() -> None:
    """A request that breaks with a kept connection is not repeated: it may have been performed."""
    node = Leaving()
    async with scripted_node(node) as url, hop_to(url) as hop_, peer(hop_.host, hop_.port) as asker:
        for _ in range(1):
            await asker.send(head("POST", "/", "Content-Length: 3") + b"abc")
            assert (await asker.answer("POST")).status == 200
        await asker.send(head("POST", "/", "Content-Length: 3") + b"abc")
        with pytest.raises(Cut):
            await asker.answer("POST")
        assert node.asked == 2


async def test_what_may_be_sent_twice_is() -> None:
    """A webhook or a GET that breaks with a kept connection is sent again over a new one, with its body."""
    node = Leaving()
    async with scripted_node(node) as url, hop_to(url, may_repeat=True) as hop_, peer(hop_.host, hop_.port) as asker:
        for _ in range(2):
            await asker.send(head("POST", "/", "Content-Length: 3") + b"abc")
            assert (await asker.answer("POST")).status == 200
        assert node.asked == 3


async def test_a_body_that_is_not_kept_is_not_sent_twice() -> None:
    """Only so much of a body is kept; what is longer cannot be repeated."""
    node = Leaving()
    async with scripted_node(node) as url, hop_to(url, may_repeat=True) as hop_, peer(hop_.host, hop_.port) as asker:
        assert (await asker.get()).status == 200
        await asker.send(head("POST", "/", f"Content-Length: {KEPT_BYTES + 1}") + bytes(KEPT_BYTES + 1))
        with pytest.raises(Cut):
            await asker.answer("POST")


async def test_a_connection_that_the_node_has_closed_is_not_used() -> None:
    """One that was kept, and closed by the node meanwhile, costs no request."""
    connections = 0

    async def once(stream: trio.SocketStream) -> None:
        nonlocal connections
        connections += 1
        await stream.receive_some()
        await stream.send_all(OK)

    async with scripted_node(once) as url, hop_to(url) as hop_, peer(hop_.host, hop_.port) as asker:
        for _ in range(3):
            await asker.send(head("POST", "/", "Content-Length: 3") + b"abc")
            assert (await asker.answer("POST")).status == 200
            await trio.sleep(0.02)
        assert connections == 3


async def test_only_so_many_connections_are_kept() -> None:
    """What was needed at once for a moment is closed again."""
    async with hop() as (hop_, _):
        kept = hop_.entry.forwarder.connections
        kept.most_kept = 2

        async def ask() -> None:
            async with peer(hop_.host, hop_.port) as asker:
                assert (await asker.get()).status == 200

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(ask)
        assert 1 <= len(kept) <= 2
