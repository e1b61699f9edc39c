"""The account of a call session's turns: which runs, its number, and what is counted over all of them."""

from __future__ import annotations

import pytest

from actors.commands import By, CancelTurn, NoteTurn, TurnOutcome
from actors.turns import Turns


def test_no_two_sessions_of_a_call_share_a_number() -> None:
    """What arrives late from the session before is never taken for a piece of a turn of this one."""
    first, second = Turns.of_session(0, 0.0), Turns.of_session(1, 0.0)
    numbers = [first.next_number(), first.next_number(), second.next_number()]
    assert numbers == sorted(set(numbers))


def test_a_turn_that_is_stopped_is_cancelled_and_noted() -> None:
    """Its number tells the call session which task to cancel, and the observer how far it came."""
    turns = Turns.of_session(0, 10.0)
    turns.start(1, By.CLIENT)
    turns.get_running().first_word = 0.5
    note = NoteTurn(turn=1, by=By.CLIENT, outcome=TurnOutcome.INTERRUPTED, first_word=0.5)
    assert turns.stop(TurnOutcome.INTERRUPTED) == [CancelTurn(1), note]
    assert turns.running is None


def test_stopping_nothing_does_nothing() -> None:
    """Where no turn runs there is none to cancel."""
    assert Turns.of_session(0, 0.0).stop(TurnOutcome.HUNG_UP) == []


@pytest.mark.parametrize("outcome", [each for each in TurnOutcome if each is not TurnOutcome.ANSWERED])
def test_only_answered_turns_are_counted(outcome: TurnOutcome) -> None:
    """Each answerer's turns are counted by themselves, and a turn that ended in any other way is none of them."""
    turns = Turns.of_session(0, 0.0)
    for by, end in ((By.CLIENT, TurnOutcome.ANSWERED), (By.CLIENT, outcome), (By.ANSWERING_MACHINE, outcome)):
        turns.start(turns.next_number(), by)
        turns.end(end)
    assert turns.answered_by == {By.CLIENT: 1}


def test_a_new_utterance_restarts_the_wait() -> None:
    """The limit counts from it, and as many further client sessions may be tried as for the one before."""
    turns = Turns.of_session(0, 1.0)
    turns.handovers = 3
    turns.restart_wait(4.0)
    assert (turns.asked_at, turns.handovers) == (4.0, 0)
