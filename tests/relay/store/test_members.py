"""The members of a cluster in PostgreSQL: who excludes whom, what becomes of a dead one, and what a beat measures."""

from __future__ import annotations

from datetime import timedelta
from operator import attrgetter

import pytest
import trio
from sqlalchemy import text

from actors.call_values import Direction
from relay.errors import ClusterError, DatabaseError
from relay.store.call_journal import CallJournal
from relay.store.database import Database, open_database
from relay.store.database_clock import DatabaseClock
from relay.store.homes import Home, Homes
from relay.store.members import Members
from tests.contracts.message_store import call
from tests.fakes_cluster import candidate
from tests.postgresql_server import connected

pytestmark = pytest.mark.postgresql_only("SQLite serves one daemon")
A = candidate("a")


async def age(database: Database, boot: str, seconds: float) -> None:
    change = text("UPDATE runs SET seen_at = seen_at - make_interval(secs => :seconds) WHERE boot = :boot")
    await database.write(lambda connection: connection.execute(change, {"seconds": seconds, "boot": boot}))


async def over_for(database: Database, boot: str) -> float | None:
    asked = text("SELECT extract(epoch FROM clock_timestamp() - over_at) FROM runs WHERE boot = :boot")
    seconds = await database.read(lambda connection: connection.execute(asked, {"boot": boot}).scalar_one())
    return None if seconds is None else float(seconds)


async def test_a_daemon_that_is_alone_and_a_cluster_exclude_each_other(database: Database) -> None:
    """Neither starts beside the other, whichever is there first, and each says what to do."""
    members = Members(database)
    async with open_database(database.url, sole=True) as alone:
        with pytest.raises(ClusterError, match=r"alone.*RELAY_NODE_URL"):
            await members.enter(A)
        await CallJournal(alone).begin_run()
    assert await members.enter(A) is None
    with pytest.raises(DatabaseError, match=r"A cluster serves.*nodes: a\).*RELAY_NODE_URL"):
        async with open_database(database.url, sole=True):
            pass
    await age(database, "boot-a", 10)
    async with open_database(database.url, sole=True):
        pass


async def test_who_was_alone_is_over_when_a_cluster_begins(database: Database) -> None:
    """What it left may be taken up by the nodes, as what any run left that is over."""
    alone = CallJournal(database)
    await alone.begin_run()
    await alone.open_call(call("CA1"))
    await Members(database).enter(A)
    assert await over_for(database, alone.boot) is not None
    assert (await CallJournal(database).recover()).calls == 1


async def test_a_member_that_is_unseen_is_over_since_then(database: Database) -> None:
    """Its calls are taken up by the others, counted from when it was seen last; a seen one's are not."""
    clock = DatabaseClock()
    dead, seen, third = (CallJournal(database, clock) for _each in range(3))
    members = Members(database)
    for name, journal in (("dead", dead), ("seen", seen)):
        await members.enter(candidate(name, boot=journal.boot))
        await journal.open_call(call(f"CA-{name}"))
    await age(database, dead.boot, 59)
    await members.end([dead.boot, seen.boot])
    assert (await third.recover(60)).calls == 0
    over = await over_for(database, dead.boot)
    assert over is not None
    assert over >= 59
    await age(database, seen.boot, 9)
    await database.write(
        lambda connection: connection.execute(text("UPDATE runs SET over_at = over_at - interval '2 seconds'"))
    )
    assert (await third.recover(60)).calls == 1
    assert await over_for(database, seen.boot) is None


async def test_two_of_one_name_that_start_at_once(database: Database) -> None:
    """One of them is a member, and the other is told so."""
    entered: dict[str, bool] = {}
    async with open_database(database.url) as other:

        async def enter(database: Database, boot: str) -> None:
            entered[boot] = await Members(database).enter(candidate("a", boot=boot)) is None

        async with trio.open_nursery() as nursery:
            nursery.start_soon(enter, database, "first")
            nursery.start_soon(enter, other, "second")
    assert sorted(entered.values()) == [False, True]


async def test_a_beat_measures_the_clock(database: Database) -> None:
    """The offset to the database's clock, which here is this machine's own, is next to nothing."""
    members = Members(database)
    await members.enter(A)
    beat = await members.beat("boot-a", is_leaving=False, had_client={})
    assert beat.offset is not None
    assert abs(beat.offset) < timedelta(seconds=1)
    clock = DatabaseClock(offset=timedelta(hours=1))
    assert clock() - beat.now > timedelta(minutes=59)


async def test_a_beat_waits_for_no_home_that_is_being_changed(database: Database) -> None:
    """Somebody holds its row: that a client has come is told by the next beat, when it is free, and nothing else."""
    members, homes = Members(database), Homes(database)
    await members.enter(A)
    for agent in ("held", "free"):
        await homes.take(agent, "a", None)
    with connected(database.url) as other, other.transaction():
        other.execute("UPDATE homes SET epoch = 2 WHERE agent_id = 'held'")
        with trio.fail_after(3):
            await members.beat("boot-a", is_leaving=False, had_client={"held": True, "free": True})
    beat = await members.beat("boot-a", is_leaving=False, had_client={"held": True})
    assert {home.agent_id: home.had_client for home in beat.homes} == {"held": False, "free": True}
    beat = await members.beat("boot-a", is_leaving=False, had_client={})
    assert sorted(beat.homes, key=attrgetter("agent_id")) == [Home("free", "a", 1, True), Home("held", "a", 2, True)]


async def test_a_beat_that_was_given_up_is_settled(database: Database) -> None:
    """It goes on until it is made; one that came after the end of its run would say that it has not ended."""
    async with open_database(database.url, for_beats=True) as beats:
        members, journal = Members(beats), CallJournal(database)
        await members.enter(candidate("a", boot=journal.boot))
        with connected(database.url) as other, other.transaction():
            other.execute("SELECT FROM runs FOR UPDATE")
            for under_way in (members.beat(journal.boot, is_leaving=False, had_client={}), members.settle()):
                with trio.move_on_after(0.1) as given_up:
                    await under_way
                assert given_up.cancelled_caught
        await members.settle()
        await journal.end_run()
        assert await over_for(database, journal.boot) is not None


async def test_the_report_counts_homes_and_calls(database: Database) -> None:
    """Of each node, by name, with what all of them must agree in; a run that is over is not in it."""
    members, homes, journal = Members(database), Homes(database), CallJournal(database)
    b = candidate("b", boot=journal.boot)
    for node in (b, A):
        await members.enter(node)
    for agent in ("one", "two"):
        await homes.take(agent, "b", None)
    await journal.announce_call("CA0", "one", Direction.INBOUND, "", "")
    await journal.open_call(call("CA1"))
    a_report, b_report = await members.report()
    assert (a_report.node.name, a_report.homes, a_report.calls) == ("a", 0, 0)
    assert (b_report.node.name, b_report.homes, b_report.calls) == ("b", 2, 1)
    assert b_report.node == b.node
    assert b_report.account_proof == b.account.proof(journal.boot)
    assert b_report.account_proof != b.account.proof("another run")
    await journal.end_run()
    assert [each.node.name for each in await members.report()] == ["a"]
