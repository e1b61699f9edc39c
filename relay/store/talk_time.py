"""How long the calls lasted that an agent made: what its daily limit of minutes is counted from.

    outbound call      from its connection to its end, by the carrier's own count where it has told one
    transferred call   from the end of the agent's part to the end of the call: that leg is an outbound one, too

A part of the gate's transaction, as those of `relay.store.dials` are.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, RowMapping, or_, select

from actors.call_values import Direction
from actors.transfer import TransferOutcome
from relay.store.schema import calls

# Of other outcomes nobody was connected.
_CONNECTED = (TransferOutcome.DIALLING.value, TransferOutcome.ANSWERED.value)


def of_agent(
    connection: Connection, agent_id: str, *, since: datetime, now: datetime
) -> Sequence[tuple[datetime, float]]:
    """Return when each call began that the agent made since an instant, and its seconds so far, newest first."""
    wanted = (
        select(
            calls.c.direction,
            calls.c.opened_at,
            calls.c.connected_at,
            calls.c.line_ended_at,
            calls.c.ended_at,
            calls.c.duration_seconds,
            calls.c.carrier_seconds,
            calls.c.transfer_outcome,
        )
        .where(
            calls.c.agent_id == agent_id,
            calls.c.opened_at >= since,
            or_(calls.c.direction == Direction.OUTBOUND.value, calls.c.transfer_outcome.in_(_CONNECTED)),
        )
        .order_by(calls.c.opened_at.desc())
    )
    return [(row["opened_at"], _seconds(row, now)) for row in connection.execute(wanted).mappings()]


def _seconds(row: RowMapping, now: datetime) -> float:
    if row["direction"] != Direction.OUTBOUND.value:
        return _between(row["line_ended_at"], row["ended_at"], now)
    if row["ended_at"] is not None:
        counted = row["carrier_seconds"]
        return float(counted if counted is not None else row["duration_seconds"] or 0.0)
    return _between(row["connected_at"], None, now)


def _between(begin: datetime | None, end: datetime | None, now: datetime) -> float:
    return 0.0 if begin is None else max(0.0, ((end or now) - begin).total_seconds())
