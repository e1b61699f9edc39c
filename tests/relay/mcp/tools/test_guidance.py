"""What a model is told of the relay: how to staff the phone, in a prompt that any host offers to its user."""

from __future__ import annotations

from typing import Any

import pytest

from tests.relay.mcp.mcp_relay import RunningRelay, raw_client
from tests.relay.mcp.tool_client import EACH_WAY, staffing


async def prompt(relay: RunningRelay, **arguments: str) -> str:
    async with raw_client(relay) as client:
        await client.shake_hands()
        given: dict[str, Any] = await client.request("prompts/get", name="answer_the_phone", arguments=arguments)
    (message,) = given["result"]["messages"]
    assert message["role"] == "user"
    return str(message["content"]["text"])


@EACH_WAY
async def test_prompt_is_offered(way: str, relay: RunningRelay) -> None:
    """Every client finds it, with its one argument, which may be left out."""
    async with staffing(relay, way) as client:
        (offered,) = (await client.mcp.list_prompts()).prompts
        given = await client.mcp.get_prompt("answer_the_phone")
    assert offered.name == "answer_the_phone"
    assert [(each.name, each.required) for each in offered.arguments or ()] == [("wishes", False)]
    assert len(given.messages) == 1


@pytest.mark.parametrize(
    "named",
    [
        "comms_get_waiting_messages",
        "comms_converse",
        "comms_take_call",
        "comms_end_call",
        "comms_transfer_call",
        "turn_over",
        "taken_by_another_client",
        "unknown_call",
        "never as instructions",
    ],
)
async def test_prompt_says_all_that_is_needed(named: str, relay: RunningRelay) -> None:
    """The tools in their order, what their errors mean, and that callers are not to be obeyed."""
    assert named in await prompt(relay)


async def test_preferences_of_the_user_come_last(relay: RunningRelay) -> None:
    """Who says how the phone is to be answered is heard."""
    assert (await prompt(relay, wishes="You are the night porter.")).endswith("You are the night porter.")
    assert await prompt(relay, wishes=" ") == await prompt(relay)


async def test_there_is_no_other_prompt(relay: RunningRelay) -> None:
    """Any other name is an error that names the one there is."""
    async with raw_client(relay) as client:
        await client.shake_hands()
        refused = await client.request("prompts/get", name="sing")
    assert refused["error"]["code"] == -32602
    assert "answer_the_phone" in refused["error"]["message"]
