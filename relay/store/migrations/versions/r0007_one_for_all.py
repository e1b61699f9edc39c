"""What is one for all nodes of a server: calls that have an owner, the pace of new ones, audio of voice messages."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007_one_for_all"
down_revision = "0006_homes"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables. They are empty on SQLite, but for the calls."""
    op.create_table(
        "claimed_calls",
        sa.Column("call_sid", sa.String, primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "pace",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "audio",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("is_whole", sa.Boolean, nullable=False),
    )
    op.create_index("audio_by_expiry", "audio", ["expires_at"])
    op.create_table(
        "audio_pieces",
        sa.Column("key", sa.String(64), sa.ForeignKey("audio.key", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
