"""The carrier asks about a call that another run had: the reception finds what was kept, and goes on with it."""

from __future__ import annotations

import attrs
import pytest
import structlog
import trio

from actors.call_session import CallServices
from actors.call_values import (
    Availability,
    Callee,
    CallInfo,
    CallSummary,
    Direction,
    Line,
    Speaker,
    TranscriptChange,
    Voicemail,
)
from actors.calls import Calls
from actors.clients import Presence
from actors.commands import By
from actors.errors import CallRefused, StoreFailed
from actors.events import CallerGone
from actors.transfer import TransferOutcome
from relay.errors import DatabaseError
from relay.reception import Reception
from relay.store.call_journal import CallJournal
from relay.store.database import Database
from relay.store.waiting_messages import WaitingMessages
from tests.fakes import MemoryLine, RecordingObserver, ScriptedResponder, saying
from tests.fakes_store import WallClock
from tests.relay.test_reception import AGENT, OTHER, incoming, reception_of

ORDER = CallInfo(
    call_sid="our-order",
    agent_id=AGENT.agent_id,
    caller="+15551230002",
    called="+15551230001",
    direction=Direction.OUTBOUND,
    greeting="It is about Tuesday.",
    system_prompt="Be brief.",
    voice="a voice",
    language="de-DE",
    started_at=WallClock().time,
    screened=True,
    voicemail=Voicemail.LEAVE_MESSAGE,
    for_voicemail="Call back.",
)


def run_on(database: Database, *, max_calls: int = 2) -> Reception:
    """Make the reception of a run of its own."""
    journal = CallJournal(database, WallClock())
    services = CallServices(
        responders={By.CLIENT: ScriptedResponder(saying("Yes."))},
        messages=WaitingMessages(database, journal.now, journal.boot),
        journal=journal,
        observer=RecordingObserver(),
    )
    return reception_of(Calls(services, Presence(grace=10), max_calls, WallClock()), journal)


async def talked_at(reception: Reception) -> CallInfo:
    """Have a run take a call, in which one question was answered, and die."""
    agent = attrs.evolve(AGENT, system_prompt="Be brief.", voice="a voice", language="de-DE")
    info = (await reception.register(incoming(agent=agent))).call_info
    await reception.journal.open_call(info)
    lines = Line(Speaker.CALLER, "One.", info.started_at), Line(Speaker.AGENT, "First.", info.started_at)
    await reception.journal.hold_utterance("CA1", 1, "One.", TranscriptChange(1, 1, lines, 1))
    await reception.journal.release_utterances("CA1", 1)
    return info


async def test_a_call_is_still_what_it_was_told(database: Database) -> None:
    """Whatever its agent has become since: prompt, voice and language hold for the whole call."""
    told = await talked_at(run_on(database))
    reception = run_on(database)
    assert reception.calls.presence.availability(AGENT.agent_id) is Availability.AWAY
    again = (await reception.register(incoming(attempt=1, greeting="We were cut off."))).call_info
    assert again == attrs.evolve(told, attempt=1, greeting="We were cut off.")
    known = reception.calls.find_call("CA1")
    assert known is not None
    assert [line.text for line in known.transcript] == ["One.", "First."]
    # Its client was answering, so it is waited for.
    assert reception.calls.presence.availability(AGENT.agent_id) is Availability.JUST_LOST


async def test_a_call_of_which_nothing_is_kept_is_its_agents(database: Database) -> None:
    """The carrier's action URL is good also where nothing was stored, or not for this agent."""
    reception = run_on(database)
    assert (await reception.register(incoming("CA2", attempt=1))).call_info.voice == "EXAVITQu4vr4xnSDxMaL"
    await talked_at(run_on(database))
    assert (await reception.register(incoming(agent=OTHER, attempt=1))).call_info.agent_id == OTHER.agent_id


async def test_a_call_that_cannot_be_looked_up_goes_on(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller who is on the line does not wait for a broken database: the call goes on as its agent's."""

    async def fail(*_wanted: object) -> None:
        await trio.lowlevel.checkpoint()
        raise DatabaseError("it is told to fail")

    await talked_at(run_on(database))
    reception = run_on(database)
    monkeypatch.setattr(CallJournal, "find_state", fail)
    with structlog.testing.capture_logs() as logs:
        info = (await reception.register(incoming(attempt=1))).call_info
    assert info.system_prompt == ""
    assert "call_state_not_found" in [each["event"] for each in logs]


async def test_a_caller_comes_back_from_a_transfer_to_another_run(database: Database) -> None:
    """Nobody answered there; the client of the next run learns so, and has the call as it was."""
    before = run_on(database)
    told = await talked_at(before)
    await before.journal.note_transfer(AGENT.agent_id, "CA1", "+15550009999", TransferOutcome.DIALLING)
    await before.journal.close_call("CA1", CallSummary(outcome="transferred"))
    reception = run_on(database)
    note = await reception.transfer_dialled(AGENT.agent_id, "CA1", TransferOutcome.NO_ANSWER)
    assert note is not None
    assert "+15550009999" in note
    again = (await reception.register(incoming(attempt=1, greeting="", note=note))).call_info
    assert again == attrs.evolve(told, attempt=1, greeting="", note=note)
    taken = await reception.journal.open_call(again, must_answer=True)
    assert taken is not None
    assert [line.text for line in taken.lines] == ["One.", "First."]


# ── orders ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def ordered_at(reception: Reception) -> str:
    """Have a run order a call, and die; return the ticket in its TwiML."""
    ticket = reception.expect(AGENT, ORDER, seconds=60)
    await reception.keep_order(ORDER, ticket, seconds=60)
    return ticket


async def test_a_callee_comes_to_another_run(database: Database) -> None:
    """The ticket is good there, once, and the call is what was ordered, a verdict on who picked up included."""
    ticket = await ordered_at(run_on(database))
    reception = run_on(database)
    await reception.picked_up(AGENT.agent_id, "CA1", Callee.HUMAN)
    assert await reception.redeem_kept(OTHER, "CA1", ticket) is None
    assert await reception.redeem_kept(AGENT, "CA1", "another ticket") is None
    info = await reception.redeem_kept(AGENT, "CA1", ticket)
    assert info == attrs.evolve(ORDER, call_sid="CA1")
    assert await run_on(database).redeem_kept(AGENT, "CA1", ticket) is None
    assert reception.calls.occupied() == 1
    # A ticket that this run has given itself is not looked for elsewhere.
    assert await reception.redeem_kept(AGENT, "CA1", "another ticket") is None


async def test_a_verdict_that_came_before_is_not_forgotten(database: Database, nursery: trio.Nursery) -> None:
    """A screened call is greeted at once when the run before has heard that a person is there."""
    before = run_on(database)
    ticket = await ordered_at(before)
    await before.placed(ORDER.call_sid, "CA1")
    await before.picked_up(AGENT.agent_id, "CA1", Callee.HUMAN)
    reception, line = run_on(database), MemoryLine()
    info = await reception.redeem_kept(AGENT, "CA1", ticket)
    assert info is not None
    nursery.start_soon(reception.calls.connect, info, line)
    assert await line.hear() == "It is about Tuesday."
    line.carrier_says(CallerGone(1000))


async def test_an_order_that_was_withdrawn_is_no_call(database: Database) -> None:
    """A telephone that rings all the same reaches nobody, in whichever run."""
    reception = run_on(database)
    ticket = await ordered_at(reception)
    await reception.withdraw(ORDER.call_sid)
    assert len(reception.calls) == 0
    assert await run_on(database).redeem_kept(AGENT, "CA1", ticket) is None


async def test_a_full_relay_takes_no_call_of_another_run(database: Database) -> None:
    """It is refused like any other, and comes back by the action URL."""
    ticket = await ordered_at(run_on(database))
    reception = run_on(database, max_calls=0)
    with pytest.raises(CallRefused):
        await reception.redeem_kept(AGENT, "CA1", ticket)


async def test_a_database_that_fails_knows_no_ticket(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The socket is refused, and the carrier asks again; an order that cannot be deleted is only logged."""

    async def fail(*_wanted: object) -> None:
        await trio.lowlevel.checkpoint()
        raise StoreFailed("it is told to fail")

    ticket = await ordered_at(run_on(database))
    reception = run_on(database)
    monkeypatch.setattr(CallJournal, "take_ticket", fail)
    monkeypatch.setattr(CallJournal, "forget_order", fail)
    with structlog.testing.capture_logs() as logs:
        assert await reception.redeem_kept(AGENT, "CA1", ticket) is None
        await reception.withdraw(ORDER.call_sid)
    assert {"order_not_forgotten"} <= {each["event"] for each in logs}


async def test_a_call_that_was_announced_and_not_connected_is_anothers_to_close(database: Database) -> None:
    """A run that finds its call taken while it waits for the socket leaves the record alone."""
    reception = run_on(database)
    await reception.register(incoming())
    await run_on(database).journal.open_call(attrs.evolve(ORDER, call_sid="CA1"))
    for call in reception.calls._calls.values():
        call.expires = trio.current_time()
    await reception.calls._expire()
    assert reception.calls.services.observer.taken == ["CA1"]  # type: ignore[attr-defined]
    record = await reception.journal.get("CA1")
    assert record is not None
    assert record.ended_at is None
