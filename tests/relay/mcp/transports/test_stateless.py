"""The 2026-07-28 revision: clients that cannot sample are served, and those that can are led to a session."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from relay.mcp.tools.toolbox import TOOL_CALLS_AT_ONCE
from tests.relay.mcp.http_client import (
    STATELESS_VERSION,
    HttpClient,
    ask_stateless,
    client_of_patient_listener,
    http_client,
)
from tests.relay.mcp.mcp_relay import RunningRelay, WaitingTool, as_fetched, eventually, running_relay


async def test_client_that_can_sample_is_led_to_a_session(relay: RunningRelay) -> None:
    """Its discovery is refused with the versions that have a handshake, so that it can be asked for turns."""
    async with http_client(relay) as client:
        refused = await ask_stateless(client, "server/discover", capabilities={"sampling": {}})
    assert refused.status_code == 400
    assert refused.json()["id"] == "q"
    assert refused.json()["error"]["code"] == -32022
    supported = refused.json()["error"]["data"]["supported"]
    assert "2025-11-25" in supported
    assert STATELESS_VERSION not in supported


@pytest.mark.parametrize("capabilities", [{}, {"elicitation": {}}, {"sampling": None}, [], "sampling"])
async def test_client_that_cannot_sample_is_not(relay: RunningRelay, capabilities: Any) -> None:
    """Everybody else may use the revision that they asked for."""
    async with http_client(relay) as client:
        discovered = await ask_stateless(client, "server/discover", capabilities=capabilities)
    assert "handshake" not in discovered.text
    if capabilities in ({}, {"elicitation": {}}):
        assert STATELESS_VERSION in discovered.json()["result"]["supportedVersions"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"5", b"[" * 100_000, b'{"id": 1, "params": {"_meta": 5}}'])
async def test_malformed_discovery_is_refused(relay: RunningRelay, body: bytes) -> None:
    """What is no request is an error of its sender."""
    async with http_client(relay) as client:
        refused = await client.post(body, mcp_protocol_version=STATELESS_VERSION, mcp_method="server/discover")
    assert refused.status_code == 400


async def test_tools_work_without_a_session(relay: RunningRelay) -> None:
    """The token alone says whose messages these are; no session is begun."""
    left = await relay.leave("anna")
    await relay.leave("bert")
    async with http_client(relay) as client:
        listed = await ask_stateless(client, "tools/list")
        fetched = await ask_stateless(client, "tools/call", name="comms_get_waiting_messages", arguments={})
        confirmed = await ask_stateless(
            client, "tools/call", name="comms_acknowledge_messages", arguments={"ids": [left.id]}
        )
        refused = await ask_stateless(client, "tools/call", name="comms_list_calls", arguments={"agentId": "bert"})
        assert len(relay.app) == 0
    assert "comms_list_calls" in {each["name"] for each in listed.json()["result"]["tools"]}
    assert fetched.json()["result"]["structuredContent"] == {"messages": [as_fetched(left)], "remaining": 0}
    assert confirmed.json()["result"]["structuredContent"]["acknowledged"] == [left.id]
    assert refused.json()["result"]["structuredContent"]["error"]["code"] == "not_your_agent"


async def test_resource_can_be_read_without_a_session(relay: RunningRelay) -> None:
    """The resource shows what waits for the token's agent."""
    left = await relay.leave("anna")
    async with http_client(relay) as client:
        read = await ask_stateless(client, "resources/read", uri="comms://waiting-messages")
    assert left.id in read.json()["result"]["contents"][0]["text"]


async def test_there_is_no_other_resource(relay: RunningRelay) -> None:
    """This revision has no code of its own for it."""
    async with http_client(relay) as client:
        refused = await ask_stateless(client, "resources/read", uri="comms://else")
    assert refused.json()["error"]["code"] == -32602
    assert refused.json()["error"]["data"] == {"uri": "comms://else"}


async def test_notification_is_taken_and_dropped(relay: RunningRelay) -> None:
    """The revision has none that mean anything here."""
    async with http_client(relay) as client:
        message = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        assert (await client.post(message, mcp_protocol_version=STATELESS_VERSION)).status_code == 202


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_there_are_no_streams_and_nothing_to_end(relay: RunningRelay, method: str) -> None:
    """Only POST exists in this revision."""
    async with http_client(relay) as client:
        refused = await client.send(method, mcp_protocol_version=STATELESS_VERSION)
    assert refused.status_code == 405


async def test_tool_calls_at_once_are_bounded_for_each_agent() -> None:
    """Clients without a session share their agent's bound."""
    tool = WaitingTool()
    async with running_relay(more_tools=[tool.tool()]) as relay, http_client(relay) as client:
        async with http_client(relay, "bert") as other, trio.open_nursery() as nursery:
            for _ in range(TOOL_CALLS_AT_ONCE):
                nursery.start_soon(_call_wait, client)
            await eventually(lambda: tool.begun == TOOL_CALLS_AT_ONCE)
            refused = await _call_wait(client)
            assert refused["error"]["code"] == "too_many_requests"
            listed = await ask_stateless(other, "tools/call", name="comms_list_calls", arguments={})
            assert listed.json()["result"]["structuredContent"] == {"calls": []}
            tool.finish.set()
        assert await _call_wait(client) == {"agent": "anna"}


async def _call_wait(client: HttpClient) -> Any:
    return (await ask_stateless(client, "tools/call", name="wait", arguments={})).json()["result"]["structuredContent"]


async def test_tool_is_cancelled_when_its_client_hangs_up() -> None:
    """Closing the connection is how a request of this revision is cancelled."""
    tool = WaitingTool()
    async with running_relay(more_tools=[tool.tool()]) as relay, http_client(relay) as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_call_wait, client)
            await eventually(lambda: tool.begun == 1)
            nursery.cancel_scope.cancel()
        await eventually(lambda: tool.cancelled == 1)


async def test_connection_that_was_answered_is_not_waited_for(relay: RunningRelay) -> None:
    """A client's pooled connection is closed at once when the daemon stops."""
    async with client_of_patient_listener(relay) as client:
        assert (await ask_stateless(client, "tools/list")).status_code == 200


async def test_shutdown_does_not_wait_for_tools() -> None:
    """The end of the daemon cancels what its clients wait for."""
    tool = WaitingTool()
    async with running_relay(more_tools=[tool.tool()]) as relay, http_client(relay) as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_swallow, client)
            await eventually(lambda: tool.begun == 1)
            relay.app.close_all()
        assert tool.cancelled == 1


async def _swallow(client: HttpClient) -> None:
    assert (await ask_stateless(client, "tools/call", name="wait", arguments={})).status_code == 500
