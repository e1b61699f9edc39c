"""Who may use the console, and their tokens.

A token is `op_` and 256 random bits, shown once and kept as its SHA-256 only, as those of agents are (see
`agent_registry`). An operator who was removed stays in the table, disabled: what is on record of its actions does not
become another one's, and the same name can be added anew.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum

import attrs
from sqlalchemy import Connection, RowMapping, delete, func, insert, select, update

from relay.agent import digest_of
from relay.errors import OperatorError
from relay.store.database import Database
from relay.store.operator_actions import Action, insert_action
from relay.store.schema import console_sessions, operators, utc_now

TOKEN_PREFIX = "op_"  # noqa: S105 - by which people and programs tell it from a client's
# As an agent's id: a name stands in logs, in tables and in a shell.
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"


class Role(StrEnum):
    """What an operator may do: look, or also act."""

    READ = "read"
    ACT = "act"


@attrs.frozen(kw_only=True)
class Operator:
    """A registered operator. `last_sign_in` is when its newest session began; None if it has none now."""

    name: str
    role: Role
    created_at: datetime
    last_sign_in: datetime | None = None


@attrs.frozen(eq=False)
class Operators:
    """The registered operators. `now` is the wall clock, with a zone.

    Each method is one transaction and sees what other processes have committed. Those that change something leave a
    line in the record of actions, and raise `StoreFailed`; those that only read raise `DatabaseError`. `OperatorError`
    says what is wrong with an operator and what to do.
    """

    database: Database
    now: Callable[[], datetime] = utc_now

    async def add(self, name: str, role: Role) -> tuple[Operator, str]:
        """Register an operator and return it with its token, which is not kept and cannot be shown again.

        Raises `OperatorError` for a name that is none, or that is taken.
        """
        if not re.fullmatch(_NAME, name):
            raise OperatorError(
                f"{name!r} cannot be an operator's name: take 1 to 64 letters, digits, dots, dashes and underscores, "
                "the first one a letter or a digit."
            )
        now, token = self.now(), _new_token()
        fields = {"role": role.value, "token_hash": digest_of(token).hex(), "created_at": now, "disabled_at": None}

        def work(connection: Connection) -> None:
            row = connection.execute(select(operators).where(operators.c.name == name).with_for_update()).first()
            if row is None:
                connection.execute(insert(operators).values(name=name, **fields))
            elif row.disabled_at is None:
                raise OperatorError(
                    f"Operator {name} exists already. Choose another name, "
                    f"or give it a new token with: relay operators rotate {name}"
                )
            else:
                connection.execute(update(operators).where(operators.c.name == name).values(fields))
            insert_action(connection, now, Action(operator=name, name="operator_added", detail=role.value), "done")

        await self.database.write(work)
        return Operator(name=name, role=role, created_at=now), token

    async def list(self) -> tuple[Operator, ...]:
        """List the operators by name, but those that were removed."""
        newest = (
            select(func.max(console_sessions.c.seen_at))
            .where(console_sessions.c.operator == operators.c.name)
            .scalar_subquery()
        )

        def work(connection: Connection) -> tuple[Operator, ...]:
            wanted = select(operators, newest.label("last_sign_in")).where(operators.c.disabled_at.is_(None))
            return tuple(_operator(row) for row in connection.execute(wanted.order_by(operators.c.name)).mappings())

        return await self.database.read_many(work)

    async def exist(self) -> bool:
        """Return whether there is any operator: without one there is no console."""
        wanted = select(operators.c.name).where(operators.c.disabled_at.is_(None)).limit(1)
        return await self.database.read(lambda connection: connection.execute(wanted).first() is not None)

    async def by_token(self, token: str) -> Operator | None:
        """Find the operator that a token is one of."""
        wanted = select(operators).where(
            operators.c.token_hash == digest_of(token).hex(), operators.c.disabled_at.is_(None)
        )

        def work(connection: Connection) -> Operator | None:
            row = connection.execute(wanted).mappings().one_or_none()
            return None if row is None else _operator(row)

        return await self.database.read(work)

    async def rotate(self, name: str) -> str:
        """Replace an operator's token and return the new one. The old one, and its sessions, are invalid from now on.

        Raises `OperatorError`.
        """
        now, token = self.now(), _new_token()
        await self.database.write(
            lambda connection: _change(connection, now, name, "operator_rotated", token_hash=digest_of(token).hex())
        )
        return token

    async def remove(self, name: str) -> None:
        """Disable an operator: its token and its sessions are invalid from now on. Raises `OperatorError`."""
        now = self.now()
        await self.database.write(
            lambda connection: _change(connection, now, name, "operator_removed", disabled_at=now)
        )


def unknown_operator(name: str) -> OperatorError:
    """Return the error for an operator that does not exist."""
    return OperatorError(f"There is no operator {name!r}. See those that there are with: relay operators list")


def _change(connection: Connection, now: datetime, name: str, action: str, **values: object) -> None:
    its_own = operators.c.name == name, operators.c.disabled_at.is_(None)
    if connection.execute(update(operators).where(*its_own).values(values)).rowcount == 0:
        raise unknown_operator(name)
    connection.execute(delete(console_sessions).where(console_sessions.c.operator == name))
    insert_action(connection, now, Action(operator=name, name=action), "done")


def _new_token() -> str:
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def _operator(row: RowMapping) -> Operator:
    return Operator(
        name=row["name"], role=Role(row["role"]), created_at=row["created_at"], last_sign_in=row.get("last_sign_in")
    )
