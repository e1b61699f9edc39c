"""Talking over the client: its work stops, and nothing that belongs to the old turn is said any more.

What "any more" means seen from outside: pieces that were on their way when the interrupt was sent cannot be called
back, so the relay is given a moment to read it. And since it reads frames in their order, not one piece of the old turn
may come after the first piece of the next one.
"""

from __future__ import annotations

import random

import pytest
import trio

from relay.simulator.carrier.exchange import Carrier
from relay.simulator.carrier.simulated_call import SimulatedCall
from relay.simulator.carrier.voice_session import Token
from relay.simulator.load.local_daemon import LocalDaemon
from tests.e2e.parties import Access, Turn, ask, calling, carrier_of, connected, repeat

SETTLE = 0.2
"""Seconds for an interrupt to be read by the relay, while eight calls stream at once on a busy machine."""


async def stream_for_ever(turn: Turn) -> str:
    """Say the caller's last word again and again, until somebody stops it."""
    number = 0
    while True:
        number += 1
        await turn.say(number, f"{turn.words} ")
        await trio.sleep(0.02)


async def hear_until(call: SimulatedCall, word: str, times: int = 3) -> list[Token]:
    """Take everything that came until a word was heard some times in a row."""
    heard: list[Token] = []
    while [each.text.split()[-1:] for each in heard[-times:]] != [[word]] * times:
        heard.append(await call.next_token())
    return heard


async def test_a_client_that_never_stops_is_stopped(daemon: LocalDaemon, agent: Access) -> None:
    """After an interrupt the caller hears nothing more of the answer, and the client is told to stop."""
    async with connected(agent, stream_for_ever) as client, calling(daemon, agent) as call:
        await call.say("alpha")
        await hear_until(call, "alpha")
        await call.interrupt()
        interrupted = trio.current_time()
        assert (await client.withdrawn.receive()).words == "alpha"
        await trio.sleep(SETTLE)
        await call.say("beta")
        heard = await hear_until(call, "beta")
    assert [each for each in heard if "alpha" in each.text and each.at > interrupted + SETTLE] == []


@pytest.mark.slow
async def test_interrupts_at_random_moments(daemon: LocalDaemon, agent: Access) -> None:
    """In eight calls at once, interrupted fifteen times each, nothing of an old turn is heard after its interrupt."""

    async def talk_over(carrier: Carrier, number: int) -> None:
        moments = random.Random(number)
        interrupted: list[float] = []
        async with carrier.call(agent.agent_id) as call:
            for turn in range(15):
                await call.say(f"{number}-{turn}")
                await trio.sleep(moments.uniform(0, 0.2))
                await call.interrupt()
                interrupted.append(trio.current_time())
                if moments.random() < 0.5:  # the words that talked over may come at once, or after a pause
                    await trio.sleep(moments.uniform(0, 2 * SETTLE))
            await call.say(f"{number}-15")
            heard = await hear_until(call, f"{number}-15")
        said = [(int(word.partition("-")[2]), each) for each in heard for word in each.text.split()]
        assert all(each.text.strip().startswith(f"{number}-") for each in heard if each.text.strip()), (
            "another call's words"
        )
        assert [turn for turn, _token in said] == sorted(turn for turn, _token in said), "an old turn after a new one"
        late = [turn for turn, token in said if turn < 15 and token.at > interrupted[turn] + SETTLE]
        assert late == [], "an old turn long after its interrupt"

    async with connected(agent, stream_for_ever) as client, carrier_of(daemon) as carrier:
        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(talk_over, carrier, number)
        for _turn in range(client.asked.statistics().current_buffer_used):
            await client.withdrawn.receive()  # every turn, the last of each call too, which hanging up cut short


async def test_the_next_turn_knows_what_was_heard(daemon: LocalDaemon, agent: Access) -> None:
    """In the history of the next turn the interrupted answer ends where the caller stopped hearing it."""

    async def recite(turn: Turn) -> str:
        await trio.lowlevel.checkpoint()
        return "One two three four five six." if len(turn.history) == 2 else "Very well."

    async with connected(agent, recite) as client, calling(daemon, agent) as call:
        await ask(call, "Count.")
        await call.interrupt(heard="One two three")
        await ask(call, "Stop.")
        await client.asked.receive()
        second = await client.asked.receive()
    assert [text for role, text in second.history if role == "assistant"][-1] == "One two three"


async def test_after_a_cough_the_question_still_stands(daemon: LocalDaemon, agent: Access) -> None:
    """Words whose turn was interrupted before any answer are asked again when the caller says nothing more."""
    first = trio.Event()

    async def hesitate(turn: Turn) -> str:
        if not first.is_set():
            first.set()
            await trio.sleep_forever()
        return await repeat(turn)

    async with connected(agent, hesitate), calling(daemon, agent) as call:
        await call.say("What time is it?")
        await first.wait()
        await call.interrupt()
        assert (await call.hear()).text == "You said: What time is it?"
