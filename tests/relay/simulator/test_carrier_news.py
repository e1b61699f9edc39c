"""What the carrier has added since October 2026, as the simulated one performs it."""

from __future__ import annotations

from typing import Any

import pytest

from relay.simulator.carrier import twiml_reader as twiml
from tests.relay.simulator.scripted_relay import Socket, scripted


async def test_a_lost_socket_is_opened_again_where_the_twiml_asks_for_it() -> None:
    """With `applicationReconnect` the same session comes back on the same address, and the action is not asked."""
    async with scripted(twiml={"applicationReconnect": "true"}) as (relay, carrier), carrier.call("a") as call:
        await call.say("it is me")
        await call.hear()
        await call.break_line()
        await call.say("still me")
        assert (await call.hear()).text == "You said: still me"
    first, second = relay.setups
    assert first == second
    assert [each["SessionStatus"] for each in relay.fields_of("/ended")] == ["completed"]


async def test_a_socket_that_the_relay_closes_is_not_opened_again() -> None:
    """Whoever closes has said what it wants; the action is asked at once."""

    async def talk(socket: Socket) -> None:
        await socket.close(1008)

    async with scripted(talk, twiml={"applicationReconnect": "true"}) as (relay, carrier), carrier.call("a") as call:
        await call.wait_ended()
    assert len(relay.setups) == 1
    assert relay.fields_of("/ended")[0]["ErrorCode"] == "64105"


@pytest.mark.parametrize("events", ["speaker-events config-updated", "speaker-events"])
async def test_a_switch_of_providers_is_reported_to_those_who_ask(events: str) -> None:
    """It comes as an info frame, whose value may be anything."""
    frames: list[dict[str, Any]] = []

    async def talk(socket: Socket) -> None:
        frames.extend(await socket.receive_until("info", name="clientSpeaking", value="off"))

    async with scripted(talk, twiml={"events": events}) as (_relay, carrier), carrier.call("a") as call:
        await call.sessions[-1].switch_provider({"ttsProvider": "Google"})
        await call.say("hello")
        await call.wait_ended()
    told = [frame for frame in frames if frame.get("name") == "configUpdated"]
    switch = {"type": "info", "name": "configUpdated", "value": {"ttsProvider": "Google"}}
    assert told == ([switch] if "config-updated" in events else [])


@pytest.mark.parametrize("setting", ["true", "false"])
async def test_what_a_caller_had_begun_to_say_comes_at_the_hang_up(setting: str) -> None:
    """With `partialPromptOnHangup` the guess becomes a final prompt before the socket closes."""
    frames: list[dict[str, Any]] = []

    async def talk(socket: Socket) -> None:
        frames.extend(await socket.receive_until("closed"))

    wanted = {"partialPrompts": "true", "partialPromptOnHangup": setting}
    async with scripted(talk, twiml=wanted) as (_relay, carrier), carrier.call("a") as call:
        await call.say("please tell her", last=False)
        await call.hang_up()
        await call.wait_ended()
    final = [frame["voicePrompt"] for frame in frames if frame["type"] == "prompt" and frame["last"]]
    assert final == (["please tell her"] if setting == "true" else [])


async def test_plain_text_is_read_aloud() -> None:
    """A webhook that answers with text instead of TwiML is heard, not refused."""
    async with scripted() as (relay, carrier):
        relay.documents["/webhooks/a/voice"] = ["We are closed & away <today>."]
        relay.content_type = "text/plain; charset=utf-8"
        async with carrier.call("a") as call:
            await call.wait_ended()
    assert call.heard == ("We are closed & away <today>.",)


def test_a_fallback_of_providers_is_a_verb() -> None:
    """`<Failover>` stands in the session, with or without providers by language."""
    document = (
        '<Response><Connect><ConversationRelay url="wss://voice.example/socket"><Failover ttsProvider="Google">'
        '<Language code="de-DE" ttsProvider="Google" voice="de-DE-Standard-A"/></Failover></ConversationRelay>'
        "</Connect></Response>"
    )
    (connect,) = twiml.read(document)
    assert [child.name for child in connect.children[0].children] == ["Failover"]
