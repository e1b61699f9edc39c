"""The stores on the database of each test."""

from __future__ import annotations

import pytest

from relay.store import database as database_module
from relay.store.agent_registry import AgentRegistry
from relay.store.call_journal import CallJournal
from relay.store.client_hellos import ClientHellos
from relay.store.database import Database
from relay.store.waiting_messages import WaitingMessages
from tests.fakes_store import WallClock


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no busy machine pass for a database in trouble."""
    monkeypatch.setattr(database_module, "STALL_SECONDS", 30.0)


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
