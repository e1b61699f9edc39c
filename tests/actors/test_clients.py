"""Presence: sessions come and go, several an agent, and one never affects another."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from actors.call_values import Availability
from actors.clients import Presence, Reachability
from tests.fakes import Session

HERE, LOST, AWAY = Availability.HERE, Availability.JUST_LOST, Availability.AWAY


async def test_the_newest_session_answers() -> None:
    """Of several sessions the one that came last gets the turns."""
    presence = Presence(grace=10)
    old, new = Session(), Session()
    presence.arrive(old)
    presence.arrive(new)
    assert presence.newest("my-client") is new


async def test_closing_one_session_never_affects_another() -> None:
    """Whichever closes, the other still answers, and the agent stays here."""
    presence = Presence(grace=10)
    old, new = Session(), Session()
    presence.arrive(old)
    presence.arrive(new)
    presence.leave(old)
    assert presence.newest("my-client") is new
    presence.arrive(old)
    presence.leave(new)
    assert presence.newest("my-client") is old
    assert presence.availability("my-client") is HERE


async def test_agents_do_not_see_each_other() -> None:
    """A session of one agent is no presence of another."""
    presence = Presence(grace=10)
    presence.arrive(Session("one"))
    assert presence.newest("two") is None
    assert presence.availability("two") is AWAY


async def test_who_notes_the_clients_that_are_here_is_told_when_one_comes() -> None:
    """Once, by whatever session, and again only when the agent was without one."""
    told: list[str] = []
    presence = Presence(grace=10, note_here=told.append)
    first, second = Session(), Session()
    presence.arrive(first, Reachability.WAKE_UP)
    assert not told
    presence.arrive(first)
    presence.arrive(second)
    assert told == ["my-client"]
    presence.leave(first)
    presence.leave(second)
    presence.arrive(second)
    assert told == ["my-client"] * 2


async def test_a_lost_client_is_just_lost_for_the_grace(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """After the grace it is away, and whoever watches is told of each change once."""
    presence = Presence(grace=10)
    nursery.start_soon(presence.run)
    session = Session()
    seen: list[tuple[float, Availability]] = []
    start = trio.current_time()
    with presence.watch("my-client", lambda now: seen.append((trio.current_time() - start, now))) as at_first:
        assert at_first is AWAY
        presence.arrive(session)
        await trio.sleep(5)
        presence.leave(session)
        await trio.sleep(20)
    assert seen == [(0, HERE), (5, LOST), (15, AWAY)]
    nursery.cancel_scope.cancel()


async def test_a_client_that_returns_within_the_grace_was_never_away(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Its return takes the grace back."""
    presence = Presence(grace=10)
    nursery.start_soon(presence.run)
    seen: list[Availability] = []
    presence.arrive(first := Session())
    with presence.watch("my-client", seen.append):
        presence.leave(first)
        await trio.sleep(3)
        presence.arrive(Session())
        await trio.sleep(30)
    assert seen == [LOST, HERE]
    nursery.cancel_scope.cancel()


async def test_a_second_session_is_no_news() -> None:
    """Watchers hear of the agent, not of each of its connections."""
    presence = Presence(grace=10)
    seen: list[Availability] = []
    with presence.watch("my-client", seen.append):
        first, second = Session(), Session()
        presence.arrive(first)
        presence.arrive(second)
        presence.arrive(second)
        presence.leave(first)
        presence.leave(first)
        presence.leave(second)
    assert seen == [HERE, LOST]


async def test_nothing_is_left_behind(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """After sessions, watchers and graces are over no table has an entry."""
    presence = Presence(grace=1)
    nursery.start_soon(presence.run)
    for number in range(50):
        with presence.watch(f"agent-{number}", lambda _now: None):
            presence.arrive(session := Session(f"agent-{number}"))
            presence.leave(session)
    await trio.sleep(5)
    assert (presence._sessions, presence._lost_until, presence._watchers) == ({}, {}, {})
    nursery.cancel_scope.cancel()


async def test_a_session_that_is_reached_in_another_way_keeps_its_place() -> None:
    """What it can do counts from then on."""
    presence = Presence(grace=10)
    session = Session()
    presence.arrive(session, Reachability.WAKE_UP)
    assert presence.availability("my-client") is Availability.WAKEABLE
    presence.arrive(session, Reachability.SAMPLING)
    assert presence.availability("my-client") is HERE
    assert presence.newest("my-client") is session
    presence.leave(session)
    assert presence.newest("my-client") is None


async def test_a_claim_counts_as_long_as_its_session_is_here() -> None:
    """Then the call is nobody's in particular."""
    presence = Presence(grace=10)
    old, new = Session(), Session()
    presence.arrive(old)
    presence.arrive(new)
    assert presence.newest("my-client") is new
    assert presence.newest("my-client", old) is old
    presence.leave(old)
    assert presence.newest("my-client", old) is new
