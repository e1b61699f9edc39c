"""Calls that move: to the next session in one process, or away from a process that hands its calls over."""

from __future__ import annotations

from functools import partial

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.call_values import Callee, CallOutcome
from actors.calls import RETURN_SECONDS
from actors.errors import CallRefused
from actors.events import CallerGone, CallGone, MoveDue, MoveRequested, SpeechPlayed
from tests.fakes import MemoryLine
from tests.relay.test_reception import ORDER, OTHER, Setup, build_setup, expect, messages_at, never, over

HANDOFF = '{"moving":true}'
QUESTION = "Which day is the delivery?"


@pytest.fixture
def setup(nursery: trio.Nursery) -> Setup:
    """Return a reception whose client answers at once."""
    return build_setup(nursery)


@pytest.fixture
def slow(nursery: trio.Nursery) -> Setup:
    """Return a reception whose client never answers."""
    return build_setup(nursery, script=never)


async def ends(setup: Setup, line: MemoryLine) -> None:
    """Have the carrier end the session, as it was asked to."""
    assert ("end", HANDOFF, True) in line.frames
    line.carrier_says(CallerGone(1000))
    await wait_all_tasks_blocked()


async def move(setup: Setup) -> None:
    (session,) = setup.calls.live()
    session.inbox.post(MoveDue(HANDOFF))
    await wait_all_tasks_blocked()


def outcome_of(setup: Setup) -> str:
    return setup.journal.closed["CA1"].outcome


# ── in one process ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_call_that_moves_goes_on_where_it_was(setup: Setup) -> None:
    """The next session has what was said; the one before is recorded as one that moved."""
    line = await setup.bring(await setup.announce())
    await setup.talk(line, "My name is Ada.")
    line.carrier_says(SpeechPlayed("Yes."))
    await wait_all_tasks_blocked()
    await move(setup)
    await ends(setup, line)
    assert outcome_of(setup) == CallOutcome.MOVED
    back = await setup.announce(attempt=1, greeting="")
    assert back.call_info.greeting == ""
    await setup.bring(back)
    assert setup.said()[1:] == ["My name is Ada.", "Yes."]


async def test_the_question_of_a_call_that_moves_is_asked_in_its_next_session(slow: Setup) -> None:
    """It is in hand again, and no message."""
    line = await slow.bring(await slow.announce())
    (session,) = slow.calls.live()
    session.inbox.post(MoveRequested(HANDOFF))
    await slow.ask(line, QUESTION)
    await ends(slow, line)
    await slow.bring(await slow.announce(attempt=1, greeting=""))
    (session,) = slow.calls.live()
    assert [each.text for each in session.info.unanswered] == [QUESTION]
    assert messages_at(slow) == []


async def test_the_question_of_a_caller_who_never_comes_back_becomes_a_message(
    slow: Setup, autojump_clock: MockClock
) -> None:
    """The caller of a call that moves is expected for as long as one whose line broke."""
    line = await slow.bring(await slow.announce())
    await slow.ask(line, QUESTION)
    await move(slow)
    await ends(slow, line)
    await trio.sleep(RETURN_SECONDS - 1)
    assert messages_at(slow) == []
    await trio.sleep(2)
    assert messages_at(slow) == [QUESTION]


async def test_a_caller_who_hangs_up_while_the_call_moves_leaves_the_question(slow: Setup) -> None:
    """It is a message as soon as the carrier says that the call is over."""
    line = await slow.bring(await slow.announce())
    await slow.ask(line, QUESTION)
    await move(slow)
    await ends(slow, line)
    await slow.reception.progressed("my-client", over("CA1"))
    await wait_all_tasks_blocked()
    assert messages_at(slow) == [QUESTION]
    assert slow.entries() == (0, 0, 0)


@pytest.mark.parametrize("is_noticed", [True, False])
async def test_a_callee_is_screened_again_where_the_call_goes(setup: Setup, *, is_noticed: bool) -> None:
    """Nobody was greeted yet: the next session is screened too, also where the carrier asks before we notice the end.

    A verdict that comes in between is for it.
    """
    ticket = expect(setup, screened=True)
    await setup.reception.placed(ORDER, "CA7")
    info = setup.calls.redeem("my-client", "CA7", ticket)
    assert info is not None
    line = MemoryLine()
    setup.nursery.start_soon(setup.calls.connect, info, line)
    await wait_all_tasks_blocked()
    await move(setup)
    if is_noticed:
        await ends(setup, line)
    await setup.reception.picked_up("my-client", "CA7", Callee.HUMAN)
    again = await setup.announce("CA7", attempt=1, greeting="")
    assert again.call_info.screened
    if not is_noticed:
        await ends(setup, line)
    back = await setup.bring(again)
    assert back.speech == "Hello, this is Ada's office."


async def test_a_callee_is_screened_again_when_the_line_breaks(setup: Setup) -> None:
    """Who picked up is not known yet, so not even the sentence for a broken line is said."""
    ticket = expect(setup, screened=True)
    await setup.reception.placed(ORDER, "CA7")
    info = setup.calls.redeem("my-client", "CA7", ticket)
    assert info is not None
    line = MemoryLine()
    setup.nursery.start_soon(setup.calls.connect, info, line)
    await wait_all_tasks_blocked()
    await setup.lose(line)
    again = await setup.announce("CA7", attempt=1, greeting="We were cut off.")
    assert again.call_info.screened
    back = await setup.bring(again)
    await setup.reception.picked_up("my-client", "CA7", Callee.HUMAN)
    assert await back.hear() == "Hello, this is Ada's office."


async def test_a_callee_who_was_greeted_is_not_screened_again(setup: Setup) -> None:
    """After the greeting a call that we made moves in silence, like any other."""
    ticket = expect(setup, screened=True)
    await setup.reception.placed(ORDER, "CA7")
    await setup.reception.picked_up("my-client", "CA7", Callee.HUMAN)
    info = setup.calls.redeem("my-client", "CA7", ticket)
    assert info is not None
    line = MemoryLine()
    setup.nursery.start_soon(setup.calls.connect, info, line)
    await line.hear()
    await move(setup)
    await ends(setup, line)
    again = await setup.announce("CA7", attempt=1, greeting="")
    assert (again.call_info.screened, again.call_info.greeting) == (False, "")


# ── away from a process that leaves ─────────────────────────────────────────────────────────────────────────────────


async def hand_over(setup: Setup, done: list[bool]) -> None:
    done.append(await setup.calls.hand_over(HANDOFF, patience=5, moving=3, ending=10))


async def left_with_a_question(slow: Setup) -> MemoryLine:
    """Begin to hand over, and return the line of a call that moves with a question that nobody has answered."""
    line = await slow.bring(await slow.announce())
    slow.nursery.start_soon(hand_over, slow, [])
    await trio.sleep(4)
    await slow.ask(line, QUESTION)
    await trio.sleep(5)
    return line


async def test_calls_may_finish_before_they_are_handed_over(setup: Setup, autojump_clock: MockClock) -> None:
    """For the drain time nothing changes but that new calls are refused; a call that ends by itself does not move."""
    done: list[bool] = []
    line = await setup.bring(await setup.announce())
    setup.nursery.start_soon(hand_over, setup, done)
    await trio.sleep(4)
    await setup.talk(line, "Are you there?")
    with pytest.raises(CallRefused):
        await setup.announce("CA2")
    line.carrier_says(CallerGone(1000))
    await wait_all_tasks_blocked()
    await setup.reception.progressed("my-client", over("CA1"))
    await wait_all_tasks_blocked()
    assert done == [True]
    assert outcome_of(setup) == CallOutcome.COMPLETED


async def test_then_they_move_when_their_callers_have_spoken(slow: Setup, autojump_clock: MockClock) -> None:
    """A call moves as soon as its caller has finished speaking, and the hand-over is over with the last call."""
    done: list[bool] = []
    line = await slow.bring(await slow.announce())
    slow.nursery.start_soon(hand_over, slow, done)
    await trio.sleep(6)
    assert line.frames == []
    await slow.ask(line, QUESTION)
    await ends(slow, line)
    assert done == [True]


async def test_a_silent_call_moves_when_the_time_for_it_is_over(setup: Setup, autojump_clock: MockClock) -> None:
    """Nobody is said farewell to."""
    done: list[bool] = []
    line = await setup.bring(await setup.announce())
    setup.nursery.start_soon(hand_over, setup, done)
    await trio.sleep(7)
    assert not line.ended
    await trio.sleep(2)
    await ends(setup, line)
    assert (done, line.speech) == ([True], "")


async def test_a_call_that_comes_meanwhile_moves_too(setup: Setup, autojump_clock: MockClock) -> None:
    """A session that opens late is not kept here."""
    done: list[bool] = []
    admission = await setup.announce()
    setup.nursery.start_soon(hand_over, setup, done)
    await trio.sleep(9)
    line = await setup.bring(admission)
    await ends(setup, line)
    assert done == [True]


async def test_what_was_handed_over_is_forgotten_and_its_words_stay_held(
    slow: Setup, autojump_clock: MockClock
) -> None:
    """The carrier asks, and another process is to answer: no message is left here, not even at the end."""
    line = await left_with_a_question(slow)
    await ends(slow, line)
    assert slow.reception.pass_on("my-client", "CA1")
    assert slow.entries() == (0, 0, 0)
    assert slow.gone()[-1] == CallGone("my-client", "CA1")
    with trio.fail_after(1):
        await slow.calls.all_ended()
        await slow.calls.settle()
    assert messages_at(slow) == []
    assert slow.journal.held["CA1"] == {1: QUESTION}


async def test_the_carrier_may_ask_before_the_end_of_the_session_is_noticed(
    slow: Setup, autojump_clock: MockClock
) -> None:
    """Then too the words stay held."""
    line = await left_with_a_question(slow)
    assert slow.reception.pass_on("my-client", "CA1")
    await ends(slow, line)
    await slow.calls.settle()
    assert (messages_at(slow), slow.entries()) == ([], (0, 0, 0))


async def test_words_of_a_call_that_the_carrier_has_not_asked_about_stay_held(
    slow: Setup, autojump_clock: MockClock
) -> None:
    """Its caller comes back to the next process."""
    line = await left_with_a_question(slow)
    await ends(slow, line)
    await slow.calls.settle()
    assert messages_at(slow) == []


async def test_nothing_is_passed_on_before(setup: Setup) -> None:
    """A process that stays, or whose calls may still finish, answers for its calls itself."""
    await setup.bring(await setup.announce())
    assert not setup.reception.pass_on("my-client", "CA1")
    setup.calls.draining = True
    assert not setup.reception.pass_on("my-client", "CA1")
    assert setup.calls.find_call("CA1") is not None


async def test_another_agent_lets_go_of_nothing(setup: Setup, autojump_clock: MockClock) -> None:
    """Its own webhook is answered alike, and the call is not its own."""
    await setup.bring(await setup.announce())
    setup.nursery.start_soon(hand_over, setup, [])
    await trio.sleep(6)
    assert setup.reception.pass_on("other", "CA1")
    assert setup.calls.find_call("CA1") is not None


async def test_nothing_moves_where_nothing_is_left(setup: Setup) -> None:
    """Without calls the hand-over is over at once, and what comes after it is answered as ever."""
    assert await setup.calls.hand_over(HANDOFF, patience=5, moving=3, ending=10)
    assert not setup.reception.pass_on("my-client", "CA1")


async def test_a_call_that_goes_on_elsewhere_is_forgotten_with_its_session(
    slow: Setup, autojump_clock: MockClock
) -> None:
    """The carrier asks another process about it, so nothing more is heard of it here, and its words stay held."""
    line = await slow.bring(await slow.announce())
    await slow.ask(line, QUESTION)
    slow.nursery.start_soon(
        partial(slow.calls.hand_over, HANDOFF, patience=0, moving=0, ending=10, is_elsewhere=lambda _agent: True)
    )
    await wait_all_tasks_blocked()
    await ends(slow, line)
    assert slow.calls.find_call("CA1") is None
    await slow.calls.settle()
    assert messages_at(slow) == []


# ── away from a process that goes on ────────────────────────────────────────────────────────────────────────────────


async def test_the_calls_of_one_agent_move_away(setup: Setup) -> None:
    """Another process is that agent's home now: its sessions end so that they go on there, and give their places back.

    Its next calls, should it be back, are like any others.
    """
    line = await setup.bring(await setup.announce())
    other = await setup.bring(await setup.announce("CA2", agent=OTHER))
    setup.calls.move_away("my-client", HANDOFF)
    await wait_all_tasks_blocked()
    await ends(setup, line)
    assert outcome_of(setup) == CallOutcome.MOVED
    assert ("end", HANDOFF, True) not in other.frames
    assert setup.calls.occupied() == 1
    again = await setup.bring(await setup.announce(attempt=1, greeting=""))
    assert ("end", HANDOFF, True) not in again.frames


async def test_a_call_that_was_announced_moves_away_when_it_connects(setup: Setup) -> None:
    """Its ticket is from here, so its socket comes here."""
    announced = await setup.announce()
    setup.calls.move_away("my-client", HANDOFF)
    line = await setup.bring(announced)
    await ends(setup, line)
    assert outcome_of(setup) == CallOutcome.MOVED


async def test_the_question_of_a_call_that_moved_away_and_went_nowhere_becomes_a_message(
    slow: Setup, autojump_clock: MockClock
) -> None:
    """No process has taken the call on, so this one leaves the words of its caller."""
    line = await slow.bring(await slow.announce())
    await slow.ask(line, QUESTION)
    slow.calls.move_away("my-client", HANDOFF)
    await wait_all_tasks_blocked()
    await ends(slow, line)
    assert messages_at(slow) == []
    await trio.sleep(RETURN_SECONDS + 1)
    assert messages_at(slow) == [QUESTION]


# ── away from a line that passes through another node ───────────────────────────────────────────────────────────────


async def test_a_line_by_way_of_a_node_that_leaves_is_replaced(setup: Setup) -> None:
    """Its call moves when its caller has spoken, to a new session here; others stay, and so does the new one."""
    line = await setup.bring(await setup.announce(), hop="a")
    other = await setup.bring(await setup.announce("CA2"), hop="b")
    assert setup.calls.move_lines({"a"}, HANDOFF) is not None
    assert setup.calls.move_lines({"a"}, HANDOFF) is None
    await wait_all_tasks_blocked()
    assert ("end", HANDOFF, True) not in line.frames
    await setup.ask(line, QUESTION)
    await wait_all_tasks_blocked()
    await ends(setup, line)
    assert outcome_of(setup) == CallOutcome.MOVED
    again = await setup.bring(await setup.announce(attempt=1, greeting=""))
    assert ("end", HANDOFF, True) not in again.frames
    assert ("end", HANDOFF, True) not in other.frames


async def test_a_silent_line_by_way_of_a_node_that_leaves_is_replaced_in_time(setup: Setup) -> None:
    """When it is due."""
    line = await setup.bring(await setup.announce(), hop="a")
    due = setup.calls.move_lines({"a"}, HANDOFF)
    assert due is not None
    due()
    await wait_all_tasks_blocked()
    await ends(setup, line)
    assert outcome_of(setup) == CallOutcome.MOVED
