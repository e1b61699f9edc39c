"""What the carrier says of a call: the same record, in whatever order it is said and however often."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import attrs
import pytest
import structlog
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.call_record import CallKind, CallProgress, CallRecord, CallState
from actors.call_values import Callee, CallSummary, Direction
from actors.transfer import TransferOutcome
from relay.store.call_journal import CallJournal
from relay.store.call_record import record_as_json
from relay.store.database import open_database
from relay.store.waiting_messages import WaitingMessages
from tests.contracts.message_store import call
from tests.fakes_store import WallClock

OURS, THEIRS = "my-client", "other"
BEGIN = WallClock().time


def progress(status: str, at: float | None = None, **facts: Any) -> CallProgress:
    """Make a report of the carrier, `at` so many seconds after the beginning."""
    dated = None if at is None else BEGIN + timedelta(seconds=at)
    given = {"caller": "+15551230001", "called": "+15551230002", "direction": Direction.OUTBOUND} | facts
    return CallProgress(call_sid="CA1", status=status, at=dated, **given)


async def record(journal: CallJournal, call_sid: str = "CA1") -> CallRecord:
    found = await journal.get(call_sid)
    assert found is not None
    return found


# ── any order, any number of times ──────────────────────────────────────────────────────────────────────────────────


# What the relay itself notes of a call, in the one order in which that can happen, ten seconds apart.
LIVES = (
    (),
    ("announce",),
    ("announce message",),
    ("announce", "never connected"),
    ("announce", "open", "completed"),
    ("announce", "open", "completed", "completed"),
    ("open", "ended"),
    ("announce", "open", "failed", "announce", "open", "completed"),
    ("announce", "open", "transferred"),
    ("announce", "open", "transferred", "open", "ended"),
)
ENDS = ("completed", "busy", "no-answer", "failed", "canceled")


@attrs.frozen
class Story:
    """The life of a call, and two ways in which the carrier's reports came in between."""

    life: tuple[str, ...]
    tellings: tuple[Sequence[str | CallProgress], ...]


@st.composite
def stories(draw: st.DrawFn) -> Story:
    life = draw(st.sampled_from(LIVES))
    ends = draw(st.lists(st.sampled_from(ENDS), max_size=2))
    at = st.integers(60, 90)
    reports = [progress(status, 1) for status in ("queued", "initiated", "ringing", "in-progress")]
    reports += [progress(end, draw(at), seconds=draw(st.none() | at)) for end in ends]
    # The action URL's form has a status and no date; an error may come with either.
    reports += [progress(end, error=draw(st.sampled_from(["", "64102", "sip_486", "31005"]))) for end in ends]
    return Story(life, tuple(interleaved(draw, life, reports) for _ in range(2)))


def interleaved(draw: st.DrawFn, life: Sequence[str], reports: list[CallProgress]) -> list[str | CallProgress]:
    """Shuffle the reports, repeat some, and put the life's events, in their order, anywhere between them."""
    repeated = draw(st.lists(st.sampled_from(reports), max_size=4))
    told: list[str | CallProgress] = list(draw(st.permutations(reports + repeated)))
    places = sorted(draw(st.lists(st.integers(0, len(told)), min_size=len(life), max_size=len(life))), reverse=True)
    for place, event in zip(places, reversed(life), strict=True):
        told.insert(place, event)
    return told


async def live(journal: CallJournal, clock: WallClock, call_sid: str, telling: Sequence[str | CallProgress]) -> None:
    clock.time = BEGIN
    began = False
    for event in telling:
        if isinstance(event, CallProgress):
            await journal.note_progress(OURS, attrs.evolve(event, call_sid=call_sid))
            continue
        clock.turn(seconds=10 if began else 0)
        began = True
        match event:
            case "announce" | "announce message":
                kind = CallKind.CALL if event == "announce" else CallKind.VOICE_MESSAGE
                await journal.announce_call(
                    call_sid, OURS, Direction.OUTBOUND, "+15551230001", "+15551230002", kind=kind
                )
            case "open":
                outbound = attrs.evolve(call(call_sid), direction=Direction.OUTBOUND, started_at=clock())
                await journal.open_call(outbound)
            case "never connected":
                await journal.close_call(call_sid, CallSummary(outcome="not_connected"))
            case _:
                await journal.close_call(call_sid, CallSummary(outcome=event, turns_by={"client": 1}))


def test_any_order_leaves_the_same_record(database_url: str) -> None:
    """However the carrier's reports are permuted, repeated, and mixed with the relay's own notes: one record."""
    numbers = count()

    async def tell_both(story: Story) -> list[CallRecord]:
        clock = WallClock()
        async with open_database(database_url) as database:
            journal = CallJournal(database, clock)
            sids = [f"CA{next(numbers)}" for _ in story.tellings]
            for sid, telling in zip(sids, story.tellings, strict=True):
                await live(journal, clock, sid, telling)
            return [attrs.evolve(await record(journal, sid), call_sid="") for sid in sids]

    # The rules are the same code on both; what the engines could do otherwise, few examples show.
    @settings(
        max_examples=60 if database_url.startswith("sqlite") else 15,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(story=stories())
    def tell(story: Story) -> None:
        one, other = trio.run(tell_both, story)
        assert one == other
        connections = story.life.count("open")
        assert one.answered_by == ({"client": connections} if connections else {})

    tell()


# ── the carrier's side of a record ──────────────────────────────────────────────────────────────────────────────────


async def test_the_carriers_word_opens_a_record(journal: CallJournal) -> None:
    """A call that only the carrier has told of is recorded with what it said."""
    await journal.note_progress(OURS, progress("ringing"))
    shown = record_as_json(await record(journal))
    assert (
        shown
        | {
            "agentId": OURS,
            "kind": "call",
            "direction": "outbound",
            "from": "+15551230001",
            "to": "+15551230002",
            "state": "live",
            "startedAt": "2026-11-22T09:00:00.000Z",
            "carrierStatus": "ringing",
            "carrierError": None,
        }
        == shown
    )


async def test_what_was_not_known_is_added(journal: CallJournal) -> None:
    """What the first to tell of a call left out, the next one adds, and an announcement says what it is for."""
    await journal.note_progress(OURS, progress("queued", caller="", called=""))
    await journal.announce_call("CA1", OURS, Direction.OUTBOUND, "+1", "", kind=CallKind.VOICE_MESSAGE)
    await journal.note_progress(OURS, progress("ringing", caller="+3", called="+2"))
    kept = await record(journal)
    assert (kept.caller, kept.called, kept.kind) == ("+1", "+2", CallKind.VOICE_MESSAGE)


@pytest.mark.parametrize(
    ("status", "kind", "outcome"),
    [
        ("busy", CallKind.CALL, "busy"),
        ("no-answer", CallKind.CALL, "no_answer"),
        ("canceled", CallKind.CALL, "canceled"),
        ("failed", CallKind.VOICE_MESSAGE, "failed"),
        ("completed", CallKind.VOICE_MESSAGE, "completed"),
        ("completed", CallKind.CALL, "not_connected"),
    ],
)
async def test_the_end_of_a_call_without_a_line(
    journal: CallJournal, status: str, kind: CallKind, outcome: str
) -> None:
    """A call that never came to a line ends as the carrier says."""
    await journal.announce_call("CA1", OURS, Direction.OUTBOUND, "+1", "+2", kind=kind)
    await journal.note_progress(OURS, progress(status, 20, seconds=0))
    kept = await record(journal)
    assert (kept.state, kept.outcome, kept.duration_seconds) == (CallState.ENDED, outcome, 0)
    assert kept.ended_at == BEGIN + timedelta(seconds=20)


async def test_the_carrier_knows_better_why_there_was_no_line(journal: CallJournal) -> None:
    """What was closed because nobody came to the line was busy, if the carrier says so, and also after a restart."""
    for sid in ("CA1", "CA2"):
        await journal.announce_call(sid, OURS, Direction.OUTBOUND, "+1", "+2")
    await journal.close_call("CA1", CallSummary(outcome="not_connected"))
    following = CallJournal(journal.database, journal.now)
    await following.recover()
    for sid in ("CA1", "CA2"):
        await following.note_progress(OURS, attrs.evolve(progress("busy", 20), call_sid=sid))
        assert (await record(following, sid)).outcome == "busy"


async def test_the_relay_knows_better_how_a_conversation_ended(journal: CallJournal, clock: WallClock) -> None:
    """For the carrier every call that was answered is completed; who ended it, and why, only the relay knows."""
    await journal.open_call(attrs.evolve(call(), started_at=clock()))
    await journal.note_progress(OURS, progress("completed", 30, seconds=31))
    assert ((await record(journal)).state, (await record(journal)).outcome) == (CallState.ENDED, None)
    clock.turn(seconds=29)
    await journal.close_call("CA1", CallSummary(outcome="voicemail", turns_by={"client": 1}))
    kept = await record(journal)
    assert (kept.outcome, kept.duration_seconds, kept.answered_by) == ("voicemail", 31, {"client": 1})
    assert kept.ended_at == BEGIN + timedelta(seconds=30)


async def test_a_transfer_ends_when_the_carrier_says_so(journal: CallJournal, clock: WallClock) -> None:
    """A call that was passed on lasts until the carrier's last word, and is remembered as passed on."""
    await journal.open_call(attrs.evolve(call(), started_at=clock()))
    clock.turn(seconds=10)
    await journal.close_call("CA1", CallSummary(outcome="transferred"))
    await journal.note_progress(OURS, progress("completed", 600))
    kept = await record(journal)
    assert (kept.state, kept.outcome, kept.duration_seconds) == (CallState.ENDED, "transferred", 600)


async def test_nothing_ends_before_it_began(journal: CallJournal, clock: WallClock) -> None:
    """The carrier dates to the second, and its clock is not ours: a call does not end before it was heard of."""
    clock.turn(seconds=0.7)
    await journal.note_progress(OURS, progress("failed", 0))
    kept = await record(journal)
    assert kept.ended_at == kept.started_at


async def test_an_end_without_a_date_is_dated_by_when_it_is_heard_of(journal: CallJournal, clock: WallClock) -> None:
    """The first word of the end counts where the carrier does not date it, and a repeat does not move it."""
    await journal.announce_call("CA1", OURS, Direction.OUTBOUND, "+1", "+2")
    clock.turn(seconds=20)
    heard: datetime = clock()
    await journal.note_progress(OURS, progress("no-answer"))
    clock.turn(seconds=20)
    await journal.note_progress(OURS, progress("no-answer"))
    assert (await record(journal)).ended_at == heard


async def test_another_agents_webhook_changes_nothing(journal: CallJournal) -> None:
    """What is told at one agent's address about another one's call is logged, by ids, and not believed."""
    await journal.open_call(call())
    before = await record(journal)
    with structlog.testing.capture_logs() as logs:
        await journal.note_progress(THEIRS, progress("completed", 5, seconds=5, error="31005"))
        await journal.note_picked_up(THEIRS, "CA1", Callee.VOICEMAIL)
        await journal.note_transfer(THEIRS, "CA1", "+15551234567", TransferOutcome.DIALLING)
        await journal.note_failure(THEIRS, "CA1", "31005")
    assert await record(journal) == before
    seen = {"event": "note_of_another_agents_call", "agent_id": THEIRS, "call_sid": "CA1", "log_level": "warning"}
    assert logs == [seen] * 4


async def test_a_note_of_an_unknown_call_is_no_error(journal: CallJournal) -> None:
    """Only what the carrier says of a call's progress opens a record; the rest needs one."""
    await journal.note_picked_up(OURS, "CA404", Callee.HUMAN)
    await journal.note_transfer(OURS, "CA404", "+1", TransferOutcome.DIALLING)
    await journal.note_failure(OURS, "CA404", "21220")
    assert await journal.get("CA404") is None


# ── who picked up, transfers, errors ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("verdicts", "kept"),
    [
        ([Callee.HUMAN], Callee.HUMAN),
        ([Callee.UNKNOWN, Callee.VOICEMAIL], Callee.VOICEMAIL),
        ([Callee.VOICEMAIL, Callee.UNKNOWN], Callee.VOICEMAIL),
        ([Callee.HUMAN, Callee.VOICEMAIL], Callee.HUMAN),
    ],
)
async def test_the_first_verdict_that_says_something_stays(
    journal: CallJournal, verdicts: list[Callee], kept: Callee
) -> None:
    """Who picked up is told once, and not unsaid."""
    await journal.open_call(call())
    for verdict in verdicts:
        await journal.note_picked_up(OURS, "CA1", verdict)
    assert (await record(journal)).picked_up_by is kept


async def test_what_became_of_a_transfer_is_not_taken_back(journal: CallJournal) -> None:
    """A late word that a transfer is being dialled does not undo its end, but a new transfer starts over."""
    await journal.open_call(call())

    async def noted(to: str | None, outcome: TransferOutcome) -> tuple[str | None, TransferOutcome | None]:
        await journal.note_transfer(OURS, "CA1", to, outcome)
        kept = await record(journal)
        return kept.transfer_to, kept.transfer_outcome

    assert await noted("+1", TransferOutcome.DIALLING) == ("+1", TransferOutcome.DIALLING)
    assert await noted(None, TransferOutcome.BUSY) == ("+1", TransferOutcome.BUSY)
    assert await noted(None, TransferOutcome.DIALLING) == ("+1", TransferOutcome.BUSY)
    assert await noted("+2", TransferOutcome.DIALLING) == ("+2", TransferOutcome.DIALLING)


async def test_the_carriers_own_error_goes_before_the_networks(journal: CallJournal) -> None:
    """Of several errors the record has one, whichever came first; one that was met in asking fills only a gap."""
    await journal.open_call(call())
    await journal.note_failure(OURS, "CA1", "sip_500")
    await journal.note_failure(OURS, "CA1", "21220")
    assert (await record(journal)).carrier_error == "sip_500"
    await journal.note_progress(OURS, progress("failed", error="64102"))
    await journal.note_progress(OURS, progress("failed", error="sip_486"))
    assert (await record(journal)).carrier_error == "64102"


async def test_one_report_leaves_the_message(database_url: str) -> None:
    """Of all that say that a call is over, repeated and at once, the first leaves what there is to leave."""
    told: list[str] = []

    async with open_database(database_url) as database:
        journal = CallJournal(database)

        async def report(agent_id: str, status: str) -> None:
            await journal.note_progress(agent_id, progress(status), on_message_left=told.append)

        await journal.announce_call("CA1", OURS, Direction.OUTBOUND, "+1", "+2", kind=CallKind.VOICE_MESSAGE)
        await report(OURS, "ringing")
        await report(THEIRS, "busy")
        assert told == []
        async with trio.open_nursery() as nursery:
            for status in ("busy", "busy", "no-answer"):
                nursery.start_soon(report, OURS, status)
        assert len(await WaitingMessages(database).list_all()) == len(told) == 1


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("status", ["completed", "busy", "no-answer", "failed", "canceled"])
@pytest.mark.parametrize("first", ["call", "dial"])
async def test_a_transfer_does_not_dial_for_ever(journal: CallJournal, restarts: bool, status: str, first: str) -> None:
    """When the call is over, so is its transfer; what the dial itself reports holds, whichever comes first."""
    await journal.announce_call("CA1", OURS, Direction.INBOUND, "+1", "+2")
    await journal.note_transfer(OURS, "CA1", "+3", TransferOutcome.DIALLING)
    if restarts:
        journal = CallJournal(journal.database, journal.now)
        await journal.recover()
    assert (await record(journal)).transfer_outcome is TransferOutcome.DIALLING
    if first == "call":
        await journal.note_progress(OURS, progress(status))
        assert (await record(journal)).transfer_outcome is TransferOutcome.CALLER_GONE
    await journal.note_transfer(OURS, "CA1", None, TransferOutcome.ANSWERED)
    await journal.note_progress(OURS, progress(status))
    assert (await record(journal)).transfer_outcome is TransferOutcome.ANSWERED


async def test_a_transfer_of_which_nothing_is_heard_is_given_up(journal: CallJournal, clock: WallClock) -> None:
    """A start finds those that no call can be waiting for any more."""
    for sid, wait in (("CA1", 25), ("CA2", 1)):
        await journal.announce_call(sid, OURS, Direction.INBOUND, "+1", "+2")
        await journal.note_transfer(OURS, sid, "+3", TransferOutcome.DIALLING)
        clock.turn(seconds=wait * 3600)
    await CallJournal(journal.database, journal.now).recover()
    outcomes = {each.call_sid: each.transfer_outcome for each in await journal.list_calls()}
    assert outcomes == {"CA1": TransferOutcome.LOST, "CA2": TransferOutcome.DIALLING}
