"""The journal: records of calls, words in flight, and what a start finds of an earlier run."""

from __future__ import annotations

import attrs
import pytest

from actors.messages import CallSummary, Direction, Line, Reason, Speaker
from relay.store.call_journal import CallJournal, Recovery
from relay.store.call_record import CallRecord, CallState
from relay.store.waiting_messages import WaitingMessages
from tests.contracts.message_store import call, draft
from tests.fakes_store import WallClock

COMPLETED = CallSummary(outcome="completed", turns_by={"client": 2})


def next_run(journal: CallJournal) -> CallJournal:
    """Make the journal of the daemon's next run, on the same database and clock."""
    return CallJournal(journal.database, journal.now)


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
    assert (await record(journal)).as_json() == {
        "callSid": "CA1",
        "agentId": "my-client",
        "direction": "inbound",
        "from": "+15551230001",
        "to": "+15551230002",
        "state": "ended",
        "startedAt": "2026-11-22T09:00:00.000Z",
        "endedAt": "2026-11-22T09:01:06.500Z",
        "durationSeconds": 61.5,
        "outcome": "completed",
        "answeredBy": {"client": 2},
    }


async def test_a_live_call_has_no_end(journal: CallJournal) -> None:
    """What is not known yet is null in the record."""
    await journal.open_call(call())
    shown = (await record(journal)).as_json()
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
    await journal.close_call("CA1", CallSummary(outcome="no-answer"))
    assert ((await record(journal)).duration_seconds, (await record(journal)).outcome) == (0, "no-answer")


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


async def test_a_resumed_call_overwrites_nothing(journal: CallJournal, waiting: WaitingMessages) -> None:
    """A connection that counts its parts and turns from 1 again replaces nothing that the one before it left."""
    await journal.open_call(call())
    await waiting.leave(draft(body="first connection"))
    await journal.hold_words("CA1", 1, "still")
    await journal.hold_words("CA1", 2, "in flight")
    await journal.open_call(call())
    await waiting.leave(draft(body="second connection", through_turn=5))
    assert [(each.body, each.reason) for each in await waiting.list_all()] == [
        ("first connection", Reason.CLIENT_ABSENT),
        ("still in flight", Reason.UNANSWERED),
        ("second connection", Reason.CLIENT_ABSENT),
    ]


async def test_a_start_turns_held_words_into_messages(
    journal: CallJournal, waiting: WaitingMessages, clock: WallClock
) -> None:
    """What was said to a daemon that died waits for the client, in order, with the numbers and the transcript."""
    await journal.open_call(call())
    await journal.hold_words("CA1", 1, "My house")
    clock.turn(seconds=2)
    await journal.hold_words("CA1", 2, "is on fire.")
    assert await next_run(journal).recover() == Recovery(messages=1, calls=1)
    (message,) = (await waiting.fetch("my-client")).messages
    assert (message.body, message.reason, message.call_sid) == ("My house is on fire.", Reason.RELAY_RESTARTED, "CA1")
    assert (message.caller, message.called, message.direction) == ("+15551230001", "+15551230002", Direction.INBOUND)
    assert [(each.speaker, each.text) for each in message.transcript] == [
        (Speaker.CALLER, "My house"),
        (Speaker.CALLER, "is on fire."),
    ]
    assert (message.transcript[1].at - message.transcript[0].at).total_seconds() == 2


async def test_a_start_closes_calls_that_were_left_open(journal: CallJournal) -> None:
    """No record stays live for ever; those that were ended stay as they are."""
    for sid in ("CA1", "CA2"):
        await journal.open_call(call(sid))
    await journal.announce_call("CA3", "my-client", Direction.INBOUND, "", "")
    await journal.close_call("CA2", COMPLETED)
    assert await next_run(journal).recover() == Recovery(messages=0, calls=2)
    outcomes = {each.call_sid: each.outcome for each in await journal.list_calls()}
    assert outcomes == {"CA1": "relay_restarted", "CA2": "completed", "CA3": "relay_restarted"}


async def test_words_of_a_closed_call_are_found_too(journal: CallJournal, waiting: WaitingMessages) -> None:
    """Words that could not be stored as a message when their call ended become one at the next start."""
    await journal.open_call(call())
    await journal.hold_words("CA1", 1, "hello?")
    await journal.close_call("CA1", CallSummary(outcome="failed"))
    assert await next_run(journal).recover() == Recovery(messages=1, calls=0)
    assert [each.body for each in await waiting.list_all()] == ["hello?"]


async def test_recovering_again_finds_nothing(journal: CallJournal, waiting: WaitingMessages) -> None:
    """A second start, or a start that is repeated, makes no second message."""
    await journal.open_call(call())
    await journal.hold_words("CA1", 1, "hello?")
    following = next_run(journal)
    await following.recover()
    assert await following.recover() == Recovery(messages=0, calls=0)
    assert await next_run(following).recover() == Recovery(messages=0, calls=0)
    assert len(await waiting.list_all()) == 1


async def test_recovering_leaves_the_calls_of_this_run_alone(journal: CallJournal, waiting: WaitingMessages) -> None:
    """What is in flight in this run is nobody's loss."""
    await journal.open_call(call())
    await journal.hold_words("CA1", 1, "hello?")
    assert await journal.recover() == Recovery(messages=0, calls=0)
    assert (await record(journal)).state is CallState.LIVE
    assert await waiting.list_all() == ()


async def test_a_recovered_message_is_not_replaced(journal: CallJournal, waiting: WaitingMessages) -> None:
    """A call that goes on after a restart leaves its messages beside the recovered one."""
    await journal.open_call(call())
    await journal.hold_words("CA1", 1, "before")
    following = next_run(journal)
    await following.recover()
    await following.open_call(call())
    await waiting.leave(draft(body="after"))
    assert [each.body for each in await waiting.list_all()] == ["before", "after"]


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


async def test_held_words_are_in_the_words_of_the_caller(journal: CallJournal, waiting: WaitingMessages) -> None:
    """Any script and any length comes back as it was said."""
    said = "Přijďte prosím, 请尽快回电 ☎️ " * 200
    await journal.open_call(call())
    await journal.hold_words("CA1", 1, said)
    await next_run(journal).recover()
    (message,) = await waiting.list_all()
    assert message.body == said
    assert message.transcript == (Line(Speaker.CALLER, said, message.created_at),)
