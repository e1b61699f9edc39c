"""Open sessions are found by id and by agent, and an agent has no more than its share."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from tests.relay.mcp.http_client import http_client, standing_client
from tests.relay.mcp.mcp_relay import RunningRelay, raw_client, running_relay


async def test_sessions_of_an_agent_are_known_while_they_are_open(relay: RunningRelay) -> None:
    """Each agent has its own sessions, from their first event to their end."""
    async with raw_client(relay, "anna"), raw_client(relay, "bert"):
        assert len(relay.sessions.of_agent("anna")) == len(relay.sessions.of_agent("bert")) == 1
        assert len(relay.app) == 2
    await relay.departure(0, "anna")
    await relay.departure(0, "bert")
    assert len(relay.app) == 0


@pytest.mark.parametrize("limit", [1, 2])
async def test_one_session_too_many_closes_the_oldest_of_its_agent(limit: int) -> None:
    """A storm of reconnections drops the agent's own oldest sessions and nobody else's."""
    async with AsyncExitStack() as stack:
        relay = await stack.enter_async_context(running_relay(sessions_per_agent=limit))
        other = await stack.enter_async_context(raw_client(relay, "bert"))
        hers = [await stack.enter_async_context(raw_client(relay)) for _ in range(limit + 1)]
        await hers[0].ended.wait()
        await relay.departure(limit)
        assert not any(each.ended.is_set() for each in (other, *hers[1:]))


async def test_session_that_nobody_uses_is_dropped_before_one_that_is_used() -> None:
    """What dead clients leave behind makes room; who listens stays, however old."""
    async with running_relay(sessions_per_agent=2) as relay, standing_client(relay) as (client, _stream):
        async with http_client(relay) as dead, http_client(relay) as newcomer:
            await dead.shake_hands()
            await newcomer.shake_hands()
            assert (await dead.send("DELETE")).status_code == 404
            assert "result" in await newcomer.request("ping")
        assert "result" in await client.request("ping")
