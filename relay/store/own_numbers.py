"""Which telephone numbers are this relay's own: a call to one of them would come back to where it is made.

These are parts of the gate's transaction, as those of `relay.store.dials` are.
"""

from __future__ import annotations

from sqlalchemy import Connection, exists, select

from actors.call_values import Direction
from relay.store.schema import agents, calls

# Which of an agent's last calls are looked at. A number that is answered here is among them long before.
_LAST_CALLS = 100


def number_of(connection: Connection, agent_id: str) -> str | None:
    """Return an agent's own number, None where it has none."""
    return connection.execute(select(agents.c.number).where(agents.c.agent_id == agent_id)).scalar_one_or_none()


def is_own(connection: Connection, number: str, agent_id: str | None) -> bool:
    """Return whether a number (E.164) is an agent's, or was called lately and answered by this agent.

    The latter because a number can be led to an agent at the carrier without being registered here.
    """
    registered = select(exists().where(agents.c.number == number))
    if connection.execute(registered).scalar_one():
        return True
    if agent_id is None:
        return False
    lately = (
        select(calls.c.called, calls.c.direction)
        .where(calls.c.agent_id == agent_id)
        .order_by(calls.c.opened_at.desc())
        .limit(_LAST_CALLS)
        .subquery()
    )
    called = select(exists().where(lately.c.called == number, lately.c.direction == Direction.INBOUND.value))
    return bool(connection.execute(called).scalar_one())
