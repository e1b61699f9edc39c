"""What clients said of themselves, remembered within bounds."""

from __future__ import annotations

import pytest
import structlog
from sqlalchemy import text

from actors.errors import StoreFailed
from relay.store.agent_registry import AgentRegistry
from relay.store.client_hellos import KEPT_DAYS, KEPT_PER_AGENT, MAX_CHARACTERS, ClientHellos
from tests.fakes_store import WallClock

WEEK = KEPT_DAYS * 86400


@pytest.fixture
async def hellos(registry: AgentRegistry, clock: WallClock) -> ClientHellos:
    for name in ("my-client", "other"):
        await registry.add(name)
    return ClientHellos(registry.database, clock)


async def test_the_newest_hello_is_recalled(hellos: ClientHellos) -> None:
    """A client that says something else under the same key is remembered by that."""
    await hellos.remember("key", "my-client", '{"a": 1}')
    await hellos.remember("key", "my-client", '{"a": 2}')
    assert await hellos.recall("key", "my-client") == '{"a": 2}'
    assert await hellos.recall("another", "my-client") is None


async def test_a_key_belongs_to_its_agent(hellos: ClientHellos) -> None:
    """Another agent that learns of a key gets nothing with it, and cannot replace what is there."""
    await hellos.remember("key", "my-client", "mine")
    assert await hellos.recall("key", "other") is None
    await hellos.remember("key", "other", "theirs")
    assert await hellos.recall("key", "my-client") == "mine"


async def test_the_newest_of_each_agent_are_kept(hellos: ClientHellos, clock: WallClock) -> None:
    """An agent's oldest hellos make room for its newest, and never for those of another agent."""
    await hellos.remember("key", "other", "theirs")
    for index in range(KEPT_PER_AGENT + 2):
        clock.turn(seconds=1)
        await hellos.remember(f"key {index}", "my-client", str(index))
    kept = [await hellos.recall(f"key {index}", "my-client") for index in range(KEPT_PER_AGENT + 2)]
    assert kept == [None, None, *(str(index) for index in range(2, KEPT_PER_AGENT + 2))]
    assert await hellos.recall("key", "other") == "theirs"


async def test_a_hello_grows_old(hellos: ClientHellos, clock: WallClock) -> None:
    """After a week a client has to say again who it is, and the row is gone with the next hello of anybody."""
    await hellos.remember("key", "my-client", "mine")
    clock.turn(seconds=WEEK)
    assert await hellos.recall("key", "my-client") == "mine"
    clock.turn(seconds=1)
    assert await hellos.recall("key", "my-client") is None
    await hellos.remember("key", "other", "theirs")
    rows = await hellos.database.read(lambda connection: connection.execute(text("SELECT * FROM client_hellos")).all())
    assert len(rows) == 1


async def test_a_key_is_not_kept(hellos: ClientHellos) -> None:
    """The database knows only the hash of a key: it is as good as a session id."""
    await hellos.remember("the key", "my-client", "{}")
    rows = await hellos.database.read(lambda connection: connection.execute(text("SELECT * FROM client_hellos")).all())
    assert "the key" not in str(rows)


async def test_a_huge_hello_is_not_kept(hellos: ClientHellos) -> None:
    """A client cannot fill the disk with what it says of itself; the log tells."""
    with structlog.testing.capture_logs() as logs:
        await hellos.remember("key", "my-client", "x" * (MAX_CHARACTERS + 1))
    assert await hellos.recall("key", "my-client") is None
    assert [each["event"] for each in logs] == ["client_hello_too_large"]


async def test_a_hello_of_no_agent_is_refused(hellos: ClientHellos) -> None:
    """An agent that was removed leaves nothing behind."""
    with pytest.raises(StoreFailed):
        await hellos.remember("key", "nobody", "{}")
