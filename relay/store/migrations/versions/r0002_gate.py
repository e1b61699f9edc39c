"""What the gate goes by: the do-not-call list, consents, switched-off agents, and recent dials."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002_gate"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables and their indexes."""
    op.create_table(
        "do_not_call",
        sa.Column("number", sa.String, primary_key=True),
        sa.Column("agent_id", sa.String, primary_key=True),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("added_by", sa.Text, nullable=False),
    )
    op.create_table(
        "consents",
        sa.Column("agent_id", sa.String, sa.ForeignKey("agents.agent_id", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.String, primary_key=True),
        sa.Column("purpose", sa.Text, primary_key=True),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("given_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_by", sa.Text, nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True)),
    )
    op.create_table(
        "outbound_switches",
        sa.Column("agent_id", sa.String, sa.ForeignKey("agents.agent_id", ondelete="CASCADE"), primary_key=True),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    op.create_table(
        "dials",
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("agent_id", sa.String, nullable=False),
        sa.Column("number", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("dials_to_number", "dials", ["number", "at"])
    op.create_index("dials_of_agent", "dials", ["agent_id", "at"])
    op.create_index("dials_by_age", "dials", ["at"])
