"""Another program that uses the same database: what it locks, and how its lock is named in errors."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

from tests.postgresql_server import connected

LOCKED = "locked|LockNotAvailable"
"""The reason, as a pattern, with which a write is refused that waited too long for a lock."""


@contextmanager
def writing_elsewhere(url: str) -> Iterator[None]:
    """Lock out every other write to agents and messages for the length of the block; reads go on."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
            other.execute("ROLLBACK")
    else:
        with connected(url) as connection, connection.transaction():
            connection.execute("LOCK TABLE agents, messages IN EXCLUSIVE MODE")
            yield
