"""How long an ordered call rings and lasts, in virtual time; what it does on real sockets is in test_rest.py."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial

import attrs
import httpx2
import trio
import trio.testing

from relay.simulator.carrier.audio import Audio
from relay.simulator.carrier.callee import Answers, Callee, Unanswered
from relay.simulator.carrier.dialled_calls import Leg, dial
from relay.simulator.carrier.outbound_legs import Order, place
from relay.simulator.carrier.simulated_call import SimulatedCall
from relay.simulator.carrier.twiml_reader import read
from relay.simulator.carrier.webhook_client import CallFacts
from relay.simulator.carrier.websocket import WebSocket

FACTS = CallFacts(
    agent_id="a",
    call_sid="CA" + "1" * 32,
    caller="+15550100002",
    called="+15559876543",
    direction="outbound-api",
    attestation="",
)


@attrs.frozen
class PaperAccount:
    """An account whose relay takes every callback; `posted` are their statuses, with the time of each."""

    callees: Mapping[str, Callee]
    account_sid: str = "AC" + "1" * 32
    base_url: str = "http://127.0.0.1"
    speech_rate: float | None = 10.0
    posted: list[tuple[str, float]] = attrs.field(factory=list)

    def callee(self, number: str) -> Callee:
        """Say who is at the other end of a number."""
        return self.callees[number]

    async def post(self, url: str, fields: Mapping[str, str]) -> httpx2.Response:
        """Take a callback."""
        await trio.lowlevel.checkpoint()
        self.posted.append((fields["CallStatus"], trio.current_time()))
        return httpx2.Response(204)

    async def fetch_audio(self, url: str) -> Audio | None:
        """Play nothing of the relay's."""
        await trio.lowlevel.checkpoint()
        return None

    def open_socket(self, url: str) -> AbstractAsyncContextManager[WebSocket]:
        """Open none."""
        raise NotImplementedError


async def placed(callee: Callee, twiml: str = "<Response/>", **limits: float) -> list[tuple[str, float]]:
    """Place a call to this callee; return the statuses that were told, and when, from the start of the call."""
    account = PaperAccount({FACTS.called: callee})
    order = Order(
        twiml=twiml,
        url=None,
        status_callback="http://127.0.0.1/status",
        events=frozenset({"initiated", "ringing", "answered", "completed"}),
        ring_seconds=limits.get("ring_seconds", 25.0),
        time_limit=limits.get("time_limit", 600.0),
        verdict_callback=None,
    )
    call = SimulatedCall(account, FACTS)
    began = trio.current_time()
    await call.run(partial(place, account, call, order, limits.get("queued", 0.0)))
    return [(status, at - began) for status, at in account.posted]


async def test_ringing_has_an_end(autojump_clock: trio.testing.MockClock) -> None:
    """Somebody who would pick up after the ring time has not answered."""
    assert await placed(Answers(after=60)) == [("initiated", 0), ("ringing", 0), ("no-answer", 25)]


async def test_a_callee_that_picks_up_in_time_has_answered(autojump_clock: trio.testing.MockClock) -> None:
    """At the very end of the ring time is in time."""
    told = await placed(Answers(after=25))
    assert told[2:] == [("in-progress", 25), ("completed", 25)]


async def test_a_call_has_a_time_limit(autojump_clock: trio.testing.MockClock) -> None:
    """However long there is to say, the limit counts from the answer and ends the call."""
    told = await placed(Answers(after=5), f"<Response><Say>{'x' * 10_000}</Say></Response>", time_limit=60)
    assert told[-1] == ("completed", 65)


async def test_a_busy_line_is_not_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    """A line that is busy says so as soon as its script has it, and never after the ring time."""
    assert (await placed(Unanswered("busy", after=2)))[-1] == ("busy", 2)
    assert (await placed(Unanswered("no-answer", after=100)))[-1] == ("no-answer", 25)


async def test_a_queued_call_is_not_initiated(autojump_clock: trio.testing.MockClock) -> None:
    """Nothing is told of a call before it leaves the carrier's queue."""
    assert (await placed(Answers(), queued=10))[0] == ("initiated", 10)


async def test_a_callee_who_hangs_up(autojump_clock: trio.testing.MockClock) -> None:
    """Whoever is called may hang up in the middle of what he hears."""
    told = await placed(Answers(hangs_up_after=3), f"<Response><Say>{'x' * 10_000}</Say></Response>")
    assert told[-1] == ("completed", 3)


async def dialled(twiml: str, callees: Mapping[str, Callee]) -> tuple[list[Leg], float]:
    """Perform the `<Dial>` of a document; return its legs and how long it took."""
    legs: dict[int, Leg] = {}
    began = trio.current_time()

    def note(leg: Leg) -> None:
        legs[id(leg)] = leg

    await dial(PaperAccount(callees), FACTS, read(twiml, secure=False)[0], note)
    return [*legs.values()], trio.current_time() - began


async def test_a_dialled_number_rings_as_long_as_it_says(autojump_clock: trio.testing.MockClock) -> None:
    """Who picks up after the time-out of `<Dial>` has not answered; without one it is 30 seconds."""
    late = {"+15550100099": Answers(after=60)}
    legs, took = await dialled('<Response><Dial timeout="20">+15550100099</Dial></Response>', late)
    assert (legs[0].status, took) == ("no-answer", 20)
    _legs, took = await dialled("<Response><Dial>+15550100099</Dial></Response>", late)
    assert took == 30


async def test_the_first_of_several_to_pick_up_has_the_call(autojump_clock: trio.testing.MockClock) -> None:
    """Of several numbers those after the one that answered are not rung."""
    numbers = [f"+1555010009{n}" for n in range(3)]
    nouns = "".join(f"<Number>{number}</Number>" for number in numbers)
    legs, took = await dialled(
        f"<Response><Dial>{nouns}</Dial></Response>",
        {numbers[0]: Unanswered("busy"), numbers[1]: Answers(talks=90), numbers[2]: Answers()},
    )
    assert [(leg.number, leg.status) for leg in legs] == [(numbers[0], "busy"), (numbers[1], "completed")]
    assert legs[1].fields()["DialCallDuration"] == str(round(took)) == "90"
