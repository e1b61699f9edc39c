"""A POST with a request in it is answered in one of two forms, and its tool stops when nobody waits for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
import trio
from mcp_types import JSONRPCNotification, JSONRPCResponse

from relay.mcp.transports.event_stream import Timing
from relay.mcp.transports.http_exchange import REQUEST_CANCELLED, Exchange
from relay.mcp.transports.http_session import HttpSession
from relay.mcp.transports.outbox import LIMIT
from tests.relay.mcp.http_client import HttpClient, client_of_patient_listener, http_client, messages_in
from tests.relay.mcp.mcp_relay import RunningRelay, WaitingTool, eventually, running_relay

WAIT = {"jsonrpc": "2.0", "id": "w", "method": "tools/call", "params": {"name": "wait", "arguments": {}}}
QUICK = Timing(comment_interval=0.02, stream_after=0.02)
NOTE = JSONRPCNotification(jsonrpc="2.0", method="notifications/progress", params={"progress": 1})


@asynccontextmanager
async def waiting(
    *, timing: Timing | None = None, **options: Any
) -> AsyncIterator[tuple[RunningRelay, HttpClient, WaitingTool]]:
    """Run a relay with a tool that waits, and a client with a session."""
    tool = WaitingTool()
    async with running_relay(timing=timing, more_tools=[tool.tool()], **options) as relay, http_client(relay) as client:
        await client.shake_hands()
        yield relay, client, tool


@asynccontextmanager
async def posted(client: HttpClient, message: Any = WAIT) -> AsyncIterator[list[httpx2.Response]]:
    """Post a message for the length of the block; its response is there after it."""
    responses: list[httpx2.Response] = []

    async def post() -> None:
        responses.append(await client.post(message))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(post)
        yield responses


async def test_quick_answer_is_json(relay: RunningRelay) -> None:
    """What is answered at once and without more words comes as one JSON document."""
    async with http_client(relay) as client:
        await client.shake_hands()
        answered = await client.post({"jsonrpc": "2.0", "id": 7, "method": "ping"})
    assert answered.headers["content-type"] == "application/json"
    assert answered.json() == {"jsonrpc": "2.0", "id": 7, "result": {}}


async def test_slow_answer_is_a_stream_that_shows_life() -> None:
    """An answer that takes long comes as the last event of a stream, with comments before it."""
    async with waiting(timing=QUICK) as (_relay, client, tool), posted(client) as responses:
        await eventually(lambda: tool.begun == 1)
        await trio.sleep(0.1)
        tool.finish.set()
    assert responses[0].headers["content-type"] == "text/event-stream; charset=utf-8"
    assert ": still here" in responses[0].text
    (answer,) = messages_in(responses[0])
    assert answer["id"] == "w"
    assert answer["result"]["structuredContent"] == {"agent": "anna"}


async def test_what_a_tool_tells_while_it_works_comes_before_its_answer() -> None:
    """Progress is streamed as it is reported, in the response of its own request."""
    async with waiting() as (relay, client, tool), posted(client) as responses:
        await eventually(lambda: tool.begun == 1)
        session = relay.sessions.of_agent("anna")[0]
        assert isinstance(session, HttpSession)
        exchange = session.exchange_of("w")
        assert exchange is not None
        exchange.notify(NOTE)
        tool.finish.set()
    told, answer = messages_in(responses[0])
    assert told["method"] == "notifications/progress"
    assert answer["id"] == "w"


async def test_two_calls_of_one_session_run_side_by_side() -> None:
    """A tool that waits holds up no other request of its session."""
    async with (
        waiting() as (_relay, client, tool),
        posted(client) as first,
        posted(client, {**WAIT, "id": "x"}) as second,
    ):
        await eventually(lambda: tool.begun == 2)
        assert "result" in await client.request("ping")
        tool.finish.set()
    assert first[0].json()["id"] == "w"
    assert second[0].json()["id"] == "x"


@pytest.mark.parametrize("interval", [10, 0.02])
async def test_tool_is_cancelled_when_its_client_hangs_up(interval: float) -> None:
    """Nobody could be told the result, so a tool that waits is not left waiting for a client that has died."""
    async with waiting(timing=Timing(comment_interval=interval, stream_after=interval)) as (_relay, client, tool):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.post, WAIT)
            await eventually(lambda: tool.begun == 1)
            await trio.sleep(3 * interval if interval < 1 else 0)
            nursery.cancel_scope.cancel()
        await eventually(lambda: tool.cancelled == 1)
        assert "result" in await client.request("ping")


async def test_request_that_the_client_cancels_ends_its_response() -> None:
    """The handler stops, and the POST that waits for it is answered with an error."""
    async with waiting() as (_relay, client, tool), posted(client) as responses:
        await eventually(lambda: tool.begun == 1)
        await client.notify("notifications/cancelled", requestId="w")
    assert tool.cancelled == 1
    assert responses[0].json()["error"]["code"] == REQUEST_CANCELLED


async def test_id_that_is_in_use_is_refused() -> None:
    """Two requests with one id cannot both be answered; the later one is told so."""
    async with waiting() as (_relay, client, tool):
        async with posted(client, {**WAIT, "id": 5}) as responses:
            await eventually(lambda: tool.begun == 1)
            refused = await client.post({**WAIT, "id": "5"})
            tool.finish.set()
        assert refused.status_code == 400
        assert refused.json()["error"]["code"] == -32600
        assert responses[0].json()["id"] == 5
        assert (await client.post({**WAIT, "id": 5})).status_code == 200


async def test_session_that_ends_answers_what_waits_with_not_found() -> None:
    """A request whose session is closed under it is answered as any later one."""
    async with waiting() as (_relay, client, tool), posted(client) as responses:
        await eventually(lambda: tool.begun == 1)
        await client.send("DELETE")
    assert tool.cancelled == 1
    assert responses[0].status_code == 404


async def test_session_that_ends_ends_the_streams_of_its_requests() -> None:
    """A response that was begun cannot become an error; it ends without an answer."""
    async with waiting(timing=QUICK) as (_relay, client, tool), posted(client) as responses:
        await eventually(lambda: tool.begun == 1)
        await trio.sleep(0.1)
        await client.send("DELETE")
    assert responses[0].status_code == 200
    assert messages_in(responses[0]) == []


async def test_shutdown_does_not_wait_for_tools() -> None:
    """The end of the daemon ends what its clients wait for."""
    async with waiting() as (relay, client, tool), posted(client) as responses:
        await eventually(lambda: tool.begun == 1)
        relay.app.close_all()
    assert responses[0].status_code == 404


async def test_connection_that_was_answered_is_not_waited_for(relay: RunningRelay) -> None:
    """A client's pooled connection is closed at once when the daemon stops."""
    async with client_of_patient_listener(relay) as client:
        await client.shake_hands()
        await client.request("tools/list")


async def test_what_is_reported_is_bounded_and_answers_are_kept() -> None:
    """A client that does not read loses notes, never an answer; a second answer is ignored."""
    exchange = Exchange(unanswered={1}, is_batch=False)
    big = JSONRPCNotification(jsonrpc="2.0", method="x", params={"x": "x" * LIMIT})
    for note in (big, NOTE, NOTE):
        exchange.notify(note)
    for _ in range(2):
        exchange.answer(JSONRPCResponse(jsonrpc="2.0", id=1, result={}))
    taken = await exchange.take()
    assert taken.count(b"event: message") == 2
    assert exchange.closed
    assert await exchange.take() == b""
