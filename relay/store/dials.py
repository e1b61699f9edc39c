"""Recent dials, from which the limits by number and by agent are counted.

These are parts of a transaction, not a store of their own: a dial is counted in the same one in which it is allowed.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import TypeAlias

from sqlalchemy import Connection, Select, delete, insert, select

from relay.store.schema import dials

Times: TypeAlias = tuple[datetime, ...]
# From when until when, both included. It ends in the future, because the clock may have been set back since.
Span: TypeAlias = tuple[datetime, datetime]


def lock(connection: Connection) -> None:
    """Lock counting for all other processes until this transaction ends.

    SQLite does so by itself when a transaction that writes begins (see `relay.store.engine`). On PostgreSQL two
    transactions would each see a last free place: this mode bars writers and itself, and lets readers be
    (https://www.postgresql.org/docs/current/explicit-locking.html, table-level locks).
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("LOCK TABLE dials IN SHARE ROW EXCLUSIVE MODE")


def count(connection: Connection, *, agent_id: str, number: str, kind: str, at: datetime) -> int:
    """Record that an agent dials a number, and return the dial's own number."""
    values = {"agent_id": agent_id, "number": number, "kind": kind, "at": at}
    position: int = connection.execute(insert(dials).values(values).returning(dials.c.position)).scalar_one()
    return position


def uncount(connection: Connection, position: int) -> None:
    """Remove a dial that was not placed. No-op if it is forgotten already."""
    connection.execute(delete(dials).where(dials.c.position == position))


def to_number(connection: Connection, number: str, kinds: Collection[str], limit: int, span: Span) -> Times:
    """Find the times of the newest `limit` dials to a number, by whatever agent, newest first."""
    return _times(connection, select(dials.c.at).where(dials.c.number == number, dials.c.kind.in_(kinds)), limit, span)


def of_agent(connection: Connection, agent_id: str, limit: int, span: Span) -> Times:
    """Find the times of the newest `limit` dials of an agent, newest first."""
    return _times(connection, select(dials.c.at).where(dials.c.agent_id == agent_id), limit, span)


def forget_outside(connection: Connection, span: Span) -> None:
    """Delete the dials that no limit needs any more, because they are personal data."""
    connection.execute(delete(dials).where(~dials.c.at.between(*span)))


def _times(connection: Connection, wanted: Select[datetime], limit: int, span: Span) -> Times:
    newest = wanted.where(dials.c.at.between(*span)).order_by(dials.c.at.desc()).limit(limit)
    return tuple(connection.execute(newest).scalars())
