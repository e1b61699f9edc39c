"""A real database in a file of its own for each test, and the stores on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay.store import database as database_module
from relay.store.agent_registry import AgentRegistry
from relay.store.call_journal import CallJournal
from relay.store.client_hellos import ClientHellos
from relay.store.database import Database, open_database
from relay.store.waiting_messages import WaitingMessages
from tests.fakes_store import WallClock


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no busy machine pass for a database in trouble."""
    monkeypatch.setattr(database_module, "STALL_SECONDS", 30.0)


@pytest.fixture
def clock() -> WallClock:
    return WallClock()


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'relay.db'}"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with open_database(database_url) as database:
        yield database


@pytest.fixture
def waiting(database: Database, clock: WallClock) -> WaitingMessages:
    return WaitingMessages(database, clock)


@pytest.fixture
def journal(database: Database, clock: WallClock) -> CallJournal:
    return CallJournal(database, clock)


@pytest.fixture
def registry(database: Database, clock: WallClock) -> AgentRegistry:
    return AgentRegistry(database, clock)


@pytest.fixture
def hellos(database: Database, clock: WallClock) -> ClientHellos:
    return ClientHellos(database, clock)
