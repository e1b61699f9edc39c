"""The members of a cluster: the runs of the daemon that share one PostgreSQL database, and when each was last seen.

    enter ──▶ member ──beat, each second──▶ member … ──end (relay.store.runs)───────────────▶ over
                                                 └──unseen for GONE_SECONDS──end──▶ over ──beat──▶ member

Whatever is compared here is by the database's clock: those of the nodes count for nothing. A member that was only
frozen or cut off is back with its next beat, and learns from it what others have taken meanwhile.

Seen is who reaches the database, whatever becomes of the writes of its calls. So beats have a connection of their own,
and wait for no row that such a write may have locked: none locks the row of a run that goes on, and a home that
somebody is just taking is skipped.

Who may enter: with the account and the address that the others have, and a name and a URL of its own. The daemon that
serves a database alone holds a lock on it (`relay.store.connections`), and refuses to where members were seen.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

import attrs
from sqlalchemy import Connection, RowMapping, and_, case, delete, func, insert, literal, or_, select, text, update

from relay.errors import ClusterError
from relay.store.database import Database
from relay.store.engine import JOIN_LOCK, SOLE_LOCK
from relay.store.homes import Home
from relay.store.runs import GONE_SECONDS, IS_MEMBER, KEPT, unseen
from relay.store.schema import LINE_IS_OPEN, calls, homes, runs, timestamp, utc_now

# A member that was not seen for so long may be dead: a node that asks it and gets no answer takes it for that.
SILENT_SECONDS = 3.0

# Twice as far as a clock that is set by the answer may be off.
_CLOCK_ERROR = timedelta(seconds=0.5)
# One round trip a second: what is written, and all that a node has to know. What a part that writes has changed, the
# others do not see. What is skipped is told by the next beat, if the home is still here then. Not in SQLAlchemy's
# words: nothing of it exists in SQLite.
_BEAT = text(
    """
    WITH mine AS (
        UPDATE runs SET seen_at = clock_timestamp(), over_at = NULL, is_leaving = :is_leaving
        WHERE boot = :boot AND NOT EXISTS (
            SELECT FROM runs AS later WHERE later.node = runs.node AND later.is_member
            AND later.started_at > runs.started_at
        )
        RETURNING node
    ), free AS (
        SELECT agent_id FROM homes
        WHERE node = (SELECT node FROM mine) AND agent_id = ANY(CAST(:changed AS text[]))
        FOR NO KEY UPDATE SKIP LOCKED
    ), told AS (
        UPDATE homes SET had_client = agent_id = ANY(CAST(:with_client AS text[]))
        WHERE agent_id IN (SELECT agent_id FROM free)
    )
    SELECT
        clock_timestamp() AS now,
        (SELECT node FROM mine) AS node,
        (
            SELECT json_agg(json_build_object(
                'node', node, 'url', url, 'boot', boot, 'version', version, 'is_leaving', is_leaving,
                'unseen', extract(epoch FROM clock_timestamp() - seen_at)
            ))
            FROM runs WHERE is_member AND over_at IS NULL AND boot <> :boot
        ) AS others,
        (
            SELECT json_agg(json_build_array(agent_id, epoch, had_client))
            FROM homes WHERE node = (SELECT node FROM mine)
        ) AS homes
    """
)


@attrs.frozen(kw_only=True)
class Node:
    """A member of the cluster: `url` is where the other nodes reach it, `unseen` for how many seconds it was not seen.

    `boot` is its run: a node that was started again has the same name, and another one.
    """

    name: str
    url: str
    boot: str
    version: str
    is_leaving: bool = False
    unseen: float = attrs.field(default=0.0, eq=False)


@attrs.frozen
class Account:
    """An account at the carrier, of which no more than a keyed hash is shown to the other nodes."""

    sid: str
    token: str = attrs.field(repr=False)

    def proof(self, boot: str) -> str:
        """Return what only those with the same account and token can make for a run."""
        return hmac.new(self.token.encode(), f"{boot} {self.sid}".encode(), hashlib.sha256).hexdigest()


@attrs.frozen(kw_only=True)
class Candidate:
    """Who wants to become a member, with what all must agree in: the address, and the account at the carrier."""

    node: Node
    public_url: str
    account: Account


@attrs.frozen(kw_only=True)
class Beat:
    """What a member learns with each beat.

    `now` is by the database's clock, `offset` how far that is ahead of this machine's, None where the answer took too
    long to say; `homes` are those that the node has by now.
    """

    now: datetime
    offset: timedelta | None = None
    others: tuple[Node, ...] = ()
    homes: tuple[Home, ...] = ()


@attrs.frozen(kw_only=True)
class NodeReport:
    """A node as it is listed: `homes` and `calls` are how many it has, and the rest is what all nodes must agree in."""

    node: Node
    since: datetime
    homes: int
    calls: int
    public_url: str
    account_proof: str = attrs.field(repr=False)

    def as_json(self) -> dict[str, Any]:
        """Write it as the command line prints it; `seen` is how many seconds ago."""
        return {
            "node": self.node.name,
            "url": self.node.url,
            "version": self.node.version,
            "since": timestamp(self.since),
            "seen": round(self.node.unseen, 1),
            "homes": self.homes,
            "calls": self.calls,
            "leaving": self.node.is_leaving,
        }


@attrs.frozen(eq=False)
class Members:
    """The members of the cluster, on PostgreSQL. Each method is one transaction.

    A node's `database` is one for this alone (`for_beats`), for `enter` and `end` too: these lock rows of runs, and so
    in no transaction that may stand still in a write of calls; and they are in order with the beats.
    """

    database: Database

    async def enter(self, candidate: Candidate) -> datetime | None:
        """Make the candidate a member, and return None; or when an earlier one of its name was seen, if that may live.

        Raises `ClusterError`, which says what to do, where it does not agree with the others or cannot be reached by
        them, or where a daemon serves the database alone; `StoreFailed`.
        """
        return await self.database.write(lambda connection: _enter(connection, candidate))

    async def beat(self, boot: str, *, is_leaving: bool, had_client: Mapping[str, bool]) -> Beat:
        """Record that a member is here now, and which of its homes have or have not a client; return what it must know.

        Raises `ClusterError` where another run has its name by now; `StoreFailed`.
        """
        values = {
            "boot": boot,
            "is_leaving": is_leaving,
            "changed": list(had_client),
            "with_client": [agent_id for agent_id, had in had_client.items() if had],
        }
        return await self.database.write(lambda connection: _beat(connection, values))

    async def end(self, boots: Collection[str]) -> None:
        """Record that members are over since they were seen last, unless that was in the last `GONE_SECONDS`."""
        gone = and_(IS_MEMBER, runs.c.boot.in_(boots), unseen().element >= GONE_SECONDS)
        await self.database.write(
            lambda connection: connection.execute(update(runs).where(gone).values(over_at=runs.c.seen_at))
        )

    async def settle(self) -> None:
        """Wait until what was asked for is done or refused, also what nobody waits for any more. Raises `StoreFailed`.

        Then no beat that was given up comes later.
        """
        await self.database.write(lambda _connection: None)

    async def report(self) -> list[NodeReport]:
        """Return the members, by name. Raises `DatabaseError`. Works on SQLite too, which has none."""
        return await self.database.read_many(_report)


def _enter(connection: Connection, candidate: Candidate) -> datetime | None:
    if not connection.execute(text("SELECT pg_try_advisory_xact_lock_shared(:key)"), {"key": SOLE_LOCK}).scalar_one():
        raise ClusterError(
            "Another relay serves this database alone. Stop it first; or give it a RELAY_NODE_URL too, at which the "
            "other nodes reach it, and start it again."
        )
    # One after the other, so that of two with one name the second sees the first.
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": JOIN_LOCK})
    name = candidate.node.name
    for row in connection.execute(select(runs, unseen()).where(IS_MEMBER)).mappings().all():
        if row["node"] == name:
            if row["unseen"] < SILENT_SECONDS:
                seen_at: datetime = row["seen_at"]
                return seen_at
        elif row["unseen"] < GONE_SECONDS:
            _require_agreement(candidate, row)
    now = func.clock_timestamp()
    # No daemon serves it alone, so a run that did is over; and so is the earlier one of this name.
    replaced = and_(runs.c.over_at.is_(None), or_(runs.c.is_member.is_(False), runs.c.node == name))
    connection.execute(update(runs).where(replaced).values(over_at=case((runs.c.is_member, runs.c.seen_at), else_=now)))
    connection.execute(delete(runs).where(runs.c.over_at < now - KEPT))
    entered = {
        "boot": candidate.node.boot,
        "node": name,
        "url": candidate.node.url,
        "version": candidate.node.version,
        "is_member": True,
        "public_url": candidate.public_url,
        "account_proof": candidate.account.proof(candidate.node.boot),
    }
    connection.execute(insert(runs).values(started_at=now, seen_at=now, **entered))
    return None


def _require_agreement(candidate: Candidate, other: RowMapping) -> None:
    name = other["node"]
    if other["account_proof"] != candidate.account.proof(other["boot"]):
        raise ClusterError(
            f"Node {name} has another TWILIO_ACCOUNT_SID or TWILIO_AUTH_TOKEN than this one. All nodes of a cluster "
            "need the same: what the carrier signs may come to any of them."
        )
    if other["public_url"] != candidate.public_url:
        raise ClusterError(
            f"Node {name} has the PUBLIC_URL {other['public_url']}, this one {candidate.public_url}. All nodes of a "
            "cluster need the same, which is the address of the load balancer in front of them."
        )
    if other["url"] == candidate.node.url:
        raise ClusterError(
            f"Node {name} has the same RELAY_NODE_URL, {other['url']}. Each node needs the address at which the others "
            "reach it, and it alone."
        )


def _beat(connection: Connection, values: Mapping[str, object]) -> Beat:
    began = utc_now()
    row = connection.execute(_BEAT, values).one()
    took = utc_now() - began
    if row.node is None:
        raise ClusterError(
            "Another relay has taken this node's name while it was not seen, or the database was put back. Start it "
            "again; if two are to run, give each a RELAY_NODE of its own."
        )
    return Beat(
        now=row.now,
        offset=row.now - took / 2 - began if took < _CLOCK_ERROR else None,
        others=tuple(Node(name=each.pop("node"), **each) for each in row.others or ()),
        homes=tuple(Home(agent_id, row.node, epoch, had) for agent_id, epoch, had in row.homes or ()),
    )


def _report(connection: Connection) -> list[NodeReport]:
    of_node = select(func.count()).where(homes.c.node == runs.c.node).scalar_subquery().label("homes")
    of_run = select(func.count()).where(calls.c.boot == runs.c.boot, LINE_IS_OPEN).scalar_subquery().label("calls")
    since_seen = unseen() if connection.dialect.name == "postgresql" else literal(0.0).label("unseen")
    rows = connection.execute(select(runs, since_seen, of_node, of_run).where(IS_MEMBER).order_by(runs.c.node))
    return [
        NodeReport(
            node=Node(
                name=row["node"],
                url=row["url"],
                boot=row["boot"],
                version=row["version"],
                is_leaving=row["is_leaving"],
                unseen=row["unseen"],
            ),
            since=row["started_at"],
            homes=row["homes"],
            calls=row["calls"],
            public_url=row["public_url"],
            account_proof=row["account_proof"],
        )
        for row in rows.mappings()
    ]
