"""Tool calls that wait: they show progress, are bounded for each agent, and are in the way of no other tool."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from relay.mcp.tools import turns
from relay.mcp.tools.toolbox import TOOL_CALLS_AT_ONCE
from relay.mcp.tools.turns import WAITING_AT_ONCE
from tests.relay.mcp.http_client import HttpClient, ask_stateless, http_client, messages_in
from tests.relay.mcp.mcp_relay import RunningRelay, eventually, running_relay
from tests.relay.mcp.tool_client import EACH_WAY, HTTP, STATELESS, code_of, staffing


@EACH_WAY
async def test_progress_is_shown_while_it_waits(way: str, relay: RunningRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that wants to know is told, so that it does not take the wait for a failure."""
    monkeypatch.setattr(turns, "PROGRESS_SECONDS", 0.02)
    seen: list[str | None] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        await trio.lowlevel.checkpoint()
        seen.append(message)

    async with staffing(relay, way) as client:
        await client.mcp.call_tool("comms_converse", {"waitSeconds": 0.3}, progress_callback=note)
    assert len(seen) > 1
    assert set(seen) == {"waiting for a caller"}


class Waiters:
    """Clients by hand, whose tool calls can be cut off without an SDK in between."""

    def __init__(self, client: HttpClient, *, has_session: bool) -> None:
        self._client = client
        self._has_session = has_session
        self._numbers = itertools.count(1)

    async def call(self, name: str, **arguments: object) -> Any:
        if not self._has_session:
            response = await ask_stateless(self._client, "tools/call", name=name, arguments=arguments)
        else:
            params = {"name": name, "arguments": arguments}
            request = {"jsonrpc": "2.0", "id": next(self._numbers), "method": "tools/call", "params": params}
            response = await self._client.post(request)
        return messages_in(response)[-1]["result"]["structuredContent"]


@asynccontextmanager
async def waiters(relay: RunningRelay, way: str, agent_id: str = "anna") -> AsyncIterator[Waiters]:
    async with http_client(relay, agent_id) as client:
        if way == HTTP:
            await client.shake_hands(sampling=False)
        yield Waiters(client, has_session=way == HTTP)


@pytest.mark.parametrize("way", [HTTP, STATELESS])
async def test_those_who_wait_are_bounded_for_each_agent(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One too many is told so; another agent's may wait."""
    monkeypatch.setattr(turns, "WAITING_AT_ONCE", 2)
    async with running_relay() as relay:
        async with waiters(relay, way) as mine, waiters(relay, way, "bert") as other, trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(mine.call, "comms_converse")
            await eventually(lambda: relay.app.all_waiting() == {"anna": 2})
            assert code_of(await mine.call("comms_converse")) == "too_many_requests"
            assert (await other.call("comms_converse", waitSeconds=0))["waiting"]
            nursery.cancel_scope.cancel()
        await eventually(lambda: not relay.app.all_waiting())


@pytest.mark.parametrize("way", [HTTP, STATELESS])
async def test_those_who_wait_keep_nobody_from_other_tools(way: str, relay: RunningRelay) -> None:
    """They do not count among the tool calls of which a client may have so many under way."""
    assert TOOL_CALLS_AT_ONCE < WAITING_AT_ONCE
    async with waiters(relay, way) as mine, trio.open_nursery() as nursery:
        for _ in range(TOOL_CALLS_AT_ONCE + 1):
            nursery.start_soon(mine.call, "comms_converse")
        await eventually(lambda: relay.app.all_waiting() == {"anna": TOOL_CALLS_AT_ONCE + 1})
        assert await mine.call("comms_list_calls") == {"calls": []}
        nursery.cancel_scope.cancel()
