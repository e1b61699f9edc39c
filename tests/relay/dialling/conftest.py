"""Two agents in the database of each test, and a transfer that waits for nothing."""

from __future__ import annotations

import pytest

import actors.transfer
from relay.agent import Agent
from relay.store.agent_registry import AgentRegistry
from relay.store.database import Database
from tests.fakes_store import WallClock


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
