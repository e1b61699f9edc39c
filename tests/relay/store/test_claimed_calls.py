"""Which calls have an owner, and that of two nodes only one may end a call that has none."""

from __future__ import annotations

import trio

from relay.store.claimed_calls import ClaimedCalls
from relay.store.database import Database, open_database
from tests.fakes_store import WallClock


async def test_a_call_of_another_node_is_not_taken(database: Database, database_url: str) -> None:
    """What one has placed is nobody's lost call, whoever looks for one; the next in the list may be."""
    async with open_database(database_url) as other:
        await ClaimedCalls(database).claim("CA1")
        assert await ClaimedCalls(other).take(["CA1"]) is None
        assert await ClaimedCalls(other).take(["CA1", "CA2", "CA3"]) == "CA2"
        assert await ClaimedCalls(database).take(["CA1", "CA2"]) is None


async def test_two_nodes_do_not_take_the_same_call(database: Database, database_url: str) -> None:
    """Each that looks for a lost call at the same moment gets one of its own."""
    taken: list[str | None] = []

    async def take(claims: ClaimedCalls) -> None:
        taken.append(await claims.take([f"CA{number}" for number in range(8)]))

    async with open_database(database_url) as other, trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(take, ClaimedCalls(database))
            nursery.start_soon(take, ClaimedCalls(other))
    assert sorted(each for each in taken if each) == [f"CA{number}" for number in range(8)]
    assert taken.count(None) == 2


async def test_claiming_twice_is_no_error(database: Database) -> None:
    claims = ClaimedCalls(database)
    await claims.claim("CA1")
    await claims.claim("CA1")
    assert await claims.take(["CA1"]) is None


async def test_what_is_claimed_is_forgotten_in_time(database: Database, clock: WallClock) -> None:
    """A call of an hour ago is no lost one of now."""
    claims = ClaimedCalls(database, clock)
    await claims.claim("CA1")
    clock.turn(seconds=3601)
    await claims.claim("CA2")
    assert await claims.take(["CA2", "CA1"]) == "CA1"
