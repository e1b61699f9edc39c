"""A call goes on in another run: what it was told, what was said, who may write about it, how long it is kept."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest
import structlog
import trio
from sqlalchemy import Connection, select, update

from actors.call_record import CallProgress
from actors.call_values import (
    Callee,
    CallInfo,
    CallSummary,
    Direction,
    Line,
    Reason,
    Speaker,
    TakenOver,
    TranscriptChange,
    UnansweredUtterance,
    Voicemail,
)
from actors.errors import CallTaken, StoreFailed
from relay.store.call_journal import CallJournal
from relay.store.call_states import Announcement
from relay.store.recovery import Recovery
from relay.store.schema import call_lines, call_states, recent_lines
from relay.store.waiting_messages import WaitingMessages
from tests.contracts.message_store import call, draft
from tests.fakes_store import WallClock

TOLD = attrs.evolve(
    call(),
    greeting="Guten Tag.",
    system_prompt="Be brief. \ud800",
    voice="a voice",
    language="de-DE",
    screened=True,
    voicemail=Voicemail.LEAVE_MESSAGE,
    for_voicemail="Call back.",
)
COMPLETED = CallSummary(outcome="completed")


def next_run(journal: CallJournal) -> CallJournal:
    """Make the journal of another run, on the same database and clock."""
    return CallJournal(journal.database, journal.now)


def announcement(journal: CallJournal, info: CallInfo = TOLD, ticket: str = "ticket", order: str = "") -> Announcement:
    return Announcement(info=info, ticket=ticket, expires_at=journal.now() + timedelta(seconds=60), order=order)


async def announce(journal: CallJournal, info: CallInfo = TOLD, ticket: str = "ticket", order: str = "") -> None:
    told = announcement(journal, info, ticket, order)
    await journal.announce_call(info.call_sid, info.agent_id, Direction.INBOUND, "+1", "+2", announced=told)


def said(journal: CallJournal, number: int, *lines: tuple[Speaker, str], through_turn: int = 0) -> TranscriptChange:
    """Make a change that begins with the line of its own number."""
    spoken = tuple(Line(speaker, text, journal.now()) for speaker, text in lines)
    return TranscriptChange(number, number, spoken, through_turn)


async def talk(journal: CallJournal, info: CallInfo = TOLD) -> None:
    """Open a call, answer one utterance, and hold another."""
    await journal.open_call(info)
    await journal.hold_utterance("CA1", 1, "One.")
    answered = said(journal, 1, (Speaker.CALLER, "One."), (Speaker.AGENT, "First."), through_turn=1)
    await journal.release_utterances("CA1", 1, answered)
    await journal.hold_utterance("CA1", 2, "Two.")


def again(attempt: int = 1) -> CallInfo:
    return attrs.evolve(TOLD, attempt=attempt)


# ── what another run knows ──────────────────────────────────────────────────────────────────────────────────────────


async def test_another_run_knows_what_a_call_was_told(journal: CallJournal) -> None:
    """Prompt, voice, language, screening and the rest are as they were; only what no database can carry is replaced."""
    await announce(journal)
    kept = await next_run(journal).find_state("CA1", "my-client")
    assert kept is not None
    assert kept.info == attrs.evolve(TOLD, system_prompt="Be brief. \ufffd")
    assert (kept.lines, kept.callee, kept.had_client) == ((), None, False)


async def test_a_state_is_its_own_agents(journal: CallJournal) -> None:
    """Another agent, to whose webhooks the same call comes, learns nothing."""
    await announce(journal)
    assert await journal.find_state("CA1", "another") is None
    assert await journal.find_state("CA2", "my-client") is None


async def test_another_run_knows_what_an_operator_said(journal: CallJournal) -> None:
    """And that it was a person who took the call over, not the client."""
    await announce(journal)
    await journal.open_call(TOLD)
    await journal.hold_utterance("CA1", 1, "One.")
    spoken = said(journal, 1, (Speaker.CALLER, "One."), (Speaker.OPERATOR, "This is Ada."), through_turn=1)
    await journal.release_utterances("CA1", 1, spoken)
    await journal.close_call("CA1", CallSummary(outcome="completed", turns_by={"client": 1, "human": 2}))
    kept = await next_run(journal).find_state("CA1", "my-client")
    assert kept is not None
    assert [(each.speaker, each.text) for each in kept.lines][-1] == (Speaker.OPERATOR, "This is Ada.")
    record = await journal.get("CA1")
    assert record is not None
    assert record.answered_by == {"client": 1, "human": 2}


async def test_another_run_knows_what_was_said(journal: CallJournal) -> None:
    """Lines come back in order with who said them, notes and who picked up too; a line that was taken back is gone."""
    await announce(journal)
    await talk(journal)
    note = Line(Speaker.RELAY, "They are back.", journal.now(), is_note=True)
    lines = (Line(Speaker.CALLER, "Two.", journal.now()), note, Line(Speaker.CALLER, "Three.", journal.now()))
    await journal.hold_utterance("CA1", 3, "Three.", TranscriptChange(2, 3, lines, 3))
    await journal.release_utterances("CA1", 3, TranscriptChange(3, 5, (), 3))
    await journal.note_picked_up("my-client", "CA1", Callee.HUMAN)
    kept = await next_run(journal).find_state("CA1", "my-client")
    assert kept is not None
    assert [(each.speaker, each.text, each.is_note) for each in kept.lines] == [
        (Speaker.CALLER, "One.", False),
        (Speaker.AGENT, "First.", False),
        (Speaker.CALLER, "Two.", False),
        (Speaker.RELAY, "They are back.", True),
    ]
    assert (kept.callee, kept.had_client) == (Callee.HUMAN, True)


@pytest.mark.parametrize("state", ["{}", "no JSON", '{"call_sid": "", "agent_id": "x", "started_at": "2026"}'])
async def test_a_state_of_another_version_is_none(journal: CallJournal, state: str) -> None:
    """What cannot be read is logged without its text and counts as absent."""

    def spoil(connection: Connection) -> None:
        connection.execute(update(call_states).values(info=state))

    await announce(journal)
    await journal.database.write(spoil)
    # The log is captured in this thread and the state read in another.
    assert await journal.find_state("CA1", "my-client") is None
    with structlog.testing.capture_logs() as logs:
        assert await journal.take_ticket("my-client", "CA1", "ticket") is None
    assert [each["event"] for each in logs if "event" in each] in ([], ["call_state_not_read"])


# ── a ticket is used once ───────────────────────────────────────────────────────────────────────────────────────────


async def test_a_ticket_is_used_once(journal: CallJournal) -> None:
    """Of two runs that are shown a ticket one gets the call, and only its own agent's and in time."""
    await announce(journal)
    other = next_run(journal)
    assert await other.take_ticket("another", "CA1", "ticket") is None
    assert await other.take_ticket("my-client", "CA2", "ticket") is None
    assert await other.take_ticket("my-client", "CA1", "no ticket") is None
    kept = await other.take_ticket("my-client", "CA1", "ticket")
    assert kept is not None
    assert kept.info.voice == "a voice"
    assert await next_run(journal).take_ticket("my-client", "CA1", "ticket") is None


async def test_a_ticket_is_too_old_at_some_time(journal: CallJournal, clock: WallClock) -> None:
    """It does not outlast the time that the carrier has to connect the call."""
    await announce(journal)
    clock.turn(seconds=61)
    assert await next_run(journal).take_ticket("my-client", "CA1", "ticket") is None


async def test_a_ticket_is_used_up_where_its_session_begins(journal: CallJournal) -> None:
    """The run that has given it out uses it too."""
    await announce(journal)
    await journal.open_call(TOLD)
    assert await next_run(journal).take_ticket("my-client", "CA1", "ticket") is None


async def test_an_order_is_found_by_its_ticket(journal: CallJournal) -> None:
    """The callee picks up in another run before the call has a name: it gets its SID, and keeps what it was told."""
    order = attrs.evolve(TOLD, call_sid="our-order")
    await journal.expect_call(announcement(journal, order))
    other = next_run(journal)
    kept = await other.take_ticket("my-client", "CA1", "ticket")
    assert kept is not None
    assert (kept.info.call_sid, kept.info.for_voicemail) == ("CA1", "Call back.")
    assert await other.find_state("CA1", "my-client") is not None
    assert await other.find_state("our-order", "my-client") is None


async def test_an_order_is_named_by_a_status_callback(journal: CallJournal) -> None:
    """Whichever run hears it."""
    await journal.expect_call(announcement(journal, attrs.evolve(TOLD, call_sid="our-order")))
    other = next_run(journal)
    await other.note_progress("my-client", CallProgress(call_sid="CA1", status="ringing", order="our-order"))
    assert await other.find_state("our-order", "my-client") is None
    assert await other.take_ticket("my-client", "CA1", "ticket") is not None


async def test_an_order_is_named_where_it_was_placed(journal: CallJournal) -> None:
    """There is one state of it then, under the SID; one that is not wanted any more is gone."""
    for order in ("our-order", "another-order"):
        await journal.expect_call(announcement(journal, attrs.evolve(TOLD, call_sid=order), ticket=order))
    await announce(journal, ticket="our-order", order="our-order")
    await journal.forget_order("another-order")
    assert await journal.take_ticket("my-client", "CA1", "our-order") is not None
    assert await journal.take_ticket("my-client", "CA9", "another-order") is None


# ── a call is one run's ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_another_run_takes_a_call_with_what_is_unanswered(journal: CallJournal, waiting: WaitingMessages) -> None:
    """It gets what was said and what nobody has answered, and no message is made of that."""
    await talk(journal)
    other = next_run(journal)
    taken = await other.open_call(again())
    assert taken is not None
    assert [line.text for line in taken.lines] == ["One.", "First.", "Two."]
    assert taken.unanswered == (UnansweredUtterance(2, "Two."),)
    assert await other.open_call(again(), must_answer=True) == taken
    await other.release_utterances("CA1", 2)
    assert await next_run(other).open_call(again(2)) == TakenOver(lines=taken.lines)
    assert await waiting.list_all() == ()


async def test_what_became_a_message_was_said_all_the_same(journal: CallJournal, waiting: WaitingMessages) -> None:
    """Another run has it among the lines, once, and does not ask it again."""
    await talk(journal)
    left = said(journal, 3, (Speaker.CALLER, "Two."), (Speaker.RELAY, "I take a message."), through_turn=2)
    message = attrs.evolve(draft(body="Two.", through_turn=2), said=attrs.evolve(left, number=2))
    await attrs.evolve(waiting, boot=journal.boot).leave(message)
    taken = await next_run(journal).open_call(again())
    assert taken is not None
    assert ([line.text for line in taken.lines], taken.unanswered) == (
        ["One.", "First.", "Two.", "I take a message."],
        (),
    )


async def test_a_run_that_has_lost_a_call_writes_nothing(journal: CallJournal, waiting: WaitingMessages) -> None:
    """All that it would write is refused, and what the other run has stored stays."""
    await talk(journal)
    other = next_run(journal)
    await other.open_call(again())
    await other.hold_utterance("CA1", 100_001, "Three.")
    before = await other.get("CA1")
    for write in (
        lambda: journal.hold_utterance("CA1", 3, "late", said(journal, 4, (Speaker.CALLER, "late"))),
        lambda: journal.hold_utterance("CA1", 3, "late"),
        lambda: journal.close_call("CA1", COMPLETED, said(journal, 4, (Speaker.AGENT, "late"))),
        lambda: journal.open_call(TOLD),
        lambda: attrs.evolve(waiting, boot=journal.boot).leave(draft(body="late", through_turn=9)),
    ):
        with pytest.raises(CallTaken):
            await write()
    await journal.release_utterances("CA1", 200_000, said(journal, 3, (Speaker.AGENT, "late")))
    await journal.release_utterances("CA1", 200_000)
    taken = await next_run(other).open_call(again(2))
    assert taken is not None
    assert [line.text for line in taken.lines] == ["One.", "First.", "Two.", "Three."]
    assert [each.text for each in taken.unanswered] == ["Two.", "Three."]
    assert before is not None
    assert before.ended_at is None
    assert await waiting.list_all() == ()


async def test_a_session_that_is_no_newer_takes_nothing(journal: CallJournal) -> None:
    """Of two runs that open the same session of a call, the second is refused."""
    await journal.open_call(again())
    for attempt in (0, 1):
        with pytest.raises(CallTaken):
            await next_run(journal).open_call(again(attempt))
    assert await next_run(journal).open_call(again(2)) is not None


async def test_what_is_refused_harms_no_other_call(journal: CallJournal) -> None:
    """Calls whose words are in one commit with those of a lost call, or of one that never was, are written."""
    for sid in ("CA1", "CA2", "CA3"):
        await journal.open_call(attrs.evolve(TOLD, call_sid=sid))
    await next_run(journal).open_call(attrs.evolve(again(), call_sid="CA2"))
    refused: dict[str, Exception] = {}

    async def hold(sid: str) -> None:
        try:
            await journal.hold_utterance(sid, 1, sid, said(journal, 1, (Speaker.CALLER, sid), through_turn=1))
        except (CallTaken, StoreFailed) as error:
            refused[sid] = error

    async with trio.open_nursery() as nursery:
        for sid in ("CA1", "CA2", "CA3", "CA404"):
            nursery.start_soon(hold, sid)
    assert {sid: type(error) for sid, error in refused.items()} == {"CA2": CallTaken, "CA404": StoreFailed}
    other = next_run(journal)
    for sid in ("CA1", "CA3"):
        taken = await other.open_call(attrs.evolve(again(), call_sid=sid))
        assert taken is not None
        assert [line.text for line in taken.lines] == [each.text for each in taken.unanswered] == [sid]


async def test_another_agent_gets_nothing(journal: CallJournal, waiting: WaitingMessages) -> None:
    """What was said to the first agent stays with it, and becomes its message."""
    await talk(journal)
    other = next_run(journal)
    assert await other.open_call(attrs.evolve(again(), agent_id="another")) is None
    taken = await next_run(other).open_call(attrs.evolve(again(2), agent_id="another"))
    assert taken == TakenOver()
    (message,) = await waiting.list_all()
    assert (message.agent_id, message.body) == ("my-client", "Two.")


# ── until when a call may come back ─────────────────────────────────────────────────────────────────────────────────


async def test_a_run_is_over_when_another_begins(
    journal: CallJournal, waiting: WaitingMessages, clock: WallClock
) -> None:
    """Its callers may come back for a minute from then on, however often the daemon is started meanwhile."""
    await journal.begin_run()
    await talk(journal)
    clock.turn(seconds=3600)
    assert await next_run(journal).recover(60) == Recovery(messages=0, calls=0)
    for _restart in range(2):
        await next_run(journal).begin_run()
        assert await next_run(journal).recover(60) == Recovery(messages=0, calls=0)
        clock.turn(seconds=30)
    assert await next_run(journal).recover(60) == Recovery(messages=1, calls=1)
    (message,) = await waiting.list_all()
    assert (message.body, message.reason) == ("Two.", Reason.RELAY_RESTARTED)


async def test_a_run_that_ends_says_so(journal: CallJournal, clock: WallClock) -> None:
    """What it left all the same is taken up by whichever run is there then."""
    other = next_run(journal)
    await journal.begin_run()
    await talk(journal)
    await journal.end_run()
    assert await other.recover(60) == Recovery(messages=0, calls=0)
    clock.turn(seconds=60)
    assert await other.recover(60) == Recovery(messages=1, calls=1)


async def test_a_call_that_came_back_is_not_taken_up(
    journal: CallJournal, waiting: WaitingMessages, clock: WallClock
) -> None:
    """It is the next run's by then; what the first one left of it is in hand there."""
    await journal.begin_run()
    await talk(journal)
    other = next_run(journal)
    await other.begin_run()
    await other.open_call(again())
    clock.turn(seconds=3600)
    assert await next_run(journal).recover(60) == Recovery(messages=0, calls=0)
    assert await waiting.list_all() == ()


async def test_a_call_may_come_back_even_later(
    journal: CallJournal, waiting: WaitingMessages, clock: WallClock
) -> None:
    """Its words are in a message then, which is not changed; but what was said is known as long as it is kept."""
    await journal.begin_run()
    await talk(journal)
    other = next_run(journal)
    await other.begin_run()
    clock.turn(seconds=60)
    await other.recover(60)
    with pytest.raises(CallTaken):
        await journal.hold_utterance("CA1", 3, "I was only frozen.")
    taken = await other.open_call(again())
    assert taken is not None
    assert ([line.text for line in taken.lines], taken.unanswered) == (["One.", "First.", "Two."], ())
    assert [each.body for each in await waiting.list_all()] == ["Two."]


# ── and then it is forgotten ────────────────────────────────────────────────────────────────────────────────────────


async def test_a_call_that_is_over_is_forgotten(journal: CallJournal) -> None:
    """Whichever is heard first, the end of the line or the carrier's word: what was said is not kept beyond both."""
    await announce(journal)
    await talk(journal)
    last = said(journal, 3, (Speaker.CALLER, "Two."), (Speaker.RELAY, "Goodbye."), through_turn=2)
    await journal.close_call("CA1", COMPLETED, last)
    kept = await journal.find_state("CA1", "my-client")
    assert kept is not None
    assert kept.lines[-1].text == "Goodbye."
    await journal.note_progress("my-client", CallProgress(call_sid="CA1", status="completed"))
    assert await journal.find_state("CA1", "my-client") is None
    other = attrs.evolve(TOLD, call_sid="CA2")
    await announce(journal, other)
    await journal.open_call(other)
    await journal.note_progress("my-client", CallProgress(call_sid="CA2", status="completed"))
    await journal.close_call("CA2", COMPLETED, said(journal, 1, (Speaker.RELAY, "Goodbye.")))
    assert await journal.find_state("CA2", "my-client") is None


@pytest.mark.parametrize("is_stopped", [False, True])
async def test_nothing_stays_of_what_was_said_in_a_call_that_is_forgotten(
    journal: CallJournal, is_stopped: bool
) -> None:
    """In no table, a minute later or at the end of the daemon; what was said in another call does."""
    await journal.begin_run()
    other = attrs.evolve(TOLD, call_sid="CA2")
    await announce(journal)
    await announce(journal, other)
    await talk(journal)
    await journal.open_call(other)
    await journal.release_utterances("CA2", 1, said(journal, 1, (Speaker.AGENT, "Good morning."), through_turn=1))
    await journal.close_call("CA1", COMPLETED)
    await journal.note_progress("my-client", CallProgress(call_sid="CA1", status="completed"))
    if is_stopped:
        await journal.end_run()
    else:
        for _five_seconds in range(60 // 5):
            await journal.recover(60)

    def read(connection: Connection) -> list[str]:
        tables = (call_lines, recent_lines)
        return [each for table in tables for each in connection.execute(select(table.c.call_sid)).scalars()]

    assert await journal.database.read(read) == ["CA2"]


async def test_what_was_said_outlives_several_runs(journal: CallJournal) -> None:
    """Each run reads what all before it have left of a call, the newest change of a line only."""
    await journal.begin_run()
    await announce(journal)
    await talk(journal)
    for attempt, run in enumerate((next_run(journal), next_run(journal)), 1):
        await run.begin_run()
        await run.open_call(again(attempt))
        number = attempt * 10
        await run.hold_utterance("CA1", number, "More.", said(run, number, (Speaker.CALLER, "Mo"), through_turn=number))
        await run.release_utterances("CA1", number, said(run, number, (Speaker.CALLER, "More."), through_turn=number))
    for _restart in range(2):
        last = next_run(journal)
        await last.begin_run()
        kept = await last.find_state("CA1", "my-client")
        assert kept is not None
        assert [line.text for line in kept.lines] == ["One.", "First.", "Two.", "More.", "More."]


async def test_a_call_of_which_no_end_is_heard_is_forgotten_later(journal: CallJournal, clock: WallClock) -> None:
    """A line that was lost may come back for a while, a call that is passed on for as long as it is; then no more."""
    for sid in ("CA1", "CA2"):
        await announce(journal, attrs.evolve(TOLD, call_sid=sid))
        await journal.open_call(attrs.evolve(TOLD, call_sid=sid))
    await journal.close_call("CA1", CallSummary(outcome="failed"))
    await journal.close_call("CA2", CallSummary(outcome="transferred"))
    await journal.expect_call(announcement(journal, attrs.evolve(TOLD, call_sid="our-order")))
    clock.turn(seconds=60)
    await journal.recover(60)
    assert [await journal.find_state(sid, "my-client") is None for sid in ("CA1", "CA2", "our-order")] == [False] * 3
    clock.turn(seconds=1)
    await journal.recover(60)
    assert [await journal.find_state(sid, "my-client") is None for sid in ("CA1", "CA2", "our-order")] == [
        True,
        False,
        True,
    ]
