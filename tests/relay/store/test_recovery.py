"""What a start finds of an earlier run: words in flight, and calls that were left open."""

from __future__ import annotations

import attrs

from actors.call_record import CallProgress, CallRecord, CallState
from actors.call_values import CallSummary, Direction, Line, Reason, Speaker
from relay.store.call_journal import CallJournal
from relay.store.call_record import record_as_json
from relay.store.recovery import Recovery
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


async def test_a_start_turns_held_utterances_into_messages(
    journal: CallJournal, waiting: WaitingMessages, clock: WallClock
) -> None:
    """What was said to a daemon that died waits for the client, in order, with the numbers and the transcript."""
    await journal.open_call(call())
    await journal.hold_utterance("CA1", 1, "My house")
    clock.turn(seconds=2)
    await journal.hold_utterance("CA1", 2, "is on fire.")
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


async def test_utterances_of_a_closed_call_are_found_too(journal: CallJournal, waiting: WaitingMessages) -> None:
    """Words that could not be stored as a message when their call ended become one at the next start."""
    await journal.open_call(call())
    await journal.hold_utterance("CA1", 1, "hello?")
    await journal.close_call("CA1", CallSummary(outcome="failed"))
    assert await next_run(journal).recover() == Recovery(messages=1, calls=0)
    assert [each.body for each in await waiting.list_all()] == ["hello?"]


async def test_recovering_again_finds_nothing(journal: CallJournal, waiting: WaitingMessages) -> None:
    """A second start, or a start that is repeated, makes no second message."""
    await journal.open_call(call())
    await journal.hold_utterance("CA1", 1, "hello?")
    following = next_run(journal)
    await following.recover()
    assert await following.recover() == Recovery(messages=0, calls=0)
    assert await next_run(following).recover() == Recovery(messages=0, calls=0)
    assert len(await waiting.list_all()) == 1


async def test_recovering_leaves_the_calls_of_this_run_alone(journal: CallJournal, waiting: WaitingMessages) -> None:
    """What is in flight in this run is nobody's loss."""
    await journal.open_call(call())
    await journal.hold_utterance("CA1", 1, "hello?")
    assert await journal.recover() == Recovery(messages=0, calls=0)
    assert (await record(journal)).state is CallState.LIVE
    assert await waiting.list_all() == ()


async def test_a_recovered_message_is_not_replaced(journal: CallJournal, waiting: WaitingMessages) -> None:
    """A call that goes on after a restart leaves its messages beside the recovered one."""
    await journal.open_call(call())
    await journal.hold_utterance("CA1", 1, "before")
    following = next_run(journal)
    await following.recover()
    await following.open_call(call())
    await waiting.leave(draft(body="after"))
    assert [each.body for each in await waiting.list_all()] == ["before", "after"]


async def test_held_utterances_are_in_the_words_of_the_caller(journal: CallJournal, waiting: WaitingMessages) -> None:
    """Any script and any length comes back as it was said."""
    said = "Přijďte prosím, 请尽快回电 ☎️ " * 200
    await journal.open_call(call())
    await journal.hold_utterance("CA1", 1, said)
    await next_run(journal).recover()
    (message,) = await waiting.list_all()
    assert message.body == said
    assert message.transcript == (Line(Speaker.CALLER, said, message.created_at),)


async def test_a_start_closes_calls_that_were_being_passed_on(journal: CallJournal) -> None:
    """Nobody may ever tell how a transfer ended that an earlier run began; its record says that there was one."""
    await journal.open_call(call())
    await journal.close_call("CA1", CallSummary(outcome="transferred"))
    assert await next_run(journal).recover() == Recovery(messages=0, calls=1)
    assert ((await record(journal)).state, (await record(journal)).outcome) == (CallState.ENDED, "transferred")


async def test_nobody_is_waited_for_when_the_carrier_has_ended_a_call(
    journal: CallJournal, waiting: WaitingMessages, clock: WallClock
) -> None:
    """What a run held that is over is a message as soon as the next one hears of the end, and nobody asks it again."""
    told: list[str] = []
    await journal.begin_run()
    for sid in ("CA1", "CA2", "CA3"):
        await journal.open_call(call(sid))
        await journal.hold_utterance(sid, 1, f"I am {sid}.")
    await journal.note_progress("my-client", CallProgress(call_sid="CA3", status="completed"))
    other = next_run(journal)
    await other.note_progress(
        "my-client", CallProgress(call_sid="CA1", status="completed"), on_message_left=told.append
    )
    assert (await waiting.list_all(), told) == ((), [])  # the first one may still be there
    await other.begin_run()
    await other.note_progress(
        "my-client", CallProgress(call_sid="CA1", status="completed"), on_message_left=told.append
    )
    assert ([each.body for each in await waiting.list_all()], told) == (["I am CA1."], ["my-client"])
    assert (await record(other)).state is CallState.ENDED
    await other.note_progress(
        "my-client", CallProgress(call_sid="CA1", status="completed"), on_message_left=told.append
    )
    assert await other.recover(60) == Recovery(messages=1, calls=1)
    assert [each.body for each in await waiting.list_all()] == ["I am CA1.", "I am CA3."]
    clock.turn(seconds=60)
    assert await other.recover(60) == Recovery(messages=1, calls=1)
    assert told == ["my-client"]


async def test_a_start_closes_lines_of_calls_that_the_carrier_ended(journal: CallJournal, clock: WallClock) -> None:
    """A run that died between the carrier's word and its own leaves a record that is whole."""
    await journal.open_call(attrs.evolve(call(), started_at=clock()))
    clock.turn(seconds=10)
    await journal.note_progress("my-client", CallProgress(call_sid="CA1", status="completed", at=clock()))
    before = await record(journal)
    clock.turn(seconds=3600)
    following = next_run(journal)
    assert await following.recover() == Recovery(messages=0, calls=1)
    await following.close_call("CA1", COMPLETED)
    assert record_as_json(await record(following)) == record_as_json(before) | {"outcome": "relay_restarted"}
    assert await following.recover() == Recovery(messages=0, calls=0)
