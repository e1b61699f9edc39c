"""The first tables: agents, calls, held words, waiting messages, client hellos.

A migration names plain column types, never those of `relay.store.schema`: it must do the same in ten years, whatever
the schema has become by then. There is no way down: an older relay refuses a newer database instead.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables and their indexes."""
    op.create_table(
        "agents",
        sa.Column("agent_id", sa.String, primary_key=True),
        sa.Column("number", sa.String),
        sa.Column("greeting", sa.Text),
        sa.Column("system_prompt", sa.Text),
        sa.Column("voice", sa.Text),
        sa.Column("language", sa.Text),
        sa.Column("token_hash", sa.String(64), nullable=False, unique=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "calls",
        sa.Column("call_sid", sa.String, primary_key=True),
        sa.Column("agent_id", sa.String, nullable=False),
        sa.Column("direction", sa.String, nullable=False),
        sa.Column("caller", sa.Text, nullable=False),
        sa.Column("called", sa.Text, nullable=False),
        sa.Column("boot", sa.String, nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("connected_at", sa.DateTime(timezone=True)),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("outcome", sa.String),
        sa.Column("duration_seconds", sa.Float),
        sa.Column("turns_by", sa.JSON, nullable=False),
    )
    op.create_index("calls_of_agent", "calls", ["agent_id", "opened_at"])
    op.create_table(
        "held_words",
        sa.Column("call_sid", sa.String, sa.ForeignKey("calls.call_sid", ondelete="CASCADE"), primary_key=True),
        sa.Column("turn", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "messages",
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String, nullable=False, unique=True),
        sa.Column("agent_id", sa.String, nullable=False),
        sa.Column("call_sid", sa.String, nullable=False),
        sa.Column("part", sa.Integer, nullable=False),
        sa.Column("channel", sa.String, nullable=False),
        sa.Column("direction", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("caller", sa.Text, nullable=False),
        sa.Column("called", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("preferences", sa.Text, nullable=False),
        sa.Column("transcript", sa.JSON, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deliveries", sa.Integer, nullable=False),
        sa.Column("held_until", sa.DateTime(timezone=True)),
        sa.Column("sealed", sa.Boolean, nullable=False),
        sa.Column("acknowledged_at", sa.DateTime(timezone=True)),
        sqlite_autoincrement=True,
    )
    op.create_index("messages_of_call", "messages", ["call_sid", "part"])
    waiting = sa.text("acknowledged_at IS NULL")
    op.create_index(
        "messages_waiting", "messages", ["agent_id", "position"], sqlite_where=waiting, postgresql_where=waiting
    )
    op.create_table(
        "client_hellos",
        sa.Column("agent_id", sa.String, sa.ForeignKey("agents.agent_id", ondelete="CASCADE"), primary_key=True),
        sa.Column("key_hash", sa.String(64), primary_key=True),
        sa.Column("params", sa.Text, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    )
