"""The runs of the daemon: one row each, from its start until some time after its end.

    begin ──▶ running ──end, or another has begun on a database that serves one daemon──▶ over ──a day──▶ gone

What a run has left is taken up when it has been over for a while (`relay.store.recovery`), counted from `over_at` and
not from the start of the one that takes it up: a daemon that is restarted again and again must get to it all the same.
"""

from __future__ import annotations

import socket
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, update

from relay import __version__
from relay.store.schema import runs

# For an operator who looks what has been running here.
_KEPT = timedelta(days=1)


def begin(connection: Connection, boot: str, now: datetime, *, url: str) -> None:
    """Enter a run. All earlier ones are over: the database serves one daemon, and its lock says so."""
    others = runs.c.boot != boot
    connection.execute(update(runs).where(others, runs.c.over_at.is_(None)).values(over_at=now))
    connection.execute(delete(runs).where(others, runs.c.over_at < now - _KEPT))
    connection.execute(
        insert(runs),
        {
            "boot": boot,
            "node": socket.gethostname(),
            "url": url,
            "version": __version__,
            "started_at": now,
            "seen_at": now,
        },
    )


def end(connection: Connection, boot: str, now: datetime) -> None:
    """Record that a run is over."""
    connection.execute(update(runs).where(runs.c.boot == boot).values(over_at=now))
