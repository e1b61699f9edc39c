"""Transfers on a whole daemon: six ways in which they end, each with its record and with what the caller hears next."""

from __future__ import annotations

import json

import pytest
import trio

from relay.simulator.carrier.callee import Answers, Callee, Refused, Unanswered
from relay.simulator.carrier.simulated_call import SimulatedCall
from tests.e2e.calling_out import CALLEE, HUMAN, Outside, ended_record, record_of, transfer
from tests.e2e.parties import Access, AiClient, ask, connected, message_left, messages_of

ANNOUNCEMENT = "Connecting you to a human client now."


async def outcome_of(client: AiClient, call: SimulatedCall) -> str:
    """Wait until a transfer is over, and return what the record says of it."""
    while True:
        found = (await record_of(client, call.call_sid))["transfer"]
        if found is not None and found["outcome"] != "dialling":
            assert found["to"] == HUMAN
            return str(found["outcome"])
        await trio.sleep(0.02)


@pytest.mark.both_engines
async def test_a_caller_is_connected_to_a_human(outside: Outside, dialling_agent: Access) -> None:
    """The caller hears the announcement, the number is dialled, and the two talk until the call is over."""
    outside.rest.callee(HUMAN, Answers(talks=0.3))
    async with connected(dialling_agent) as client, outside.carrier.call(dialling_agent.agent_id) as call:
        await ask(call, "I want a human.")
        asked = await transfer(client, call, agentId=dialling_agent.agent_id, announcementText=ANNOUNCEMENT)
        assert asked == {"callSid": call.call_sid, "status": "transferring", "to": HUMAN}
        await call.wait_ended()
        record = await ended_record(client, call.call_sid)
    assert call.heard[-1] == ANNOUNCEMENT
    assert call.dialled == [HUMAN]
    assert call.legs[0].bridged
    assert record["transfer"] == {"to": HUMAN, "outcome": "answered"}
    assert record["outcome"] == "transferred"
    assert await messages_of(outside.daemon, dialling_agent) == ()


async def _comes_back(outside: Outside, access: Access, callee: Callee, outcome: str, says: str) -> None:
    outside.rest.callee(HUMAN, callee)
    async with connected(access) as client, outside.carrier.call(access.agent_id) as call:
        await ask(call, "I want a human.")
        await client.asked.receive()
        await transfer(client, call)
        told = await client.asked.receive()
        assert says in told.words
        assert HUMAN in told.words
        assert ("user", "I want a human.") in told.history
        assert says in (await call.hear()).text
        assert ANNOUNCEMENT in call.heard
        assert await ask(call, "Then tell me more.") == "You said: Then tell me more."
        assert await outcome_of(client, call) == outcome
        assert (await record_of(client, call.call_sid))["state"] == "live"
        await call.hang_up()
        record = await ended_record(client, call.call_sid)
    assert record["transfer"]["outcome"] == outcome
    assert record["outcome"] == "completed"


async def test_a_busy_human_sends_the_caller_back(outside: Outside, dialling_agent: Access) -> None:
    """The client is told that the line was busy, and goes on with the caller where they were."""
    await _comes_back(outside, dialling_agent, Unanswered("busy"), "busy", "busy")


async def test_a_human_who_does_not_answer_sends_the_caller_back(outside: Outside, dialling_agent: Access) -> None:
    """The client is told that nobody answered."""
    await _comes_back(outside, dialling_agent, Unanswered("no-answer"), "no_answer", "not answered")


async def test_a_number_that_is_refused_sends_the_caller_back(outside: Outside, dialling_agent: Access) -> None:
    """The client is told that the number could not be reached."""
    await _comes_back(outside, dialling_agent, Refused(21211), "failed", "could not be reached")


async def test_a_caller_who_does_not_wait_is_gone(outside: Outside, dialling_agent: Access) -> None:
    """Who hangs up while it rings is on record as gone, and nobody is told of a call to answer."""
    outside.rest.callee(HUMAN, Answers(after=60))
    async with connected(dialling_agent) as client, outside.carrier.call(dialling_agent.agent_id) as call:
        await ask(call, "I want a human.")
        await client.asked.receive()
        await transfer(client, call)
        await call.until(lambda: call.legs)
        await call.hang_up()
        record = await ended_record(client, call.call_sid)
        assert await outcome_of(client, call) == "caller_gone"
    assert record["outcome"] == "transferred"
    assert not call.legs[0].bridged


async def test_a_caller_whose_line_hangs_is_transferred_all_the_same(outside: Outside, dialling_agent: Access) -> None:
    """When the session cannot be ended, the carrier is told directly, and the caller hears and gets the same."""
    outside.rest.callee(HUMAN, Answers(talks=0.3))
    async with connected(dialling_agent) as client, outside.carrier.call(dialling_agent.agent_id) as call:
        await ask(call, "I want a human.")
        await call.freeze_line()
        await transfer(client, call, announcementText=ANNOUNCEMENT)
        await call.wait_ended()
        record = await ended_record(client, call.call_sid)
    assert call.heard[-1] == ANNOUNCEMENT
    assert call.dialled == [HUMAN]
    assert (record["transfer"]["outcome"], record["outcome"]) == ("answered", "transferred")


async def test_a_caller_whose_line_is_lost_is_transferred_all_the_same(
    outside: Outside, dialling_agent: Access
) -> None:
    """A call whose socket broke, and that the carrier does not ask about, can still be passed on."""
    outside.rest.callee(HUMAN, Answers(talks=0.3))
    async with connected(dialling_agent) as client, outside.carrier.call(dialling_agent.agent_id) as call:
        await ask(call, "I want a human.")
        await call.drop_line()
        await transfer(client, call, announcementText=ANNOUNCEMENT)
        await call.wait_ended()
        record = await ended_record(client, call.call_sid)
    assert call.dialled == [HUMAN]
    assert call.heard[-1] == ANNOUNCEMENT
    assert record["transfer"]["outcome"] == "answered"


async def test_a_callee_has_to_press_a_key_where_that_is_wanted(outside: Outside, dialling_agent: Access) -> None:
    """With `confirm` a voicemail does not take the call: the caller comes back, and whoever presses 1 is connected."""
    outside.rest.callee(HUMAN, Answers(hangs_up_after=0))
    async with connected(dialling_agent) as client, outside.carrier.call(dialling_agent.agent_id) as call:
        await ask(call, "I want a human.")
        await client.asked.receive()
        await transfer(client, call, confirm=True)
        assert "did not press 1" in (await client.asked.receive()).words
        assert await outcome_of(client, call) == "declined"
        await call.hear()
        outside.rest.callee(HUMAN, Answers(presses="1", talks=0.2))
        await transfer(client, call, confirm=True)
        await call.wait_ended()
        assert await outcome_of(client, call) == "answered"
    assert [leg.bridged for leg in call.legs] == [False, True]
    assert all("Press 1" in leg.heard[0] for leg in call.legs)


async def test_without_a_client_the_machine_takes_the_caller_back(outside: Outside, dialling_agent: Access) -> None:
    """A caller whom nobody answered, and whose client has left meanwhile, can leave a message."""
    outside.rest.callee(HUMAN, Unanswered("no-answer", after=1.0))
    async with outside.carrier.call(dialling_agent.agent_id) as call:
        async with connected(dialling_agent) as client:
            await ask(call, "I want a human.")
            await transfer(client, call)
            await call.until(lambda: call.legs)
        await call.until(lambda: "sorry" in call.heard[-1])
        await call.quiet()
        await ask(call, "Please tell him that Ada called.")
    message = await message_left(outside.daemon, dialling_agent)
    assert "Ada called" in message.body
    assert "transfer" not in message.body


async def test_hostile_words_stay_words(outside: Outside, dialling_agent: Access) -> None:
    """Markup in an announcement is spoken as text and orders nothing."""
    outside.rest.callee(HUMAN, Answers(talks=0.1))
    hostile = 'Hi</Say><Dial>+15550009999</Dial><Say>"&amp;'
    async with connected(dialling_agent) as client, outside.carrier.call(dialling_agent.agent_id) as call:
        await ask(call, "I want a human.")
        await transfer(client, call, announcementText=hostile)
        await call.wait_ended()
    assert call.dialled == [HUMAN]
    assert "+15550009999" in call.heard[-1]


async def test_an_outbound_call_can_be_transferred_too(outside: Outside, dialling_agent: Access) -> None:
    """A callee is passed on as a caller is, once; a second wish meanwhile is an error that says so."""
    outside.rest.callee(CALLEE, Answers(says=("Hello?",)))
    outside.rest.callee(HUMAN, Answers(after=0.5, talks=0.2))
    async with connected(dialling_agent) as client:
        call = await outside.called(client, to=CALLEE)
        await client.asked.receive()
        await transfer(client, call)
        again = await transfer(client, call)
        assert again["error"]["code"] == "already_transferring"
        record = await ended_record(client, call.call_sid)
    assert record["transfer"]["outcome"] == "answered"
    assert call.dialled == [HUMAN]


async def test_a_refused_target_leaves_the_call_alone(outside: Outside, dialling_agent: Access) -> None:
    """A number that the gate refuses is an error, and the caller goes on talking to the client."""
    async with connected(dialling_agent) as client, outside.carrier.call(dialling_agent.agent_id) as call:
        await ask(call, "I want a human.")
        refused = await client.tool("comms_transfer_call", callSid=call.call_sid, to="112")
        assert refused["error"]["code"] == "emergency_number"
        assert json.dumps(refused).count("112") == 0
        assert await ask(call, "Still there?") == "You said: Still there?"
