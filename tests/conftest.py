"""What holds for every test."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import settings
from sqlalchemy import Connection

from relay.store import engine

# The tests, and the processes that they start, trust no server outside: the one certificate here has a key that nobody
# has. And an HTTP client, of which there are thousands, reads it in a millisecond, where all authorities take thirty.
os.environ["SSL_CERT_FILE"] = str(Path(__file__).with_name("nobody.pem"))

E2E = Path(__file__).with_name("e2e")
WAITING = 0.75
"""Up to where in a worker's share there are tests that wait."""

_configure = structlog.configure


def _configure_for_now(**options: Any) -> None:
    """Configure no logger for good.

    Each keeps what it was first used with, and a command that a test runs configures them all: what a later test wants
    to capture would still go the way of that command.
    """
    _configure(**{**options, "cache_logger_on_first_use": False})


structlog.configure = _configure_for_now  # type: ignore[assignment]

_migrate = engine._migrate
_tables_and_rows: list[str] = []


def _migrate_as_before(connection: Connection) -> None:
    """Give a new SQLite file what all migrations gave the first one of this process, a tenth of the work.

    Two thousand tests have a file of their own. What is no new file is migrated, and so is what belongs to a server.
    """
    is_new = connection.dialect.name == "sqlite" and not connection.exec_driver_sql("SELECT 1 FROM sqlite_master").all()
    if not is_new or not _tables_and_rows:
        _migrate(connection)
    if not is_new:
        return
    if _tables_and_rows:
        for statement in _tables_and_rows:
            connection.exec_driver_sql(statement)
        return
    driver = connection.connection.driver_connection
    assert driver is not None
    _tables_and_rows[:] = [each for each in driver.iterdump() if each not in {"BEGIN TRANSACTION;", "COMMIT;"}]


engine._migrate = _migrate_as_before

# A property is tried with few examples each time, because all runs together try many; `scripts/test --thorough` tries
# it with many at once. No deadline: a busy machine's pause is no fault.
settings.register_profile("ordinary", parent=settings.default, max_examples=50, deadline=None)
settings.register_profile("thorough", parent=settings.default, max_examples=1000, deadline=None)
settings.load_profile("ordinary")

# Collecting imports all of the project and makes only what stays.
gc.disable()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what a run of whole daemons can be told."""
    parser.addoption(
        "--postgresql", action="store_true", help="run all daemons of tests/e2e on PostgreSQL, and not only some"
    )
    parser.addoption(
        "--cluster",
        action="store_true",
        help="run three nodes on PostgreSQL for each daemon of tests/e2e, and let nothing enter at the agent's home",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give each worker as many tests that start processes, and mostly wait, as any, spread among those that compute.

    Else they come one behind the other, and all workers wait. A worker begins at the front of its share, and takes from
    the end of another's when it is done: so nothing that waits for long is there. Tests of a file stay together.
    """
    if not hasattr(config, "workerinput"):
        return
    kinds: dict[bool, list[list[pytest.Item]]] = {True: [], False: []}
    for _path, each in groupby(items, key=lambda item: item.path):
        tests = [*each]
        kinds[_waiting(tests) > 0].append(tests)
    shares: list[list[tuple[float, list[pytest.Item]]]] = [[] for _ in range(config.workerinput["workercount"])]
    counts = [0] * len(shares)
    for waits, files in kinds.items():
        # The processor is what those that compute share: of them each worker gets what makes its share as long as any.
        loads = [0] * len(shares) if waits else counts
        weigh: Callable[[list[pytest.Item]], int] = _waiting if waits else len
        of_share: list[list[list[pytest.Item]]] = [[] for _ in shares]
        for tests in sorted(files, key=weigh, reverse=True):
            least = loads.index(min(loads))
            of_share[least].append(tests)
            loads[least] += weigh(tests)
            if waits:
                counts[least] += len(tests)
        for share, given in zip(shares, of_share, strict=True):
            whole, before = sum(map(len, given)), 0
            for tests in given:
                share.append((before / whole * (WAITING if waits else 1), tests))
                before += len(tests)
    items[:] = [item for share in shares for _place, tests in sorted(share, key=lambda each: each[0]) for item in tests]


def _waiting(tests: list[pytest.Item]) -> int:
    """Return how long these tests wait, in comparison with others that do; 0 if they do not."""
    slow = sum(each.get_closest_marker("slow") is not None for each in tests)
    started = sum(each.path.is_relative_to(E2E) or each.get_closest_marker("e2e") is not None for each in tests)
    return started + 4 * slow


def pytest_runtest_teardown() -> None:
    """Forget how a command that a test has run configured the loggers: the next one may want to see lower levels."""
    structlog.reset_defaults()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Keep the garbage collector from what collecting made: seven thousand tests, through which each pass would go."""
    del session
    gc.collect()
    gc.freeze()
    gc.enable()
