"""The rules of a node's directory, under the mock clock: whose a home is, who is dead, and when a node lets go."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta

import attrs
import pytest
import structlog.testing
import trio
from trio.testing import MockClock

from actors.errors import StoreFailed
from relay.cluster.directory import BEAT_SECONDS, GIVE_SECONDS, HURRY_SECONDS, LOST_SECONDS, Directory, Tenants
from relay.errors import ClusterError, DatabaseError
from relay.store.database_clock import DatabaseClock
from relay.store.homes import Home
from relay.store.members import Beat
from relay.store.runs import GONE_SECONDS
from tests.fakes_cluster import MemoryCluster, MemoryHomes, MemoryMembers, candidate, wall

AGENT = "my-client"
# Between two beats, so that none is due at the very moment at which a test looks.
BEATS = 2.25 * BEAT_SECONDS


@attrs.define(eq=False)
class Agents:
    """What the directory has told of the agents of a node, and those whose client is here."""

    come: list[Home] = attrs.field(factory=list)
    gone: list[str] = attrs.field(factory=list)
    clients: set[str] = attrs.field(factory=set)

    def with_client(self, agent_ids: Iterable[str]) -> frozenset[str]:
        return frozenset(self.clients.intersection(agent_ids))


@attrs.define(eq=False)
class NodeHere:
    """A node whose membership runs, with what its directory has told."""

    directory: Directory
    agents: Agents
    running: trio.CancelScope

    @property
    def lookups(self) -> int:
        assert isinstance(self.directory.homes, MemoryHomes)
        return self.directory.homes.looked_up


class Hung(MemoryHomes):
    """Homes in a database that does not answer, which is given up after a while."""

    async def find(self, agent_id: str) -> Home | None:
        await trio.sleep(8)
        raise DatabaseError("The database did not answer.")


@attrs.define(eq=False)
class SlowMembers(MemoryMembers):
    """Members whose beats read at once, and are answered `answers_in` seconds later."""

    answers_in: float = 0.0

    async def beat(self, boot: str, *, is_leaving: bool, had_client: Mapping[str, bool]) -> Beat:
        beat = await super().beat(boot, is_leaving=is_leaving, had_client=had_client)
        await trio.sleep(self.answers_in)
        return beat


@attrs.define(eq=False)
class SlowHomes(MemoryHomes):
    """Homes that are taken after `takes` seconds; the answer takes as long as `answers_in`."""

    takes: float = 0.0
    answers_in: float = 0.0

    async def take(self, agent_id: str, node: str, known: Home | None) -> Home:
        await trio.sleep(self.takes)
        home = await super().take(agent_id, node, known)
        await trio.sleep(self.answers_in)
        return home


@pytest.fixture
def cluster() -> MemoryCluster:
    return MemoryCluster()


def made(cluster: MemoryCluster, name: str, boot: str = "") -> tuple[Directory, Agents]:
    agents = Agents()
    directory = Directory(
        candidate=candidate(name, boot=boot),
        members=MemoryMembers(cluster, name),  # type: ignore[arg-type]
        homes=MemoryHomes(cluster, name),  # type: ignore[arg-type]
        tenants=Tenants(on_come=agents.come.append, on_gone=agents.gone.append, with_client=agents.with_client),
        can_beat=cluster.can_beat,
        clock=DatabaseClock(wall=wall),
    )
    return directory, agents


@asynccontextmanager
async def running(cluster: MemoryCluster, *names: str) -> AsyncIterator[list[NodeHere]]:
    """Run nodes that know each other."""
    async with trio.open_nursery() as nursery:
        nodes = []
        for name in names:
            directory, agents = made(cluster, name)
            await directory.join()
            scope = trio.CancelScope()
            nodes.append(NodeHere(directory, agents, scope))
            nursery.start_soon(run_in, scope, directory)
        await trio.sleep(BEATS)
        yield nodes
        nursery.cancel_scope.cancel()


async def run_in(scope: trio.CancelScope, directory: Directory) -> None:
    with scope:
        await directory.run()


async def freeze(node: NodeHere) -> None:
    """End its beats, as the death of its process does."""
    node.running.cancel()
    await trio.testing.wait_all_tasks_blocked()


# ── homes ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_home_is_nobody_s_until_it_is_taken(cluster: MemoryCluster, autojump_clock: MockClock) -> None:
    """To look for it takes nothing; then it is here, and the other node knows whose it is."""
    async with running(cluster, "a", "b") as (a, b):
        assert await a.directory.find_home(AGENT) is None
        assert not a.directory.is_here(AGENT)
        assert await a.directory.take_home(AGENT) == Home(AGENT, "a", 1)
        assert a.directory.is_here(AGENT)
        assert a.agents.come == [Home(AGENT, "a", 1)]
        assert await b.directory.find_home(AGENT) == Home(AGENT, "a", 1)
        assert not b.directory.is_here(AGENT)


async def test_a_home_is_not_taken_from_a_node_that_lives(cluster: MemoryCluster, autojump_clock: MockClock) -> None:
    """Who would take it is told whose it is; two who would take it at once agree."""
    async with running(cluster, "a", "b") as (a, b):
        taken: list[Home] = []

        async def take(node: NodeHere) -> None:
            taken.append(await node.directory.take_home(AGENT))

        async with trio.open_nursery() as nursery:
            for node in (a, b):
                nursery.start_soon(take, node)
        assert taken[0] == taken[1]
        assert taken[0].epoch == 1
        assert await b.directory.take_home(AGENT) == taken[0]
        assert a.directory.is_here(AGENT) != b.directory.is_here(AGENT)


async def test_a_home_is_not_taken_from_a_node_that_has_just_joined(
    cluster: MemoryCluster, autojump_clock: MockClock
) -> None:
    """It is not known here before the next beat; nobody is dead who is only unknown."""
    async with running(cluster, "a") as (a,):
        new, _agents = made(cluster, "new")
        await new.join()
        home = await new.take_home(AGENT)
        assert a.directory.find_node("new") is None
        assert await a.directory.take_home(AGENT) == home
        assert a.directory.find_node("new") == new.candidate.node


async def test_the_home_of_a_node_that_was_started_again(cluster: MemoryCluster, autojump_clock: MockClock) -> None:
    """The new run of a node has the homes of the one before, and learns which of them had a client."""
    async with running(cluster, "a") as (a,):
        await a.directory.take_home(AGENT)
        a.agents.clients.add(AGENT)
        await trio.sleep(BEATS)
        await freeze(a)
        directory, agents = made(cluster, "a", boot="second")
        await directory.join()
        assert agents.come == [Home(AGENT, "a", 1, had_client=True)]
        assert directory.is_here(AGENT)


async def test_where_a_home_is_elsewhere_is_remembered_a_moment(
    cluster: MemoryCluster, autojump_clock: MockClock
) -> None:
    """Many requests at once read the row once; it is read anew after a while, or when its node says that it is not."""
    async with running(cluster, "a", "b") as (a, b):
        await a.directory.take_home(AGENT)
        before = b.lookups
        for _each in range(5):
            await b.directory.find_home(AGENT)
        assert b.lookups == before + 1
        b.directory.forget(AGENT)
        await b.directory.find_home(AGENT)
        assert b.lookups == before + 2
        await trio.sleep(3)
        await b.directory.find_home(AGENT)
        assert b.lookups == before + 3


async def test_a_database_that_hangs_keeps_nobody_waiting_for_a_home_that_is_known(
    cluster: MemoryCluster, autojump_clock: MockClock
) -> None:
    """The carrier waits for each webhook: two seconds at most at first, then not at all."""
    async with running(cluster, "a", "b") as (a, b):
        home = await a.directory.take_home(AGENT)
        assert await b.directory.find_home(AGENT) == home
        cluster.cut_off |= {"a", "b"}
        b.directory.homes = Hung(cluster)  # type: ignore[assignment]
        took = []
        for _each in range(3):
            await trio.sleep(2.5)
            began = trio.current_time()
            assert await b.directory.find_home(AGENT) == home
            took.append(trio.current_time() - began)
    assert took == [pytest.approx(2), 0, 0]


async def test_a_home_here_is_looked_up_nowhere(cluster: MemoryCluster, autojump_clock: MockClock) -> None:
    """Each beat says that it is here still; a request reads nothing."""
    async with running(cluster, "a") as (a,):
        home = await a.directory.take_home(AGENT)
        before = a.lookups
        await trio.sleep(60)
        assert await a.directory.find_home(AGENT) == home
        assert a.lookups == before


# ── a node leaves ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_home_is_given_to_a_node_that_stays(cluster: MemoryCluster, autojump_clock: MockClock) -> None:
    """It is told of the client, also of one that has come since the last beat; who gives it is told of no loss."""
    async with running(cluster, "a", "b", "c") as (a, b, c):
        await a.directory.take_home(AGENT)
        await a.directory.take_home("other")
        await a.directory.leave()
        await b.directory.leave()
        await trio.sleep(BEATS)
        a.agents.clients.add(AGENT)
        await a.directory.give([AGENT, "unknown"])
        assert a.directory.homes_here() == ["other"]
        await trio.sleep(BEATS)
        assert c.agents.come == [Home(AGENT, "c", 2, had_client=True)]
        for each in (a, b):
            home = await each.directory.find_home(AGENT)
            assert home is not None
            assert home.node == "c"
        assert a.agents.gone == []


async def test_a_home_stays_where_no_other_node_does(cluster: MemoryCluster, autojump_clock: MockClock) -> None:
    """All others leave too, or are not seen."""
    async with running(cluster, "a", "b", "c") as (a, b, c):
        await a.directory.take_home(AGENT)
        await a.directory.leave()
        await b.directory.leave()
        await freeze(c)
        await trio.sleep(2 * BEATS)
        assert not a.directory.can_give
        await a.directory.give([AGENT])
        assert a.directory.homes_here() == [AGENT]


# ── beats overtake, and are overtaken ───────────────────────────────────────────────────────────────────────────────


# When the home is written, and when that is answered; and when the beat is, which begins, and reads, at 0.1.
ORDERS = pytest.mark.parametrize(
    ("written", "answered", "beaten"),
    [(0.2, 0.3, 0.4), (0.2, 0.4, 0.3), (0.3, 0.4, 0.2), (0.05, 0.2, 0.3), (0.05, 0.3, 0.2)],
)


@ORDERS
async def test_a_home_is_taken_while_a_beat_is_under_way(
    cluster: MemoryCluster, autojump_clock: MockClock, written: float, answered: float, beaten: float
) -> None:
    """Whatever is written, and answered, first: it has come once, and is not let go for what was read before."""
    async with running(cluster, "a") as (a,), trio.open_nursery() as nursery:
        await a.directory.take_home("other")
        slow_down(a, written, answered, beaten)
        nursery.start_soon(a.directory.take_home, AGENT)
        await trio.sleep(0.1)
        a.directory.note_client("other")  # has it beat at once
        await trio.sleep(0.5)
        assert a.directory.is_here(AGENT)
        assert (a.agents.come[1:], a.agents.gone) == ([Home(AGENT, "a", 1)], [])


@ORDERS
async def test_a_home_is_given_while_a_beat_is_under_way(
    cluster: MemoryCluster, autojump_clock: MockClock, written: float, answered: float, beaten: float
) -> None:
    """That is no loss, and what was read before does not bring it back."""
    async with running(cluster, "a", "b") as (a, b), trio.open_nursery() as nursery:
        for agent in (AGENT, "other"):
            await a.directory.take_home(agent)
        await a.directory.leave()
        await trio.sleep(BEATS)
        slow_down(a, written, answered, beaten)
        nursery.start_soon(a.directory.give, [AGENT])
        await trio.sleep(beaten)  # who gives beats before, which takes it 0.1 seconds less
        a.directory.note_client("other")
        await trio.sleep(0.5)
        assert a.directory.homes_here() == ["other"]
        assert (len(a.agents.come), a.agents.gone) == (2, [])
        assert (await b.directory.find_home(AGENT)) == Home(AGENT, "b", 2)


async def test_writes_that_stand_still_hold_up_no_beat(cluster: MemoryCluster, autojump_clock: MockClock) -> None:
    """Neither a home that is taken nor one that is given: the node is seen all the time, and keeps what it has."""
    async with running(cluster, "a", "b") as (a, b), trio.open_nursery() as nursery:
        await a.directory.take_home("other")
        a.directory.homes = SlowHomes(cluster, "a", takes=12)  # type: ignore[assignment]
        nursery.start_soon(a.directory.take_home, AGENT)
        for _each in range(10):
            await trio.sleep(BEAT_SECONDS)
            assert a.directory.is_seen
            assert cluster.unseen("boot-a") <= BEAT_SECONDS
        await a.directory.leave()
        nursery.start_soon(give_in_vain, a, "other")
        for _each in range(10):
            await trio.sleep(BEAT_SECONDS)
            assert cluster.unseen("boot-a") <= BEAT_SECONDS
        assert not b.directory.silent("a")
        assert a.agents.gone == []


async def give_in_vain(node: NodeHere, agent_id: str) -> None:
    """Who leaves does not wait for a database that does not answer, for the write or for the beat before it."""
    with pytest.raises(StoreFailed, match="has not answered"), trio.fail_after(GIVE_SECONDS + 0.1):
        await node.directory.give([agent_id])


async def test_who_leaves_waits_for_no_beat_that_stands_still(
    cluster: MemoryCluster, autojump_clock: MockClock
) -> None:
    """Its calls have yet to hear a farewell, in the time that the process has."""
    async with running(cluster, "a", "b") as (a, _b):
        await a.directory.take_home(AGENT)
        await a.directory.leave()
        a.directory.members = SlowMembers(cluster, "a", answers_in=12)  # type: ignore[assignment]
        await trio.sleep(BEATS)  # and now there is one under way
        await give_in_vain(a, AGENT)
        assert a.directory.homes_here() == [AGENT]


def slow_down(node: NodeHere, written: float, answered: float, beaten: float) -> None:
    """Have a home written, and answered, so many seconds after it was asked for; and a beat that is begun at 0.1."""
    directory = node.directory
    assert isinstance(directory.members, MemoryMembers)
    cluster = directory.members.cluster
    directory.homes = SlowHomes(cluster, node.directory.node, takes=written, answers_in=answered - written)  # type: ignore[assignment]
    directory.members = SlowMembers(cluster, node.directory.node, answers_in=beaten - 0.1)  # type: ignore[assignment]


# ── dead or alive ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_node_that_refuses_is_dead_at_once(cluster: MemoryCluster, autojump_clock: MockClock) -> None:
    """Its homes are taken, by one node, and the new home is told whether a client was there."""
    async with running(cluster, "a", "b", "c") as (a, b, c):
        await a.directory.take_home(AGENT)
        a.agents.clients.add(AGENT)
        await trio.sleep(BEATS)
        await freeze(a)
        assert b.directory.find_node("a") is not None
        with structlog.testing.capture_logs() as logs:
            b.directory.refused("a")
        (dead,) = logs
        assert (dead["event"], dead["why"], dead["url"]) == ("node_dead", "refused", "http://a.internal:8080")
        assert b.directory.find_node("a") is None
        assert [node.name for node in b.directory.others()] == ["c"]
        home = Home(AGENT, "b", 2, had_client=True)
        assert await b.directory.take_home(AGENT) == home
        assert b.agents.come == [home]
        assert await c.directory.find_home(AGENT) == home


async def test_a_node_that_refuses_is_alive_when_it_is_seen_again(
    cluster: MemoryCluster, autojump_clock: MockClock
) -> None:
    """What it had keeps to whoever took it; what nobody asked for stays its own."""
    cluster.ahead = timedelta(minutes=5)
    async with running(cluster, "a", "b") as (a, b):
        await a.directory.take_home(AGENT)
        await a.directory.take_home("other")
        b.directory.refused("a")
        await b.directory.take_home(AGENT)
        await trio.sleep(BEATS)
        assert b.directory.find_node("a") == a.directory.candidate.node
        assert (await b.directory.take_home("other")).node == "a"
        assert a.agents.gone == [AGENT]
        assert (await a.directory.find_home(AGENT)) == Home(AGENT, "b", 2)


async def test_a_node_that_died_stays_dead(cluster: MemoryCluster, autojump_clock: MockClock) -> None:
    """That it was seen in the second before it refused does not bring it back."""
    async with running(cluster, "a", "b") as (a, b):
        await freeze(a)
        b.directory.refused("a")
        for _each in range(5):
            await trio.sleep(BEAT_SECONDS)
            assert b.directory.find_node("a") is None


async def test_a_silent_node_is_dead_when_it_is_unseen_too(cluster: MemoryCluster, autojump_clock: MockClock) -> None:
    """Seen lately it is only not to be reached from here, and its homes stay its own."""
    async with running(cluster, "a", "b") as (a, b):
        home = await a.directory.take_home(AGENT)
        assert not b.directory.silent("a")
        assert await b.directory.take_home(AGENT) == home
        await freeze(a)
        await trio.sleep(2)
        assert not b.directory.silent("a")
        await trio.sleep(2)
        assert b.directory.find_node("a") is not None
        assert b.directory.silent("a")
        assert (await b.directory.take_home(AGENT)).node == "b"


async def test_a_node_that_is_unseen_for_long_is_dead_unasked(
    cluster: MemoryCluster, autojump_clock: MockClock
) -> None:
    """Nobody has to wait for its answer."""
    async with running(cluster, "a", "b") as (a, b):
        await freeze(a)
        await trio.sleep(GONE_SECONDS + BEAT_SECONDS)
        assert b.directory.find_node("a") is None
        await trio.sleep(BEATS)
        assert cluster.over == {"boot-a"}


async def test_a_node_finds_itself(cluster: MemoryCluster, autojump_clock: MockClock) -> None:
    """Under its own name, with whether it leaves."""
    async with running(cluster, "a") as (a,):
        assert a.directory.find_node("a") == a.directory.candidate.node
        await a.directory.leave()
        node = a.directory.find_node("a")
        assert node is not None
        assert node.is_leaving
        assert a.directory.find_node("nobody") is None
        assert a.directory.silent("nobody")


# ── leaving ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_new_homes_are_not_at_a_node_that_leaves(cluster: MemoryCluster, autojump_clock: MockClock) -> None:
    """It gives them to another, which takes them as its own when it is asked; what it has stays."""
    async with running(cluster, "a", "b") as (a, b):
        old = await a.directory.take_home("old")
        beats = cluster.beats
        await a.directory.leave()
        await trio.testing.wait_all_tasks_blocked()
        assert cluster.beats == beats + 1
        assert await a.directory.take_home(AGENT) == Home(AGENT, "b", 1)
        assert not b.directory.is_here(AGENT)
        assert await b.directory.find_home(AGENT) == Home(AGENT, "b", 1)
        assert b.directory.is_here(AGENT)
        assert await a.directory.find_home("old") == old
        await trio.sleep(BEATS)
        assert [node.is_leaving for node in b.directory.others()] == [True]


async def test_the_last_node_takes_homes_while_it_leaves(cluster: MemoryCluster, autojump_clock: MockClock) -> None:
    """There is no other one, or the other one leaves too."""
    async with running(cluster, "a", "b") as (a, b):
        await b.directory.leave()
        await trio.sleep(BEATS)
        await a.directory.leave()
        assert (await a.directory.take_home(AGENT)).node == "a"


# ── clients ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_whether_a_client_is_here_is_stored_when_it_changes(
    cluster: MemoryCluster, autojump_clock: MockClock
) -> None:
    """With the next beat, for the node that may take the home over."""
    async with running(cluster, "a") as (a,):
        await a.directory.take_home(AGENT)
        await trio.sleep(BEATS)
        assert not cluster.homes[AGENT].had_client
        a.agents.clients.add(AGENT)
        await trio.sleep(BEATS)
        assert cluster.homes[AGENT].had_client
        a.agents.clients.clear()
        await trio.sleep(BEATS)
        assert not cluster.homes[AGENT].had_client
        assert a.agents.come == [Home(AGENT, "a", 1)]


async def test_a_client_that_comes_is_stored_at_once(cluster: MemoryCluster, autojump_clock: MockClock) -> None:
    """A home that is killed in its first second had it all the same; many that come at once cost a few beats."""
    async with running(cluster, "a") as (a,):
        await a.directory.take_home(AGENT)
        await trio.sleep(BEATS)
        a.agents.clients.add(AGENT)
        a.directory.note_client(AGENT)
        await trio.sleep(HURRY_SECONDS)
        assert cluster.homes[AGENT].had_client
        before, began = cluster.beats, trio.current_time()
        for number in range(100):
            await a.directory.take_home(f"agent-{number}")
            a.agents.clients.add(f"agent-{number}")
            a.directory.note_client(f"agent-{number}")
            await trio.sleep(0.01)
        assert cluster.beats - before <= (trio.current_time() - began) / HURRY_SECONDS + 1
        await trio.sleep(HURRY_SECONDS)
        assert all(home.had_client for home in cluster.homes.values())
        a.directory.note_client("somebody else's")


# ── lost and back ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_node_lets_go_of_what_was_taken_from_it(cluster: MemoryCluster, autojump_clock: MockClock) -> None:
    """It was frozen, and its next beat tells; what it has besides stays."""
    async with running(cluster, "a", "b") as (a, _b):
        for agent in (AGENT, "other"):
            await a.directory.take_home(agent)
        cluster.homes[AGENT] = Home(AGENT, "b", 2)
        await trio.sleep(BEATS)
        assert a.agents.gone == [AGENT]
        assert not a.directory.is_here(AGENT)
        assert a.directory.is_here("other")


async def test_a_home_that_came_back_is_a_new_one(cluster: MemoryCluster, autojump_clock: MockClock) -> None:
    """Between two beats it was another node's: what is here is let go, and the client expected anew."""
    async with running(cluster, "a", "b") as (a, _b):
        await a.directory.take_home(AGENT)
        cluster.homes[AGENT] = back = Home(AGENT, "a", 3, had_client=True)
        await trio.sleep(BEATS)
        assert a.agents.gone == [AGENT]
        assert a.agents.come == [Home(AGENT, "a", 1), back]


async def test_the_home_of_an_agent_that_was_registered_again(
    cluster: MemoryCluster, autojump_clock: MockClock
) -> None:
    """It counts from 1, and is here again before a beat has missed the one before: it is the one that can be given."""
    async with running(cluster, "a", "b") as (a, b):
        cluster.homes[AGENT] = Home(AGENT, "a", 3)
        await trio.sleep(BEATS)
        cluster.homes[AGENT] = Home(AGENT, "a", 1)  # from a node that leaves
        await trio.sleep(BEATS)
        assert (a.agents.come, a.agents.gone) == ([Home(AGENT, "a", 3), Home(AGENT, "a", 1)], [AGENT])
        await a.directory.leave()
        await a.directory.give([AGENT])
        assert await b.directory.find_home(AGENT) == Home(AGENT, "b", 2)


async def test_a_node_without_its_database_lets_go_of_all(cluster: MemoryCluster, autojump_clock: MockClock) -> None:
    """After eight seconds, before others take it for dead; until then it goes on, and it takes nothing after.

    Another node has the database, so it is this one that is cut off.
    """
    async with running(cluster, "a", "b") as (a, b):
        for agent in (AGENT, "other"):
            await a.directory.take_home(agent)
        await trio.sleep(BEATS)
        cluster.cut_off.add("a")
        await trio.sleep(LOST_SECONDS - 2 * BEAT_SECONDS)
        assert a.directory.is_here(AGENT)
        assert a.agents.gone == []
        await trio.sleep(2 * BEAT_SECONDS)
        assert sorted(a.agents.gone) == sorted([AGENT, "other"])
        assert a.directory.is_lost
        assert cluster.unseen("boot-a") < GONE_SECONDS
        for asked in (a.directory.find_home, a.directory.take_home):
            with pytest.raises(DatabaseError):
                await asked(AGENT)
        assert b.directory.silent("a")
        assert (await b.directory.take_home(AGENT)).node == "b"


async def test_where_all_are_without_the_database_each_goes_on(
    cluster: MemoryCluster, autojump_clock: MockClock
) -> None:
    """None of them can take what the others have, neither meanwhile nor when it is back."""
    async with running(cluster, "a", "b") as (a, b):
        await a.directory.take_home(AGENT)
        await b.directory.find_home(AGENT)
        cluster.cut_off |= {"a", "b"}
        await trio.sleep(60)
        assert a.directory.is_here(AGENT)
        assert (await b.directory.find_home(AGENT)) == Home(AGENT, "a", 1)
        assert b.directory.find_node("a") is not None
        assert not b.directory.silent("a")
        with pytest.raises(DatabaseError):
            await b.directory.find_home("other")
        cluster.cut_off.remove("b")
        await trio.sleep(BEATS)
        assert not b.directory.silent("a")
        assert await b.directory.take_home(AGENT) == Home(AGENT, "a", 1)
        cluster.cut_off.clear()
        await trio.sleep(BEATS)
        assert a.agents.gone == []
        assert not a.directory.is_lost


async def test_a_node_that_alone_stays_without_the_database_lets_go(
    cluster: MemoryCluster, autojump_clock: MockClock
) -> None:
    """The others have it again, so by then they may take what it has."""
    async with running(cluster, "a", "b") as (a, _b):
        await a.directory.take_home(AGENT)
        cluster.cut_off |= {"a", "b"}
        await trio.sleep(60)
        cluster.cut_off.remove("b")
        await trio.sleep(BEATS)
        assert a.agents.gone == []
        await trio.sleep(LOST_SECONDS)
        assert a.agents.gone == [AGENT]


async def test_a_node_that_has_its_database_again_goes_on_as_new(
    cluster: MemoryCluster, autojump_clock: MockClock
) -> None:
    """What nobody has taken is its home again."""
    async with running(cluster, "a", "b") as (a, b):
        for agent in (AGENT, "other"):
            await a.directory.take_home(agent)
        cluster.cut_off.add("a")
        await trio.sleep(LOST_SECONDS + 2 * BEAT_SECONDS)
        assert b.directory.silent("a")
        await b.directory.take_home(AGENT)
        cluster.cut_off.clear()
        await trio.sleep(BEATS)
        assert not a.directory.is_lost
        assert not a.directory.is_here(AGENT)
        assert a.directory.is_here("other")
        assert b.directory.find_node("a") is not None


async def test_a_node_whose_name_was_taken_ends(cluster: MemoryCluster, autojump_clock: MockClock) -> None:
    """Another run of its name has begun while it was frozen: going on would be two homes at one name."""
    async with running(cluster, "a") as (a,):
        await freeze(a)
        await trio.sleep(5)
        second, _agents = made(cluster, "a", boot="second")
        await second.join()
        with pytest.RaisesGroup(pytest.RaisesExc(ClusterError, match="has taken this node's name")):
            await a.directory.run()


# ── joining ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_second_node_of_one_name_is_refused(cluster: MemoryCluster, autojump_clock: MockClock) -> None:
    """Within a second or two, because the first one is seen again, with what to do."""
    async with running(cluster, "a"):
        second, _agents = made(cluster, "a", boot="second")
        with pytest.raises(ClusterError, match="RELAY_NODE"), trio.fail_after(BEATS):
            await second.join()


async def test_a_node_that_was_killed_joins_again(cluster: MemoryCluster, autojump_clock: MockClock) -> None:
    """It waits until it is sure that the earlier one is not seen any more."""
    async with running(cluster, "a") as (a,):
        await freeze(a)
        second, _agents = made(cluster, "a", boot="second")
        with trio.fail_after(5):
            await second.join()


async def test_the_clock_of_the_database_counts(cluster: MemoryCluster, autojump_clock: MockClock) -> None:
    """Each beat sets the clock that the node's stores go by."""
    cluster.ahead = timedelta(minutes=5)
    async with running(cluster, "a") as (a,):
        assert a.directory.clock.offset == timedelta(minutes=5)
