"""Who is at a desk: clients that wait, and those that were here a moment ago."""

from __future__ import annotations

import math

import trio
from trio.testing import MockClock

from actors.attendance import Attendance


async def test_who_waits_is_around_until_its_last_wait_ends() -> None:
    """Several waits of one client are counted."""
    attendance = Attendance(grace=10)
    attendance.begin_wait("one")
    attendance.begin_wait("one")
    attendance.end_wait("one")
    assert attendance.is_around("one")
    assert attendance.empty_at() == math.inf
    attendance.end_wait("one")
    assert not attendance.is_around("one")
    assert attendance.empty_at() == -math.inf


async def test_who_was_seen_is_around_for_the_grace(autojump_clock: MockClock) -> None:
    """And nobody any longer, unless it is seen again."""
    attendance = Attendance(grace=10)
    attendance.see("one")
    await trio.sleep(6)
    attendance.see("two")
    await trio.sleep(6)
    assert not attendance.is_around("one")
    assert attendance.is_around("two")
    assert attendance.empty_at() == attendance.gone_at("two")


async def test_who_is_forgotten_is_gone_at_once_unless_it_waits() -> None:
    """A connection that ended says nothing of another one."""
    attendance = Attendance(grace=10)
    attendance.see("one")
    attendance.forget("one")
    attendance.begin_wait("two")
    attendance.forget("two")
    attendance.forget("three")
    assert [attendance.is_around(each) for each in ("one", "two", "three")] == [False, True, False]


async def test_who_has_parted_is_around_for_the_grace(autojump_clock: MockClock) -> None:
    """It was seen before, does not wait now, and has not been seen again under the same key."""
    attendance = Attendance(grace=10)
    attendance.part("one")
    assert not attendance.has_parted("one")
    attendance.see("one")
    attendance.part("one")
    assert attendance.has_parted("one")
    assert attendance.is_around("one")
    attendance.begin_wait("one")
    assert not attendance.has_parted("one")
    attendance.end_wait("one")
    assert attendance.has_parted("one")
    attendance.see("one")
    assert not attendance.has_parted("one")
    attendance.part("one")
    await trio.sleep(11)
    attendance.empty_at()
    assert not attendance.has_parted("one")
    attendance.see("two")
    attendance.part("two")
    attendance.forget("two")
    assert not attendance.has_parted("two")
