"""Turn tools: a client that cannot be asked waits for a caller's words with a tool, and answers with the next call."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from actors.call_values import Availability, TurnRequest
from actors.clients import ClientResponder
from actors.errors import ClientLeft
from actors.events import UtteranceHeard
from actors.phases import Phase
from actors.ports import Answer
from actors.turn_queue import TurnQueue
from tests.relay.mcp.http_client import standing_client
from tests.relay.mcp.mcp_relay import RunningRelay, Speech, call_info, eventually, raw_client, running_relay, turn
from tests.relay.mcp.tool_client import EACH_WAY, SSE, Caller, ToolClient, code_of, staffing
from tests.sids import sid


async def repeat(client: ToolClient) -> None:
    """Staff the phone: repeat what each caller says."""
    heard = await client.converse()
    while True:
        heard = await client.answer(heard, f"You said: {heard['caller']}")


def is_here(relay: RunningRelay) -> bool:
    return relay.presence.availability("anna") is Availability.HERE


def has_waiting_calls(relay: RunningRelay, number: int) -> bool:
    """Return whether so many calls of anna have words that wait for her client."""
    queue = relay.presence.newest("anna")
    assert isinstance(queue, TurnQueue)
    return queue.waiting_calls == number


async def nobody_is_here(relay: RunningRelay) -> None:
    await eventually(lambda: relay.presence.availability("anna") is Availability.AWAY)


# ── a conversation ──────────────────────────────────────────────────────────────────────────────────────────────────


@EACH_WAY
async def test_call_of_three_turns(way: str, relay: RunningRelay) -> None:
    """Each answer is spoken to the caller whose words it answers, and what they say next is returned."""
    async with staffing(relay, way) as client, trio.open_nursery() as nursery:
        nursery.start_soon(repeat, client)
        await eventually(lambda: is_here(relay))
        caller = Caller(relay)
        for words in ("Hello?", "Is it open?", "Thank you."):
            assert await caller.say(words) == f"You said: {words}"
        nursery.cancel_scope.cancel()


async def test_first_turn_of_a_call_says_what_it_is_about(relay: RunningRelay) -> None:
    """With it a client gets the system prompt and what was said before; later it gets only what is new."""
    async with staffing(relay) as client, trio.open_nursery() as nursery:
        caller = Caller(relay)
        nursery.start_soon(caller.say, "Hello?")
        first = await client.converse()
        nursery.start_soon(caller.say_next, "Is it open?")
        second = await client.answer(first, "Good morning.")
        nursery.cancel_scope.cancel()
    assert {
        "callSid": sid(),
        "turn": 1,
        "caller": "Hello?",
        "from": "+15550001111",
        "to": "+15550002222",
        "direction": "inbound",
        "callerVerified": False,
        "waitingCalls": 0,
        "history": [],
    }.items() <= first.items()
    assert "untrusted data" in first["systemPrompt"]
    assert second["caller"] == "Is it open?"
    assert second["turn"] == 2
    assert not {"systemPrompt", "history"} & second.keys()


@EACH_WAY
async def test_several_calls_at_once(way: str, relay: RunningRelay) -> None:
    """One client talks with several callers; the one who has waited longest comes first, and the others are counted."""
    async with staffing(relay, way) as client, trio.open_nursery() as nursery:
        first = Caller(relay, sid(9))
        nursery.start_soon(first.say, "I am the first.")
        await client.answer(await client.converse(), "Hello.", waitSeconds=0)
        await relay.lose(first.line, sid(9))
        callers = [Caller(relay, sid(number)) for number in range(3)]
        for number, caller in enumerate(callers, start=1):
            nursery.start_soon(caller.say, f"I am {caller.call_sid}.")
            await eventually(partial(has_waiting_calls, relay, number))
        heard = await client.converse()
        order = []
        for _ in range(3):
            order.append((heard["callSid"], heard["waitingCalls"]))
            heard = await client.answer(heard, f"Hello {heard['callSid']}.", waitSeconds=0)
        assert order == [(sid(0), 2), (sid(), 1), (sid(2), 0)]
        assert heard == {"waiting": True, "liveCalls": 3}
        await eventually(lambda: all(each.heard for each in callers))
    assert [each.heard for each in callers] == [
        ["Hello CA00000000000000000000000000000000."],
        ["Hello CA00000000000000000000000000000001."],
        ["Hello CA00000000000000000000000000000002."],
    ]


async def test_pieces_are_spoken_as_they_come(relay: RunningRelay) -> None:
    """With more, the tool returns at once and the turn stays open."""
    async with staffing(relay) as client, trio.open_nursery() as nursery:
        caller = Caller(relay)
        nursery.start_soon(caller.say, "Is it open?")
        heard = await client.converse()
        said = await client.answer(heard, "Let me look. ", more=True)
        assert said == {"callSid": sid(), "turn": 1, "said": True}
        await eventually(lambda: caller.line.speech == "Let me look. ")
        await client.answer(heard, "It is.", waitSeconds=0)
        await eventually(lambda: caller.heard == ["Let me look. It is."])


async def test_utterances_whose_result_was_lost_are_handed_out_again(relay: RunningRelay) -> None:
    """Until they are answered; and an answer that is repeated is spoken once."""
    async with staffing(relay) as client, trio.open_nursery() as nursery:
        caller = Caller(relay)
        nursery.start_soon(caller.say, "Hello?")
        heard = await client.converse()
        assert await client.converse(callSid=sid(), onlyThisCall=True) == heard
        for _ in range(2):
            assert await client.answer(heard, "Good morning.", waitSeconds=0) == {"waiting": True, "liveCalls": 1}
        await eventually(lambda: caller.heard == ["Good morning."])


async def test_late_answer_gets_an_error(relay: RunningRelay) -> None:
    """What a caller does not wait for any more is spoken to nobody, and the error says what to do."""
    async with staffing(relay) as client:
        caller = await Caller(relay).dial()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(caller.say, "Hello?")
            heard = await client.converse()
            nursery.cancel_scope.cancel()
        await relay.lose(caller.line)
        late = await client.answer(heard, "Good morning.")
    assert code_of(late) == "turn_over"
    assert "without say" in late["error"]["message"]
    assert caller.line.speech == ""


async def test_wait_ends_without_an_utterance(relay: RunningRelay) -> None:
    """The tool says that nobody has said anything; its client is expected back, so a caller may wait for it."""
    async with staffing(relay) as client:
        await relay.begin()
        assert await client.converse(waitSeconds=0.02) == {"waiting": True, "liveCalls": 1}
        assert relay.presence.availability("anna") is Availability.JUST_LOST


# ── one call alone ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_one_call_is_waited_for_alone(relay: RunningRelay) -> None:
    """Others wait meanwhile; when the call is over, the wait is too."""
    async with staffing(relay) as client, trio.open_nursery() as nursery:
        line = await relay.begin("anna", sid(2))
        nursery.start_soon((await Caller(relay).dial()).say, "Hello?")
        heard = await client.converse(callSid=sid(2), onlyThisCall=True, waitSeconds=0.05)
        assert heard == {"waiting": True, "liveCalls": 2}

        async def end() -> None:
            await eventually(lambda: is_here(relay))
            await relay.lose(line, sid(2))
            relay.calls.end("anna", sid(2))

        nursery.start_soon(end)
        assert await client.converse(callSid=sid(2), onlyThisCall=True) == {"callSid": sid(2), "over": True}
        nursery.cancel_scope.cancel()


async def test_answer_to_a_call_that_ends_with_it(relay: RunningRelay) -> None:
    """Who answers and waits for that call alone learns that there is nothing to wait for."""
    async with staffing(relay) as client, trio.open_nursery() as nursery:
        caller = Caller(relay)
        nursery.start_soon(caller.say, "Hello?")
        heard = await client.converse()

        async def end() -> None:
            await eventually(lambda: caller.heard == ["Bye."])
            await relay.lose(caller.line)
            relay.calls.end("anna", sid())

        nursery.start_soon(end)
        assert await client.answer(heard, "Bye.", onlyThisCall=True) == {"callSid": sid(), "over": True}


async def test_a_call_whose_line_was_lost_is_still_waited_for(relay: RunningRelay) -> None:
    """It is not called over, whether somebody waits or comes to wait, until it is said to be."""
    async with staffing(relay) as client, trio.open_nursery() as nursery:
        caller = Caller(relay)
        nursery.start_soon(caller.say, "Hello?")
        heard = await client.converse()
        waiting = await client.answer(heard, "Hi.", onlyThisCall=True, waitSeconds=0)
        assert "waiting" in waiting
        await relay.lose(caller.line)
        assert "waiting" in await client.converse(callSid=sid(), onlyThisCall=True, waitSeconds=0)
        relay.calls.end("anna", sid())
        assert code_of(await client.converse(callSid=sid(), onlyThisCall=True, waitSeconds=0)) == "unknown_call"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"callSid": sid(9), "onlyThisCall": True}, "unknown_call"),
        ({"callSid": sid(2), "onlyThisCall": True}, "unknown_call"),
        ({"onlyThisCall": True}, "bad_arguments"),
        ({"say": "Hello."}, "bad_arguments"),
        ({"say": "Hello.", "callSid": sid()}, "bad_arguments"),
        ({"say": "Hello.", "callSid": sid(2), "turn": 1}, "turn_over"),
        ({"agentId": "bert"}, "not_your_agent"),
    ],
)
async def test_what_makes_no_sense_is_refused(arguments: dict[str, object], code: str, relay: RunningRelay) -> None:
    """Also for the call of another agent, which is answered as one that does not exist."""
    await relay.begin("anna", sid())
    await relay.begin("bert", sid(2))
    async with staffing(relay) as client:
        assert code_of(await client.converse(**arguments)) == code


# ── clients that go ─────────────────────────────────────────────────────────────────────────────────────────────────


@EACH_WAY
async def test_waiting_client_that_dies_is_away(way: str, relay: RunningRelay) -> None:
    """Its tool call ends with its connection, and presence with that: nobody waits for it."""
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            async with staffing(relay, way) as client:
                await client.converse()

        nursery.start_soon(wait)
        await eventually(lambda: is_here(relay))
        nursery.cancel_scope.cancel()
    await nobody_is_here(relay)


async def test_turn_fails_with_the_stream_of_its_client(relay: RunningRelay) -> None:
    """Over SSE a client that is gone while it thinks is noticed at once."""
    async with trio.open_nursery() as nursery:
        async with raw_client(relay) as client:
            await client.shake_hands(sampling=False)
            failed = _fail(nursery, relay)
            await client.request("tools/call", name="comms_converse", arguments={})
        await failed.wait()
    await nobody_is_here(relay)


async def test_turn_fails_with_the_standing_stream_of_its_client(relay: RunningRelay) -> None:
    """Over Streamable HTTP likewise, where the client has such a stream."""
    async with trio.open_nursery() as nursery:
        async with standing_client(relay, sampling=False) as (client, _stream):
            failed = _fail(nursery, relay)
            await client.request("tools/call", name="comms_converse", arguments={})
        await failed.wait()
    await nobody_is_here(relay)


def _fail(nursery: trio.Nursery, relay: RunningRelay) -> trio.Event:
    failed = trio.Event()

    async def ask() -> None:
        await eventually(lambda: is_here(relay))
        with pytest.raises(ClientLeft):
            await ClientResponder(relay.presence, relay.calls.owner_of).respond(turn("anna", "Hello?"), Speech())
        failed.set()

    nursery.start_soon(ask)
    return failed


# ── several clients of an agent ─────────────────────────────────────────────────────────────────────────────────────


async def test_call_is_taken_from_another_client(relay: RunningRelay) -> None:
    """The claimer gets the words with all that was said; what the other one still says is an error that tells it."""
    async with staffing(relay) as one, staffing(relay, SSE) as two, trio.open_nursery() as nursery:
        caller = Caller(relay)
        nursery.start_soon(caller.say, "Hello?")
        heard = await one.converse()
        nursery.start_soon(caller.say_next, "Who is there?")
        await one.answer(heard, "Good morning.", waitSeconds=0)
        second = await one.converse()
        taken = await two.tool("comms_take_call", callSid=sid())
        assert taken["status"] == "yours"
        assert [each["text"] for each in taken["transcript"]] == ["Hello?", "Good morning.", "Who is there?"]
        refused = await one.answer(second, "Me.")
        assert code_of(refused) == "taken_by_another_client"
        theirs = await two.converse()
        assert (theirs["callSid"], theirs["turn"], theirs["caller"]) == (sid(), 2, "Who is there?")
        assert [each["text"] for each in theirs["history"]] == ["Hello?", "Good morning."]
        await two.answer(theirs, "Somebody else.", waitSeconds=0)
        await eventually(lambda: caller.heard == ["Good morning.", "Somebody else."])


@pytest.mark.parametrize(
    ("phase", "status"),
    [(Phase.ANSWERING_MACHINE_LISTENING, "yours"), (Phase.ANSWERING_MACHINE_ANSWERING, "at_the_next_pause")],
)
@EACH_WAY
async def test_call_is_taken_from_the_answering_machine(way: str, phase: Phase, status: str) -> None:
    """The client that takes it counts as here, so that the machine can hand it over."""

    async def script(_request: TurnRequest, answer: Answer) -> None:
        await answer.say("Who is calling?")
        if phase is Phase.ANSWERING_MACHINE_ANSWERING:
            await trio.sleep_forever()

    async with running_relay(answering_machine=script) as relay, staffing(relay, way) as client:
        line = await relay.begin()
        line.carrier_says(UtteranceHeard("Hello?"))
        await eventually(lambda: relay.calls.live()[0].phase is phase)
        taken = await client.tool("comms_take_call", callSid=sid())
        assert taken["status"] == status
        assert (taken["from"], taken["to"]) == ("+15550001111", "+15550002222")
        assert is_here(relay)


async def test_call_is_taken_by_a_session_that_is_asked(relay: RunningRelay) -> None:
    """A client that samples gets the turns as it always does, before its newer sessions; a tool client is told so."""
    async with staffing(relay) as tools, raw_client(relay) as mine, raw_client(relay) as newer:
        await mine.shake_hands()
        session = await relay.arrival()
        caller = await Caller(relay).dial()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tools.converse)
            await newer.shake_hands()
            await relay.arrival(2)
            nursery.cancel_scope.cancel()
        taken = await mine.request("tools/call", name="comms_take_call", arguments={"callSid": sid()})
        assert taken["result"]["structuredContent"]["status"] == "yours"
        assert relay.calls.owner_of(call_info()).session is session
        async with trio.open_nursery() as nursery:
            nursery.start_soon(caller.say, "Hello?")
            await mine.say(await mine.next_message("sampling/createMessage"), "Here.")
        assert caller.heard == ["Here."]
        refused = await tools.converse(callSid=sid(), turn=1, say="Me too.")
        assert code_of(refused) == "taken_by_another_client"


@pytest.mark.parametrize("phase", [Phase.UNAVAILABLE, Phase.GOODBYE, Phase.ENDING])
async def test_call_that_ends_cannot_be_taken(phase: Phase, relay: RunningRelay) -> None:
    """Its last words are being spoken."""
    line = await relay.begin()
    if phase is Phase.UNAVAILABLE:
        line.carrier_says(UtteranceHeard("Hello?"))
    else:
        relay.calls.hang_up("anna", sid(), "Goodbye." if phase is Phase.GOODBYE else "")
    await eventually(lambda: relay.calls.live()[0].phase is phase)
    async with staffing(relay) as client:
        assert code_of(await client.tool("comms_take_call", callSid=sid())) == "call_ending"
    assert relay.calls.live()[0].phase is phase


async def test_call_of_another_agent_cannot_be_taken(relay: RunningRelay) -> None:
    """It is answered as one that does not exist."""
    await relay.begin("bert")
    async with staffing(relay) as client:
        assert code_of(await client.tool("comms_take_call", callSid=sid())) == "unknown_call"
