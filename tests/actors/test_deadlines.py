"""What a call waits for: the first is woken at, the most final is acted upon, and a phase keeps what outlasts it."""

from __future__ import annotations

import math

from actors.deadlines import Deadline, Deadlines


def waiting(**seconds: float) -> Deadlines:
    deadlines = Deadlines()
    for name, at in seconds.items():
        deadlines.set(Deadline[name], at)
    return deadlines


def test_nothing_is_waited_for_at_first() -> None:
    """Without a deadline the earliest is never, and none is due however late it is."""
    assert Deadlines().earliest == math.inf
    assert Deadlines().find_due(1e9) is None


def test_the_earliest_is_the_one_to_wake_at() -> None:
    """Whatever order they were set in, the earliest counts, and setting one again replaces it."""
    deadlines = waiting(CALL=3600.0, SILENCE=15.0, ANSWER=8.0)
    assert deadlines.earliest == 8.0
    deadlines.set(Deadline.ANSWER, 20.0)
    assert deadlines.earliest == 15.0


def test_the_most_final_of_those_that_are_due_comes_first() -> None:
    """A call that reaches its limit ends, even if its caller has also been silent for too long."""
    deadlines = waiting(SILENCE=5.0, CALL=10.0, KEYS=30.0)
    assert deadlines.find_due(4.9) is None
    assert deadlines.find_due(5.0) is Deadline.SILENCE
    assert deadlines.find_due(10.0) is Deadline.CALL


def test_a_deadline_that_is_cleared_is_not_due() -> None:
    """Clearing stops the wait, and clearing again is a no-op."""
    deadlines = waiting(KEYS=2.0)
    deadlines.clear(Deadline.KEYS)
    deadlines.clear(Deadline.KEYS)
    assert deadlines.find_due(2.0) is None


def test_a_deadline_is_only_brought_forward() -> None:
    """A later time changes nothing, an earlier one counts, and so does the first."""
    deadlines = waiting(ENDING=5.0)
    deadlines.bring_forward(Deadline.ENDING, 9.0)
    assert deadlines.earliest == 5.0
    deadlines.bring_forward(Deadline.ENDING, 3.0)
    assert deadlines.earliest == 3.0
    deadlines.bring_forward(Deadline.SILENCE, 1.0)
    assert deadlines.earliest == 1.0


def test_only_what_is_kept_is_waited_for() -> None:
    """Keeping some drops all others, and sets none that was not set."""
    deadlines = waiting(CALL=3600.0, ANSWER=8.0, SILENCE=15.0)
    deadlines.keep((Deadline.CALL, Deadline.KEYS))
    assert deadlines.earliest == 3600.0
    assert deadlines.find_due(100.0) is None
