"""The tables, and the three types that make a value come back as it went in, on SQLite and on PostgreSQL alike.

`migrations` creates what stands here; a test compares the two. Messages and calls name their agent without a foreign
key: what a caller leaves must be kept even when the agent was removed a moment ago. Held words do have one, because
words of an unknown call could be given to nobody after a restart, so it is honest to refuse them at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BindParameter,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Insert,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    and_,
    bindparam,
    false,
    literal_column,
    or_,
    select,
    true,
)
from sqlalchemy.dialects import postgresql, sqlite


def utc_now() -> datetime:
    """Return the wall-clock time, in UTC. The stores take it as an argument, so that tests can turn the clock."""
    return datetime.now(UTC)


def timestamp(value: datetime) -> str:
    """Return a time as it is in JSON: ISO 8601 in UTC with milliseconds and `Z`."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def storable(text: str) -> str:
    """Replace what a database or JSON cannot carry: lone surrogates and NUL become U+FFFD.

    Losing one impossible character beats refusing the message that it stands in.
    """
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").replace("\0", "\ufffd")


def _in_utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("a stored time needs a time zone")
    return value.astimezone(UTC)


def _as_sqlite_has_it(value: datetime | None) -> str | None:
    return None if value is None else _in_utc(value).isoformat(" ", "microseconds").removesuffix("+00:00")


class UtcDateTime(TypeDecorator[datetime]):
    """A point in time. SQLite keeps no zone, so all are stored in UTC and given one again when read."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Convert a time with a zone to UTC. Raises `ValueError` for one without: it could mean anything."""
        return None if value is None else _in_utc(value)

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], Any] | None:
        """Return what converts a time for the driver. SQLAlchemy's own for SQLite takes twice as long for the same."""
        return _as_sqlite_has_it if dialect.name == "sqlite" else super().bind_processor(dialect)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Return the time with its zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _storable(text: str | None) -> str | None:
    return text if text is None or (text.isascii() and "\0" not in text) else storable(text)


class Words(TypeDecorator[str]):
    """Text that came from outside, made `storable` on its way in."""

    impl: type[String] = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Make the text storable."""
        return _storable(value)

    def bind_processor(self, dialect: Dialect) -> Callable[[str | None], str | None]:  # noqa: ARG002
        """Return what makes the text storable: by itself, because every turn binds some ten texts."""
        return _storable


class Name(Words):
    """An id. What a client or an operator asks for may be any text, and then simply names nothing."""

    impl = String
    cache_ok = True


metadata = MetaData()

agents = Table(
    "agents",
    metadata,
    Column("agent_id", Name, primary_key=True),
    Column("number", String),
    Column("greeting", Words),
    Column("system_prompt", Words),
    Column("voice", Words),
    Column("language", Words),
    Column("name", Words),
    Column("discloses", Boolean, nullable=False, server_default=true()),
    # Null: in the words of the call's language. An empty list or text: not at all.
    Column("fillers", JSON(none_as_null=True)),
    Column("long_filler", Words),
    Column("token_hash", String(64), nullable=False, unique=True),
    Column("created_at", UtcDateTime, nullable=False),
)

calls = Table(
    "calls",
    metadata,
    Column("call_sid", Name, primary_key=True),
    Column("agent_id", Name, nullable=False),
    Column("direction", String, nullable=False),
    Column("caller", Words, nullable=False),
    Column("called", Words, nullable=False),
    Column("kind", String, nullable=False, server_default="call"),
    # The run of the daemon that has the call: what any other run writes about it is refused. Empty when its run is over
    # and nobody came back.
    Column("boot", String, nullable=False),
    # Which of its sessions that run has: a later one takes the call, from wherever it is.
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("opened_at", UtcDateTime, nullable=False),
    # A line is open from `connected_at`, which is the first time, until `line_ended_at`; the call may outlive it.
    Column("connected_at", UtcDateTime),
    Column("line_ended_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
    # What the relay itself says of the end, and how long it saw the call last; the carrier's word is below.
    Column("outcome", String),
    Column("duration_seconds", Float),
    Column("turns_by", JSON, nullable=False),
    Column("carrier_status", String),
    Column("carrier_ended_at", UtcDateTime),
    Column("carrier_seconds", Float),
    Column("carrier_error", Words),
    Column("picked_up_by", Words),
    Column("transfer_to", Words),
    Column("transfer_outcome", String),
    Index("calls_of_agent", "agent_id", "opened_at"),
    Index("calls_by_end", "ended_at"),
)

LINE_IS_OPEN = and_(calls.c.connected_at.is_not(None), calls.c.line_ended_at.is_(None))
IS_OPEN = or_(calls.c.ended_at.is_(None), LINE_IS_OPEN)
# Few are, and they are looked for every few seconds.
Index("calls_open", calls.c.boot, sqlite_where=IS_OPEN, postgresql_where=IS_OPEN)
# Not as a parameter: a database uses the index only where it sees that the condition is the same.
IS_DIALLING = calls.c.transfer_outcome == literal_column("'dialling'")
Index("calls_dialling", calls.c.opened_at, sqlite_where=IS_DIALLING, postgresql_where=IS_DIALLING)

# The runs of the daemon. One is over when it says so, or when another has started on a database that serves only one.
runs = Table(
    "runs",
    metadata,
    Column("boot", String, primary_key=True),
    Column("node", Name, nullable=False),
    Column("url", Name, nullable=False),
    Column("version", String, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    # Of a node of a cluster it is written every second, by the database's clock.
    Column("seen_at", UtcDateTime, nullable=False),
    Column("over_at", UtcDateTime),
    # Nodes of one cluster name one address and one account; the proof is a hash that is keyed with the account's token.
    Column("is_member", Boolean, nullable=False, server_default=false()),
    Column("is_leaving", Boolean, nullable=False, server_default=false()),
    Column("public_url", Name, nullable=False, server_default=""),
    Column("account_proof", String(64), nullable=False, server_default=""),
)

# Where an agent's sessions and calls are. Each change of the node counts the epoch on, which is how two of them that
# would take a home at once agree. No foreign key: the calls of an agent that was removed go on where they are.
homes = Table(
    "homes",
    metadata,
    Column("agent_id", Name, primary_key=True),
    Column("node", Name, nullable=False),
    Column("epoch", Integer, nullable=False),
    # Whether a client of the agent was there, for the node that takes the home over.
    Column("had_client", Boolean, nullable=False),
    Index("homes_of_node", "node"),
)

# What a call was told of itself, for the run that goes on with it; also of a call that we have ordered and that has no
# SID yet, so there is no foreign key: then `call_sid` is the order. The ticket can be used until it expires, once.
call_states = Table(
    "call_states",
    metadata,
    Column("call_sid", Name, primary_key=True),
    Column("agent_id", Name, nullable=False),
    Column("is_order", Boolean, nullable=False),
    Column("ticket_hash", String(64)),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("info", Text, nullable=False),
    Index("call_states_by_ticket", "ticket_hash"),
)

# What was said, while the call may come back: each row is a change of the transcript, mostly the lines of one turn,
# in one text, because a row for each line doubles what a turn costs.
call_lines = Table(
    "call_lines",
    metadata,
    Column("call_sid", Name, ForeignKey("calls.call_sid", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("said", Text, nullable=False),
    sqlite_with_rowid=False,
)

# On SQLite what the present run adds to these rows: only added to, so that the rows of one commit share a page, and
# without an index, which would have a page for each call. What a turn costs is mostly the pages that it changes. No
# foreign key either: the call is looked for as the row is written. Not used on PostgreSQL, where several runs read it.
recent_lines = Table(
    "recent_lines",
    metadata,
    Column("position", Integer, primary_key=True),
    Column("call_sid", Name, nullable=False),
    Column("number", Integer, nullable=False),
    Column("said", Text, nullable=False),
)

# Beside the calls and not in them: few calls have one, and lists of calls do not carry it.
transcripts = Table(
    "transcripts",
    metadata,
    Column("call_sid", Name, ForeignKey("calls.call_sid", ondelete="CASCADE"), primary_key=True),
    Column("lines", JSON, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)

held_words = Table(
    "held_words",
    metadata,
    Column("call_sid", Name, ForeignKey("calls.call_sid", ondelete="CASCADE"), primary_key=True),
    Column("turn", Integer, primary_key=True, autoincrement=False),
    Column("text", Words, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    sqlite_with_rowid=False,
)

messages = Table(
    "messages",
    metadata,
    # Oldest first means first stored: the wall clock may be set back, this number never is.
    Column("position", Integer, primary_key=True, autoincrement=True),
    Column("id", Name, nullable=False, unique=True),
    Column("agent_id", Name, nullable=False),
    Column("call_sid", Name, nullable=False),
    Column("part", Integer, nullable=False),
    Column("channel", String, nullable=False),
    Column("direction", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("caller", Words, nullable=False),
    Column("called", Words, nullable=False),
    Column("body", Words, nullable=False),
    Column("preferences", Words, nullable=False),
    Column("transcript", JSON, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("deliveries", Integer, nullable=False),
    Column("held_until", UtcDateTime),
    # Never changed again: a client was shown it, or the connection that wrote it is over.
    Column("sealed", Boolean, nullable=False),
    Column("acknowledged_at", UtcDateTime),
    # What the client calls itself that has, or had, the message in hand; and who confirmed it. Null: not known.
    Column("held_by", Words),
    Column("acknowledged_by", Words),
    Index("messages_of_call", "call_sid", "part"),
    sqlite_autoincrement=True,
)
# Partial, so that fetching stays as fast after years of acknowledged messages as on the first day.
Index(
    "messages_waiting",
    messages.c.agent_id,
    messages.c.position,
    sqlite_where=messages.c.acknowledged_at.is_(None),
    postgresql_where=messages.c.acknowledged_at.is_(None),
)
# The other part, for the end of its keeping.
Index(
    "messages_acknowledged",
    messages.c.acknowledged_at,
    sqlite_where=messages.c.acknowledged_at.is_not(None),
    postgresql_where=messages.c.acknowledged_at.is_not(None),
)

client_hellos = Table(
    "client_hellos",
    metadata,
    Column("agent_id", Name, ForeignKey("agents.agent_id", ondelete="CASCADE"), primary_key=True),
    Column("key_hash", String(64), primary_key=True),
    Column("params", Words, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)


def upsert(table: Table, replaced: Sequence[str]) -> Mapping[str, Insert]:
    """Build an insert that replaces the named columns of a row with the same primary key, by name of the dialect.

    Standard SQL's MERGE is unknown to SQLite, and an update followed by an insert costs the hot path a second
    statement; both dialects spell `ON CONFLICT` alike, but SQLAlchemy gives each a class of its own.
    """
    keys = [column.name for column in table.primary_key]
    into_sqlite, into_postgresql = sqlite.insert(table), postgresql.insert(table)
    return {
        "sqlite": into_sqlite.on_conflict_do_update(
            index_elements=keys, set_={name: into_sqlite.excluded[name] for name in replaced}
        ),
        "postgresql": into_postgresql.on_conflict_do_update(
            index_elements=keys, set_={name: into_postgresql.excluded[name] for name in replaced}
        ),
    }


def insert_if_new(table: Table) -> Mapping[str, Insert]:
    """Build an insert that does nothing where a row has the same primary key, by name of the dialect.

    Where another transaction has just inserted one, it waits for the end of that.
    """
    keys = list(table.primary_key)
    return {
        "sqlite": sqlite.insert(table).on_conflict_do_nothing(index_elements=keys),
        "postgresql": postgresql.insert(table).on_conflict_do_nothing(index_elements=keys),
    }


def upsert_by_run(
    table: Table, values: Mapping[str, BindParameter[Any]], replaced: Sequence[str]
) -> Mapping[str, Insert]:
    """Build an upsert of a row about the call `of_call` that inserts nothing unless the run `of_run` has that call.

    The run is asked for in the statement itself, because what is asked before it may not be so any more by then.
    """
    there = select(calls.c.call_sid, *values.values()).where(
        calls.c.call_sid == bindparam("of_call", type_=calls.c.call_sid.type),
        calls.c.boot == bindparam("of_run", type_=calls.c.boot.type),
    )
    # Shared with others that hold utterances, but not with one that takes the call: that waits, and finds this row.
    there = there.with_for_update(read=True)
    columns = [table.c.call_sid, *(table.c[name] for name in values)]
    keys = [column.name for column in table.primary_key]
    into_sqlite = sqlite.insert(table).from_select(columns, there)
    into_postgresql = postgresql.insert(table).from_select(columns, there)
    return {
        "sqlite": into_sqlite.on_conflict_do_update(
            index_elements=keys, set_={name: into_sqlite.excluded[name] for name in replaced}
        ),
        "postgresql": into_postgresql.on_conflict_do_update(
            index_elements=keys, set_={name: into_postgresql.excluded[name] for name in replaced}
        ),
    }


# ── what the gate in front of every dialled number goes by ──────────────────────────────────────────────────────────

do_not_call = Table(
    "do_not_call",
    metadata,
    Column("number", Name, primary_key=True),
    # An agent's id, or `*` for all of them: a key cannot be null. No foreign key: who asked not to be called is not
    # called again because an agent was removed and came back.
    Column("agent_id", Name, primary_key=True),
    Column("reason", Words, nullable=False),
    Column("added_at", UtcDateTime, nullable=False),
    Column("added_by", Words, nullable=False),
)

# Consents and switches do have a foreign key: a consent does not hold for a later agent of the same id.
consents = Table(
    "consents",
    metadata,
    Column("agent_id", Name, ForeignKey("agents.agent_id", ondelete="CASCADE"), primary_key=True),
    Column("number", Name, primary_key=True),
    Column("purpose", Words, primary_key=True),
    Column("source", Words, nullable=False),
    Column("given_at", UtcDateTime, nullable=False),
    Column("recorded_by", Words, nullable=False),
    Column("withdrawn_at", UtcDateTime),
)

outbound_switches = Table(
    "outbound_switches",
    metadata,
    Column("agent_id", Name, ForeignKey("agents.agent_id", ondelete="CASCADE"), primary_key=True),
    Column("disabled_at", UtcDateTime, nullable=False),
    Column("reason", Words, nullable=False),
)

dials = Table(
    "dials",
    metadata,
    Column("position", Integer, primary_key=True, autoincrement=True),
    Column("agent_id", Name, nullable=False),
    Column("number", Name, nullable=False),
    Column("kind", String, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Index("dials_to_number", "number", "at"),
    Index("dials_of_agent", "agent_id", "at"),
    Index("dials_by_age", "at"),
)

# ── what is one for all nodes of a server ───────────────────────────────────────────────────────────────────────────

# Calls that have an owner, for as long as one that was lost is looked for.
claimed_calls = Table(
    "claimed_calls",
    metadata,
    Column("call_sid", Name, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
)

# One row. Not used on SQLite, where one process places all calls, as little as the audio of voice messages is there.
pace = Table(
    "pace",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("next_at", UtcDateTime, nullable=False),
)

audio = Table(
    "audio",
    metadata,
    # The hash of the name that opens it.
    Column("key", String(64), primary_key=True),
    Column("size", Integer, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("is_whole", Boolean, nullable=False),
    Index("audio_by_expiry", "expires_at"),
)
audio_pieces = Table(
    "audio_pieces",
    metadata,
    Column("key", String(64), ForeignKey("audio.key", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("content", LargeBinary, nullable=False),
)

# ── the console ─────────────────────────────────────────────────────────────────────────────────────────────────────

# One that was removed stays, disabled, so that what is on record of its actions does not become another one's.
operators = Table(
    "operators",
    metadata,
    Column("name", Name, primary_key=True),
    Column("role", String, nullable=False),
    Column("token_hash", String(64), nullable=False, unique=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("disabled_at", UtcDateTime),
)

# Also the links that sign in once: one has not been seen yet, and its hash is made with another prefix.
console_sessions = Table(
    "console_sessions",
    metadata,
    Column("id_hash", String(64), primary_key=True),
    Column("operator", Name, ForeignKey("operators.name", ondelete="CASCADE"), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime),
    Column("expires_at", UtcDateTime, nullable=False),
    Index("console_sessions_of_operator", "operator"),
)

# What operators did, and with what outcome. Numbers may stand in it, as in the records of calls; what was said never.
operator_actions = Table(
    "operator_actions",
    metadata,
    Column("position", Integer, primary_key=True, autoincrement=True),
    Column("at", UtcDateTime, nullable=False),
    Column("operator", Name, nullable=False),
    Column("action", String, nullable=False),
    Column("agent_id", Name),
    Column("call_sid", Name),
    Column("outcome", String, nullable=False),
    Column("detail", Words, nullable=False),
    Index("operator_actions_by_age", "at"),
    Index("operator_actions_of_call", "call_sid"),
)

# When what happened in a turn, in milliseconds of one monotonic clock; null for what did not happen. No words.
call_turns = Table(
    "call_turns",
    metadata,
    Column("call_sid", Name, ForeignKey("calls.call_sid", ondelete="CASCADE"), primary_key=True),
    Column("turn", Integer, primary_key=True, autoincrement=False),
    Column("by", String),
    Column("outcome", String),
    Column("arrived_ms", Float),
    Column("stored_ms", Float),
    Column("asked_ms", Float),
    Column("first_ms", Float),
    Column("out_ms", Float),
    Column("last_ms", Float),
    Column("heard_ms", Float),
    sqlite_with_rowid=False,
)
