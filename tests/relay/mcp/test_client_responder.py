"""A turn goes to the best session of its agent."""

from __future__ import annotations

import attrs
import pytest

from actors.call_values import TurnRequest
from actors.clients import ClientResponder, Presence
from actors.errors import ClientAbsent
from actors.ports import Answer
from tests.relay.mcp.mcp_relay import Speech, turn


@attrs.define(eq=False)
class EchoSession:
    """A session that says its name."""

    agent_id: str
    name: str

    async def respond(self, request: TurnRequest, answer: Answer) -> None:
        await answer.say(self.name)


async def test_turn_goes_to_the_newest_session() -> None:
    """The session that came last answers."""
    presence = Presence(grace=0)
    presence.arrive(EchoSession("anna", "older"))
    presence.arrive(EchoSession("anna", "newer"))
    presence.arrive(EchoSession("bert", "someone else's"))
    speech = Speech()
    await ClientResponder(presence).respond(turn("anna", "Hi"), speech)
    assert speech.text == "newer"


async def test_turn_without_a_session_is_refused_at_once() -> None:
    """With no session that can sample the caller need not wait for anybody."""
    presence = Presence(grace=0)
    with pytest.raises(ClientAbsent):
        await ClientResponder(presence).respond(turn("anna", "Hi"), Speech())
