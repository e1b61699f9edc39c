"""Who gets a caller's words: the order in which a client is tried, in one place. Pure.

A client can be reached in more ways or fewer, by what it can do. The order is that of how soon it can answer: a session
that is asked directly, then a tool call of a client that waits for words, then a client that can only be woken and has
to call a tool first. When none is left the words go to the answering machine, which is the business of `conversation`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import TypeVar

from actors.call_values import Availability


class Reachability(StrEnum):
    """How a client can be reached, the best first."""

    SAMPLING = "sampling"
    TURN_TOOL = "turn_tool"
    WAKE_UP = "wake_up"


_ORDER = tuple(Reachability)
_ANSWERS = frozenset({Reachability.SAMPLING, Reachability.TURN_TOOL})

T = TypeVar("T")


def choose(reachable: Sequence[tuple[T, Reachability]], claimed_by: object | None = None) -> T | None:
    """Pick who gets the next words of a call, or None when nobody can answer.

    `reachable` is in the order of arrival. Who has claimed the call gets it as long as it can answer; otherwise the
    best way goes before the others, and among equals the newest.
    """
    able = [(each, way) for each, way in reachable if way in _ANSWERS]
    for each, _way in able:
        if each is claimed_by:
            return each
    best = min((_ORDER.index(way) for _each, way in able), default=None)
    return next((each for each, way in reversed(able) if _ORDER.index(way) == best), None)


def availability(ways: Iterable[Reachability], *, just_lost: bool) -> Availability:
    """Say whether words can be answered now, perhaps within a moment, or not at all."""
    found = frozenset(ways)
    if found & _ANSWERS:
        return Availability.HERE
    if just_lost:
        return Availability.JUST_LOST
    return Availability.WAKEABLE if Reachability.WAKE_UP in found else Availability.AWAY
