"""What a call goes on with in another process: the runs of the daemon, what a call was told, and what was said."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005_durable_calls"
down_revision = "0004_fillers"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables and the column. Runs that have left something are entered, and over from the next start."""
    op.add_column("calls", sa.Column("attempt", sa.Integer, nullable=False, server_default="0"))
    is_open = sa.text("ended_at IS NULL OR (connected_at IS NOT NULL AND line_ended_at IS NULL)")
    op.create_index("calls_open", "calls", ["boot"], sqlite_where=is_open, postgresql_where=is_open)
    is_dialling = sa.text("transfer_outcome = 'dialling'")
    op.create_index("calls_dialling", "calls", ["opened_at"], sqlite_where=is_dialling, postgresql_where=is_dialling)
    op.create_table(
        "runs",
        sa.Column("boot", sa.String, primary_key=True),
        sa.Column("node", sa.String, nullable=False),
        sa.Column("url", sa.String, nullable=False),
        sa.Column("version", sa.String, nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("over_at", sa.DateTime(timezone=True)),
    )
    op.create_table(
        "call_states",
        sa.Column("call_sid", sa.String, primary_key=True),
        sa.Column("agent_id", sa.String, nullable=False),
        sa.Column("is_order", sa.Boolean, nullable=False),
        sa.Column("ticket_hash", sa.String(64)),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("info", sa.Text, nullable=False),
    )
    op.create_index("call_states_by_ticket", "call_states", ["ticket_hash"])
    op.create_table(
        "call_lines",
        sa.Column("call_sid", sa.String, sa.ForeignKey("calls.call_sid", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("said", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO runs (boot, node, url, version, started_at, seen_at) "
        "SELECT boot, '', '', '', MIN(opened_at), MAX(opened_at) FROM calls "
        "WHERE ended_at IS NULL OR (connected_at IS NOT NULL AND line_ended_at IS NULL) "
        "OR call_sid IN (SELECT call_sid FROM held_words) GROUP BY boot"
    )
