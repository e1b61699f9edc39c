"""What a token may do: act for its own agent, and see, take, end or say nothing of another's."""

from __future__ import annotations

from collections.abc import AsyncIterator

import attrs
import httpx2
import pytest
import trio

from relay.simulator.load.local_daemon import LocalDaemon
from tests.e2e.parties import (
    Access,
    AiClient,
    ask,
    calling,
    connected,
    message_left,
    register,
    session_address,
)
from tests.sids import sid


@attrs.frozen
class Neighbours:
    """Two agents on one daemon: `victim` has a live call and a waiting message, `thief` has a client."""

    victim: Access
    thief: Access
    client: AiClient


@pytest.fixture
async def neighbours(daemon: LocalDaemon) -> AsyncIterator[Neighbours]:
    """Register two agents, and connect the one that will try to act for the other."""
    victim, thief = await register(daemon), await register(daemon)
    async with connected(thief) as client:
        yield Neighbours(victim, thief, client)


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("comms_get_waiting_messages", {}),
        ("comms_acknowledge_messages", {"ids": ["msg_0000000000000000"]}),
        ("comms_list_calls", {}),
        ("comms_end_call", {"callSid": sid()}),
    ],
)
async def test_a_tool_acts_for_nobody_else(neighbours: Neighbours, tool: str, arguments: dict[str, object]) -> None:
    """A tool that is given another agent's id does nothing and says so."""
    result = await neighbours.client.tool(tool, agentId=neighbours.victim.agent_id, **arguments)
    assert result["error"]["code"] == "not_your_agent"


async def test_anothers_messages_cannot_be_had(daemon: LocalDaemon, neighbours: Neighbours) -> None:
    """A client neither gets nor confirms another agent's messages, even when it knows their ids."""
    async with calling(daemon, neighbours.victim) as call:
        await ask(call, "This is for nobody else.")
    message = await message_left(daemon, neighbours.victim)
    assert await neighbours.client.fetch() == []
    confirmed = await neighbours.client.tool("comms_acknowledge_messages", ids=[message.id])
    assert confirmed == {"acknowledged": [], "unknown": [message.id]}
    async with connected(neighbours.victim) as rightful:
        assert [each["id"] for each in await rightful.fetch()] == [message.id]


async def test_anothers_call_cannot_be_ended_or_seen(daemon: LocalDaemon, neighbours: Neighbours) -> None:
    """A client that knows the id of another agent's live call can neither list nor end it."""
    async with connected(neighbours.victim), calling(daemon, neighbours.victim) as call:
        result = await neighbours.client.tool("comms_end_call", callSid=call.call_sid)
        assert result["error"]["code"] == "unknown_call"
        assert await neighbours.client.tool("comms_list_calls") == {"calls": []}
        assert await ask(call, "Still there?") == "You said: Still there?"


@pytest.mark.parametrize(
    ("query", "status"),
    [("", 401), ("?token=", 401), ("?token=wrong", 401), ("?token={token}&agentId=another", 403)],
)
async def test_the_stream_is_for_the_tokens_agent(
    agent: Access, http: httpx2.AsyncClient, query: str, status: int
) -> None:
    """A stream begins only with a known token, and only for the agent that it belongs to."""
    answer = await http.get("/sse" + query.format(token=agent.token))
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


async def test_another_agents_token_posts_into_no_session(
    neighbours: Neighbours, http: httpx2.AsyncClient, daemon: LocalDaemon
) -> None:
    """Who knows the address of another agent's session, but has only a token of his own, cannot speak in it."""
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    async with session_address(daemon, neighbours.victim) as address:
        for access, status in ((neighbours.thief, 403), (neighbours.victim, 202)):
            headers = {"Authorization": f"Bearer {access.token}"}
            assert (await http.post(address, json=ping, headers=headers)).status_code == status


async def test_a_guessed_session_does_not_exist(http: httpx2.AsyncClient) -> None:
    """A message for a session that is none gets 404."""
    answer = await http.post("/messages?session_id=guessed", json={"jsonrpc": "2.0", "id": 1, "method": "ping"})
    assert answer.status_code == 404


async def test_a_rotated_token_ends_its_sessions(daemon: LocalDaemon, agent: Access, http: httpx2.AsyncClient) -> None:
    """Within seconds of `relay agents rotate` the stream that was opened with the old token ends, and opens no more."""
    async with http.stream("GET", "/sse", params={"token": agent.token}, timeout=30) as stream:
        await daemon.command("agents", "rotate", agent.agent_id)
        with trio.fail_after(20):
            async for _line in stream.aiter_lines():
                pass
    assert (await http.get("/sse", params={"token": agent.token})).status_code == 401
