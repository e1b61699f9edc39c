"""The consent register: who agreed to be called, by which agent, for what, and how that is known.

A consent that is withdrawn stays on record with the day of its end: that there was one is what may have to be shown.
Consents end with their agent. Numbers come in here in E.164 form.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import attrs
from sqlalchemy import Connection, exists, select, update

from relay.store.database import Database
from relay.store.schema import consents, timestamp, upsert, utc_now

# The purpose of a consent to calls of any kind.
ANY_PURPOSE = ""

_GIVE = upsert(consents, ["source", "given_at", "recorded_by", "withdrawn_at"])


@attrs.frozen(kw_only=True)
class Consent:
    """A person's consent to be called by an agent. An empty `purpose` is any; `source` says how it is known."""

    agent_id: str
    number: str
    purpose: str
    source: str
    given_at: datetime
    recorded_by: str
    withdrawn_at: datetime | None

    def as_json(self) -> dict[str, Any]:
        """Write the consent as the command line prints it."""
        return {
            "number": self.number,
            "agentId": self.agent_id,
            "purpose": self.purpose,
            "source": self.source,
            "givenAt": timestamp(self.given_at),
            "recordedBy": self.recorded_by,
            "withdrawnAt": None if self.withdrawn_at is None else timestamp(self.withdrawn_at),
        }


@attrs.frozen(eq=False)
class ConsentRegister:
    """The register. `now` is the wall clock, with a zone.

    Each method is one transaction. Those that change something raise `StoreFailed`, also for an agent that is not
    there; those that only read `DatabaseError`.
    """

    database: Database
    now: Callable[[], datetime] = utc_now

    async def give(
        self, agent_id: str, number: str, *, purpose: str = ANY_PURPOSE, source: str, recorded_by: str
    ) -> None:
        """Record a consent, in place of an earlier one for the same purpose."""
        row = {
            "agent_id": agent_id,
            "number": number,
            "purpose": purpose,
            "source": source,
            "given_at": self.now(),
            "recorded_by": recorded_by,
            "withdrawn_at": None,
        }
        await self.database.write(lambda connection: connection.execute(_GIVE[connection.dialect.name], row))

    async def withdraw(self, agent_id: str, number: str, *, purpose: str | None = None) -> int:
        """End the consents of a number to an agent, for one purpose or (None) for all; the value is how many."""
        ended = (
            update(consents)
            .where(consents.c.agent_id == agent_id, consents.c.number == number, consents.c.withdrawn_at.is_(None))
            .values(withdrawn_at=self.now())
        )
        if purpose is not None:
            ended = ended.where(consents.c.purpose == purpose)
        return await self.database.write(lambda connection: connection.execute(ended).rowcount)

    async def list_all(self, agent_id: str | None = None) -> tuple[Consent, ...]:
        """List the consents, withdrawn ones included, newest first, of every agent unless one is named."""
        wanted = select(consents).order_by(consents.c.given_at.desc(), consents.c.number, consents.c.purpose)
        if agent_id is not None:
            wanted = wanted.where(consents.c.agent_id == agent_id)
        return await self.database.read_many(
            lambda connection: tuple(Consent(**row) for row in connection.execute(wanted).mappings())
        )


def has_consent(connection: Connection, agent_id: str, number: str, purpose: str | None) -> bool:
    """Return whether a number's consent to an agent's calls is in force, for a purpose or (None) for any."""
    wanted = exists().where(
        consents.c.agent_id == agent_id, consents.c.number == number, consents.c.withdrawn_at.is_(None)
    )
    if purpose is not None:
        wanted = wanted.where(consents.c.purpose.in_([purpose, ANY_PURPOSE]))
    return connection.execute(select(wanted)).scalar_one()
