"""Who may open a session and post into one, and how a request that may not is answered."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
import trio

from actors.errors import ClientAbsent, ClientLeft
from relay.mcp.transports.http_body import LONGEST_MESSAGE
from tests.relay.mcp.mcp_relay import RunningRelay, eventually, raw_client

PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


async def get(relay: RunningRelay, target: str, **headers: str) -> httpx2.Response:
    async with httpx2.AsyncClient() as http:
        return await http.get(relay.origin + target, headers=headers)


@pytest.mark.parametrize(
    ("target", "headers", "status", "code"),
    [
        ("/sse", {}, 401, "unauthorized"),
        ("/sse?token=", {}, 401, "unauthorized"),
        ("/sse?token=wrong", {}, 401, "unauthorized"),
        ("/sse", {"authorization": "Bearer wrong"}, 401, "unauthorized"),
        ("/sse", {"authorization": "Basic token-anna"}, 401, "unauthorized"),
        ("/sse?token=token-anna", {"authorization": "Bearer wrong"}, 401, "unauthorized"),
        ("/sse?token=token-anna&agentId=bert", {}, 403, "not_your_agent"),
        ("/sse?token=token-anna&agentId=", {}, 403, "not_your_agent"),
        ("/messages", {}, 405, "method_not_allowed"),
        ("/elsewhere", {}, 404, "not_found"),
    ],
)
async def test_stream_is_refused(
    relay: RunningRelay, target: str, headers: dict[str, str], status: int, code: str
) -> None:
    """Without a token of its own agent nobody gets a stream, and is told why in JSON."""
    refused = await get(relay, target, **headers)
    assert refused.status_code == status
    assert refused.json()["error"]["code"] == code
    assert refused.json()["error"]["message"]
    assert len(relay.app) == 0


async def test_stream_is_opened_only_by_get(relay: RunningRelay) -> None:
    """A client that tries Streamable HTTP at this address first gets the 405 that sends it to SSE."""
    async with httpx2.AsyncClient() as http:
        refused = await http.post(relay.sse_url(), json=PING)
    assert refused.status_code == 405
    assert refused.headers["allow"] == "GET"


async def test_agent_may_be_named(relay: RunningRelay) -> None:
    """Naming the token's own agent is no error."""
    async with raw_client(relay, query="&agentId=anna"):
        assert len(relay.sessions.of_agent("anna")) == 1


async def test_session_ids_are_never_alike(relay: RunningRelay) -> None:
    """A session's id is long, random, and its own."""
    async with raw_client(relay) as one, raw_client(relay) as two:
        endpoints = {one.events[0]["data"], two.events[0]["data"]}
    assert len(endpoints) == 2
    assert all(len(each.partition("session_id=")[2]) >= 32 for each in endpoints)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"jsonrpc": "1.0", "id": 1, "method": "ping"}',
        b'{"jsonrpc": "2.0", "id": 1, "method": 5}',
        b'[{"jsonrpc": "2.0", "id": 1, "method": "ping"}]',
        b'{"jsonrpc": "2.0", "id": {}, "method": "ping"}',
        b'{"jsonrpc": "2.0", "id": null, "method": "ping"}',
        b"[" + b"[]," * 300_000 + b"[]]",
    ],
    ids=lambda body: body[:24].decode("latin-1"),
)
async def test_malformed_message_is_refused_and_does_no_harm(relay: RunningRelay, body: bytes) -> None:
    """What is no JSON-RPC message gets 400, and the session goes on."""
    async with raw_client(relay) as client:
        refused = await client.post(body)
        assert refused.status_code == 400
        assert refused.json()["error"]["code"] in {-32600, -32700}
        await client.shake_hands()


@pytest.mark.parametrize(
    "message",
    [
        {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": 5}},
        {"jsonrpc": "2.0", "id": 1, "method": "logging/setLevel", "params": {"level": "loud"}},
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}},
        {"jsonrpc": "2.0", "id": 1, "method": "no/such/method"},
        {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": "x", "progress": "y"}},
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": []}},
        {"jsonrpc": "2.0", "id": "never asked", "result": {}},
        {"jsonrpc": "2.0", "id": "never asked", "error": {"code": 1, "message": "no"}},
    ],
)
async def test_senseless_message_does_no_harm(relay: RunningRelay, message: dict[str, Any]) -> None:
    """A message of the right form that makes no sense is taken, and the session goes on."""
    async with raw_client(relay) as client:
        await client.shake_hands()
        assert (await client.post(message)).status_code == 202
        assert "result" in await client.request("ping")


async def test_message_too_large_is_refused(relay: RunningRelay) -> None:
    """A body beyond the limit gets 413 and is not kept."""
    async with raw_client(relay) as client:
        assert (await client.post(b" " * (LONGEST_MESSAGE + 1))).status_code == 413


async def test_message_that_breaks_off_does_no_harm(relay: RunningRelay) -> None:
    """A client whose connection breaks in the middle of a POST keeps its session."""
    async with raw_client(relay) as client:
        host, port = relay.origin.removeprefix("http://").split(":")
        head = f"POST {client.events[0]['data']} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{{"
        stream = await trio.open_tcp_stream(host, int(port))
        await stream.send_all(head.encode())
        await stream.aclose()
        await client.shake_hands()
        await relay.arrival()


async def test_message_for_no_session_is_refused(relay: RunningRelay) -> None:
    """A session that is over, or never was, gets 404."""
    async with raw_client(relay) as client:
        client.events[0]["data"] += "x"
        refused = await client.post(PING)
    assert refused.status_code == 404
    assert refused.json()["error"]["code"] == "unknown_session"


async def test_another_agents_token_cannot_post_into_a_session(relay: RunningRelay) -> None:
    """Even who learns a session's id cannot use it under another agent's token, or under none that is known."""
    async with raw_client(relay) as client:
        for token in ("token-bert", "wrong"):
            refused = await client.post(PING, authorization=f"Bearer {token}")
            assert refused.status_code == 403
        assert (await client.post(PING, authorization="Bearer token-anna")).status_code == 202


async def test_token_that_cannot_be_checked_does_not_post(relay: RunningRelay) -> None:
    """While the directory fails, a token that is not the session's own is refused."""
    async with raw_client(relay) as client:
        with relay.file.broken("agents"):
            assert (await client.post(PING, authorization="Bearer token-anna2")).status_code == 403
            assert (await client.post(PING, authorization="Bearer token-anna")).status_code == 202


async def test_client_is_asked_to_come_back_when_tokens_cannot_be_checked(relay: RunningRelay) -> None:
    """An EventSource gives up for good at any status but 200, so a passing failure is an empty stream."""
    with relay.file.broken("agents"):
        turned_away = await get(relay, "/sse?token=token-anna")
    assert turned_away.status_code == 200
    assert turned_away.headers["content-type"].startswith("text/event-stream")
    assert turned_away.text == "retry: 1000\n\n"


async def test_closing_an_agent_ends_its_sessions_only(relay: RunningRelay) -> None:
    """When an agent's token is changed its clients are gone at once, and nobody else's."""
    async with raw_client(relay, "anna") as hers, raw_client(relay, "bert") as his:
        await hers.shake_hands()
        await his.shake_hands()
        await relay.arrival(1, "anna")
        relay.app.close_agent("anna")
        with pytest.raises(ClientAbsent):
            await relay.ask("Hello?", "anna")
        await hers.ended.wait()
        assert "result" in await his.request("ping")


async def test_shutdown_ends_every_session_and_begins_no_more(relay: RunningRelay) -> None:
    """At the end of the daemon turns in hand fail, streams end, and who comes is asked to come back."""
    async with raw_client(relay) as client:
        await client.shake_hands()
        await relay.arrival()
        with pytest.RaisesGroup(ClientLeft):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(relay.ask, "Hello?")
                await client.next_message("sampling/createMessage")
                relay.app.close_all()
        await client.ended.wait()
    assert (await get(relay, "/sse?token=token-anna")).text == "retry: 1000\n\n"
    await eventually(lambda: len(relay.app) == 0)
