"""What remains of a removed agent, and when its id may be used again: parts of the registry's work.

    remove ──▶ messages, calls that are over: gone        what a call that goes on still leaves: kept, for the operator
    add ─────▶ refused while any of that is here

Messages and calls say whose they are by the agent's id alone. A number of the registration beside it lost: every write
of a live call and every read would have to know it, and one that forgot would show an utterance to another agent.
"""

from __future__ import annotations

from sqlalchemy import Connection, and_, delete, func, not_, select

from relay.errors import AgentError
from relay.store.schema import LINE_IS_OPEN, calls, held_words, messages

# For the carrier a call may be over while its line is still up here, and still holds words.
_IS_OVER = and_(calls.c.ended_at.is_not(None), not_(LINE_IS_OPEN))


def require_nothing_left(connection: Connection, agent_id: str) -> None:
    """Raise `AgentError` where a new agent of this id would see what callers told an earlier one; tidy up the rest.

    So no record needs to say which of several agents of one id it belongs to: there is never more than one.
    """
    live = select(func.count()).where(calls.c.agent_id == agent_id, not_(_IS_OVER))
    if going_on := connection.execute(live).scalar_one():
        raise AgentError(
            f"Agent {agent_id} was removed while calls of it were going on; {going_on} of them are not over yet, as "
            "far as is known here. Choose another id, or try again later: what a daemon that was killed left open is "
            "closed when one starts."
        )
    lock_what_is_over(connection, agent_id)
    if waiting := count_waiting(connection, agent_id):
        raise AgentError(
            f"{waiting} message(s) wait here for an agent {agent_id} that was removed, and are not for a new one. "
            f"Choose another id; or print them with: relay messages export --agent {agent_id}; "
            f"and then throw them away with: relay agents remove {agent_id} --discard-messages"
        )
    forget_what_is_over(connection, agent_id)


def has_left(connection: Connection, agent_id: str) -> bool:
    """Whether the store still has anything of an agent that was removed."""
    of_agent = (select(table.c.agent_id).where(table.c.agent_id == agent_id).limit(1) for table in (messages, calls))
    return any(connection.execute(each).first() is not None for each in of_agent)


def lock_what_is_over(connection: Connection, agent_id: str) -> None:
    """Lock an agent's calls that are over: no utterance is held, and none is opened again, until the transaction ends.

    An utterance would go with its call although it was not counted.
    """
    over = select(calls.c.call_sid).where(calls.c.agent_id == agent_id, _IS_OVER).order_by(calls.c.call_sid)
    connection.execute(over.with_for_update())


def forget_what_is_over(connection: Connection, agent_id: str, *, with_messages: bool = False) -> None:
    """Delete an agent's calls that are over with their transcripts, and its messages.

    Those are the confirmed ones, unless all are asked for: there were no others when they were counted, and one that
    was left since then waits for the operator.
    """
    gone = delete(messages).where(messages.c.agent_id == agent_id)
    connection.execute(gone if with_messages else gone.where(messages.c.acknowledged_at.is_not(None)))
    connection.execute(delete(calls).where(calls.c.agent_id == agent_id, _IS_OVER))


def count_waiting(connection: Connection, agent_id: str) -> int:
    """Count what would be lost: messages that wait, and words of ended calls that the next start makes a message of."""
    waiting = select(func.count()).where(messages.c.agent_id == agent_id, messages.c.acknowledged_at.is_(None))
    held = (
        select(func.count(held_words.c.call_sid.distinct()))
        .join_from(held_words, calls)
        .where(calls.c.agent_id == agent_id, calls.c.ended_at.is_not(None))
    )
    return connection.execute(waiting).scalar_one() + connection.execute(held).scalar_one()
