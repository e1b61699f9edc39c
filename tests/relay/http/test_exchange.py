"""One request and its answer, byte by byte: what an app receives, and what of what it sends the peer gets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from relay.http.asgi import Message, Receive, Scope, Send
from relay.http.listener import ListenerOptions, serve
from relay.http.wire import AHEAD
from tests.http1_peer import CHUNKED, Peer, chunk, head, peer
from tests.limits import HANGING

App = Callable[[Scope, Receive, Send], Awaitable[None]]
both_ways = pytest.mark.parametrize("in_place", [True, False], ids=["in place", "as a framework"])


@asynccontextmanager
async def serving(app: App, *, in_place: bool = True, **limits: Any) -> AsyncIterator[Peer]:
    """Serve an app, and connect to it."""
    stop = trio.Event()
    with trio.fail_after(HANGING):
        async with trio.open_nursery() as nursery:
            run = partial(serve, app, ListenerOptions(**{"grace": 0.2, **limits}), host="127.0.0.1", port=0, stop=stop)
            address = await nursery.start(partial(run, runs_in_place=lambda _path: in_place))
            async with peer(*address) as connected:
                yield connected
            stop.set()


def start(*headers: tuple[bytes, bytes], status: int = 200) -> Message:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(data: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


def answering(*messages: Message) -> App:
    """Return an app that sends these, whatever is asked."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        for each in messages:
            await send(each)

    return app


async def raw_answer(client: Peer) -> bytes:
    """Return all that comes until the end, as it is."""
    return b"".join([bytes(each) async for each in client.stream])


async def echo(_scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the request's body."""
    whole = b""
    while (message := await receive()).get("more_body"):
        whole += message["body"]
    whole += message["body"]
    await send(start((b"content-length", b"%d" % len(whole))))
    await send(body(whole))


@both_ways
async def test_requests_sent_at_once_are_answered_in_order(*, in_place: bool) -> None:
    """Bodies of both kinds among them: no byte of one is another's."""
    async with serving(echo, in_place=in_place) as client:
        await client.send(
            b"".join(
                head("POST", "/", "Content-Length: 5") + b"one %d" % number
                if number % 2
                else head("POST", "/", CHUNKED) + chunk(b"two ") + chunk(b"%d" % number) + chunk(b"")
                for number in range(10)
            )
        )
        expected = [(b"one %d" if number % 2 else b"two %d") % number for number in range(10)]
        assert [(await client.answer("POST")).body for _ in range(10)] == expected


@both_ways
async def test_peer_that_waits_to_be_asked_for_its_body_is(*, in_place: bool) -> None:
    """Unless the body has come along."""
    async with serving(echo, in_place=in_place) as client:
        await client.send(head("POST", "/", "Content-Length: 2", "Expect: 100-continue"))
        assert await client.stream.receive_some() == b"HTTP/1.1 100 \r\n\r\n"
        await client.send(b"hi")
        assert (await client.answer("POST")).body == b"hi"
        await client.send(head("POST", "/", "Content-Length: 2", "Expect: 100-continue") + b"hi")
        assert (await client.stream.receive_some()).startswith(b"HTTP/1.1 200 ")


@both_ways
@pytest.mark.parametrize(
    ("messages", "answer"),
    [
        ([start((b"content-length", b"2")), body(b"hi")], b"content-length: 2\r\n\r\nhi"),
        (
            [start(), body(b"h", more=True), body(b"i")],
            b"transfer-encoding: chunked\r\n\r\n1\r\nh\r\n1\r\ni\r\n0\r\n\r\n",
        ),
        ([start(), body(b"hi", more=True), body(b"")], b"transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"),
        ([start(status=204), body(b"dropped")], b"HTTP/1.1 204 \r\n\r\n"),
        ([start((b"transfer-encoding", b"gzip")), body(b"")], b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    ],
)
async def test_answer_says_where_it_ends(messages: list[Message], answer: bytes, *, in_place: bool) -> None:
    """By its length if the app says it, by chunks if not; the connection goes on."""
    async with serving(answering(*messages), in_place=in_place) as client:
        for _ in range(2):
            await client.send(head("GET", "/"))
            came = b""
            while not came.endswith(answer):
                came += bytes(await client.stream.receive_some())


@both_ways
async def test_old_peer_gets_no_chunks(*, in_place: bool) -> None:
    """The answer to HTTP/1.0 ends with the connection."""
    async with serving(answering(start(), body(b"h", more=True), body(b"i")), in_place=in_place) as client:
        await client.send(head("GET", "/", version="1.0"))
        assert (await raw_answer(client)) == b"HTTP/1.1 200 \r\nconnection: close\r\n\r\nhi"


@both_ways
@pytest.mark.parametrize("headers", [[], [(b"content-length", b"2")]])
async def test_answer_to_head_is_its_head(headers: list[tuple[bytes, bytes]], *, in_place: bool) -> None:
    """It says of the body what the answer to GET would, and has none."""
    async with serving(answering(start(*headers), body(b"hi")), in_place=in_place) as client:
        for _ in range(2):
            await client.send(head("HEAD", "/"))
            assert (await client.answer("HEAD")).body == b""


@both_ways
async def test_app_can_close_the_connection(*, in_place: bool) -> None:
    """By the header that says so."""
    app = answering(start((b"content-length", b"0"), (b"Connection", b"Close")), body(b""))
    async with serving(app, in_place=in_place) as client:
        assert (await client.get()).closes
        assert await client.is_closed()


@both_ways
@pytest.mark.parametrize(
    ("messages", "answer"),
    [
        ([start((b"content-length", b"3")), body(b"hi")], b"hi"),
        ([start((b"content-length", b"3")), body(b"h", more=True)], b"h"),
        ([start(), body(b"hi", more=True)], b"2\r\nhi\r\n"),
        ([start((b"content-length", b"1")), body(b"h", more=True), body(b"i")], b"h"),
        ([start((b"x", b"a\r\nb: c")), body(b"hi")], b"content-length: 0\r\nconnection: close\r\n\r\n"),
        ([body(b"hi")], b"content-length: 0\r\nconnection: close\r\n\r\n"),
    ],
)
async def test_answer_that_is_none_ends_the_connection(
    messages: list[Message], answer: bytes, *, in_place: bool
) -> None:
    """Too short, too long, not complete, split, or without a beginning: the peer can tell, and nothing follows it."""
    async with serving(answering(*messages), in_place=in_place) as client:
        await client.send(head("GET", "/") * 2)
        came = await raw_answer(client)
        assert came.endswith(answer)
        assert came.count(b"HTTP/1.1") == 1


@both_ways
async def test_malformed_body_is_refused_and_its_app_told(*, in_place: bool) -> None:
    """The request that follows it is not taken for one."""
    told: list[str] = []

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] == "http.request":
            pass
        told.append(message["type"])
        await send(start())

    async with serving(app, in_place=in_place) as client:
        await client.send(head("POST", "/", CHUNKED) + b"3\r\nabcd\r\n" + head("GET", "/smuggled"))
        answer = await client.answer("POST")
        assert (answer.status, answer.closes) == (400, True)
        assert await client.is_closed()
    assert told == ["http.disconnect"]


@both_ways
async def test_app_that_waits_learns_that_its_peer_has_left(*, in_place: bool) -> None:
    """What it sends then goes nowhere, and is no error."""
    over = trio.Event()

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive()) == {"type": "http.request", "body": b"", "more_body": False}
        await send(start())
        assert [await receive(), await receive()] == [{"type": "http.disconnect"}] * 2
        await send(body(b"hi"))
        over.set()

    async with serving(app, in_place=in_place) as client:
        await client.send(head("GET", "/"))
        await client.stream.receive_some()
        await client.stream.aclose()
        await over.wait()


@both_ways
async def test_peer_that_sends_no_more_gets_its_answers(*, in_place: bool) -> None:
    """To end one's half of the connection is not to hang up, for those who only answer: web frameworks watch for it."""

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                nursery.cancel_scope.cancel()

            if not in_place:
                nursery.start_soon(watch)
            await trio.sleep(0.1)
            await send(start((b"content-length", b"2")))
            await send(body(b"hi"))
            nursery.cancel_scope.cancel()

    async with serving(app, in_place=in_place, linger=0.1) as client:
        await client.send(head("GET", "/") * 2)
        await client.stream.send_eof()
        assert [(await client.answer()).body for _ in range(2)] == [b"hi"] * 2
        assert await client.is_closed()


@both_ways
async def test_answer_to_a_peer_that_sends_no_more_has_its_time(*, in_place: bool) -> None:
    """A handler that goes on for longer than the patience is cancelled."""
    cancelled = trio.Event()

    async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
        await receive()
        try:
            await receive()
            await trio.sleep_forever()
        finally:
            cancelled.set()

    async with serving(app, in_place=in_place, handler_patience=0.1) as client:
        await client.send(head("GET", "/"))
        await client.stream.send_eof()
        await cancelled.wait()
        assert await client.is_closed()


@both_ways
async def test_requests_that_come_early_are_kept_up_to_a_bound(*, in_place: bool) -> None:
    """While an answer streams, an app that waits for a hang-up reads what follows, but not without end."""
    go_on = trio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async with trio.open_nursery() as nursery:

            async def hang_up() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass

            nursery.start_soon(hang_up)
            await send(start())
            if scope["path"] == "/first":
                await go_on.wait()
            await send(body(b""))
            nursery.cancel_scope.cancel()

    early = head("GET", "/next", f"X: {'a' * 1000}")
    many = 40 * AHEAD // len(early)
    async with serving(app, in_place=in_place) as client:
        await client.send(head("GET", "/first"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, early * many)
            await trio.sleep(0.1)
            go_on.set()
            for _ in range(1 + many):
                assert (await client.answer()).status == 200


async def test_app_in_place_that_goes_on_leaves_its_connection_to_another_task() -> None:
    """The next requests are answered by others while it is at work, and it is not disturbed."""
    go_on, done = trio.Event(), []

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        await send(start((b"content-length", b"0")))
        await send(body(b""))
        if scope["path"] == "/late":
            await go_on.wait()
        done.append(scope["path"])

    async with serving(app, linger=0.1) as client:
        for path in ("/late", "/a", "/late", "/b"):
            assert (await client.get(path)).status == 200
        assert done == ["/a", "/b"]
        go_on.set()
        await trio.testing.wait_all_tasks_blocked()
        assert (await client.get("/c")).status == 200
    assert done == ["/a", "/b", "/late", "/late", "/c"]
