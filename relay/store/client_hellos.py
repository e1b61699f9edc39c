"""What clients said of themselves when they connected, for those that come back without saying it again.

Some MCP clients reconnect their event stream without a new `initialize`. What they declared the first time is kept here
under the key that names the client's session, so that it survives a restart of the daemon. It is bounded three ways:
by age, by number for each agent, and by size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta

import attrs
import structlog
from sqlalchemy import Connection, delete, select

from relay.store.database import Database
from relay.store.schema import client_hellos, upsert, utc_now

log = structlog.get_logger(__name__)

KEPT_DAYS = 7
KEPT_PER_AGENT = 20
# A client's capabilities and name take some hundred characters; a megabyte of them is an attack on the disk.
MAX_CHARACTERS = 64 * 1024

_REMEMBER = upsert(client_hellos, ["params", "updated_at"])


@attrs.frozen(eq=False)
class ClientHellos:
    """The hellos of all agents' clients. `now` is the wall clock, with a zone.

    A key is as good as a session id, so only its SHA-256 is kept.
    """

    database: Database
    now: Callable[[], datetime] = utc_now

    async def remember(self, key: str, agent_id: str, params_json: str) -> None:
        """Keep what an agent's client declared under `key`, instead of what was there, and let go of what is too much.

        One that is too large is logged and not kept: its client will have to initialize again. Raises `StoreFailed`,
        also for an agent that was removed.
        """
        if len(params_json) > MAX_CHARACTERS:
            log.warning("client_hello_too_large", agent_id=agent_id, characters=len(params_json))
            return
        now = self.now()
        row = {"agent_id": agent_id, "key_hash": _hash(key), "params": params_json, "updated_at": now}

        def work(connection: Connection) -> None:
            connection.execute(_REMEMBER[connection.dialect.name], row)
            of_agent = client_hellos.c.agent_id == agent_id
            newest = (
                select(client_hellos.c.key_hash)
                .where(of_agent)
                .order_by(client_hellos.c.updated_at.desc(), client_hellos.c.key_hash)
                .limit(KEPT_PER_AGENT)
            )
            connection.execute(delete(client_hellos).where(of_agent, client_hellos.c.key_hash.not_in(newest)))
            connection.execute(delete(client_hellos).where(client_hellos.c.updated_at < _oldest(now)))

        await self.database.write(work)

    async def recall(self, key: str, agent_id: str) -> str | None:
        """Find what the agent's client declared under `key`; another agent's key counts as unknown.

        Raises `DatabaseError`.
        """
        wanted = select(client_hellos.c.params).where(
            client_hellos.c.agent_id == agent_id,
            client_hellos.c.key_hash == _hash(key),
            client_hellos.c.updated_at >= _oldest(self.now()),
        )
        return await self.database.read(lambda connection: connection.execute(wanted).scalar_one_or_none())


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _oldest(now: datetime) -> datetime:
    return now - timedelta(days=KEPT_DAYS)
