"""The journal: records of calls, from their announcement to their end."""

from __future__ import annotations

import attrs
import pytest

from actors.call_record import CallKind, CallRecord, CallState
from actors.call_values import CallOutcome, CallSummary, Direction, Line, Reason, Speaker, UnansweredUtterance
from actors.transfer import TransferOutcome
from relay.store.call_journal import CallJournal
from relay.store.call_record import record_as_json
from relay.store.database import Database
from relay.store.waiting_messages import WaitingMessages
from tests.contracts.message_store import call, draft
from tests.fakes_store import WallClock

COMPLETED = CallSummary(outcome="completed", turns_by={"client": 2})


async def record(journal: CallJournal, call_sid: str = "CA1") -> CallRecord:
    found = await journal.get(call_sid)
    assert found is not None
    return found


async def test_a_call_is_recorded_from_its_announcement_to_its_end(journal: CallJournal, clock: WallClock) -> None:
    """The record starts when the call is first heard of; its duration counts from when the line is connected."""
    await journal.announce_call("CA1", "my-client", Direction.INBOUND, "+15551230001", "+15551230002")
    clock.turn(seconds=5)
    await journal.open_call(attrs.evolve(call(), started_at=clock()))
    clock.turn(seconds=61.5)
    await journal.close_call("CA1", COMPLETED)
    assert record_as_json(await record(journal)) == {
        "callSid": "CA1",
        "agentId": "my-client",
        "kind": "call",
        "direction": "inbound",
        "from": "+15551230001",
        "to": "+15551230002",
        "state": "ended",
        "startedAt": "2026-11-22T09:00:00.000Z",
        "endedAt": "2026-11-22T09:01:06.500Z",
        "durationSeconds": 61.5,
        "outcome": "completed",
        "answeredBy": {"client": 2},
        "pickedUpBy": None,
        "transfer": None,
        "carrierStatus": None,
        "carrierError": None,
    }


async def test_a_live_call_has_no_end(journal: CallJournal) -> None:
    """What is not known yet is null in the record."""
    await journal.open_call(call())
    shown = record_as_json(await record(journal))
    assert [shown[name] for name in ("state", "endedAt", "durationSeconds", "outcome", "answeredBy")] == [
        "live",
        None,
        None,
        None,
        {},
    ]


async def test_announcing_again_changes_nothing(journal: CallJournal, clock: WallClock) -> None:
    """A webhook that the carrier repeats neither reopens a call nor changes its start."""
    await journal.open_call(call())
    await journal.close_call("CA1", COMPLETED)
    before = await record(journal)
    clock.turn(seconds=5)
    await journal.announce_call("CA1", "my-client", Direction.OUTBOUND, "+1", "+2")
    assert await record(journal) == before


async def test_a_call_that_was_never_connected_lasts_nothing(journal: CallJournal, clock: WallClock) -> None:
    """A call that only rang is closed with a duration of 0."""
    await journal.announce_call("CA1", "my-client", Direction.OUTBOUND, "+1", "+2")
    clock.turn(seconds=20)
    await journal.close_call("CA1", CallSummary(outcome=CallOutcome.NO_ANSWER))
    assert ((await record(journal)).duration_seconds, (await record(journal)).outcome) == (0, "no_answer")


async def test_the_first_close_counts(journal: CallJournal, clock: WallClock) -> None:
    """The carrier's late status report does not change a call that is closed."""
    await journal.open_call(call())
    await journal.close_call("CA1", COMPLETED)
    before = await record(journal)
    clock.turn(seconds=5)
    await journal.close_call("CA1", CallSummary(outcome="failed", turns_by={"client": 9}))
    assert await record(journal) == before


async def test_a_clock_that_is_set_back_makes_no_negative_duration(journal: CallJournal, clock: WallClock) -> None:
    """A call lasts at least nothing."""
    await journal.open_call(attrs.evolve(call(), started_at=clock()))
    clock.turn(seconds=-3600)
    await journal.close_call("CA1", COMPLETED)
    assert (await record(journal)).duration_seconds == 0


async def test_a_call_that_is_opened_again_is_one_record(journal: CallJournal, clock: WallClock) -> None:
    """A lost connection that is resumed ends once, lasts from its first connection, and its turns add up."""
    await journal.open_call(attrs.evolve(call(), started_at=clock()))
    clock.turn(seconds=10)
    await journal.close_call("CA1", CallSummary(outcome="failed", turns_by={"client": 1, "machine": 1}))
    await journal.open_call(attrs.evolve(call(), started_at=clock()))
    assert (await record(journal)).state is CallState.LIVE
    clock.turn(seconds=10)
    await journal.close_call("CA1", COMPLETED)
    ended = await record(journal)
    assert (ended.outcome, ended.duration_seconds) == ("completed", 20)
    assert ended.answered_by == {"client": 3, "machine": 1}


async def test_a_call_that_is_passed_on_is_not_over(journal: CallJournal, clock: WallClock) -> None:
    """While a caller speaks to whom he was passed on, the call is live, without a line of ours."""
    await journal.open_call(attrs.evolve(call(), started_at=clock()))
    await journal.close_call("CA1", CallSummary(outcome="transferred", turns_by={"client": 1}))
    passed_on = await record(journal)
    assert (passed_on.state, passed_on.outcome, passed_on.duration_seconds) == (CallState.LIVE, "transferred", None)
    await journal.close_call("CA1", COMPLETED)
    assert await record(journal) == passed_on


async def test_a_caller_who_comes_back_from_a_transfer_is_the_same_call(journal: CallJournal, clock: WallClock) -> None:
    """A call that was passed on in vain is opened again, and ends as it then ends; the record keeps the transfer."""
    await journal.open_call(attrs.evolve(call(), started_at=clock()))
    await journal.note_transfer("my-client", "CA1", "+15551234567", TransferOutcome.DIALLING)
    await journal.close_call("CA1", CallSummary(outcome="transferred", turns_by={"client": 1}))
    clock.turn(seconds=30)
    await journal.note_transfer("my-client", "CA1", None, TransferOutcome.NO_ANSWER)
    await journal.open_call(attrs.evolve(call(), started_at=clock(), attempt=1))
    back = await record(journal)
    assert (back.state, back.outcome, back.ended_at) == (CallState.LIVE, None, None)
    clock.turn(seconds=10)
    await journal.close_call("CA1", COMPLETED)
    ended = await record(journal)
    assert (ended.outcome, ended.duration_seconds, ended.answered_by) == ("completed", 40, {"client": 3})
    assert record_as_json(ended)["transfer"] == {"to": "+15551234567", "outcome": "no_answer"}


async def test_an_announcement_says_what_a_call_is_for(journal: CallJournal) -> None:
    """A voice message is told from a conversation in its record."""
    await journal.announce_call("CA1", "my-client", Direction.OUTBOUND, "+1", "+2", kind=CallKind.VOICE_MESSAGE)
    assert (await record(journal)).kind is CallKind.VOICE_MESSAGE


async def test_another_agent_cannot_announce_a_call_away(journal: CallJournal) -> None:
    """An announcement of a call that is another agent's changes nothing."""
    await journal.announce_call("CA1", "other", Direction.INBOUND, "", "+2")
    before = await record(journal)
    await journal.announce_call("CA1", "my-client", Direction.INBOUND, "+1", "+2", kind=CallKind.VOICE_MESSAGE)
    assert await record(journal) == before


async def test_what_was_said_is_kept_with_the_call(journal: CallJournal, clock: WallClock) -> None:
    """A transcript in the summary is kept, and those of several connections follow each other."""
    first, second = (Line(Speaker.CALLER, text, clock()) for text in ("Hello?", "Are you there? ☎️"))
    for line in (first, second):
        await journal.open_call(call())
        await journal.close_call("CA1", CallSummary(outcome="failed", transcript=(line,)))
        await journal.close_call("CA1", CallSummary(outcome="failed", transcript=(line,)))
    assert await journal.transcript("CA1") == (first, second)


async def test_nothing_is_kept_of_what_was_said_unless_asked(journal: CallJournal) -> None:
    """A call without a transcript in its summary has none, and neither has a call that never was."""
    await journal.open_call(call())
    await journal.close_call("CA1", COMPLETED)
    assert await journal.transcript("CA1") == await journal.transcript("CA404") == ()


async def test_a_resumed_call_overwrites_nothing(journal: CallJournal, waiting: WaitingMessages) -> None:
    """A connection that counts its parts and turns from 1 again replaces nothing that the one before it left."""
    await journal.open_call(call())
    await waiting.leave(draft(body="first connection"))
    await journal.hold_utterance("CA1", 1, "still")
    await journal.hold_utterance("CA1", 2, "in flight")
    await journal.open_call(call())
    await waiting.leave(draft(body="second connection", through_turn=5))
    assert [(each.body, each.reason) for each in await waiting.list_all()] == [
        ("first connection", Reason.CLIENT_ABSENT),
        ("still in flight", Reason.UNANSWERED),
        ("second connection", Reason.CLIENT_ABSENT),
    ]


async def test_utterances_in_the_next_session_s_hand_stay_held(journal: CallJournal, waiting: WaitingMessages) -> None:
    """A call that is resumed with its question makes no message of it; what it answers lets go of the old turn."""
    await journal.open_call(call())
    await journal.hold_utterance("CA1", 1, "Which day?")
    await journal.open_call(attrs.evolve(call(), attempt=1, unanswered=(UnansweredUtterance(1, "Which day?"),)))
    assert await waiting.list_all() == ()
    await journal.release_utterances("CA1", 1)
    await journal.open_call(attrs.evolve(call(), attempt=2))
    assert await waiting.list_all() == ()


async def test_utterances_in_the_next_session_s_hand_survive_a_crash(
    journal: CallJournal, database: Database, waiting: WaitingMessages
) -> None:
    """A daemon that dies then leaves them as a message at its next start."""
    await journal.open_call(call())
    await journal.hold_utterance("CA1", 1, "Which day?")
    await journal.open_call(attrs.evolve(call(), attempt=1, unanswered=(UnansweredUtterance(1, "Which day?"),)))
    await CallJournal(database).recover()
    assert [(each.body, each.reason) for each in await waiting.list_all()] == [("Which day?", Reason.RELAY_RESTARTED)]


async def test_calls_are_listed_newest_first(journal: CallJournal, clock: WallClock) -> None:
    """Calls are listed by agent and by state, and not more than asked for."""
    for sid, agent in (("CA1", "my-client"), ("CA2", "other"), ("CA3", "my-client")):
        await journal.open_call(call(sid, agent))
        clock.turn(seconds=1)
    await journal.close_call("CA1", COMPLETED)

    async def listed(agent_id: str | None = None, state: CallState | None = None, limit: int = 50) -> list[str]:
        return [each.call_sid for each in await journal.list_calls(agent_id, state, limit)]

    assert await listed() == ["CA3", "CA2", "CA1"]
    assert await listed("my-client") == ["CA3", "CA1"]
    assert await listed("my-client", CallState.LIVE) == ["CA3"]
    assert await listed(None, CallState.ENDED) == ["CA1"]
    assert await listed(limit=1) == ["CA3"]
    with pytest.raises(ValueError, match="limit"):
        await listed(limit=-1)


async def test_an_unknown_call_has_no_record(journal: CallJournal) -> None:
    """Asking for a call that never was gives nothing."""
    assert await journal.get("CA404") is None
