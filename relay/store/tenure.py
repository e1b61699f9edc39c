"""One daemon a database: what keeps a second one, started by mistake, from ending the first one's calls.

A daemon that starts takes calls which an earlier run left open for lost, and turns the words that clients had in hand
into messages. That is right only when the earlier run is over. For SQLite a lock beside the file says so: the system
lets go of it when its holder ends, however it ends. Commands do not take it; they work beside a running daemon.
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
    """Hold the lock of this database's one daemon for as long as the block lasts.

    Raises `DatabaseError` when another one is, or the lock cannot be made. Databases that are no file are not guarded.
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
