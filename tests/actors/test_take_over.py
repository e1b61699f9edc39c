"""A call changes its run: the next one goes on with what the journal has of it, the one that has lost it stops."""

from __future__ import annotations

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.call_session import CallServices
from actors.call_values import (
    Availability,
    Callee,
    CallInfo,
    Line,
    Speaker,
    TakenOver,
    UnansweredUtterance,
)
from actors.calls import TICKET_SECONDS, Calls
from actors.clients import Presence
from actors.commands import By
from actors.events import CallerGone, CallGone, CallNews, UtteranceHeard
from actors.policy import Policy
from actors.transcript import Transcript
from tests.fakes import (
    STARTED,
    MemoryLine,
    RecordingObserver,
    Script,
    ScriptedResponder,
    Session,
    call_info,
    saying,
    silent,
)
from tests.fakes_store import MemoryJournal, MemoryMessageStore

HISTORY = (Line(Speaker.AGENT, "Hello.", STARTED), Line(Speaker.CALLER, "When are you open?", STARTED))


@attrs.define
class Run:
    """A run's registry, and all around it."""

    calls: Calls
    journal: MemoryJournal
    store: MemoryMessageStore
    observer: RecordingObserver
    client: ScriptedResponder
    news: list[CallNews] = attrs.field(factory=list)


def a_run(script: Script | None = None, *, is_client_here: bool = True) -> Run:
    journal = MemoryJournal()
    store, observer, client = (
        MemoryMessageStore(journal),
        RecordingObserver(),
        ScriptedResponder(script or saying("Yes.")),
    )
    news: list[CallNews] = []
    services = CallServices(
        responders={By.CLIENT: client}, messages=store, journal=journal, observer=observer, listeners=(news.append,)
    )
    presence = Presence(grace=10)
    if is_client_here:
        presence.arrive(Session("my-client"))
    return Run(Calls(services, presence, 2), journal, store, observer, client, news)


async def resume(run: Run, line: MemoryLine, **changes: object) -> None:
    """Go on with a call of another run, as its webhook and its socket do."""
    info: CallInfo = call_info(attempt=1, greeting="", **changes)
    run.calls.restore(attrs.evolve(info, attempt=0), Policy(), transcript=HISTORY)
    call = run.calls.announce(info, Policy())
    redeemed = run.calls.redeem(info.agent_id, info.call_sid, call.ticket)
    assert redeemed is not None
    await run.calls.connect(redeemed, line)


async def test_what_is_unanswered_is_asked_before_anything_else(nursery: trio.Nursery) -> None:
    """The client gets what was said as the journal has it in that moment, and the utterance that waits is the last."""
    run, line = a_run(), MemoryLine()
    run.journal.left["CA1"] = TakenOver(lines=HISTORY, unanswered=(UnansweredUtterance(3, "When are you open?"),))
    nursery.start_soon(resume, run, line)
    assert await line.hear() == "Yes."
    (request,) = run.client.requests
    assert [each.text for each in request.history] == ["Hello.", "When are you open?"]
    assert request.turn > 100_000
    assert run.journal.held["CA1"] == {}
    nursery.cancel_scope.cancel()


async def test_it_is_asked_for_by_a_client_that_is_expected(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A client that another run had is waited for like one that was lost a moment ago."""
    run, line = a_run(is_client_here=False), MemoryLine()
    run.journal.left["CA1"] = TakenOver(lines=HISTORY, unanswered=(UnansweredUtterance(3, "When are you open?"),))
    run.calls.presence.expect("my-client")
    nursery.start_soon(resume, run, line)
    await trio.sleep(5)
    run.calls.presence.arrive(Session("my-client"))
    assert "Yes." in [await line.hear(), await line.hear()]
    assert run.store.messages == {}
    nursery.cancel_scope.cancel()


async def test_an_expected_client_that_does_not_come_is_away(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """It is expected for as long as a lost one, and one that is here is not expected."""
    presence = Presence(grace=10)
    nursery.start_soon(presence.run)
    presence.expect("my-client")
    assert presence.availability("my-client") is Availability.JUST_LOST
    await trio.sleep(10.1)
    assert presence.availability("my-client") is Availability.AWAY
    presence.arrive(Session("my-client"))
    presence.expect("my-client")
    assert presence.availability("my-client") is Availability.HERE
    nursery.cancel_scope.cancel()


async def test_without_the_journal_it_is_not_gone_on_with(nursery: trio.Nursery) -> None:
    """What is unanswered is not known then, and would be released with what is said later: the carrier asks again."""
    run, line = a_run(), MemoryLine()
    run.journal.failing = True
    await resume(run, line)
    assert line.frames[-1] == ("close", 1011, True)
    run.journal.failing = False
    run.journal.left["CA1"] = TakenOver(lines=HISTORY, unanswered=(UnansweredUtterance(3, "When are you open?"),))
    next_line = MemoryLine()
    call = run.calls.announce(call_info(attempt=2, greeting=""), Policy())
    redeemed = run.calls.redeem("my-client", "CA1", call.ticket)
    assert redeemed is not None
    nursery.start_soon(run.calls.connect, redeemed, next_line)
    assert await next_line.hear() == "Yes."
    nursery.cancel_scope.cancel()


async def test_a_call_that_is_restored_and_never_comes_is_forgotten(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Its record is not closed: that is done by who takes up what the other run has left."""
    run = a_run()
    nursery.start_soon(run.calls.run)
    run.calls.restore(call_info(), Policy(), callee=Callee.HUMAN)
    run.calls.restore(call_info(), Policy())
    assert (run.calls.occupied(), len(run.calls)) == (0, 1)
    await trio.sleep(TICKET_SECONDS + 1)
    assert (len(run.calls), run.journal.closed, run.observer.missed) == (0, {}, [])
    nursery.cancel_scope.cancel()


async def test_what_a_run_remembers_is_not_what_has_happened_since(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A call that was elsewhere in between comes back: what the journal says of it counts, and no message is left."""
    run, line = a_run(silent), MemoryLine()
    nursery.start_soon(run.calls.run)
    run.calls.announce(call_info(), Policy())
    nursery.start_soon(run.calls.connect, call_info(), line)
    line.carrier_says(UtteranceHeard("Is anybody there?"))
    await wait_all_tasks_blocked()
    line.carrier_says(CallerGone(1006))
    await wait_all_tasks_blocked()
    run.journal.left["CA1"] = TakenOver(lines=HISTORY, unanswered=(UnansweredUtterance(100_001, HISTORY[1].text),))
    call = run.calls.announce(call_info(attempt=2), Policy())
    redeemed = run.calls.redeem("my-client", "CA1", call.ticket)
    assert redeemed is not None
    nursery.start_soon(run.calls.connect, redeemed, MemoryLine())
    await wait_all_tasks_blocked()
    assert [each.text for each in run.client.requests[-1].history] == ["Hello.", "When are you open?"]
    assert run.store.messages == {}
    nursery.cancel_scope.cancel()


# ── the run that has lost the call ──────────────────────────────────────────────────────────────────────────────────


async def lose(run: Run) -> None:
    """Give the call to another run."""
    run.journal.taken.add("CA1")


async def test_a_session_that_has_lost_its_call_stops(nursery: trio.Nursery) -> None:
    """With the next write it closes its line, leaves no message, and is gone from the registry; it is logged once."""
    run, line = a_run(), MemoryLine()
    info = call_info()
    run.calls.announce(info, Policy())
    async with trio.open_nursery() as calling:
        calling.start_soon(run.calls.connect, info, line)
        line.carrier_says(UtteranceHeard("One."))
        assert await line.hear() == "Yes."
        await lose(run)
        line.carrier_says(UtteranceHeard("Two."))
    assert line.frames[-1] == ("close", 1011, True)
    assert [request.history[-1].text for request in run.client.requests] == ["One."]
    assert (run.store.messages, run.journal.closed, run.observer.crashes) == ({}, {}, [])
    assert (run.observer.taken, len(run.calls), run.calls.occupied()) == (["CA1"], 0, 0)
    assert CallGone("my-client", "CA1") in run.news


async def test_its_end_changes_nothing_either(nursery: trio.Nursery) -> None:
    """A caller hangs up with words in hand: they are the other run's to ask again."""
    run, line = a_run(silent), MemoryLine()
    info = call_info()
    run.calls.announce(info, Policy())
    async with trio.open_nursery() as calling:
        calling.start_soon(run.calls.connect, info, line)
        line.carrier_says(UtteranceHeard("One."))
        await wait_all_tasks_blocked()
        await lose(run)
        line.carrier_says(CallerGone(1000))
    assert (run.store.messages, run.journal.closed, run.observer.crashes) == ({}, {}, [])
    assert (run.observer.taken, len(run.calls)) == (["CA1"], 0)


async def test_a_line_that_another_run_has_replaced_is_refused() -> None:
    """The session does not begin: nothing is said on it."""
    run, line = a_run(), MemoryLine()
    await lose(run)
    run.calls.announce(call_info(), Policy())
    await run.calls.connect(call_info(), line)
    assert (line.frames, run.observer.taken) == ([("close", 1011, True)], ["CA1"])


# ── what travels with the words ─────────────────────────────────────────────────────────────────────────────────────

_STEPS = st.one_of(
    st.tuples(st.just("add"), st.sampled_from(Speaker), st.text(max_size=12)),
    st.tuples(st.just("continue"), st.sampled_from(Speaker), st.text(max_size=12)),
    st.tuples(st.just("note"), st.just(Speaker.RELAY), st.text(max_size=12)),
    st.tuples(st.just("cut"), st.just(Speaker.AGENT), st.text(max_size=6)),
    st.tuples(st.just("take"), st.just(Speaker.AGENT), st.just("")),
)


@given(
    st.lists(st.text(min_size=1, max_size=9).filter(str.strip), max_size=3),
    st.lists(_STEPS, max_size=30),
    st.integers(2, 6),
)
def test_the_changes_are_the_transcript(earlier: list[str], steps: list[tuple[str, Speaker, str]], most: int) -> None:
    """A journal that writes each change by its number has the newest lines of the session, as in its window."""
    transcript = Transcript(most, 1000, first_number=100)
    transcript.extend(Line(Speaker.CALLER, text, STARTED) for text in earlier)
    kept: dict[int, str] = {}
    newest = 0
    for step, speaker, text in [*steps, ("take", Speaker.AGENT, "")]:
        match step:
            case "add":
                transcript.add(speaker, text, STARTED)
            case "continue":
                transcript.continue_line(speaker, text, STARTED)
            case "note":
                transcript.add_note(text, STARTED)
            case "cut":
                transcript.cut_to_heard(text, "")
            case _:
                is_held = transcript.has_only_utterance_to_take
                change = transcript.take_change(0)
                assert not is_held or (
                    change is not None and [line.speaker for line in change.lines] == [Speaker.CALLER]
                )
                if change is not None:
                    kept = {number: text for number, text in kept.items() if number < change.first}
                    kept |= {number: line.text for number, line in enumerate(change.lines, change.first)}
                    assert change.number > newest
                    newest = change.number
                assert transcript.take_change(0) is None
    own = [kept[number].strip() for number in sorted(kept) if kept[number].strip()]
    window = [line.text.strip() for line in transcript.window()]
    assert min(kept, default=100) >= 100
    length = min(len(own), len(window))
    # What fell out of a short window before it was taken is in no change.
    assert not length or own[-length:] == window[-length:] or len(window) == most


@pytest.mark.parametrize("attempt", [0, 1])
async def test_lines_are_numbered_on_from_session_to_session(nursery: trio.Nursery, attempt: int) -> None:
    """What is said in a later session never has the number of an earlier line."""
    run, line = a_run(), MemoryLine()
    info = call_info(attempt=attempt)
    run.calls.announce(info, Policy())
    async with trio.open_nursery() as calling:
        calling.start_soon(run.calls.connect, info, line)
        line.carrier_says(UtteranceHeard("One."))
        await line.hear()
        await wait_all_tasks_blocked()
        line.carrier_says(CallerGone(1000))
    first = attempt * 100_000 + 1
    assert run.journal.lines["CA1"] == {first: "One.", first + 1: "Yes."}


async def test_what_else_was_said_is_stored_with_an_utterance(nursery: trio.Nursery) -> None:
    """Should the run die now, the next one knows the greeting too, and an answer as far as it was heard."""
    run, line = a_run(), MemoryLine()
    info = call_info(greeting="Hello.")
    run.calls.announce(info, Policy())
    nursery.start_soon(run.calls.connect, info, line)
    line.carrier_says(UtteranceHeard("One."))
    assert await line.hear() == "Yes."
    await wait_all_tasks_blocked()
    lines = {1: "Hello.", 2: "One.", 3: "Yes."}
    assert ({number: text.strip() for number, text in run.journal.lines["CA1"].items()}, run.journal.held["CA1"]) == (
        lines,
        {},
    )
    run.client.script = silent
    line.carrier_says(UtteranceHeard("Two."))
    await wait_all_tasks_blocked()
    # It is held, and a line with its answer: stored once.
    assert (len(run.journal.lines["CA1"]), run.journal.held["CA1"]) == (3, {2: "Two."})
    nursery.cancel_scope.cancel()


async def test_what_goes_into_a_message_was_said_all_the_same(nursery: trio.Nursery) -> None:
    """No client is there: the next run knows what the caller has said to the answering machine until then."""
    run, line = a_run(is_client_here=False), MemoryLine()
    info = call_info(greeting="Hello.")
    run.calls.announce(info, Policy())
    nursery.start_soon(run.calls.connect, info, line)
    line.carrier_says(UtteranceHeard("One."))
    await wait_all_tasks_blocked()
    assert [each.body for each in run.store.messages.values()] == ["One."]
    assert [run.journal.lines["CA1"][number] for number in (1, 2)] == ["Hello.", "One."]
    nursery.cancel_scope.cancel()
