"""What was said lately, on SQLite: a table that is only added to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009_recent_lines"
down_revision = "0008_console"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table. It is empty on PostgreSQL."""
    op.create_table(
        "recent_lines",
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("call_sid", sa.String, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("said", sa.Text, nullable=False),
    )
