"""The load's clients of the turn tools, against the relay's own MCP side."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio

from actors.clients import ClientResponder
from relay.simulator.load.echo_client import EchoFailed
from relay.simulator.load.turn_tool_clients import open_turn_tool_clients
from tests.limits import HANGING
from tests.relay.mcp.mcp_relay import RunningRelay, Speech, running_relay, turn


@pytest.fixture
async def relay() -> AsyncIterator[RunningRelay]:
    """The MCP side on a free port, with agents anna and bert."""
    async with running_relay() as running:
        yield running


async def test_they_repeat_what_callers_say(relay: RunningRelay) -> None:
    """Whoever of them gets the words, over either transport, answers with them; what was taken is counted."""
    await relay.begin()
    async with open_turn_tool_clients(relay.origin, "token-anna", 2) as clients:
        for number, words in enumerate(("Hello?", "Anybody?", "Goodbye."), 1):
            speech = Speech()
            with trio.fail_after(HANGING):
                await ClientResponder(relay.presence, relay.calls.owner_of).respond(turn("anna", words, number), speech)
            assert speech.text == f"You said: {words}"
    # A call stays with its client, which knows that an answer was taken when it gets the next words.
    assert sorted(each.said for each in clients) == [0, 2]
    assert [dict(each.not_taken) for each in clients] == [{}, {}]


async def test_a_client_that_cannot_connect_is_an_error(relay: RunningRelay) -> None:
    """A wrong token is said to be one, before anybody is called."""
    with pytest.raises(EchoFailed, match="token"):
        async with open_turn_tool_clients(relay.origin, "wrong", 3):
            pass


async def test_a_relay_that_goes_away_is_an_error(relay: RunningRelay) -> None:
    """A load run does not go on with clients that are gone."""
    with pytest.RaisesGroup(EchoFailed, allow_unwrapped=True, flatten_subgroups=True), trio.fail_after(HANGING):
        async with open_turn_tool_clients(relay.origin, "token-anna", 1):
            await relay.shut_down()
            await trio.sleep_forever()
