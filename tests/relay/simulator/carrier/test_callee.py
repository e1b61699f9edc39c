"""Whoever picks up: a person or a machine, what the carrier makes of either, and what is heard of it."""

from __future__ import annotations

import pytest
import trio

from relay.simulator.carrier.callee import Answers
from tests.limits import HANGING
from tests.relay.simulator.ordering import THEIRS, Bench, ordering
from tests.relay.simulator.scripted_relay import Socket


async def detected(bench: Bench, callee: Answers) -> list[str]:
    """Call this callee with machine detection until he has hung up; return the verdicts that were told."""
    bench.rest.callee(THEIRS, callee)
    order = bench.order(detect_machine=bench.relay.origin + "/verdict")
    call = await bench.rest.call((await bench.client.create(order)).sid)
    await call.wait_ended()
    return [fields["AnsweredBy"] for fields in bench.relay.fields_of("/verdict")]


@pytest.mark.parametrize("verdict", ["human", "machine_start", "unknown"])
async def test_the_verdict_is_reported(verdict: str) -> None:
    """It goes to its own callback, signed, with how long it took, beside the reports of the call's progress."""
    async with ordering() as bench:
        told = await detected(bench, Answers(answered_by=verdict, verdict_after=0.02, hangs_up_after=0.1))
    assert told == [verdict]
    (posted,) = (each for each in bench.relay.posted if each.path == "/verdict")
    assert posted.signed
    assert posted.fields.keys() == {"AccountSid", "CallSid", "AnsweredBy", "MachineDetectionDuration"}
    assert posted.fields["MachineDetectionDuration"] == "20"
    assert bench.statuses() == ["initiated", "ringing", "in-progress", "completed"]


@pytest.mark.parametrize("callee", [Answers(verdict_after=60, hangs_up_after=0), Answers(answered_by="")])
async def test_a_verdict_may_never_come(callee: Answers) -> None:
    """A callee who hangs up earlier has none, nor has one of whom the carrier makes nothing."""

    async def talk(socket: Socket) -> None:
        await socket.send(type="end")
        await socket.receive_until("closed")

    async with ordering(talk) as bench:
        assert await detected(bench, callee) == []


async def test_without_detection_there_is_no_verdict() -> None:
    """The carrier listens for machines only where the order asks for it."""
    async with ordering() as bench:
        bench.rest.callee(THEIRS, Answers(answered_by="machine_start", hangs_up_after=0))
        call = await bench.rest.call((await bench.client.create(bench.order())).sid)
        await call.wait_ended()
    assert call.answered_by == ""


async def test_a_machine_does_not_listen() -> None:
    """A voicemail plays to its end, whether anybody says something or not, and then hangs up."""
    heard: list[str] = []

    async def talk(socket: Socket) -> None:
        while (frame := await socket.receive())["type"] != "closed":
            if frame["type"] == "prompt":
                heard.append(frame["voicePrompt"])

    async with ordering(talk) as bench:
        says = ("This is Ada's telephone.", "Leave a message after the tone.")
        told = await detected(bench, Answers(answered_by="machine_start", says=says, hangs_up_after=0.05))
    assert tuple(heard) == says
    assert told == ["machine_start"]


async def test_a_machine_takes_what_is_said() -> None:
    """What is said to it after its own words is heard, as long as it has not hung up."""

    async def talk(socket: Socket) -> None:
        await socket.receive_until("prompt")
        await socket.say("Please call back.")
        await socket.send(type="end")
        await socket.receive_until("closed")

    async with ordering(talk) as bench:
        bench.rest.callee(THEIRS, Answers(answered_by="machine_start", says=("Leave a message.",)))
        call = await bench.rest.call((await bench.client.create(bench.order())).sid)
        with trio.fail_after(HANGING):
            assert (await call.hear()).text == "Please call back."
            await call.wait_ended()
    assert call.transcript[0].text == "Leave a message."


def test_a_verdict_is_one_of_the_carriers() -> None:
    """A verdict that the carrier does not have cannot be scripted."""
    with pytest.raises(ValueError, match="answered_by"):
        Answers(answered_by="dog")
