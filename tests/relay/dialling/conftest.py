"""A real database in a file of its own for each test, with two agents, and a clock that the test turns."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import actors.transfer
from relay.agent import Agent
from relay.store.agent_registry import AgentRegistry
from relay.store.database import Database, open_database
from tests.fakes_store import WallClock


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
async def agent(database: Database, clock: WallClock) -> Agent:
    agent, _token = await AgentRegistry(database, clock).add("my-client")
    return agent


@pytest.fixture
async def other_agent(database: Database, clock: WallClock) -> Agent:
    agent, _token = await AgentRegistry(database, clock).add("other")
    return agent


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for nothing that is only waited for."""
    for name in ("HAND_OVER_SECONDS", "LOST_SECONDS", "OUTCOME_SECONDS"):
        monkeypatch.setattr(actors.transfer, name, 0.05)
