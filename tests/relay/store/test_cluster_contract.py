"""What the nodes of a cluster share, in the database and in the tests' memory alike: members and homes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import attrs
import pytest
from sqlalchemy import text

from relay.errors import ClusterError
from relay.store.database import Database, open_database
from relay.store.homes import Home, Homes
from relay.store.members import Account, Members
from tests.fakes_cluster import MemoryCluster, MemoryHomes, MemoryMembers, candidate
from tests.postgresql_server import PostgresqlServer

A, B = candidate("a"), candidate("b")


@attrs.frozen(eq=False)
class Shared:
    """The members and homes, and how a test has a member been seen earlier than it was."""

    members: Members | MemoryMembers
    homes: Homes | MemoryHomes
    database: Database | None = None

    async def age(self, boot: str, seconds: float) -> None:
        if isinstance(self.members, MemoryMembers):
            self.members.cluster.age(boot, seconds)
        elif self.database is not None:
            change = text("UPDATE runs SET seen_at = seen_at - make_interval(secs => :seconds) WHERE boot = :boot")
            await self.database.write(lambda connection: connection.execute(change, {"seconds": seconds, "boot": boot}))


@pytest.fixture(params=["memory", "postgresql"])
async def shared(request: pytest.FixtureRequest) -> AsyncIterator[Shared]:
    if request.param == "memory":
        cluster = MemoryCluster()
        yield Shared(MemoryMembers(cluster), MemoryHomes(cluster))
        return
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    async with open_database(server.empty_database()) as database:
        yield Shared(Members(database), Homes(database), database)


async def beat(shared: Shared, boot: str, **more: object) -> tuple[dict[str, bool], dict[str, Home]]:
    """Beat; return the other nodes, with whether they leave, and the node's homes."""
    given = {"is_leaving": False, "had_client": {}} | more
    learnt = await shared.members.beat(boot, **given)  # type: ignore[arg-type]
    return {node.name: node.is_leaving for node in learnt.others}, {home.agent_id: home for home in learnt.homes}


# ── homes ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_home_is_taken_by_one(shared: Shared) -> None:
    """Of two that know of no home the first takes it, and the second is told whose it is."""
    homes = shared.homes
    assert await homes.find("agent") is None
    assert await homes.take("agent", "a", None) == Home("agent", "a", 1)
    assert await homes.take("agent", "b", None) == Home("agent", "a", 1)
    assert await homes.find("agent") == Home("agent", "a", 1)


async def test_a_home_is_taken_over_by_one(shared: Shared) -> None:
    """Of two that know the same epoch the first takes it; an outdated one changes nothing."""
    homes = shared.homes
    first = await homes.take("agent", "a", None)
    assert await homes.take("agent", "b", first) == Home("agent", "b", 2)
    assert await homes.take("agent", "c", first) == Home("agent", "b", 2)


async def test_whether_a_client_was_there_travels_with_the_home(shared: Shared) -> None:
    """It is stored with a beat of the home's node, for its own homes only, and a take-over leaves it."""
    for node in (A, B):
        assert await shared.members.enter(node) is None
    home = await shared.homes.take("agent", "a", None)
    await beat(shared, "boot-b", had_client={"agent": True})
    assert (await shared.homes.find("agent")) == home
    await beat(shared, "boot-a", had_client={"agent": True})
    assert (await shared.homes.find("agent")) == attrs.evolve(home, had_client=True)
    assert await shared.homes.take("agent", "b", home) == Home("agent", "b", 2, had_client=True)
    await beat(shared, "boot-b", had_client={"agent": False})
    assert (await shared.homes.find("agent")) == Home("agent", "b", 2)


# ── members ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_members_see_each_other(shared: Shared) -> None:
    """A beat returns the other members, who leaves, and the homes that the node has; not those of others."""
    for node in (A, B):
        assert await shared.members.enter(node) is None
    await shared.homes.take("mine", "a", None)
    await shared.homes.take("other", "b", None)
    assert await beat(shared, "boot-a") == ({"b": False}, {"mine": Home("mine", "a", 1)})
    await beat(shared, "boot-b", is_leaving=True)
    assert await beat(shared, "boot-a") == ({"b": True}, {"mine": Home("mine", "a", 1)})
    (learnt,) = (await shared.members.beat("boot-a", is_leaving=False, had_client={})).others
    assert learnt == attrs.evolve(B.node, is_leaving=True)
    assert 0 <= learnt.unseen < 5


async def test_a_name_is_had_by_one(shared: Shared) -> None:
    """A second node of a name is told when the first one was seen, and enters when that is a while ago."""
    assert await shared.members.enter(A) is None
    second = candidate("a", boot="second")
    seen_at = await shared.members.enter(second)
    assert seen_at is not None
    assert await shared.members.enter(second) == seen_at
    await beat(shared, "boot-a")
    again = await shared.members.enter(second)
    assert again is not None
    assert again > seen_at
    await shared.age("boot-a", 3)
    assert await shared.members.enter(second) is None
    with pytest.raises(ClusterError, match="Another relay has taken this node's name"):
        await beat(shared, "boot-a")
    assert await beat(shared, "second") == ({}, {})


async def test_homes_are_kept_by_the_next_run_of_a_node(shared: Shared) -> None:
    """A node that was started again has the homes that it had: requests go to its name."""
    await shared.members.enter(A)
    home = await shared.homes.take("agent", "a", None)
    await shared.age("boot-a", 3)
    await shared.members.enter(candidate("a", boot="second"))
    assert await beat(shared, "second") == ({}, {"agent": home})


async def test_a_member_is_over_that_is_gone_and_back_with_its_next_beat(shared: Shared) -> None:
    """One that was seen lately is not over, whoever says so."""
    for node in (A, B):
        await shared.members.enter(node)
    await shared.members.end(["boot-b"])
    assert (await beat(shared, "boot-a"))[0] == {"b": False}
    await shared.age("boot-b", 11)
    assert (await beat(shared, "boot-a"))[0] == {"b": False}
    await shared.members.end(["boot-b"])
    assert (await beat(shared, "boot-a"))[0] == {}
    await beat(shared, "boot-b")
    assert (await beat(shared, "boot-a"))[0] == {"b": False}


@pytest.mark.parametrize(
    ("made", "setting"),
    [
        (lambda: candidate("b", account=Account("AC" + "0" * 32, "another")), "TWILIO_AUTH_TOKEN"),
        (lambda: candidate("b", account=Account("AC" + "1" * 32, "secret")), "TWILIO_AUTH_TOKEN"),
        (lambda: candidate("b", public_url="https://other.example.com"), "PUBLIC_URL"),
        (lambda: candidate("b", url="http://a.internal:8080"), "RELAY_NODE_URL"),
    ],
)
async def test_who_does_not_agree_is_refused(shared: Shared, made: Callable[[], object], setting: str) -> None:
    """Another account, another address of the cluster, or the URL of another node; unless that one is gone."""
    await shared.members.enter(A)
    with pytest.raises(ClusterError, match=setting):
        await shared.members.enter(made())  # type: ignore[arg-type]
    assert await beat(shared, "boot-a") == ({}, {})
    await shared.age("boot-a", 11)
    assert await shared.members.enter(made()) is None  # type: ignore[arg-type]
