"""Doing for ever what keeps ending, on a clock that jumps."""

from __future__ import annotations

import itertools

import pytest
import trio
import trio.testing

from relay.attach.backoff import Ended, Pauses, repeat_with_pauses

PAUSES = Pauses(first=1.0, most=8.0, steady=10.0)


async def test_pauses_grow_up_to_their_limit(autojump_clock: trio.testing.MockClock) -> None:
    """Each pause is drawn below a limit that doubles, until it is as long as it may be."""
    told: list[float] = []

    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise Ended("no")

    with trio.move_on_after(1000):
        await repeat_with_pauses(fail, PAUSES, lambda _why, pause: told.append(pause))
    limits = itertools.chain([1, 2, 4], itertools.repeat(8))
    assert len(told) > 100
    assert all(0 <= pause <= limit for pause, limit in zip(told, limits, strict=False))
    assert max(told) > 4


async def test_what_held_is_begun_again_at_once(autojump_clock: trio.testing.MockClock) -> None:
    """Work that went well for a while starts without a pause, and the next pauses are short again."""
    told: list[tuple[str, float]] = []
    lives = iter([0, 0, 0, 0, 0, 20, 0])

    async def work() -> None:
        await trio.sleep(next(lives, 10**9))
        raise Ended("over")

    with trio.move_on_after(10**6):
        await repeat_with_pauses(work, PAUSES, lambda why, pause: told.append((why, pause)))
    assert told[5] == ("over", 0.0)
    assert told[6][1] <= 1.0


async def test_any_other_error_is_the_end() -> None:
    """Only `Ended` is worth another attempt."""

    async def crash() -> None:
        await trio.lowlevel.checkpoint()
        raise KeyError("bug")

    with pytest.raises(KeyError):
        await repeat_with_pauses(crash, PAUSES, lambda _why, _pause: None)
