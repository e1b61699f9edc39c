"""What the console keeps: operators, their sessions, what they did, the times of each turn, who has a message."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008_console"
down_revision = "0007_one_for_all"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables, empty, and two columns to the messages: of those that there are, nobody knows who had them."""
    op.create_table(
        "operators",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("role", sa.String, nullable=False),
        sa.Column("token_hash", sa.String(64), nullable=False, unique=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("disabled_at", sa.DateTime(timezone=True)),
    )
    op.create_table(
        "console_sessions",
        sa.Column("id_hash", sa.String(64), primary_key=True),
        sa.Column("operator", sa.String, sa.ForeignKey("operators.name", ondelete="CASCADE"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True)),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("console_sessions_of_operator", "console_sessions", ["operator"])
    op.create_table(
        "operator_actions",
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("operator", sa.String, nullable=False),
        sa.Column("action", sa.String, nullable=False),
        sa.Column("agent_id", sa.String),
        sa.Column("call_sid", sa.String),
        sa.Column("outcome", sa.String, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
    )
    op.create_index("operator_actions_by_age", "operator_actions", ["at"])
    op.create_index("operator_actions_of_call", "operator_actions", ["call_sid"])
    op.create_table(
        "call_turns",
        sa.Column("call_sid", sa.String, sa.ForeignKey("calls.call_sid", ondelete="CASCADE"), primary_key=True),
        sa.Column("turn", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("by", sa.String),
        sa.Column("outcome", sa.String),
        sa.Column("arrived_ms", sa.Float),
        sa.Column("stored_ms", sa.Float),
        sa.Column("asked_ms", sa.Float),
        sa.Column("first_ms", sa.Float),
        sa.Column("out_ms", sa.Float),
        sa.Column("last_ms", sa.Float),
        sa.Column("heard_ms", sa.Float),
        sqlite_with_rowid=False,
    )
    op.add_column("messages", sa.Column("held_by", sa.Text))
    op.add_column("messages", sa.Column("acknowledged_by", sa.Text))
