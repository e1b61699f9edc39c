"""Clients that open a session for each tool call, over each transport: they staff the phone as others do."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio

from actors.call_values import Availability
from actors.clients import ClientResponder
from actors.errors import ClientLeft
from tests.relay.mcp.http_client import http_client, standing_client
from tests.relay.mcp.mcp_relay import RunningRelay, Speech, eventually, raw_client, turn
from tests.relay.mcp.tool_client import EACH_WAY, HTTP, SSE, STATELESS, Caller, code_of, tool_client
from tests.sids import sid


@attrs.frozen
class BriefClient:
    """A client with a session for each tool call."""

    relay: RunningRelay
    way: str

    async def tool(self, name: str, **arguments: object) -> dict[str, Any]:
        """Call a tool in a session of its own."""
        async with tool_client(self.relay.origin, "token-anna", self.way) as client:
            return await client.tool(name, **arguments)

    async def converse(self, **arguments: object) -> dict[str, Any]:
        """Wait for a caller's words, after saying something if it is given."""
        return await self.tool("comms_converse", **arguments)

    async def answer(self, heard: dict[str, Any], text: str, **arguments: object) -> dict[str, Any]:
        """Answer what was heard, and wait for the next words."""
        return await self.converse(callSid=heard["callSid"], turn=heard["turn"], say=text, **arguments)

    async def begin(self) -> None:
        """List the tools in a session of its own, as such clients do first."""
        async with tool_client(self.relay.origin, "token-anna", self.way) as client:
            await client.mcp.list_tools()


@pytest.mark.parametrize("waits", [True, False])
@EACH_WAY
async def test_call_of_three_turns(way: str, waits: bool, relay: RunningRelay) -> None:
    """Each answer comes in another session; the client may wait for the next words in it, or in one more."""
    client = BriefClient(relay, way)
    caller = Caller(relay)

    async def staff() -> None:
        heard = await client.converse()
        while True:
            said = await client.answer(heard, f"You said: {heard['caller']}", **({} if waits else {"waitSeconds": 0}))
            heard = said if "caller" in said else await client.converse()

    async with trio.open_nursery() as nursery:
        await client.begin()
        nursery.start_soon(staff)
        for words in ("Hello?", "Is it open?", "Thank you."):
            assert await caller.say(words) == f"You said: {words}"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("begins", ["listing", "waiting", "fetching"])
async def test_a_stream_that_ends_is_no_loss(begins: str, relay: RunningRelay) -> None:
    """Over SSE nothing is said at the end of a session; what its client did before shows that it comes back."""
    client = BriefClient(relay, SSE)
    match begins:
        case "listing":
            await client.begin()
        case "waiting":
            assert "waiting" in await client.converse(waitSeconds=0)
        case _:
            await client.tool("comms_get_waiting_messages")
    caller = Caller(relay)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller.say, "Hello?")
        heard = await client.converse()
        await eventually(lambda: not relay.sessions.of_agent("anna"))
        assert relay.presence.availability("anna") is Availability.HERE
        await client.answer(heard, "Good morning.", waitSeconds=0)
        await eventually(lambda: caller.heard == ["Good morning."])


@EACH_WAY
async def test_several_pieces_and_a_repeated_answer(way: str, relay: RunningRelay) -> None:
    """Each in a session of its own: the caller hears every piece once."""
    client = BriefClient(relay, way)
    await client.begin()
    caller = Caller(relay)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller.say, "Is it open?")
        heard = await client.converse()
        assert (await client.answer(heard, "Let me look. ", more=True))["said"]
        assert (await client.answer(heard, "Yes, ", more=True))["said"]
        for _ in range(2):
            assert "waiting" in await client.answer(heard, "it is.", waitSeconds=0)
        await eventually(lambda: caller.heard == ["Let me look. Yes, it is."])


@pytest.mark.parametrize("way", [HTTP, STATELESS])
async def test_a_call_that_was_taken_is_had_in_the_next_session(way: str, relay: RunningRelay) -> None:
    """From whom it was taken gets an error, and the words go to who took it."""
    async with tool_client(relay.origin, "token-anna", HTTP) as standing, trio.open_nursery() as nursery:
        caller = Caller(relay)
        nursery.start_soon(caller.say, "Hello?")
        theirs = await standing.converse()
        client = BriefClient(relay, way)
        assert (await client.tool("comms_take_call", callSid=sid()))["status"] == "yours"
        heard = await client.converse()
        assert heard["caller"] == "Hello?"
        assert code_of(await standing.answer(theirs, "Me.")) == "taken_by_another_client"
        await client.answer(heard, "Good evening.", waitSeconds=0)
        await eventually(lambda: caller.heard == ["Good evening."])


async def test_a_session_that_is_left_open_is_no_fence(relay: RunningRelay) -> None:
    """A client that neither opens a standing stream nor closes its sessions may answer in the next one."""
    client = BriefClient(relay, HTTP)
    caller = Caller(relay)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller.say, "Hello?")
        async with http_client(relay) as first:
            await first.shake_hands(sampling=False)
            called = await first.request("tools/call", name="comms_converse", arguments={})
            heard = called["result"]["structuredContent"]
            await client.answer(heard, "Good morning.", waitSeconds=0)
            await eventually(lambda: caller.heard == ["Good morning."])


@pytest.mark.parametrize("way", [SSE, HTTP])
async def test_a_session_that_broke_off_fails_its_turn(way: str, relay: RunningRelay) -> None:
    """A client that was lost with words in hand is noticed at once, as one that stays: its session was used before."""
    opened: Any = raw_client(relay) if way == SSE else standing_client(relay, sampling=False)
    failed = trio.Event()

    async def ask() -> None:
        await eventually(lambda: relay.presence.availability("anna") is Availability.HERE)
        with pytest.raises(ClientLeft):
            await ClientResponder(relay.presence, relay.calls.owner_of).respond(turn("anna", "Hello?"), Speech())
        failed.set()

    async with trio.open_nursery() as nursery:
        async with opened as given:
            client: Any = given if way == SSE else given[0]
            if way == SSE:
                await client.shake_hands(sampling=False)
            await client.request("tools/call", name="comms_list_calls", arguments={})
            nursery.start_soon(ask)
            await client.request("tools/call", name="comms_converse", arguments={})
        await failed.wait()
