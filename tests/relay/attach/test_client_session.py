"""Sessions over both transports, against the relay's own MCP side on a real port: turns, pieces, messages, losses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs
import httpx2
import pytest
import trio

from actors.errors import ClientFailed, ClientLeft
from relay.attach import client_session as session_module
from relay.attach.backoff import Ended, Pauses
from relay.attach.client_session import Session, TokenRefused, stay_attached
from relay.attach.link import Link, Transport
from relay.attach.turn import BrainFailed, Say, Turn
from tests.relay.attach.attach_fakes import LIMIT, KeptReport
from tests.relay.mcp.mcp_relay import RunningRelay, Speech, running_relay

QUICK = Pauses(first=0.01, most=0.05, steady=60.0)

each_transport = pytest.mark.parametrize("transport", list(Transport), ids=lambda transport: transport.value)


async def repeat(turn: Turn, _say: Say) -> str:
    """Answer with what the caller said."""
    await trio.lowlevel.checkpoint()
    return f"You said: {turn.text}"


@attrs.define(eq=False)
class ScriptedBrain:
    """A `Brain` that answers by a function, and takes messages when it is let."""

    answer_turn: Callable[[Turn, Say], Awaitable[str]] = repeat
    takes: trio.Event = attrs.field(factory=trio.Event)
    offered: trio.Event = attrs.field(factory=trio.Event)
    taken: list[Mapping[str, Any]] = attrs.field(factory=list)
    name: str = "scripted"

    async def answer(self, turn: Turn, say: Say) -> str:
        """Answer by the function."""
        return await self.answer_turn(turn, say)

    async def take_message(self, record: Mapping[str, Any]) -> None:
        """Take a message once it is let."""
        self.offered.set()
        await self.takes.wait()
        self.taken.append(record)


@attrs.frozen
class Attached:
    """A brain at a relay's telephone."""

    relay: RunningRelay
    brain: ScriptedBrain
    report: KeptReport


@asynccontextmanager
async def attached(
    transport: Transport, brain: ScriptedBrain | None = None, *, fetches: bool = False
) -> AsyncIterator[Attached]:
    """Run a relay, and hold a brain at its telephone for the length of the block."""
    brain, report = brain or ScriptedBrain(), KeptReport()
    with trio.fail_after(LIMIT):
        async with running_relay() as relay, trio.open_nursery() as nursery:
            session = Session(brain=brain, report=report, fetches=fetches)
            nursery.start_soon(stay_attached, session, relay.origin, "token-anna", transport, QUICK)
            await report.wait_for("connected")
            yield Attached(relay, brain, report)
            nursery.cancel_scope.cancel("the test is over")


@each_transport
async def test_the_brains_answer_is_heard(transport: Transport) -> None:
    """A turn is put to the brain, and what it returns is spoken; both are told."""
    async with attached(transport) as here:
        assert (await here.relay.ask("Is it raining?")).text == "You said: Is it raining?"
    told = [(each["event"], each.get("text")) for each in here.report.events]
    assert told == [("connected", None), ("turn", "Is it raining?"), ("answer", "You said: Is it raining?")]


@each_transport
async def test_pieces_are_heard_before_the_answer_is_known(transport: Transport) -> None:
    """What the brain says goes out at once, in order, and is not said twice."""
    heard = trio.Event()

    async def think_aloud(_turn: Turn, say: Say) -> str:
        await say("It is raining. ")
        await say("")
        await say("Heavily. ")
        await heard.wait()
        return "It is raining. Heavily. Take an umbrella."

    async with attached(transport, ScriptedBrain(think_aloud)) as here, trio.open_nursery() as nursery:
        speech: list[Speech] = []

        async def ask() -> None:
            speech.append(await here.relay.ask("How is the weather?"))

        nursery.start_soon(ask)
        await here.report.wait_for("turn")
        heard.set()
    assert speech[0].text == "It is raining. Heavily. Take an umbrella."


@each_transport
@pytest.mark.parametrize("answer", [None, "  "], ids=["failed", "blank"])
async def test_no_answer_is_an_error_to_the_relay(transport: Transport, answer: str | None) -> None:
    """A brain that fails, or says nothing, has the relay know at once; the session goes on."""

    async def fail(turn: Turn, say: Say) -> str:
        if turn.text == "Hello?":
            return await repeat(turn, say)
        if answer is None:
            raise BrainFailed("no idea")
        return answer

    async with attached(transport, ScriptedBrain(fail)) as here:
        with pytest.raises(ClientFailed):
            await here.relay.ask("What is it?")
        assert (await here.relay.ask("Hello?")).text == "You said: Hello?"
    assert [each["why"] for each in here.report.of("refused")] == ["no idea" if answer is None else "it said nothing"]


@each_transport
async def test_a_withdrawn_turn_cancels_the_brain(transport: Transport) -> None:
    """A caller who hangs up stops the brain at its work."""
    stopped = trio.Event()

    async def think_for_ever(_turn: Turn, _say: Say) -> str:
        try:
            await trio.sleep_forever()
        finally:
            stopped.set()
        raise AssertionError

    async with attached(transport, ScriptedBrain(think_for_ever)) as here:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.relay.ask, "Hello?")
            await here.report.wait_for("turn")
            nursery.cancel_scope.cancel("the caller hung up")
        await stopped.wait()
        await here.report.wait_for("withdrawn")


@each_transport
async def test_leaving_answers_the_turn_in_hand(transport: Transport) -> None:
    """Told to stop, the relay learns at once that there will be no answer."""

    async def think_for_ever(_turn: Turn, _say: Say) -> str:
        await trio.sleep_forever()
        raise AssertionError

    report = KeptReport()
    brain = ScriptedBrain(think_for_ever)
    with trio.fail_after(LIMIT):
        async with running_relay() as relay, trio.open_nursery() as nursery:

            async def ask() -> None:
                with pytest.raises((ClientFailed, ClientLeft)):
                    await relay.ask("Hello?")

            async with trio.open_nursery() as holding:
                session = Session(brain=brain, report=report, fetches=False)
                holding.start_soon(stay_attached, session, relay.origin, "token-anna", transport, QUICK)
                await report.wait_for("connected")
                nursery.start_soon(ask)
                await report.wait_for("turn")
                holding.cancel_scope.cancel("told to stop")


# ── losses ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@each_transport
async def test_a_lost_connection_is_made_anew(transport: Transport) -> None:
    """When the relay ends the session, the loss is told and the next session answers."""
    async with attached(transport) as here:
        (await here.relay.arrival()).close("the test wants it")
        await here.report.wait_for("lost")
        await here.report.wait_for("connected", times=2)
        await here.relay.arrival()
        assert (await here.relay.ask("Still there?")).text == "You said: Still there?"


@each_transport
async def test_a_refused_token_is_the_end(transport: Transport) -> None:
    """A token that the relay does not know is told as such, and not tried for ever."""
    with trio.fail_after(LIMIT):
        async with running_relay() as relay:
            session = Session(brain=ScriptedBrain(), report=KeptReport())
            with pytest.raises(TokenRefused, match=r"refused the token \(401\)"):
                await stay_attached(session, relay.origin, "wrong", transport, QUICK)


@each_transport
async def test_nobody_at_the_address_is_tried_again(transport: Transport) -> None:
    """A relay that is not there is waited for."""
    report = KeptReport()
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            session = Session(brain=ScriptedBrain(), report=report)
            nursery.start_soon(stay_attached, session, "http://127.0.0.1:1", "t", transport, QUICK)
            told = await report.wait_for("lost", times=3)
            nursery.cancel_scope.cancel("seen enough")
    assert "127.0.0.1:1" in told["why"]


async def test_a_mute_connection_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay that no longer answers pings is connected to anew, though its stream is open."""
    monkeypatch.setattr(session_module, "PING_TIMEOUT", 0.05)
    post = httpx2.AsyncClient.send
    is_mute = False

    async def swallow(client: httpx2.AsyncClient, request: httpx2.Request, **options: Any) -> httpx2.Response:
        if is_mute and request.method == "POST":
            return httpx2.Response(202, request=request)
        return await post(client, request, **options)

    monkeypatch.setattr(httpx2.AsyncClient, "send", swallow)
    with trio.fail_after(LIMIT):
        async with running_relay() as relay, trio.open_nursery() as nursery:
            report = KeptReport()
            session = Session(brain=ScriptedBrain(), report=report, fetches=False, ping_interval=0.05)

            async def hold() -> None:
                with pytest.raises(Ended):
                    await session.run(Link(relay.origin, "token-anna", Transport.SSE))

            nursery.start_soon(hold)
            await report.wait_for("connected")
            is_mute = True


# ── waiting messages ────────────────────────────────────────────────────────────────────────────────────────────────


@each_transport
async def test_a_message_is_confirmed_once_it_was_taken(transport: Transport) -> None:
    """What waits is fetched when the relay says so, and stays unconfirmed until the brain has taken it over."""
    async with attached(transport, fetches=True) as here:
        message = await here.relay.leave("anna", "The parcel is here.")
        here.relay.app.announce("anna")
        await here.brain.offered.wait()
        assert here.relay.file.confirmed() == set()
        here.brain.takes.set()
        await here.report.wait_for("confirmed")
        assert here.relay.file.confirmed() == {message.id}
    assert [record["body"] for record in here.brain.taken] == ["The parcel is here."]


async def test_all_that_waits_is_fetched_in_order() -> None:
    """More messages than one answer of the relay holds are fetched one lot after the other."""
    brain = ScriptedBrain()
    brain.takes.set()
    async with attached(Transport.SSE, brain, fetches=True) as here:
        for number in range(45):
            await here.relay.leave("anna", f"Message {number}")
        here.relay.app.announce("anna")
        await here.report.wait_for("confirmed", times=45)
    assert [record["body"] for record in brain.taken] == [f"Message {number}" for number in range(45)]


async def test_messages_are_left_where_they_are_if_so_wanted() -> None:
    """A session that does not fetch neither takes nor confirms anything."""
    async with attached(Transport.SSE, fetches=False) as here:
        await here.relay.leave("anna")
        here.relay.app.announce("anna")
        await here.relay.ask("Hello?")
        assert here.relay.file.confirmed() == set()
    assert here.report.of("message") == []


async def test_a_store_that_fails_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages that cannot be fetched cost no connection: it is told, and tried later."""
    monkeypatch.setattr("relay.attach.mailbox.HELD", 0.05)
    brain = ScriptedBrain()
    brain.takes.set()
    async with attached(Transport.SSE, brain, fetches=True) as here:
        await here.relay.leave("anna")
        with here.relay.file.broken("messages"):
            here.relay.app.announce("anna")
            here.report.tell("announced")
            while not here.report.of("unfetched"):
                here.relay.app.announce("anna")
                await trio.sleep(0.01)
        await here.report.wait_for("confirmed")
        assert len(here.report.of("connected")) == 1
