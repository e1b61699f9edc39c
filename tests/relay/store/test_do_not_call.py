"""The do-not-call list."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from relay.store.agent_registry import AgentRegistry
from relay.store.database import Database
from relay.store.do_not_call import UNVERIFIED_CALLER, DoNotCallEntry, DoNotCallList, listed
from tests.fakes_store import WallClock

ADA, BOB = "+14155552671", "+493012345678"


@pytest.fixture
def numbers(database: Database, clock: WallClock) -> DoNotCallList:
    return DoNotCallList(database, clock)


async def add(numbers: DoNotCallList, number: str, agent_id: str | None, reason: str = "asked") -> bool:
    return await numbers.add(number, agent_id=agent_id, reason=reason, added_by="operator")


async def find(numbers: DoNotCallList, number: str, agent_id: str | None) -> DoNotCallEntry | None:
    return await numbers.database.read(lambda connection: listed(connection, number, agent_id))


async def test_a_number_is_listed_for_an_agent(numbers: DoNotCallList) -> None:
    """An entry of one agent is none for another, and none for all."""
    assert await add(numbers, ADA, "my-client")
    assert await find(numbers, ADA, "my-client") is not None
    assert await find(numbers, ADA, "other") is None
    assert await find(numbers, ADA, None) is None
    assert await find(numbers, BOB, "my-client") is None


async def test_a_number_is_listed_for_all(numbers: DoNotCallList) -> None:
    """An entry for all agents holds for each, and goes before one of its own."""
    await add(numbers, ADA, "my-client", "mine")
    await add(numbers, ADA, None, "all")
    for agent_id in ("my-client", "other", None):
        found = await find(numbers, ADA, agent_id)
        assert found is not None
        assert (found.agent_id, found.reason) == (None, "all")


async def test_the_first_entry_stays(numbers: DoNotCallList, clock: WallClock) -> None:
    """Who asks twice has been on the list since the first time, for the first reason."""
    assert await add(numbers, ADA, None, "first")
    clock.turn(seconds=3600)
    assert not await add(numbers, ADA, None, "second")
    (entry,) = await numbers.list_all()
    assert (entry.reason, entry.added_at) == ("first", datetime(2026, 11, 22, 9, 0, tzinfo=UTC))


async def test_a_certain_opt_out_replaces_an_unverified_one(numbers: DoNotCallList) -> None:
    """What may have been forged is listed at once, told apart, and gives way to what is certain; not the other way."""
    wishes = ((UNVERIFIED_CALLER, True, False), ("caller", False, True), (UNVERIFIED_CALLER, False, True))
    for by, added, is_verified in wishes:
        assert await numbers.add(ADA, agent_id="my-client", reason=by, added_by=by) is added
        (entry,) = await numbers.list_all()
        assert entry.as_json()["verified"] is is_verified
    assert (entry.added_by, entry.reason) == ("caller", "caller")


async def test_an_entry_is_removed_where_it_is(numbers: DoNotCallList) -> None:
    """Lifting an agent's own entry leaves that for all, and the other way round."""
    await add(numbers, ADA, "my-client")
    await add(numbers, ADA, None)
    assert await numbers.remove(ADA, agent_id="my-client")
    assert [each.agent_id for each in await numbers.list_all()] == [None]
    assert not await numbers.remove(ADA, agent_id="my-client")
    assert await numbers.remove(ADA, agent_id=None)
    assert await numbers.list_all() == ()


async def test_the_list_is_newest_first(numbers: DoNotCallList, clock: WallClock) -> None:
    """An agent's list holds what holds for it: its own entries and those for all."""
    for number, agent_id in ((ADA, None), (ADA, "other"), (BOB, "my-client")):
        await add(numbers, number, agent_id)
        clock.turn(seconds=1)
    assert [(each.number, each.agent_id) for each in await numbers.list_all()] == [
        (BOB, "my-client"),
        (ADA, "other"),
        (ADA, None),
    ]
    assert [(each.number, each.agent_id) for each in await numbers.list_all("my-client")] == [
        (BOB, "my-client"),
        (ADA, None),
    ]


async def test_an_entry_outlives_its_agent(numbers: DoNotCallList, registry: AgentRegistry) -> None:
    """Removing an agent and adding it again is no way around the list."""
    await registry.add("my-client")
    await add(numbers, ADA, "my-client")
    await registry.remove("my-client")
    await registry.add("my-client")
    assert await find(numbers, ADA, "my-client") is not None


async def test_an_entry_is_reported(numbers: DoNotCallList) -> None:
    """An entry is printed with all that is known of it; no agent means all."""
    await add(numbers, ADA, None)
    (entry,) = await numbers.list_all()
    assert entry.as_json() == {
        "number": ADA,
        "agentId": None,
        "reason": "asked",
        "addedAt": "2026-11-22T09:00:00.000Z",
        "addedBy": "operator",
        "verified": True,
    }
