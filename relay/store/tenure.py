"""The lock that allows one daemon a database, so that a second one does not end the first one's calls.

A daemon that starts closes the calls that an earlier run left open, and turns held utterances into messages. That is
right only if the earlier run is over. For SQLite a lock file beside the database ensures it: the system releases the
lock when the process ends, in any way. A PostgreSQL server has locks of its own; and it may be served by several, which
are members of a cluster (`relay.store.members`). Commands take no lock; they work beside a running daemon.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, make_url, text

from relay.errors import DatabaseError
from relay.store.engine import SOLE_LOCK, file_of
from relay.store.runs import seen_members


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


def require_server(url: str) -> None:
    """Raise `DatabaseError` where `url` names a file, which one daemon alone can serve."""
    if file_of(url) is not None:
        raise DatabaseError(
            "RELAY_NODE_URL makes this daemon a node of a cluster, and the nodes need one PostgreSQL database; "
            "DATABASE_URL names a SQLite file, which serves one daemon. Set DATABASE_URL=postgresql://user:password@"
            "host/name for all nodes, or leave out RELAY_NODE_URL."
        )


def hold_server(writer: Connection) -> None:
    """Hold a PostgreSQL database against all other daemons, for as long as its connection that writes is open.

    So a daemon that has lost the lock cannot write either. Raises `DatabaseError` if another one has it, members of a
    cluster were seen, or a pooler shares the connection, with which the lock would be any daemon's.
    """
    if _is_shared(writer):
        raise DatabaseError(
            "DATABASE_URL leads through a pooler that gives each transaction another connection of the PostgreSQL "
            "server, such as PgBouncer with pool_mode = transaction: so no daemon can hold the database for itself. "
            "Name the server itself in DATABASE_URL, or a pool with pool_mode = session."
        )
    with writer.begin():
        mine = writer.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": SOLE_LOCK}).scalar_one()
        members = seen_members(writer)
    if not mine:
        raise DatabaseError(
            "Another relay serves this PostgreSQL database. Stop it first, or give this one a DATABASE_URL of its own; "
            "or set RELAY_NODE_URL for both, to have them be nodes of one cluster."
        )
    if members:
        raise DatabaseError(
            f"A cluster serves this PostgreSQL database (its nodes: {', '.join(members)}). To make this one a node of "
            "it, set RELAY_NODE_URL to the address at which the others reach it; or give it a DATABASE_URL of its own."
        )


def _is_shared(writer: Connection) -> bool:
    """Return whether a pooler lends the writer's connection to the server to others between two transactions.

    It lends the one that was used last, so another connection to it is given that one, if it is to be had. Where none
    is in between, the server itself has told the driver which of its processes it is.
    """
    with writer.begin():
        before = _backend_of(writer)
    driver = writer.connection.driver_connection
    if driver is None or driver.info.backend_pid == before:
        return False
    with writer.engine.connect() as other, other.begin():
        _backend_of(other)
        with writer.begin():
            return _backend_of(writer) != before


def _backend_of(connection: Connection) -> int:
    """Return the number of the server's process that a transaction has."""
    return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
