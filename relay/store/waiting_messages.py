"""The waiting messages: what callers left, kept until the agent's client has confirmed each by its id.

    leave ──▶ waiting ──fetch──▶ held for 60 s ──acknowledge──▶ acknowledged
                 ▲                    │
                 └────60 s are over───┘

At least once, with stable ids: a client that crashes with messages in hand is offered them again, and one that asks
twice is told the same. A message that a client was shown is never changed afterwards, because the client may have acted
on it; what the same call adds later is a new message.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import attrs
from sqlalchemy import Connection, Select, bindparam, delete, func, insert, or_, select, update

from actors.call_values import MessageDraft
from actors.errors import CallTaken
from relay.store.call_lines import change_row
from relay.store.database import Database
from relay.store.message_record import MessageStatus, WaitingMessage, hold_end, message_of
from relay.store.rows import execute_all
from relay.store.schema import calls, held_words, messages, utc_now
from relay.store.transcripts import lines_as_json

# Telephone calls are the only way in; the contract names the channel so that others can come.
CHANNEL = "voice"
# Below SQLite's limit of parameters in one statement, and few enough to be compiled once.
_IDS_AT_ONCE = 500

# Made once: to make a statement, and to find what it was compiled to, costs more than to execute it.
# The call first: of two processes that leave its message at once, one finds that of the other.
_LOCK_CALL = select(calls.c.boot).where(calls.c.call_sid == bindparam("of_call")).with_for_update(key_share=True)
_SAME = (
    select(messages.c.position, messages.c.id)
    .where(
        messages.c.call_sid == bindparam("of_call"),
        messages.c.part == bindparam("of_part"),
        messages.c.agent_id == bindparam("of_agent"),
        messages.c.sealed.is_(False),
    )
    .with_for_update()
)


@attrs.frozen
class Batch:
    """What one fetch returns, and how many more wait for the agent, those in another fetch's hold included."""

    messages: tuple[WaitingMessage, ...]
    remaining: int


@attrs.frozen
class Acknowledgement:
    """Which ids are confirmed now or were before, and which are none of the agent's; each in the order of asking."""

    acknowledged: tuple[str, ...]
    unknown: tuple[str, ...]


def new_message_id() -> str:
    """Return a new id: 64 random bits, short enough for a language model to repeat without a slip."""
    return f"msg_{secrets.token_hex(8)}"


def insert_message(
    connection: Connection, draft: MessageDraft, *, part: int, now: datetime, message_id: str | None = None
) -> str:
    """Store a draft as a new message of the call's `part` and return its id."""
    message_id = message_id or new_message_id()
    row = {
        "id": message_id,
        "agent_id": draft.agent_id,
        "call_sid": draft.call_sid,
        "part": part,
        "channel": CHANNEL,
        "created_at": now,
        "deliveries": 0,
        "sealed": False,
    }
    connection.execute(insert(messages), row | _contents(draft))
    return message_id


@attrs.frozen(eq=False)
class WaitingMessages:
    """The messages of all agents; implements `actors.ports.MessageStore`. `now` is the wall clock, with a zone.

    `boot` is the run whose calls leave messages; None where none does, as in a command.

    Each method is one transaction. Those that change something raise `StoreFailed`, those that only read
    `DatabaseError`; cancelling either never leaves anything half done.
    """

    database: Database
    now: Callable[[], datetime] = utc_now
    boot: str | None = None

    async def leave(self, draft: MessageDraft, on_stored: Callable[[str], None] | None = None) -> str:
        """Store a message and release the call's utterances up to its turn, as `MessageStore.leave` says."""
        # The id is made here and not in the transaction, which may run again.
        now, new_id = self.now(), new_message_id()

        def work(connection: Connection) -> str:
            owner = self._require_call(connection, draft.call_sid)
            key = {"of_call": draft.call_sid, "of_part": draft.part, "of_agent": draft.agent_id}
            row = connection.execute(_SAME, key).one_or_none()
            if row is None:
                message_id = insert_message(connection, draft, part=draft.part, now=now, message_id=new_id)
            else:
                message_id = row.id
                connection.execute(update(messages).where(messages.c.position == row.position).values(_contents(draft)))
            connection.execute(
                delete(held_words).where(
                    held_words.c.call_sid == draft.call_sid, held_words.c.turn <= draft.through_turn
                )
            )
            if draft.said is not None and self.boot is not None and owner == self.boot:
                execute_all(connection, [change_row(draft.call_sid, self.boot, draft.said)])
            return message_id

        return await self.database.keep(work, on_written=on_stored) or ""

    def _require_call(self, connection: Connection, call_sid: str) -> str | None:
        """Lock a call, and return whose it is: one without a record, or left by all, is nobody's.

        Raises `CallTaken` if another run has it.
        """
        owner: str | None = connection.execute(_LOCK_CALL, {"of_call": call_sid}).scalar_one_or_none()
        if self.boot is not None and owner not in {None, "", self.boot}:
            raise CallTaken("another run of the relay has this call, and asks its caller's utterances again")
        return owner

    async def fetch(
        self, agent_id: str, limit: int = 50, acknowledge: Sequence[str] = (), *, by: str | None = None
    ) -> Batch:
        """Confirm the ids in `acknowledge`, then hand out up to `limit` messages, oldest first.

        What is returned is held for `HOLD_SECONDS` and then offered again, until its id is acknowledged. `by` is what
        the client calls itself; it is kept for the operator, and None where it is not known.
        """
        now = self.now()
        return await self.database.write(
            lambda connection: _fetch(connection, agent_id, limit, acknowledge, now=now, by=by)
        )

    async def acknowledge(self, agent_id: str, ids: Sequence[str], *, by: str | None = None) -> Acknowledgement:
        """Confirm messages by id. Idempotent; another agent's id counts as unknown. `by` is kept with the first."""
        now = self.now()
        return await self.database.write(lambda connection: _acknowledge(connection, agent_id, ids, now, by))

    async def peek(self, agent_id: str, limit: int = 50) -> tuple[WaitingMessage, ...]:
        """Return up to `limit` waiting messages, oldest first, without handing them out.

        Held ones are shown too: a client that reconnects is told at once of what it had in hand. They count as shown,
        so they are not changed any more, but neither as delivered nor as held.
        """
        now = self.now()

        def work(connection: Connection) -> tuple[WaitingMessage, ...]:
            shown = _waiting(agent_id).limit(_bounded(limit)).with_for_update()
            rows = connection.execute(shown).mappings().all()
            _change(connection, [row["position"] for row in rows if not row["sealed"]], {"sealed": True})
            return tuple(message_of(row, now) for row in rows)

        return await self.database.write(work)

    async def count(self, agent_id: str) -> int:
        """Count the agent's messages that are not acknowledged, held ones included."""
        return await self.database.read(lambda connection: _count(connection, agent_id))

    async def count_all(self) -> int:
        """Count the messages of all agents that are not acknowledged, held ones included."""
        waiting = select(func.count()).where(messages.c.acknowledged_at.is_(None))
        return await self.database.read_many(lambda connection: connection.execute(waiting).scalar_one())

    async def list_all(
        self, agent_id: str | None = None, status: MessageStatus | None = None
    ) -> tuple[WaitingMessage, ...]:
        """List messages for the operator, oldest first, of every agent and status unless one is named."""
        now = self.now()

        def work(connection: Connection) -> tuple[WaitingMessage, ...]:
            wanted = select(messages).order_by(messages.c.position)
            if agent_id is not None:
                wanted = wanted.where(messages.c.agent_id == agent_id)
            if status is not None:
                done = messages.c.acknowledged_at.is_not(None)
                wanted = wanted.where(done if status is MessageStatus.ACKNOWLEDGED else ~done)
            # Whether one is held is a matter of the clock, and told by the record itself.
            found = (message_of(row, now) for row in connection.execute(wanted).mappings())
            return tuple(each for each in found if status in {None, each.status})

        return await self.database.read_many(work)

    async def get(self, message_id: str) -> WaitingMessage | None:
        """Find one message for the operator, whatever its status."""
        now = self.now()

        def work(connection: Connection) -> WaitingMessage | None:
            row = connection.execute(select(messages).where(messages.c.id == message_id)).mappings().one_or_none()
            return None if row is None else message_of(row, now)

        return await self.database.read(work)


def _contents(draft: MessageDraft) -> dict[str, Any]:
    """Return the columns that a repeat with the same key replaces."""
    return {
        "direction": draft.direction.value,
        "reason": draft.reason.value,
        "caller": draft.caller,
        "called": draft.called,
        "body": draft.body,
        "preferences": draft.preferences,
        "transcript": lines_as_json(draft.transcript),
    }


def _fetch(
    connection: Connection, agent_id: str, limit: int, acknowledge: Sequence[str], *, now: datetime, by: str | None
) -> Batch:
    _acknowledge(connection, agent_id, acknowledge, now, by)
    # A hold that ends later than any hold given now can end was given before the clock was set back: it counts no more.
    held = messages.c.held_until
    offered = or_(held.is_(None), held <= now, held > hold_end(now))
    # What another fetch is handing out is skipped, not waited for: it would not be offered after that.
    free = _waiting(agent_id).where(offered).limit(_bounded(limit)).with_for_update(skip_locked=True)
    rows = connection.execute(free).mappings().all()
    _change(
        connection,
        [row["position"] for row in rows],
        {"deliveries": messages.c.deliveries + 1, "held_until": hold_end(now), "held_by": by, "sealed": True},
    )
    taken = tuple(
        attrs.evolve(
            message_of(row, now),
            deliveries=row["deliveries"] + 1,
            status=MessageStatus.HELD,
            held_until=hold_end(now),
            held_by=by,
        )
        for row in rows
    )
    return Batch(taken, _count(connection, agent_id) - len(taken))


def _acknowledge(
    connection: Connection, agent_id: str, ids: Sequence[str], now: datetime, by: str | None
) -> Acknowledgement:
    asked = list(dict.fromkeys(ids))
    known: set[str] = set()
    for start in range(0, len(asked), _IDS_AT_ONCE):
        some = asked[start : start + _IDS_AT_ONCE]
        own = (
            select(messages.c.position, messages.c.id, messages.c.acknowledged_at)
            .where(messages.c.agent_id == agent_id, messages.c.id.in_(some))
            .order_by(messages.c.position)
            .with_for_update()
        )
        rows = connection.execute(own).all()
        known.update(row.id for row in rows)
        fresh = [row.position for row in rows if row.acknowledged_at is None]
        _change(connection, fresh, {"acknowledged_at": now, "acknowledged_by": by, "sealed": True})
    return Acknowledgement(
        tuple(each for each in asked if each in known), tuple(each for each in asked if each not in known)
    )


def _waiting(agent_id: str) -> Select[Any]:
    return (
        select(messages)
        .where(messages.c.agent_id == agent_id, messages.c.acknowledged_at.is_(None))
        .order_by(messages.c.position)
    )


def _change(connection: Connection, positions: Sequence[int], values: dict[str, Any]) -> None:
    if not positions:
        return
    changed = update(messages).where(messages.c.position == bindparam("at")).values(values)
    connection.execute(changed, [{"at": position} for position in positions])


def _count(connection: Connection, agent_id: str) -> int:
    counted = select(func.count()).where(messages.c.agent_id == agent_id, messages.c.acknowledged_at.is_(None))
    return connection.execute(counted).scalar_one()


def _bounded(limit: int) -> int:
    # SQLite reads a negative limit as none at all.
    if limit < 0:
        raise ValueError("limit must not be negative")
    return limit
