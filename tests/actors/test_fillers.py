"""The ladder of a caller who waits: a short filler, a longer one, and never the same sentence twice in a row."""

from __future__ import annotations

import math

from actors.fillers import Fillers


def ladder(*short: str, long: str = "I am still looking into it.") -> Fillers:
    return Fillers.of((2.5, short), (5.0, (long,)))


def wait(fillers: Fillers, now: float) -> list[str]:
    """Let one caller wait from `now` on until there is nothing more to say."""
    fillers.restart(now)
    said = []
    while fillers.due < math.inf:
        said.append(fillers.take())
    return said


def test_nobody_waits_at_first() -> None:
    """Before the first turn no filler is due."""
    assert ladder("One moment.").due == math.inf


def test_a_short_filler_and_then_a_longer_one_is_due() -> None:
    """Both are counted from the same moment, and after the longer one there is none."""
    fillers = ladder("One moment.")
    fillers.restart(10.0)
    assert (fillers.due, fillers.take()) == (12.5, "One moment.")
    assert (fillers.due, fillers.take()) == (15.0, "I am still looking into it.")
    assert fillers.due == math.inf


def test_short_fillers_take_turns() -> None:
    """From turn to turn the next sentence is said, and after the last one the first again."""
    fillers = ladder("One moment.", "Let me see.")
    assert [wait(fillers, turn * 10.0)[0] for turn in range(3)] == ["One moment.", "Let me see.", "One moment."]


def test_the_same_sentence_is_not_said_twice_in_a_row() -> None:
    """The only sentence is left out once after it was said, and is said again after that."""
    fillers = ladder("One moment.", long="")
    assert [wait(fillers, turn * 10.0) for turn in range(3)] == [["One moment."], [""], ["One moment."]]


def test_a_filler_that_is_skipped_is_said_next_time() -> None:
    """Who talks while it is due hears it when they wait again."""
    fillers = ladder("One moment.", "Let me see.")
    fillers.restart(0.0)
    fillers.skip()
    assert fillers.due == 5.0
    assert wait(fillers, 10.0)[0] == "One moment."


def test_a_ladder_that_is_stopped_says_nothing_until_it_begins_again() -> None:
    """A stop ends the ladder for this turn only."""
    fillers = ladder("One moment.")
    fillers.restart(0.0)
    fillers.stop()
    assert fillers.due == math.inf
    fillers.restart(20.0)
    assert fillers.due == 22.5


def test_a_rung_without_a_sentence_is_left_out() -> None:
    """A language without fillers, or with blank ones, has no such rung."""
    assert wait(ladder("", "  "), 0.0) == ["I am still looking into it."]
    assert wait(ladder(long=""), 0.0) == []
