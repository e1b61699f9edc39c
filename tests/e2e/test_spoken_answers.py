"""What the caller hears of answers that hold more than words, or less: from the client to the carrier's frames."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from actors.call_values import Reason
from actors.policy import Phrases
from relay.simulator.carrier.simulated_call import SimulatedCall
from relay.simulator.claude.stand_in import Behaviour, ClaudeStandIn, MessagesRequest, Reply, Say, UseTool
from relay.simulator.load.local_daemon import LocalDaemon
from tests.e2e.parties import Access, Address, calling, connected, message_left, messages_of, register
from tests.relay.mcp.mcp_relay import RawClient, raw_client

PHRASES = Phrases()
TOOL_USE = {"type": "tool_use", "id": "t1", "name": "look_up", "input": {"day": "Tuesday"}}
THINKING = {"type": "thinking", "thinking": "The code is 4711.", "signature": "eA=="}
TEXT = {"type": "text", "text": "Tuesday."}


@asynccontextmanager
async def answering_by_hand(daemon: LocalDaemon, agent: Access) -> AsyncIterator[tuple[RawClient, SimulatedCall]]:
    """Connect a client that is asked to sample and may answer anything, and call its agent."""
    async with raw_client(Address(daemon.url, agent.token)) as client:
        await client.shake_hands()
        assert "result" in await client.request("ping")
        async with calling(daemon, agent) as call:
            yield client, call


async def answer(client: RawClient, call: SimulatedCall, content: Any) -> None:
    """Have the caller ask something, and answer it with this content."""
    await call.say("When?")
    request = await client.next_message("sampling/createMessage")
    await client.reply(request, {"role": "assistant", "model": "by hand", "content": content})


async def test_the_text_of_a_mixed_answer_is_heard(daemon: LocalDaemon, agent: Access) -> None:
    """Whatever stands beside a text, known to this protocol or not, the caller hears the text and nothing else."""
    mixtures: list[list[Any]] = [
        [TEXT, TOOL_USE],
        [TOOL_USE, TEXT],
        [THINKING, TEXT],
        [{"type": "redacted_thinking", "data": "eA=="}, TEXT],
        [{"type": "image", "data": "eA==", "mimeType": "image/png"}, TEXT],
        [{"type": "audio", "data": "eA==", "mimeType": "audio/wav"}, TEXT],
        [{"type": "tool_result", "toolUseId": "t1", "content": [{"type": "text", "text": "hidden"}]}, TEXT],
        [{"type": "reasoning", "text": "hidden"}, TEXT, {"type": "server_tool_use", "id": "s", "name": "web_search"}],
        [TEXT, {"type": "not_invented_yet", "payload": [1, 2]}],
        [{}, None, TEXT],
    ]
    async with answering_by_hand(daemon, agent) as (client, call):
        for mixture in mixtures:
            await answer(client, call, mixture)
            assert (await call.hear()).text == "Tuesday.", mixture
    assert await messages_of(daemon, agent) == ()


@pytest.mark.parametrize(
    "content",
    [[TOOL_USE], [THINKING], [], {"type": "text", "text": "..."}, {"type": "text", "text": "🙂"}, [THINKING, TOOL_USE]],
    ids=["tool use", "thinking", "nothing", "dots", "a smile", "thinking and tool use"],
)
async def test_an_answer_without_words_is_none(content: Any, daemon: LocalDaemon, agent: Access) -> None:
    """Where nothing can be heard the answering machine takes over, and what the caller said is kept."""
    async with answering_by_hand(daemon, agent) as (client, call):
        await answer(client, call, content)
        assert (await call.hear()).text.startswith(PHRASES.apology)
        left = await message_left(daemon, agent)
    assert (left.body, left.reason) == ("When?", Reason.CLIENT_FAILED)


async def test_pieces_without_words_are_no_answer(daemon: LocalDaemon, agent: Access) -> None:
    """Dots that arrive before the answer do not count as one, and those around a word are heard with it."""
    async with answering_by_hand(daemon, agent) as (client, call):
        await call.say("When?")
        request = await client.next_message("sampling/createMessage")
        token = request["params"]["_meta"]["progressToken"]
        for number, piece in enumerate(["…", " — ", "(", "at nine"], 1):
            await client.notify("notifications/progress", progressToken=token, progress=number, message=piece)
        await client.say(request, "… — (at nine)")
        assert (await call.hear()).text == "… — (at nine)"
        await call.say("When?")
        request = await client.next_message("sampling/createMessage")
        token = request["params"]["_meta"]["progressToken"]
        await client.notify("notifications/progress", progressToken=token, progress=1, message="...")
        await client.say(request, "...")
        assert (await call.hear()).text.startswith(PHRASES.apology)
        assert (await message_left(daemon, agent)).body == "When?"


async def test_thoughts_are_not_heard_however_they_are_sent(daemon: LocalDaemon, agent: Access) -> None:
    """What a client's model writes to itself reaches no frame to the carrier, in one piece or in many."""
    whole = "<think>\nDo not say 4711.\n</think>\n\nWe open at nine [1] (<5 minutes)."
    heard = "We open at nine (less than 5 minutes)."
    async with answering_by_hand(daemon, agent) as (client, call):
        await answer(client, call, {"type": "text", "text": whole})
        assert (await call.hear()).text == heard
        await answer(client, call, {"type": "text", "text": "Do not say 4711.</think>We open."})
        assert (await call.hear()).text == "We open."
        for size in (3, 7):
            await call.say("When?")
            request = await client.next_message("sampling/createMessage")
            token = request["params"]["_meta"]["progressToken"]
            for number, start in enumerate(range(0, len(whole), size), 1):
                piece = whole[start : start + size]
                await client.notify("notifications/progress", progressToken=token, progress=number, message=piece)
            await client.say(request, whole)
            assert (await call.hear()).text == heard
    assert not any("4711" in line for line in call.heard)


async def test_an_answer_of_thoughts_alone_is_none(daemon: LocalDaemon, agent: Access) -> None:
    """Where nothing is meant for the caller the answering machine takes over."""
    async with answering_by_hand(daemon, agent) as (client, call):
        await answer(client, call, {"type": "text", "text": "<think>Do not say 4711, and then"})
        assert (await call.hear()).text.startswith(PHRASES.apology)
        assert (await message_left(daemon, agent)).body == "When?"


async def test_a_tool_client_that_says_dots_has_not_answered(daemon: LocalDaemon, agent: Access) -> None:
    """By `comms_converse` too, an answer without a word leaves the caller to the answering machine."""
    async with connected(agent), raw_client(Address(daemon.url, agent.token)) as client:
        await client.shake_hands(sampling=False)
        async with calling(daemon, agent) as call, trio.open_nursery() as nursery:
            await client.request("tools/call", name="comms_take_call", arguments={"callSid": call.call_sid})
            nursery.start_soon(call.say, "When?")
            heard = (await client.request("tools/call", name="comms_converse", arguments={}))["result"]
            given = heard["structuredContent"]
            said = {"callSid": given["callSid"], "turn": given["turn"], "say": "(…)", "waitSeconds": 0}
            await client.request("tools/call", name="comms_converse", arguments=said)
            assert (await call.hear()).text.startswith(PHRASES.apology)
    assert (await message_left(daemon, agent)).body == "When?"


async def test_last_words_are_cleaned_like_every_answer(daemon: LocalDaemon) -> None:
    """What `comms_end_call` says comes out without markup, and in words of the call's language."""
    agent = await register(daemon, language="de-DE")
    async with connected(agent) as client, calling(daemon, agent) as call:
        await client.tool("comms_end_call", callSid=call.call_sid, say="**Auf Wiederhören** & bis bald! 🎉")
        await call.wait_ended()
    assert call.heard[-1].strip() == "Auf Wiederhören und bis bald!"


# ── recorded, then silent ───────────────────────────────────────────────────────────────────────────────────────────

RECORD = UseTool("record_message", {"message": "The parcel is at the door."})


def recording_then(second: Reply) -> Callable[[MessagesRequest], Reply]:
    """Make a rule that records, and answers what follows with `second`."""
    return lambda request: second if request.messages[-1].results else Reply(RECORD)


@pytest.mark.parametrize(
    ("behaviour", "heard"),
    [
        (Behaviour(rule=recording_then(Reply())), PHRASES.message_taken),
        (Behaviour(rule=recording_then(Reply(Say("...")))), PHRASES.message_taken),
        (Behaviour(rule=recording_then(Reply(stop_reason="max_tokens"))), PHRASES.message_taken),
        (Behaviour(rule=lambda _: Reply(RECORD)), PHRASES.message_kept),
        (Behaviour(rule=recording_then(Reply(stop_reason="refusal"))), PHRASES.message_kept),
        (Behaviour(rule=lambda _: Reply(RECORD, Say("Noted.")), breaks="cut", breaks_after=4), PHRASES.message_kept),
        (Behaviour(rule=lambda _: Reply(RECORD, Say("Noted.")), breaks="stop", breaks_after=4), PHRASES.message_kept),
        (Behaviour(rule=lambda _: Reply(RECORD, Say("Noted.")), breaks="error", breaks_after=4), PHRASES.message_kept),
        (Behaviour(rule=lambda _: Reply(RECORD, Say("Noted.")), breaks="stall", breaks_after=4), PHRASES.message_kept),
    ],
    ids=["empty", "dots", "no tokens left", "only tools", "refusal", "cut", "early end", "error", "time limit"],
)
async def test_a_caller_whose_message_is_recorded_hears_so(
    behaviour: Behaviour, heard: str, daemon: LocalDaemon, agent: Access, claude: ClaudeStandIn
) -> None:
    """However the answering machine goes silent after it has recorded, the caller hears that the message is kept."""
    claude.behaviour = behaviour
    async with calling(daemon, agent) as call:
        await call.say("The parcel is at the door.")
        speech = (await call.hear()).text
    assert speech.endswith(heard)
    assert PHRASES.unavailable not in speech
    assert (await message_left(daemon, agent)).body == "The parcel is at the door."


async def test_a_service_that_refuses_after_recording_leaves_no_doubt(
    daemon: LocalDaemon, agent: Access, claude: ClaudeStandIn
) -> None:
    """A service that is overloaded by the second request has recorded by the first one, and the caller hears so."""

    def record_and_fail(_request: MessagesRequest) -> Reply:
        claude.behaviour = Behaviour(fail_status=529)
        return Reply(RECORD)

    claude.behaviour = Behaviour(rule=record_and_fail)
    async with calling(daemon, agent) as call:
        await call.say("The parcel is at the door.")
        assert (await call.hear()).text.endswith(PHRASES.message_kept)
    assert (await message_left(daemon, agent)).body == "The parcel is at the door."
