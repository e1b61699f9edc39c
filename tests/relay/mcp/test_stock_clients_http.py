"""Published MCP clients at `/mcp`: what each of them does that it does not do over SSE."""

from __future__ import annotations

import httpx2
import pytest
import trio
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CreateMessageRequestParams, CreateMessageResult

from actors.errors import ClientAbsent
from tests.mcp_clients import (
    PYTHON_1,
    PYTHON_2,
    TYPESCRIPT_1,
    TYPESCRIPT_2,
    TYPESCRIPT_2_AUTO,
    StockClient,
    each_client,
    start_client,
)
from tests.relay.mcp.mcp_relay import RunningRelay, running_relay

# What the TypeScript SDK says of the stream that it opens anew by itself: perhaps before its request has failed.
_OF_STREAM = "Failed to open SSE stream"


@each_client(PYTHON_1, PYTHON_2, TYPESCRIPT_1, TYPESCRIPT_2)
async def test_client_whose_stream_was_cut_comes_back_to_its_session(stock: StockClient, relay: RunningRelay) -> None:
    """A proxy that cuts long responses costs a client no more than the moment until it opens its next one."""
    async with start_client(stock, *relay.address("mcp")):
        session = await relay.arrival()
        session.outbox.close()
        await relay.loss()
        await relay.arrival()
        assert (await relay.ask("Are you back?")).text == "You said: Are you back?"
        assert relay.sessions.of_agent("anna") == (session,)


@each_client(PYTHON_1, PYTHON_2, TYPESCRIPT_1, TYPESCRIPT_2)
async def test_client_learns_after_a_restart_that_its_session_is_gone(stock: StockClient) -> None:
    """Its next request fails with an error that its host can act on; nobody is taken for somebody else."""
    async with running_relay() as relay:
        port = int(relay.origin.rpartition(":")[2])
        async with start_client(stock, *relay.address("mcp")) as client:
            await client.next("ready")
            await relay.shut_down()
            async with running_relay(port=port) as successor:
                await client.call("comms_list_calls")
                failed = await client.next("error")
                while _OF_STREAM in failed["message"]:
                    failed = await client.next("error")
                with pytest.raises(ClientAbsent):
                    await successor.ask("Anybody?")
                assert len(successor.app) == 0
    # The 1.x SDK of Python has one sentence of its own for this status, whatever the answer says.
    assert ("Session terminated" if stock is PYTHON_1 else "initialize a new one") in failed["message"]


@each_client(PYTHON_1, PYTHON_2, TYPESCRIPT_1, TYPESCRIPT_2)
async def test_client_shows_why_it_was_refused(stock: StockClient, relay: RunningRelay) -> None:
    """A wrong token is told to the user in our words, except by SDKs that look at the status alone."""
    async with start_client(stock, f"{relay.origin}/mcp", "--token", "wrong") as client:
        failed = await client.next("error")
    if stock is PYTHON_1:
        assert "401" in failed["message"] or "unhandled errors" in failed["message"]
    else:
        assert "This token is not known" in failed["message"]


@each_client(PYTHON_2, TYPESCRIPT_2_AUTO)
async def test_client_that_cannot_sample_uses_the_newest_revision(stock: StockClient, relay: RunningRelay) -> None:
    """A client that negotiates, and could not be asked anyhow, goes without a session, and its tools work."""
    async with start_client(stock, *relay.address("mcp"), "--without-sampling") as client:
        ready = await client.next("ready")
        await client.call("comms_list_calls")
        called = await client.next("tool")
        assert len(relay.app) == 0
    assert "comms_get_waiting_messages" in ready["tools"]
    assert called["result"] == {"calls": []}


@each_client(PYTHON_2)
async def test_client_that_insists_on_the_newest_revision_is_served(stock: StockClient, relay: RunningRelay) -> None:
    """A client that can sample, but was told to use 2026-07-28 and nothing else, gets its tools and no turns."""
    async with start_client(stock, *relay.address("mcp"), "--mode", "2026-07-28") as client:
        ready = await client.next("ready")
        with pytest.raises(ClientAbsent):
            await relay.ask("Anybody?")
    assert ready["version"] == "2026-07-28"


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_client_that_leaves_ends_its_session(mode: str, relay: RunningRelay) -> None:
    """The Python SDK says so when it is done, and nothing of the session is kept."""
    headers = {"authorization": "Bearer token-anna"}
    async with httpx2.AsyncClient(headers=headers) as http:
        transport = streamable_http_client(f"{relay.origin}/mcp", http_client=http)
        async with Client(transport, mode=mode, sampling_callback=never) as client:
            assert client.protocol_version == "2025-11-25"
            await relay.arrival()
    await relay.departure()


async def never(context: object, params: CreateMessageRequestParams) -> CreateMessageResult:
    await trio.sleep_forever()
    raise AssertionError
