"""An operator takes a call over from an AI client, speaks in it, and hands it back: on a whole relay."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from actors.call_values import Speaker
from actors.operator_seat import OperatorSeat
from actors.policy import Policy
from actors.seats import Seats
from actors.take_over import SPOKE_NOTE, TAKEN_NOTE
from relay.dialling.requests import TransferRequest
from relay.simulator.carrier.simulated_call import SimulatedCall
from relay.store.call_lines import read_lines
from relay.twilio.handoff_data import Moving, encode_handoff_data
from tests.e2e.parties import ask, calling, connected, database_of, eventually, register, repeat, stay_silent
from tests.e2e.relay_here import RelayHere, run_relay_here
from tests.relay.mcp.tool_client import code_of, tool_client


async def asked(seats: Seats, call: SimulatedCall) -> str:
    """Wait until the operator is asked, and return the words that are to be answered."""
    while True:
        seat = seats.find(call.call_sid)
        if isinstance(seat, OperatorSeat) and seat.request is not None:
            return seat.request.history[-1].text
        await trio.sleep(0.01)


async def take(seats: Seats, call: SimulatedCall, *, now: bool = False) -> None:
    """Have Ada take a call, once its line has come to the relay."""

    async def is_done() -> bool:
        await trio.lowlevel.checkpoint()
        return seats.take(call.call_sid, "ada", now=now).is_done

    await eventually(is_done)


async def said(call: SimulatedCall, seats: Seats, text: str) -> str:
    """Have the operator say something, and return what the caller hears."""
    assert seats.say(call.call_sid, "ada", text).is_done
    return (await call.hear()).text


async def lines_of(here: RelayHere, call_sid: str) -> list[tuple[Speaker, str]]:
    """Read what the database has of a call, as another node would."""
    async with database_of(here) as database:
        lines = await database.read(lambda connection: read_lines(connection, call_sid))
    return [(line.speaker, line.text) for line in lines]


async def test_a_call_is_taken_at_the_pause_and_handed_back(tmp_path: Path) -> None:
    """The caller talks to the client, to a person, and to the client again, which then knows what the person said."""
    async with run_relay_here(tmp_path) as here:
        access, seats = await register(here), here.relay.seats
        async with connected(access, repeat) as client, calling(here, access) as call:
            assert await ask(call, "Which day is it?") == "You said: Which day is it?"
            await take(seats, call)
            with seats.watching(call.call_sid, "ada"):
                await call.say("Are you a person?")
                assert await asked(seats, call) == "Are you a person?"
                (listed,) = (await client.tool("comms_list_calls", state="live"))["calls"]
                assert listed["answeringNow"] == "human"
                assert code_of(await client.tool("comms_take_call", callSid=call.call_sid)) == "taken_by_operator"
                assert await said(call, seats, "Yes, I am *Ada*.") == "Yes, I am Ada."
                assert seats.hand_back(call.call_sid, "ada").is_done
            assert await ask(call, "Thank you.") == "You said: Thank you."
            assert (Speaker.OPERATOR, "Yes, I am Ada.") in await lines_of(here, call.call_sid)
            await client.asked.receive()
            turn = await client.asked.receive()
            assert turn.history[-5:] == [
                ("user", f"({TAKEN_NOTE})"),
                ("user", "Are you a person?"),
                ("assistant", "Yes, I am Ada."),
                ("user", f"({SPOKE_NOTE})"),
                ("user", "Thank you."),
            ]
        record = await here.relay.journal.get(call.call_sid)
        assert record is not None
        assert record.answered_by == {"client": 2, "human": 1}


async def test_a_call_that_is_taken_now_withdraws_the_clients_request(tmp_path: Path) -> None:
    """The client gets `notifications/cancelled`, the operator its words; and the caller hears the operator."""
    async with run_relay_here(tmp_path) as here:
        access, seats = await register(here), here.relay.seats
        async with connected(access, stay_silent) as client, calling(here, access) as call:
            await call.say("Are you a person?")
            await client.asked.receive()
            await take(seats, call, now=True)
            withdrawn = await client.withdrawn.receive()
            assert withdrawn.words == "Are you a person?"
            assert await asked(seats, call) == "Are you a person?"
            assert await said(call, seats, "Yes, I am Ada.") == "Yes, I am Ada."
            assert seats.hang_up(call.call_sid, "ada", "Goodbye.").is_done
            assert (await call.hear()).text == "Goodbye."
            await call.wait_ended()


async def test_an_operator_who_is_gone_has_handed_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The browser is killed with the caller's words in hand: the client answers them, and nothing is a message."""
    monkeypatch.setattr("actors.operator_seat.GONE_SECONDS", 0.2)
    async with run_relay_here(tmp_path) as here:
        access, seats = await register(here), here.relay.seats
        async with connected(access, repeat) as client, calling(here, access) as call:
            with seats.watching(call.call_sid, "ada"):
                await take(seats, call)
                await call.say("Are you a person?")
                await asked(seats, call)
            assert (await call.hear()).text == "You said: Are you a person?"
            assert await client.fetch() == []


async def test_a_client_with_tools_only_gets_what_a_person_said(tmp_path: Path) -> None:
    """Its late answer is refused, and its next turn has what was said since its own last words."""
    async with run_relay_here(tmp_path) as here:
        access, seats = await register(here), here.relay.seats
        async with tool_client(here.url, access.token) as client:
            await client.converse(waitSeconds=0)
            async with calling(here, access) as call:
                await call.say("Hello?")
                first = await client.converse()
                await take(seats, call, now=True)
                await asked(seats, call)
                late = await client.converse(callSid=first["callSid"], turn=first["turn"], say="Too late.")
                assert code_of(late) == "taken_by_operator"
                assert await said(call, seats, "This is Ada.") == "This is Ada."
                seats.hand_back(call.call_sid, "ada")
                await call.say("Thank you.")
                heard = await client.converse()
                assert heard["caller"] == "Thank you."
                assert heard["note"] == SPOKE_NOTE
                assert {"speaker": "operator", "text": "This is Ada."} in heard["history"]


async def test_a_transfer_by_an_operator_passes_the_gate(tmp_path: Path) -> None:
    """The dry run dials nothing, and is the same call as the transfer; the log says whose it was."""
    async with run_relay_here(tmp_path) as here:
        access = await register(here)
        agent = await here.relay.agents.get(access.agent_id)
        assert agent is not None
        async with connected(access, repeat), calling(here, access) as call:
            assert await ask(call, "Hello?") == "You said: Hello?"
            request = TransferRequest(call_sid=call.call_sid, to="+14155552671", dry_run=True)
            verdict = await here.relay.transfers.transfer_call(agent, request, operator="ada")
            assert "allowed" in verdict


async def test_a_call_that_moves_is_its_clients_again(tmp_path: Path) -> None:
    """It is taken to another home with the caller's words in the operator's hands: there the client answers them."""
    async with run_relay_here(tmp_path) as here:
        access, seats = await register(here), here.relay.seats
        async with connected(access, repeat) as client, calling(here, access) as call:
            with seats.watching(call.call_sid, "ada"):
                await take(seats, call)
                await call.say("Are you a person?")
                await asked(seats, call)
                assert await said(call, seats, "Yes, I am Ada.") == "Yes, I am Ada."
                await call.say("What do I owe you?")
                await asked(seats, call)
                here.relay.calls.move_away(access.agent_id, encode_handoff_data(Moving()))
                with trio.fail_after(Policy().human_timeout / 2):  # and not because the operator was waited for in vain
                    assert (await call.hear()).text == "You said: What do I owe you?"
                assert seats.find(call.call_sid) is None
            turn = await client.asked.receive()
            assert ("assistant", "Yes, I am Ada.") in turn.history
            assert turn.history[-2:] == [("user", f"({SPOKE_NOTE})"), ("user", "What do I owe you?")]
            assert await client.fetch() == []
