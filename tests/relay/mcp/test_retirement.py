"""Sessions closed on purpose: a turn in hand is answered, no other is asked, and callers wait for the client."""

from __future__ import annotations

import pytest
import trio

from actors.call_values import Availability
from actors.errors import ClientAbsent
from tests.relay.mcp.mcp_relay import RunningRelay, Speech, eventually, raw_client
from tests.relay.mcp.tool_client import EACH_WAY, staffing

WHY = "home_moved"


async def test_a_turn_in_hand_is_answered_before_the_session_ends(relay: RunningRelay, nursery: trio.Nursery) -> None:
    """Meanwhile the client gets no other turn; afterwards it counts as just lost."""
    heard: list[Speech] = []

    async def ask() -> None:
        heard.append(await relay.ask("Is it raining?"))

    async with raw_client(relay) as client:
        await client.shake_hands()
        await relay.arrival()
        nursery.start_soon(ask)
        request = await client.next_message("sampling/createMessage")
        nursery.start_soon(relay.app.retire_agent, "anna", WHY)
        await eventually(lambda: relay.presence.availability("anna") is Availability.JUST_LOST)
        with pytest.raises(ClientAbsent):
            await relay.ask("And tomorrow?")
        assert not client.ended.is_set()
        await client.say(request, "It is.")
        await client.ended.wait()
    assert [each.text for each in heard] == ["It is."]
    assert relay.presence.availability("anna") is Availability.JUST_LOST


async def test_who_is_not_waited_for_is_not_lost(relay: RunningRelay) -> None:
    """A session that takes no turns ends as well, and no caller waits for its client."""
    async with raw_client(relay) as client:
        await relay.app.retire_agent("anna", WHY)
        await client.ended.wait()
    assert relay.presence.availability("anna") is Availability.AWAY


async def test_a_retirement_that_is_cancelled_ends_the_session_at_once(relay: RunningRelay) -> None:
    """Whatever its client has in hand."""
    async with raw_client(relay) as client, trio.open_nursery() as nursery:
        await client.shake_hands()
        await relay.arrival()
        nursery.start_soon(_ask_in_vain, relay)
        await client.next_message("sampling/createMessage")
        with trio.move_on_after(0):
            await relay.app.retire_agent("anna", WHY)
        await client.ended.wait()
        nursery.cancel_scope.cancel("the test is over")


async def _ask_in_vain(relay: RunningRelay) -> None:
    with pytest.raises(Exception, match="ended"):
        await relay.ask("Is it raining?")


@EACH_WAY
async def test_a_client_that_waits_for_callers_is_told_to_call_again(
    way: str, relay: RunningRelay, nursery: trio.Nursery
) -> None:
    """Its tool call ends without words and without an error, and callers wait for it."""
    async with staffing(relay, way) as client:
        queue = relay.app.all_waiting

        async def retire() -> None:
            await eventually(lambda: bool(queue()))
            await relay.app.retire_agent("anna", WHY)

        nursery.start_soon(retire)
        assert "waiting" in await client.converse()
        await eventually(lambda: len(relay.app) == 0)
        assert relay.presence.availability("anna") is Availability.JUST_LOST
