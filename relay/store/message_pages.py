"""The waiting messages as an operator looks through them: filtered, newest first, a page at a time.

A page is asked for by the position that the one before ended at: messages that come meanwhile move nothing, and the
last page of many is found as fast as the first.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import attrs
from sqlalchemy import ColumnElement, Connection, not_, or_, select

from relay.store.database import Database
from relay.store.message_record import MessageStatus, WaitingMessage, hold_end, message_of
from relay.store.schema import messages, storable, utc_now

PAGE_ROWS = 25


@attrs.frozen(kw_only=True)
class MessageFilter:
    """Which messages: of one agent, of one status, with a text in a number or in what they say. Empty: of all.

    `is_open` asks for those that no client has confirmed, held or not; it is for filters without a `status`.
    """

    agent_id: str = ""
    status: MessageStatus | None = None
    is_open: bool = False
    text: str = ""


@attrs.frozen
class MessagePage:
    """Some messages, newest first; `next_before` is where the next page begins, None where there is none."""

    messages: tuple[WaitingMessage, ...]
    next_before: int | None


@attrs.frozen(eq=False)
class MessagePages:
    """The messages of all agents. `now` is the wall clock, with a zone."""

    database: Database
    now: Callable[[], datetime] = utc_now

    async def page(self, wanted: MessageFilter, *, before: int | None = None, rows: int = PAGE_ROWS) -> MessagePage:
        """Return a page, of what is older than the position `before`. Raises `DatabaseError`."""
        now = self.now()
        query = select(messages).where(*_conditions(wanted, now)).order_by(messages.c.position.desc()).limit(rows + 1)
        if before is not None:
            query = query.where(messages.c.position < before)

        def work(connection: Connection) -> MessagePage:
            found = connection.execute(query).mappings().all()
            shown = found[:rows]
            return MessagePage(
                tuple(message_of(row, now) for row in shown), shown[-1]["position"] if len(found) > rows else None
            )

        return await self.database.read_many(work)


def _conditions(wanted: MessageFilter, now: datetime) -> list[ColumnElement[bool]]:
    is_confirmed = messages.c.acknowledged_at.is_not(None)
    is_in_hand = (
        messages.c.held_until.is_not(None) & (messages.c.held_until > now) & (messages.c.held_until <= hold_end(now))
    )
    conditions: list[ColumnElement[bool]] = []
    if wanted.agent_id:
        conditions.append(messages.c.agent_id == wanted.agent_id)
    if wanted.text:
        text = storable(wanted.text)
        places = (messages.c.caller, messages.c.called, messages.c.body, messages.c.preferences)
        conditions.append(or_(*(each.icontains(text, autoescape=True) for each in places)))
    match wanted.status:
        case MessageStatus.ACKNOWLEDGED:
            conditions.append(is_confirmed)
        case MessageStatus.HELD:
            conditions += [not_(is_confirmed), is_in_hand]
        case MessageStatus.WAITING:
            conditions += [not_(is_confirmed), or_(messages.c.held_until.is_(None), not_(is_in_hand))]
        case None if wanted.is_open:
            conditions.append(not_(is_confirmed))
        case None:
            pass
    return conditions
