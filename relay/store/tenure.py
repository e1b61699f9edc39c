"""The lock that allows one daemon a database, so that a second one does not end the first one's calls.

A daemon that starts closes the calls that an earlier run left open, and turns held utterances into messages. That is
right only if the earlier run is over. For SQLite a lock file beside the database ensures it: the system releases the
lock when the process ends, in any way. Commands do not take it; they work beside a running daemon.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import make_url

from relay.errors import DatabaseError


@contextmanager
def hold_database_lock(url: str) -> Iterator[None]:
    """Hold the daemon's lock of a database for the block.

    Raises `DatabaseError` if another daemon holds it, or if the file cannot be made. No-op for other databases.
    """
    address = make_url(url)
    path = address.database
    if address.get_backend_name() != "sqlite" or not path or path == ":memory:":
        yield
        return
    lock = f"{path}.lock"
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise DatabaseError(f"The lock file {lock} cannot be created: {error.strerror}.") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DatabaseError(
                f"Another relay serves the database {path}. Stop it first, or give this one a DATABASE_URL of its own."
            ) from error
        yield
    finally:
        os.close(descriptor)
