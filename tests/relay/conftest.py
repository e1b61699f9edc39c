"""A real database for each test that asks for one, and a clock that the test turns.

In the rooms of `ON_BOTH` such a test runs on SQLite, in a file of its own, and again on PostgreSQL, in a database
without rows. What only one of them has is marked: `@pytest.mark.sqlite_only("why")`, or `postgresql_only`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from relay.store.database import Database, open_database
from tests.fakes_store import WallClock
from tests.postgresql_server import PostgresqlServer, run_postgresql

ON_BOTH = frozenset({"store", "dialling"})


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what asks for a database on each engine that it is meant for."""
    if "database_engine" in metafunc.fixturenames:
        on_both = metafunc.definition.path.parent.name in ON_BOTH
        other_than = {"sqlite": "postgresql_only", "postgresql": "sqlite_only"}
        engines = [
            engine for engine, mark in other_than.items() if metafunc.definition.get_closest_marker(mark) is None
        ]
        metafunc.parametrize("database_engine", engines if on_both else ["sqlite"], scope="session")


@pytest.fixture
def clock() -> WallClock:
    return WallClock()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """Run one server for all tests of this process, which leave nothing in it that counts."""
    with run_postgresql(durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def empty_database(
    database_engine: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Callable[[], str]:
    """Return a function that returns the URL of a database without rows; on PostgreSQL it is the same each time."""
    if database_engine == "sqlite":
        return lambda: f"sqlite:///{tmp_path_factory.mktemp('empty') / 'relay.db'}"
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    return server.empty_database


@pytest.fixture(scope="session")
def new_database(
    database_engine: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Callable[[], str]:
    """Return a function that returns the URL of another database each time, for those who do things to its tables."""
    if database_engine == "sqlite":
        return lambda: f"sqlite:///{tmp_path_factory.mktemp('new') / 'relay.db'}"
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    return server.new_database


@pytest.fixture
def database_url(database_engine: str, tmp_path: Path, empty_database: Callable[[], str]) -> str:
    return f"sqlite:///{tmp_path / 'relay.db'}" if database_engine == "sqlite" else empty_database()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with open_database(database_url) as database:
        yield database
