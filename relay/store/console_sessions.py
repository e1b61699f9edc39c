"""Who is signed in to the console, on whichever node, and the links that sign in once.

    token ──────────────▶ open ──▶ session: idle 12 h, 7 days at most ──close─▶
    make_link ──▶ link ─▶ use_link ─┘

Cookies and links are 256 random bits each, kept as hashes only; each kind is hashed with a word of its own, so that a
link in a log or a chat is no cookie.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta

import attrs
from sqlalchemy import Connection, Select, delete, insert, or_, select, update

from relay.store.database import Database
from relay.store.operator_actions import Action, insert_action
from relay.store.operators import Role, unknown_operator
from relay.store.schema import console_sessions, operators, utc_now

IDLE = timedelta(hours=12)
LONGEST = timedelta(days=7)
LINK = timedelta(seconds=60)
# A session that is in use is noted as seen no more often than this.
NOTED_EVERY = timedelta(minutes=1)

_SESSION, _LINK = "session", "link"


@attrs.frozen(kw_only=True)
class ConsoleSession:
    """An operator who is signed in. `key` tells sessions apart, and is no secret: the cookie cannot be had from it."""

    key: str = attrs.field(repr=False)
    operator: str
    role: Role
    created_at: datetime
    expires_at: datetime
    seen_at: datetime


@attrs.frozen(eq=False)
class ConsoleSessions:
    """The sessions of all operators. `now` is the wall clock, with a zone.

    Each method is one transaction. Those that change something raise `StoreFailed`, `find` and `find_link` raise
    `DatabaseError`.
    """

    database: Database
    now: Callable[[], datetime] = utc_now

    async def open(self, operator: str, *, by: str = "token") -> str:
        """Begin a session and return its cookie, and leave a line in the record of actions: `by` is how it was begun.

        Raises `OperatorError` if the operator was removed meanwhile.
        """
        now, cookie = self.now(), secrets.token_urlsafe(32)

        def work(connection: Connection) -> None:
            _require(connection, operator)
            _open(connection, now, operator, cookie, by)

        await self.database.write(work)
        return cookie

    async def find(self, cookie: str) -> ConsoleSession | None:
        """Return the session of a cookie, if it is neither over nor idle for too long, nor its operator removed."""
        now, key = self.now(), _hash(_SESSION, cookie)
        wanted = (
            select(console_sessions, operators.c.role)
            .join(operators, operators.c.name == console_sessions.c.operator)
            .where(
                console_sessions.c.id_hash == key,
                console_sessions.c.expires_at > now,
                console_sessions.c.seen_at > now - IDLE,
                operators.c.disabled_at.is_(None),
            )
        )

        def work(connection: Connection) -> ConsoleSession | None:
            row = connection.execute(wanted).mappings().one_or_none()
            if row is None:
                return None
            return ConsoleSession(
                key=key,
                operator=row["operator"],
                role=Role(row["role"]),
                created_at=row["created_at"],
                expires_at=row["expires_at"],
                seen_at=row["seen_at"],
            )

        return await self.database.read(work)

    async def note_seen(self, session: ConsoleSession) -> None:
        """Note that a session is in use, if that was not noted a moment ago. Waits for nothing."""
        now = self.now()
        if now - session.seen_at >= NOTED_EVERY:
            seen = update(console_sessions).where(console_sessions.c.id_hash == session.key).values(seen_at=now)
            await self.database.keep_later(lambda connection: connection.execute(seen).rowcount)

    async def close(self, session: ConsoleSession) -> None:
        """End a session. Idempotent."""
        now = self.now()

        def work(connection: Connection) -> None:
            ended = connection.execute(delete(console_sessions).where(console_sessions.c.id_hash == session.key))
            if ended.rowcount:
                insert_action(connection, now, Action(operator=session.operator, name="sign_out"), "done")

        await self.database.write(work)

    async def make_link(self, operator: str) -> str:
        """Return a text that signs in once, within `LINK`. Raises `OperatorError`."""
        now, link = self.now(), secrets.token_urlsafe(32)
        row = {"id_hash": _hash(_LINK, link), "operator": operator, "created_at": now, "expires_at": now + LINK}

        def work(connection: Connection) -> None:
            _require(connection, operator)
            connection.execute(insert(console_sessions), row)

        await self.database.write(work)
        return link

    async def find_link(self, link: str) -> str | None:
        """Return the operator that a link would sign in, and leave it unused; None for one that is used or too old."""
        wanted = _of_link(link, self.now())
        return await self.database.read(lambda connection: connection.execute(wanted).scalar_one_or_none())

    async def use_link(self, link: str) -> str | None:
        """Use a link up: begin a session and return its cookie, or None if the link is used or too old."""
        now, cookie = self.now(), secrets.token_urlsafe(32)

        def work(connection: Connection) -> str | None:
            operator: str | None = connection.execute(_of_link(link, now)).scalar_one_or_none()
            used = delete(console_sessions).where(console_sessions.c.id_hash == _hash(_LINK, link))
            # Of two that use it at once, one deletes the row.
            if operator is None or connection.execute(used).rowcount == 0:
                return None
            _open(connection, now, operator, cookie, "link")
            return cookie

        return await self.database.write(work)


def _of_link(link: str, now: datetime) -> Select[str]:
    return (
        select(console_sessions.c.operator)
        .join(operators, operators.c.name == console_sessions.c.operator)
        .where(
            console_sessions.c.id_hash == _hash(_LINK, link),
            console_sessions.c.expires_at > now,
            operators.c.disabled_at.is_(None),
        )
    )


def _require(connection: Connection, operator: str) -> None:
    known = select(operators.c.name).where(operators.c.name == operator, operators.c.disabled_at.is_(None))
    if connection.execute(known).first() is None:
        raise unknown_operator(operator)


def _open(connection: Connection, now: datetime, operator: str, cookie: str, by: str) -> None:
    """Begin a session, and forget those that are over, which are few."""
    over = or_(console_sessions.c.expires_at <= now, console_sessions.c.seen_at <= now - IDLE)
    connection.execute(delete(console_sessions).where(over))
    row = {
        "id_hash": _hash(_SESSION, cookie),
        "operator": operator,
        "created_at": now,
        "seen_at": now,
        "expires_at": now + LONGEST,
    }
    connection.execute(insert(console_sessions), row)
    insert_action(connection, now, Action(operator=operator, name="sign_in", detail=by), "done")


def _hash(kind: str, secret: str) -> str:
    return hashlib.sha256(f"{kind}:{secret}".encode("utf-8", "surrogatepass")).hexdigest()
