"""A plain tool call is answered beside the SDK's dispatcher as by way of it, and ends when nobody waits for it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from relay.mcp.plain_calls import PlainCalls
from relay.mcp.session import McpSession
from relay.mcp.tools import turns
from relay.mcp.tools.toolbox import Toolbox
from relay.mcp.transports.posted_calls import PostedCall, read_call
from tests.limits import HANGING
from tests.relay.mcp.http_client import http_client, messages_in, standing_client
from tests.relay.mcp.mcp_relay import RawClient, RunningRelay, WaitingTool, eventually, raw_client, running_relay


def call(name: str = "wait", request_id: int | str = "w", **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": {"name": name, **params}}


@asynccontextmanager
async def waiting() -> AsyncIterator[tuple[RunningRelay, RawClient, WaitingTool]]:
    """Run a relay with a tool that waits, and a client over SSE."""
    tool = WaitingTool()
    async with running_relay(more_tools=[tool.tool()]) as relay, raw_client(relay) as client:
        await client.shake_hands(sampling=False)
        yield relay, client, tool


# What the SDK's models take as well and pass over, and the plain form leaves to them.
OTHERS = {"_meta": {"traceparent": "00-0-0-00"}}


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("comms_converse", {"waitSeconds": 0}),
        ("comms_converse", {"waitSeconds": "soon\u2028"}),
        ("comms_converse", {"é": 1}),
        ("comms_list_calls", {}),
        ("comms_list_calls", None),
        ("comms_answer_calls", {}),
        ("comms_end_call", {"callSid": "CA1"}),
    ],
)
async def test_either_way_has_the_same_answer(name: str, arguments: Any, relay: RunningRelay) -> None:
    """To the byte, over both transports."""
    plain = call(name, 1, arguments=arguments)
    in_full = call(name, 1, arguments=arguments, **OTHERS)
    assert read_call(json.dumps(plain).encode()) is not None
    assert read_call(json.dumps(in_full).encode()) is None
    async with http_client(relay) as client:
        await client.shake_hands(sampling=False)
        one, other = await client.post(plain), await client.post(in_full)
    assert (one.status_code, one.headers["content-type"], one.content) == (200, "application/json", other.content)
    async with raw_client(relay) as sse:
        await sse.shake_hands(sampling=False)
        answers = []
        for each in (plain, in_full):
            assert (await sse.post(each)).status_code == 202
            while (event := await sse.next_event()).get("event") != "message":
                pass
            answers.append(event["data"].encode())
    assert answers == [one.content, one.content]


async def test_client_that_cancels_gets_no_answer() -> None:
    """Over SSE nothing is said about a request that its client has cancelled; the session goes on."""
    async with waiting() as (_relay, client, tool):
        await client.post(call(request_id=7))
        await eventually(lambda: tool.begun == 1)
        await client.notify("notifications/cancelled", requestId="7")
        await eventually(lambda: tool.cancelled == 1)
        assert (await client.request("ping"))["result"] == {}
        assert not [each for each in client.events if '"id":7' in each.get("data", "")]


async def test_cancellation_right_behind_its_call_is_heard() -> None:
    """In the same segment as the call, which has a task by then that has not run."""
    async with waiting() as (relay, client, tool):
        endpoint = next(each["data"] for each in client.events if each.get("event") == "endpoint")
        host, port = relay.origin.removeprefix("http://").split(":")
        head = f"POST {endpoint} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: %d\r\n\r\n%s"
        cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}}
        bodies = [json.dumps(each) for each in (call(request_id=7), cancelled)]
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            await stream.send_all("".join(head % (len(each), each) for each in bodies).encode())
            assert await stream.receive_some()
        tool.finish.set()
        await client.post(call(request_id=8))
        assert (await client.next_message())["id"] == 8
        assert (await client.request("ping"))["result"] == {}
        assert not [each for each in client.events if '"id":7' in each.get("data", "")]


async def test_cancelled_is_the_latest_of_an_id() -> None:
    """A client that gives two requests one id means the later one; the other is answered."""
    async with waiting() as (_relay, client, tool):
        for begun in (1, 2):
            await client.post(call())
            await eventually(lambda begun=begun: tool.begun == begun)  # type: ignore[misc]
        for _ in range(2):
            await client.notify("notifications/cancelled", requestId="w")
        await eventually(lambda: tool.cancelled == 1)
        tool.finish.set()
        assert (await client.next_message())["id"] == "w"
        assert (await client.request("ping"))["result"] == {}
    assert tool.cancelled == 1


async def test_call_ends_with_its_session() -> None:
    """A tool that waits for a client whose stream has ended is cancelled."""
    async with waiting() as (relay, client, tool):
        await client.post(call())
        await eventually(lambda: tool.begun == 1)
        relay.app.close_all()
        await eventually(lambda: tool.cancelled == 1)
        assert (await client.post(call())).status_code == 404


@pytest.mark.parametrize("token", ["", 0, "t"])
async def test_progress_names_its_token(token: int | str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes before the answer, over SSE and in the response of a POST; there it makes a stream of it."""
    monkeypatch.setattr(turns, "PROGRESS_SECONDS", 0.2)
    asked = call("comms_converse", arguments={"waitSeconds": 0.8}, _meta={"progressToken": token})
    params = {"progressToken": token, "progress": 0, "message": "waiting for a caller"}
    async with running_relay() as relay, raw_client(relay) as client, standing_client(relay) as (other, _stream):
        await client.shake_hands(sampling=False)
        await client.post(asked)
        told = [await client.next_message()]
        while told[-1].get("id") != "w":
            told.append(await client.next_message())
        # How often it comes until then depends on the machine.
        for first, *_more, answer in (told, messages_in(await other.post(asked))):
            assert first == {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}
            assert answer["id"] == "w"


async def test_call_of_a_session_that_is_over_is_not_run(relay: RunningRelay) -> None:
    """One that was read before the session ended, and would run after it."""
    async with raw_client(relay) as client:
        await client.shake_hands()
        session = await relay.arrival()
    await relay.departure()
    tool = WaitingTool()
    calls = PlainCalls(Toolbox([tool.tool()]))
    posted = PostedCall(1, "wait", {}, None)
    assert isinstance(session, McpSession)
    assert calls.read(session, json.dumps(call()).encode()) is None
    with trio.fail_after(HANGING):
        await calls.serve(session, posted, session.begin_tool_call(posted.id))
    assert tool.cancelled == 1
    session.send_message(b"{}")  # which has no stream any more
