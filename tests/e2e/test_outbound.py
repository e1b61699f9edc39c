"""Calls that a client makes, on a whole daemon: what the callee hears, what the client is told, what is kept."""

from __future__ import annotations

import json

import pytest
import trio

from relay.simulator.carrier.callee import Answers, Refused, Unanswered
from tests.e2e.calling_out import CALLEE, OWN_NUMBER, Outside, ended_record, record_of
from tests.e2e.parties import Access, calling, connected, message_left, register, stay_silent
from tests.limits import HANGING

APPOINTMENT = "Hi, this is your AI assistant calling about your appointment."
# ElevenLabs voices are ids of twenty letters and digits.
AGENT_VOICE, CALL_VOICE = "agentagentagentagent", "callcallcallcallcall"


@pytest.mark.both_engines
async def test_a_call_is_made_and_talked(outside: Outside, dialling_agent: Access) -> None:
    """The callee hears who calls and the greeting, talks to the client, and the record says how it went."""
    outside.rest.callee(CALLEE, Answers(says=("Yes, this is Ada.",), hangs_up_after=0))
    async with connected(dialling_agent) as client:
        made = await client.tool(
            "comms_make_call",
            agentId=dialling_agent.agent_id,
            to=CALLEE,
            greeting=APPOINTMENT,
            systemPrompt="You are a friendly appointment reminder assistant.",
        )
        assert (made["to"], made["from"], made["status"]) == (CALLEE, OWN_NUMBER, "queued")
        call = await outside.rest.call(made["callSid"])
        turn = await client.asked.receive()
        await call.wait_ended()  # the carrier's last word comes after the end of the session
        record = await ended_record(client, call.call_sid)
    assert call.heard == ("Hello, this is an AI assistant calling.", APPOINTMENT, "You said: Yes, this is Ada.")
    assert (turn.params.system_prompt or "").startswith("You are a friendly appointment reminder assistant.\n\n")
    assert turn.history == [("assistant", APPOINTMENT), ("user", "Yes, this is Ada.")]
    metadata = turn.params.metadata or {}
    assert {"direction": "outbound", "from": OWN_NUMBER, "to": CALLEE}.items() <= metadata.items()
    assert (record["outcome"], record["answeredBy"], record["carrierStatus"]) == (
        "completed",
        {"client": 1},
        "completed",
    )
    assert (record["kind"], record["pickedUpBy"]) == ("call", "human")


async def test_what_is_chosen_for_one_call_goes_before_agent_and_settings(outside: Outside) -> None:
    """Voice, language, greeting and prompt of a call override the agent's, and those the environment's."""
    agent = await register(
        outside.daemon,
        number=OWN_NUMBER,
        greeting="Hello from the agent.",
        voice=AGENT_VOICE,
        language="en-GB",
        system_prompt="You are the agent.",
    )
    outside.rest.callee(CALLEE, Answers(says=("Yes?",), hangs_up_after=0))
    async with connected(agent) as client:
        own = await outside.called(client, to=CALLEE)
        own_turn = await client.asked.receive()
        chosen = await outside.called(
            client, to=CALLEE, greeting="Guten Tag.", voice=CALL_VOICE, language="de-DE", systemPrompt="Speak German."
        )
        chosen_turn = await client.asked.receive()
        await ended_record(client, chosen.call_sid)
    said = [(each.greeting, each.attributes["voice"], each.attributes["language"]) for each in (own, chosen)]
    assert said == [("Hello from the agent.", AGENT_VOICE, "en-GB"), ("Guten Tag.", CALL_VOICE, "de-DE")]
    assert "KI-Assistent" in chosen.heard[0]
    assert (own_turn.params.system_prompt or "").startswith("You are the agent.\n\n")
    assert (chosen_turn.params.system_prompt or "").startswith("Speak German.\n\n")


async def test_without_the_client_the_callee_hears_so(outside: Outside, dialling_agent: Access) -> None:
    """A callee whom nobody answers hears an honest sentence, no answering machine, and what he said is kept."""
    # On a busy machine it takes a moment until the client is gone.
    outside.rest.callee(CALLEE, Answers(after=1, says=("Who is there, please?",)))
    async with connected(dialling_agent) as client:
        call = await outside.called(client, to=CALLEE)
    await call.until(lambda: any("assistant who called you" in each for each in call.heard))
    await call.wait_ended()
    assert not any("message" in each for each in call.heard)
    message = await message_left(outside.daemon, dialling_agent)
    assert (message.reason, message.direction, message.body) == ("client_absent", "outbound", "Who is there, please?")


async def test_nothing_is_said_before_a_person_is_there(outside: Outside, dialling_agent: Access) -> None:
    """With `waitForHuman` the greeting waits for the verdict of the machine detection, and then it is said."""
    outside.rest.callee(CALLEE, Answers(answered_by="human", verdict_after=0.3, says=()))
    async with connected(dialling_agent) as client:
        call = await outside.called(client, to=CALLEE, greeting=APPOINTMENT, waitForHuman=True)
        await call.connected()
        assert call.greeting == ""
        assert not any(APPOINTMENT in each for each in call.heard)
        await call.until(lambda: any(APPOINTMENT in each for each in call.heard))
        assert call.answered_by == "human"
        await client.tool("comms_end_call", callSid=call.call_sid)
        assert (await ended_record(client, call.call_sid))["pickedUpBy"] == "human"


async def test_a_machine_gets_its_message(outside: Outside, dialling_agent: Access) -> None:
    """A voicemail hears what was meant for it and nothing private, and the call ends."""
    outside.rest.callee(
        CALLEE, Answers(answered_by="machine_start", verdict_after=0.2, says=("Please leave a message.",))
    )
    async with connected(dialling_agent) as client:
        call = await outside.called(
            client,
            to=CALLEE,
            greeting="About your blood test.",
            waitForHuman=True,
            onVoicemail="leave_message",
            voicemailMessage="Please call us back.",
        )
        record = await ended_record(client, call.call_sid)
    assert "Please call us back." in call.heard
    assert not any("blood" in each for each in call.heard)
    assert (record["outcome"], record["pickedUpBy"], record["answeredBy"]) == ("voicemail", "machine", {})


async def test_a_machine_is_hung_up_on(outside: Outside, dialling_agent: Access) -> None:
    """By default nobody talks to a voicemail."""
    outside.rest.callee(CALLEE, Answers(answered_by="machine_start", verdict_after=0.1))
    async with connected(dialling_agent) as client:
        call = await outside.called(client, to=CALLEE, greeting="About your blood test.", waitForHuman=True)
        record = await ended_record(client, call.call_sid)
    assert not any("blood" in each for each in call.heard)
    assert (record["outcome"], record["pickedUpBy"]) == ("voicemail", "machine")


async def test_a_call_that_nobody_takes_is_on_record(outside: Outside, dialling_agent: Access) -> None:
    """Busy and unanswered calls say so, with the carrier's error, and give their place back."""
    async with connected(dialling_agent) as client:
        for status, outcome in (("busy", "busy"), ("no-answer", "no_answer"), ("failed", "failed")):
            outside.rest.callee(CALLEE, Unanswered(status))
            call = await outside.called(client, to=CALLEE)
            record = await ended_record(client, call.call_sid)
            assert (record["outcome"], record["carrierStatus"], record["answeredBy"]) == (outcome, status, {})
        assert record["carrierError"] == "sip_404"


async def test_a_ringing_call_can_be_ended(outside: Outside, dialling_agent: Access) -> None:
    """A client that thinks better of it ends the call before anybody has answered."""
    outside.rest.callee(CALLEE, Answers(after=60))
    async with connected(dialling_agent) as client:
        call = await outside.called(client, to=CALLEE)
        await client.tool("comms_end_call", callSid=call.call_sid)
        assert (await ended_record(client, call.call_sid))["outcome"] in {"canceled", "no_answer"}
    await call.wait_ended()


async def test_a_refused_number_is_an_error_to_act_on(outside: Outside, dialling_agent: Access) -> None:
    """What the carrier or the gate refuses is told with a code and a sentence, and nothing rings."""
    outside.rest.callee(CALLEE, Refused(21216))
    async with connected(dialling_agent) as client:
        refused = await client.tool("comms_make_call", to=CALLEE)
        assert refused["error"]["message"]
        emergency = await client.tool("comms_make_call", to="911")
        assert emergency["error"]["code"] == "emergency_number"
        dry = await client.tool("comms_make_call", to="+1 900 234 5678", dryRun=True)
        assert not dry["allowed"]
        assert [each["name"] for each in dry["refusals"]] == ["premium_number"]
        assert (await client.tool("comms_list_calls"))["calls"] == []
    assert outside.rest.calls == []


async def test_a_party_that_says_so_is_not_called_again(outside: Outside, dialling_agent: Access) -> None:
    """ "Stop calling me" holds from the next dial on, whatever the client makes of it."""
    number = "+15559876599"
    outside.rest.callee(number, Answers(says=("Stop calling me!",)))
    async with connected(dialling_agent, stay_silent) as client:
        call = await outside.called(client, to=number)
        await client.asked.receive()
        again = await client.tool("comms_make_call", to=number)
        assert again["error"]["code"] == "do_not_call"
        await client.tool("comms_end_call", callSid=call.call_sid)
        await ended_record(client, call.call_sid)


async def test_an_opt_out_is_heard_in_each_language(outside: Outside) -> None:
    """A caller who asks not to be called is on the do-not-call list, whichever language the call is in."""
    said = {
        "en-US": ("uh look I'm at work please just lose my number", "do not call me before nine"),
        "en-IN": ("kindly do not call on this number", "don't stop calling me"),
        "es-US": ("ya no me llamen por favor", "no me llame antes de las nueve"),
        "fr-CA": ("ne me rappelez pas", "n'hésitez pas à me rappeler"),
        "de-AT": ("keine Anrufe mehr", "rufen Sie mich heute nicht mehr an"),
        "pt-BR": ("me tira da lista", "não me ligue mais tarde"),
        "it-IT": ("cancellate il mio numero", "non mi chiami prima delle nove"),
        "nl-BE": ("ik wil niet gebeld worden", "bel me niet voor negen uur"),
    }
    for place, (language, utterances) in enumerate(said.items()):
        agent = await register(outside.daemon, language=language)
        for asks, words in enumerate(reversed(utterances)):
            async with calling(outside.daemon, agent, caller=f"+1555987{asks}{place:03}") as call:
                await call.say(words)
    listed = json.loads(await outside.daemon.command("dnc", "list", "--json"))["numbers"]
    numbers = {
        each["number"] for each in listed if each["number"].startswith("+1555987") and each["addedBy"] == "caller"
    }
    assert {f"+15559871{place:03}" for place in range(len(said))} <= numbers
    assert not {f"+15559870{place:03}" for place in range(len(said))} & numbers


async def test_a_client_can_promise_not_to_call_again(outside: Outside, dialling_agent: Access) -> None:
    """A number that a client puts on the list is refused from then on, for this agent alone."""
    number = "+15559876598"
    async with connected(dialling_agent) as client:
        added = await client.tool("comms_stop_calling", number=number, reason="asked by letter")
        assert added["added"]
        assert (await client.tool("comms_make_call", to=number))["error"]["code"] == "do_not_call"
    other = await register(outside.daemon, number=OWN_NUMBER)
    async with connected(other) as client:
        assert (await client.tool("comms_make_call", to=number, dryRun=True))["allowed"]


async def test_a_message_is_spoken_to_whoever_answers(outside: Outside, dialling_agent: Access) -> None:
    """The callee's ear hears audio of a plausible length, at a telephone's rate, and the tool says how long it is."""
    outside.rest.callee(CALLEE, Answers())
    async with connected(dialling_agent) as client:
        sent = await client.tool(
            "comms_send_voice_message",
            agentId=dialling_agent.agent_id,
            to=CALLEE,
            text="Reminder: your appointment is tomorrow at 3 PM.",
        )
        call = await outside.rest.call(sent["callSid"])
        record = await ended_record(client, call.call_sid)
    (audio,) = call.audio
    assert audio.url == sent["audioUrl"]
    assert (audio.rate, audio.channels, audio.bits) == (8000, 1, 16)
    assert 1.5 < audio.seconds < 8
    assert abs(audio.seconds - sent["durationSeconds"]) < 0.2
    assert audio.loudness > 0.01
    assert (record["kind"], record["outcome"], record["carrierStatus"]) == ("voice_message", "completed", "completed")


@pytest.mark.both_engines
async def test_a_message_that_reaches_nobody_is_reported(outside: Outside, dialling_agent: Access) -> None:
    """When nobody picks up, the client finds a waiting message that says so, once."""
    outside.rest.callee(CALLEE, Unanswered("no-answer"))
    async with connected(dialling_agent) as client:
        sent = await client.tool("comms_send_voice_message", to=CALLEE, text="Your parcel is here.")
        message = await message_left(outside.daemon, dialling_agent)
        record = await ended_record(client, sent["callSid"])
    assert (message.reason, message.call_sid, message.called) == ("send_failed", sent["callSid"], CALLEE)
    assert "nobody answered" in message.body
    assert record["outcome"] == "no_answer"


async def test_another_agent_learns_nothing(outside: Outside, dialling_agent: Access) -> None:
    """With another agent's token a call cannot be transferred, ended, listed, or told from one that does not exist."""
    outside.rest.callee(CALLEE, Answers())
    other = await register(outside.daemon, number=OWN_NUMBER)
    async with connected(dialling_agent) as client, connected(other) as stranger:
        call = await outside.called(client, to=CALLEE)
        await call.connected()
        tried = [
            await stranger.tool(name, **arguments, callSid=call_sid)
            for call_sid in (call.call_sid, "CA" + "0" * 32)
            for name, arguments in (
                ("comms_transfer_call", {"to": "+15551234567"}),
                ("comms_end_call", {}),
                ("comms_stop_calling", {}),
            )
        ]
        assert [each["error"]["code"] for each in tried] == ["unknown_call"] * 6
        assert tried[:3] == tried[3:]
        assert (await stranger.tool("comms_list_calls"))["calls"] == []
        named = await stranger.tool("comms_make_call", agentId=dialling_agent.agent_id, to=CALLEE)
        assert named["error"]["code"] == "not_your_agent"
        assert (await record_of(client, call.call_sid))["state"] == "live"
        await client.tool("comms_end_call", callSid=call.call_sid)
        with trio.fail_after(HANGING):
            await ended_record(client, call.call_sid)


async def test_what_is_dear_is_not_dialled_by_any_tool(outside: Outside, dialling_agent: Access) -> None:
    """Satellites, personal and premium numbers, directory enquiries and our own are refused, each by its name."""
    dear = {
        "+870773123456": "satellite_number",
        "+447012345678": "personal_number",
        "+448431234567": "premium_number",
        "+12125551212": "premium_number",
        OWN_NUMBER: "own_number",
        "+15005550006": "personal_number",
    }
    async with connected(dialling_agent) as client:
        for number, rule in dear.items():
            call = await client.tool("comms_make_call", to=number)
            message = await client.tool("comms_send_voice_message", to=number, text="Hello.")
            assert (call["error"]["code"], message["error"]["code"]) == (rule, rule)
            assert call["error"]["details"]["refusals"][0]["liftedBy"]
    assert not outside.rest.requests
