"""A database has one daemon at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from relay.errors import DatabaseError
from relay.store.tenure import hold_database_lock


def test_a_second_daemon_is_notified_of_the_first(tmp_path: Path) -> None:
    """While one holds the database another is refused, with a word on what to do; afterwards it may."""
    url = f"sqlite:///{tmp_path / 'relay.db'}"
    with (
        hold_database_lock(url),
        pytest.raises(DatabaseError, match="Another relay serves the database"),
        hold_database_lock(url),
    ):
        pass
    with hold_database_lock(url):
        pass


def test_a_killed_daemon_holds_nothing(tmp_path: Path) -> None:
    """The system lets go of the lock with the process, so that a restart after a crash needs no hand."""
    url = f"sqlite:///{tmp_path / 'relay.db'}"
    holder = (
        "import os, signal\n"
        "from relay.store.tenure import hold_database_lock\n"
        f"with hold_database_lock({url!r}):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", holder], check=False).returncode == -9
    with hold_database_lock(url):
        pass


def test_databases_without_a_file_are_not_guarded() -> None:
    """A database in memory is its process's own, and a server's is for the operator to share or not."""
    for url in ("sqlite://", "postgresql+psycopg://host/relay"):
        with hold_database_lock(url), hold_database_lock(url):
            pass
