"""Who is at a queue: clients that wait, and those that were here a moment ago."""

from __future__ import annotations

import math

import trio
from trio.testing import MockClock

from actors.turn_queue import ToolClients


async def test_who_waits_is_around_until_its_last_wait_ends() -> None:
    """Several waits of one client are counted."""
    clients = ToolClients(grace=10)
    clients.begin_wait("one")
    clients.begin_wait("one")
    clients.end_wait("one")
    assert clients.is_around("one")
    assert clients.empty_at() == math.inf
    clients.end_wait("one")
    assert not clients.is_around("one")
    assert clients.empty_at() == -math.inf


async def test_who_was_seen_is_around_for_the_grace(autojump_clock: MockClock) -> None:
    """And nobody any longer, unless it is seen again."""
    clients = ToolClients(grace=10)
    clients.mark_seen("one")
    await trio.sleep(6)
    clients.mark_seen("two")
    await trio.sleep(6)
    assert not clients.is_around("one")
    assert clients.is_around("two")
    assert clients.empty_at() == clients.gone_at("two")


async def test_who_is_forgotten_is_gone_at_once_unless_it_waits() -> None:
    """A connection that ended says nothing of another one."""
    clients = ToolClients(grace=10)
    clients.mark_seen("one")
    clients.forget("one")
    clients.begin_wait("two")
    clients.forget("two")
    clients.forget("three")
    assert [clients.is_around(each) for each in ("one", "two", "three")] == [False, True, False]


async def test_who_has_parted_is_around_for_the_grace(autojump_clock: MockClock) -> None:
    """It was seen before, does not wait now, and has not been seen again under the same key."""
    clients = ToolClients(grace=10)
    clients.detach("one")
    assert not clients.is_detached("one")
    clients.mark_seen("one")
    clients.detach("one")
    assert clients.is_detached("one")
    assert clients.is_around("one")
    clients.begin_wait("one")
    assert not clients.is_detached("one")
    clients.end_wait("one")
    assert clients.is_detached("one")
    clients.mark_seen("one")
    assert not clients.is_detached("one")
    clients.detach("one")
    await trio.sleep(11)
    clients.empty_at()
    assert not clients.is_detached("one")
    clients.mark_seen("two")
    clients.detach("two")
    clients.forget("two")
    assert not clients.is_detached("two")
