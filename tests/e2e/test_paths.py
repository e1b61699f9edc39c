"""The three ways in which a call is answered, over real sockets: the client, the answering machine, and nobody."""

from __future__ import annotations

import pytest
import trio
from mcp_types import LoggingMessageNotification, ResourceUpdatedNotification

from actors.call_values import Reason
from relay.simulator.load.local_daemon import LocalDaemon
from tests.e2e.parties import (
    Access,
    AnswerTurn,
    Turn,
    ask,
    calling,
    carrier_of,
    connected,
    message_left,
    messages_of,
    register,
    stay_silent,
)

# ── the client ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.both_engines
async def test_the_clients_answer_is_heard(daemon: LocalDaemon, agent: Access) -> None:
    """What the caller says goes to the client, and what the client says comes out of the telephone."""
    async with connected(agent), calling(daemon, agent) as call:
        assert await ask(call, "Is it raining?") == "You said: Is it raining?"
    assert await messages_of(daemon, agent) == ()


async def test_a_turn_says_whose_call_it_is(daemon: LocalDaemon, agent: Access) -> None:
    """A turn carries what is known of the call, and how far the caller's number can be trusted."""
    async with connected(agent) as client, calling(daemon, agent, caller="+15550111222", called="+15550333444") as call:
        await ask(call, "Hello.")
        turn = await client.asked.receive()
    assert {
        "callSid": call.call_sid,
        "turn": 1,
        "from": "+15550111222",
        "to": "+15550333444",
        "direction": "inbound",
        "callerVerified": True,
    }.items() <= (turn.params.metadata or {}).items()
    assert turn.params.max_tokens == 300


async def test_the_agents_prompt_comes_before_the_warning(daemon: LocalDaemon) -> None:
    """The system prompt is the agent's own, followed by what the client must know of spoken words."""
    agent = await register(daemon, system_prompt="You are the night porter.")
    async with connected(agent) as client, calling(daemon, agent) as call:
        await ask(call, "Hello.")
        prompt = (await client.asked.receive()).params.system_prompt or ""
    assert prompt.startswith("You are the night porter.\n\n")
    assert "untrusted data" in prompt


async def test_a_turn_carries_the_conversation_so_far(daemon: LocalDaemon, agent: Access) -> None:
    """The caller's words are the user's, what the caller heard is the assistant's, the greeting included."""
    async with connected(agent) as client, calling(daemon, agent) as call:
        await ask(call, "One.")
        await ask(call, "Two.")
        await client.asked.receive()
        second = await client.asked.receive()
    assert second.history == [
        ("assistant", "Hello, how can I help you today?"),
        ("user", "One."),
        ("assistant", "You said: One."),
        ("user", "Two."),
    ]


async def test_pieces_are_heard_before_the_answer_is_complete(daemon: LocalDaemon, agent: Access) -> None:
    """The caller hears the client's first sentence while the client still thinks about the second."""
    first_heard = trio.Event()

    async def think_aloud(turn: Turn) -> str:
        await turn.say(1, "It is raining. ")
        await first_heard.wait()
        return "It is raining. Take an umbrella."

    async with connected(agent, think_aloud), calling(daemon, agent) as call:
        await call.say("How is the weather?")
        assert (await call.next_token()).text.strip() == "It is raining."
        first_heard.set()
        assert (await call.hear()).text.strip() == "Take an umbrella."


async def test_an_agent_sounds_as_its_owner_wants(daemon: LocalDaemon) -> None:
    """The agent's own greeting, voice and language are in the TwiML, so the carrier greets with them."""
    agent = await register(daemon, greeting="Grüß Gott.", voice="XB0fDUnXU5powFXDhCwa", language="de-AT")
    async with calling(daemon, agent) as call:
        assert call.greeting == "Grüß Gott."
        assert call.attributes["voice"] == "XB0fDUnXU5powFXDhCwa"
        assert call.attributes["language"] == "de-AT"


async def test_without_a_voice_the_carrier_uses_its_own(daemon: LocalDaemon) -> None:
    """The TwiML of an agent that asks for no voice has no such attribute; that of another has the settings' voice."""
    for voice, attribute in (("none", None), (None, "EXAVITQu4vr4xnSDxMaL")):
        agent = await register(daemon, voice=voice, language="de-DE")
        async with calling(daemon, agent) as call:
            assert call.attributes.get("voice") == attribute


async def test_keys_are_one_utterance(daemon: LocalDaemon, agent: Access) -> None:
    """Keys pressed one after the other reach the client together, as what the caller said."""
    async with connected(agent) as client, calling(daemon, agent) as call:
        await call.press("4711#")
        assert (await client.asked.receive()).words == "4711"


async def test_the_client_ends_the_call_after_its_last_words(daemon: LocalDaemon, agent: Access) -> None:
    """`comms_end_call` says the given sentence, lets the caller hear it to its end, and hangs up."""
    async with connected(agent) as client, calling(daemon, agent, speech_rate=100.0) as call:
        await ask(call, "That was all.")
        await call.quiet()
        done = await client.tool("comms_end_call", callSid=call.call_sid, say="Then have a good day.")
        assert done == {"callSid": call.call_sid, "status": "ending"}
        await call.wait_ended()
    assert call.outcomes[-1].status == "ended"
    assert call.heard[-1] == "Then have a good day."


async def test_hanging_up_on_a_silent_client_leaves_the_utterance(daemon: LocalDaemon, agent: Access) -> None:
    """What a caller said who did not wait for the answer is kept, and the client is told to stop."""
    async with connected(agent, stay_silent) as client:
        async with calling(daemon, agent) as call:
            await call.say("Tell her the train is late.")
            await client.asked.receive()
        await client.withdrawn.receive()
        message = await message_left(daemon, agent)
    assert (message.reason, message.body) == (Reason.UNANSWERED, "Tell her the train is late.")


async def test_two_agents_calls_keep_apart(daemon: LocalDaemon) -> None:
    """Each caller is answered by the client of the agent that was called."""
    anne, bob = await register(daemon), await register(daemon)

    def speaking(name: str) -> AnswerTurn:
        async def answer(_turn: Turn) -> str:
            await trio.lowlevel.checkpoint()
            return f"{name} speaking."

        return answer

    async with (
        connected(anne, speaking("Anne")),
        connected(bob, speaking("Bob")),
        calling(daemon, anne) as to_anne,
        calling(daemon, bob) as to_bob,
    ):
        assert await ask(to_bob, "Who is there?") == "Bob speaking."
        assert await ask(to_anne, "Who is there?") == "Anne speaking."


# ── the answering machine ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.both_engines
async def test_without_a_client_the_machine_takes_a_message(daemon: LocalDaemon, agent: Access) -> None:
    """The machine apologises, asks, writes down message and wishes, and hangs up after the goodbye."""
    async with calling(daemon, agent) as call:
        assert "May I take a message" in await ask(call, "Hello, it is Ada.")
        assert "written that down" in await ask(call, "The parcel is here. Please call me back after 8.")
        assert "Goodbye" in await ask(call, "No, that is all.")
        await call.wait_ended()
    message = await message_left(daemon, agent)
    assert call.outcomes[-1].status == "ended"
    assert message.reason is Reason.CLIENT_ABSENT
    assert "The parcel is here." in message.body
    assert message.preferences == "Please call me back after 8."


async def test_a_client_that_comes_back_is_notified_at_once(daemon: LocalDaemon, agent: Access) -> None:
    """A client that connects learns of the message before it asks, and gets it when it asks."""
    async with calling(daemon, agent) as call:
        await ask(call, "It is Ada, the parcel is here.")
    async with connected(agent) as client:
        told = [await client.notices.receive(), await client.notices.receive()]
        fetched = await client.fetch()
    updated, notice = told
    assert isinstance(updated, ResourceUpdatedNotification)
    assert isinstance(notice, LoggingMessageNotification)
    assert (notice.params.logger, notice.params.data["id"]) == ("waiting-message", fetched[0]["id"])


# ── nobody ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_without_client_and_machine_a_sentence_ends_the_call(keyless_daemon: LocalDaemon) -> None:
    """The caller hears that nobody is available, the relay hangs up, and what was said is kept."""
    agent = await register(keyless_daemon)
    async with calling(keyless_daemon, agent) as call:
        assert "nobody is available" in await ask(call, "Is anybody there?")
        await call.wait_ended()
    message = await message_left(keyless_daemon, agent)
    assert call.outcomes[-1].status == "ended"
    assert (message.reason, message.body) == (Reason.CLIENT_ABSENT, "Is anybody there?")


async def test_a_caller_who_says_nothing_is_known_of(keyless_daemon: LocalDaemon) -> None:
    """A caller who hangs up without a word, while nobody could have answered, leaves a message without words."""
    agent = await register(keyless_daemon)
    async with calling(keyless_daemon, agent, caller="+15550123123"):
        pass
    message = await message_left(keyless_daemon, agent)
    assert (message.caller, message.body) == ("+15550123123", "")


async def test_the_sentence_is_in_the_agents_language(keyless_daemon: LocalDaemon) -> None:
    """What the relay says in its own voice is in the language of the agent."""
    agent = await register(keyless_daemon, language="de-DE")
    async with calling(keyless_daemon, agent) as call:
        assert "Auf Wiederhören" in await ask(call, "Ist da jemand?")


async def test_many_calls_at_once_keep_their_answers(daemon: LocalDaemon, agent: Access) -> None:
    """Twenty callers of one agent who speak at the same moment each hear the answer to their own words."""

    async def converse(number: int) -> None:
        async with carrier.call(agent.agent_id) as call:
            for turn in range(3):
                words = f"Caller {number}, turn {turn}."
                assert await ask(call, words) == f"You said: {words}"

    async with connected(agent), carrier_of(daemon) as carrier, trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(converse, number)
