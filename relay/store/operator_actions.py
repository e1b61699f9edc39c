"""What operators did: a line for each action, written before it is done, and its outcome when that is known.

    begin ──▶ "begun" ──▶ the action ──▶ finish: "done", "refused", …

An action that cannot be recorded is not done. One whose outcome could not be written any more stays "begun", which is
all that is known of it then.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import attrs
import trio
from sqlalchemy import Connection, RowMapping, insert, select, update

from actors.errors import StoreFailed
from relay.store.database import Database
from relay.store.schema import operator_actions, utc_now

BEGUN = "begun"


@attrs.frozen(kw_only=True)
class Action:
    """What an operator does: `name` is a snake_case word. `detail` may hold a telephone number, never what was said."""

    operator: str
    name: str
    agent_id: str | None = None
    call_sid: str | None = None
    detail: str = ""


@attrs.frozen(kw_only=True)
class RecordedAction:
    """An action as it is on record; `outcome` is `begun` for one that is under way, or that a crash has cut off."""

    position: int
    at: datetime
    action: Action
    outcome: str


@attrs.frozen(eq=False)
class OperatorActions:
    """The record of actions. `now` is the wall clock, with a zone."""

    database: Database
    now: Callable[[], datetime] = utc_now

    async def begin(self, action: Action) -> int:
        """Record an action that is about to be done, and return its number. Raises `StoreFailed`: then it must not be.

        Where a file is known to be in trouble it is refused at once: who waits for it at a page would only be told the
        same after the seconds that a lock is given. A server that is away may be back within them. Cancelled late it
        may be on record all the same, as begun.
        """
        trouble = None if self.database.is_server else self.database.trouble
        if trouble is not None:
            await trio.lowlevel.checkpoint()
            raise StoreFailed(f"the database is in trouble: {trouble}; nothing was written")
        now = self.now()
        return await self.database.write(lambda connection: insert_action(connection, now, action, BEGUN))

    async def finish(self, number: int, outcome: str, detail: str | None = None) -> None:
        """Record how an action went, and what else is known of it now.

        Kept while the database is in trouble. Raises `StoreFailed`.
        """
        values = {"outcome": outcome} | ({} if detail is None else {"detail": detail})
        changed = update(operator_actions).where(operator_actions.c.position == number).values(values)
        await self.database.keep(lambda connection: connection.execute(changed).rowcount)

    async def list(
        self,
        *,
        operator: str | None = None,
        call_sid: str | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> tuple[RecordedAction, ...]:
        """List actions, newest first: of one operator, on one call, those before a number. Raises `DatabaseError`."""
        wanted = select(operator_actions).order_by(operator_actions.c.position.desc()).limit(limit)
        if operator is not None:
            wanted = wanted.where(operator_actions.c.operator == operator)
        if call_sid is not None:
            wanted = wanted.where(operator_actions.c.call_sid == call_sid)
        if before is not None:
            wanted = wanted.where(operator_actions.c.position < before)

        def work(connection: Connection) -> tuple[RecordedAction, ...]:
            return tuple(_recorded(row) for row in connection.execute(wanted).mappings())

        return await self.database.read_many(work)


def insert_action(connection: Connection, now: datetime, action: Action, outcome: str) -> int:
    """Record an action with its outcome, in the transaction of what it does; return its number."""
    row = {
        "at": now,
        "operator": action.operator,
        "action": action.name,
        "agent_id": action.agent_id,
        "call_sid": action.call_sid,
        "outcome": outcome,
        "detail": action.detail,
    }
    number: int = connection.execute(insert(operator_actions).returning(operator_actions.c.position), row).scalar_one()
    return number


def _recorded(row: RowMapping) -> RecordedAction:
    action = Action(
        operator=row["operator"],
        name=row["action"],
        agent_id=row["agent_id"],
        call_sid=row["call_sid"],
        detail=row["detail"],
    )
    return RecordedAction(position=row["position"], at=row["at"], action=action, outcome=row["outcome"])
