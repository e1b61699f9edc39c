"""The order in which clients are tried: one pure function, all its cases."""

from __future__ import annotations

import itertools

import pytest

from actors.call_values import Availability
from actors.clients import Reachability, availability_of, choose

SAMPLING, TOOL, WAKE = Reachability.SAMPLING, Reachability.TURN_TOOL, Reachability.WAKE_UP


@pytest.mark.parametrize(
    ("reachable", "chosen"),
    [
        ([], None),
        ([("a", WAKE)], None),
        ([("a", TOOL)], "a"),
        ([("a", SAMPLING), ("b", TOOL)], "a"),
        ([("a", TOOL), ("b", SAMPLING), ("c", WAKE)], "b"),
        ([("a", SAMPLING), ("b", SAMPLING)], "b"),
        ([("a", TOOL), ("b", TOOL), ("c", WAKE)], "b"),
    ],
)
def test_the_best_way_goes_first_and_then_the_newest(
    reachable: list[tuple[str, Reachability]], chosen: str | None
) -> None:
    """Sampling before a waiting tool, the newest among equals, and nobody who can only be woken."""
    assert choose(reachable) == chosen


def test_who_claimed_the_call_has_it() -> None:
    """A claim goes before the order, as long as the one who made it can answer."""
    tool, sampling, asleep = object(), object(), object()
    reachable = [(tool, TOOL), (sampling, SAMPLING), (asleep, WAKE)]
    assert choose(reachable, tool) is tool
    assert choose(reachable, asleep) is sampling
    assert choose(reachable, object()) is sampling


@pytest.mark.parametrize("just_lost", [True, False])
@pytest.mark.parametrize("ways", [each for n in range(4) for each in itertools.combinations(Reachability, n)])
def test_availability_says_whether_waiting_is_worth_it(ways: tuple[Reachability, ...], just_lost: bool) -> None:
    """Here is who can answer; a lost client and one that can be woken may answer soon; all else is away."""
    expected = Availability.AWAY
    if WAKE in ways:
        expected = Availability.WAKEABLE
    if just_lost:
        expected = Availability.JUST_LOST
    if SAMPLING in ways or TOOL in ways:
        expected = Availability.HERE
    assert availability_of(ways, just_lost=just_lost) is expected
