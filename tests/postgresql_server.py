"""The PostgreSQL server of the tests: that of `scripts.local_postgresql`, without which they are skipped."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scripts import local_postgresql
from scripts.local_postgresql import NotInstalled, PostgresqlServer, connected

__all__ = ["PostgresqlServer", "connected", "programs", "run_postgresql"]


def programs() -> Path:
    """Return the directory of initdb and postgres. Skips the test without them, except in CI, which installs them."""
    try:
        return local_postgresql.programs()
    except NotInstalled as missing:
        if os.environ.get("CI"):
            pytest.fail(str(missing))
        pytest.skip(str(missing))


@contextmanager
def run_postgresql(*, durable: bool = True) -> Iterator[PostgresqlServer]:
    """Run a server for the length of the block."""
    programs()
    with local_postgresql.run_postgresql(durable=durable) as server:
        yield server
