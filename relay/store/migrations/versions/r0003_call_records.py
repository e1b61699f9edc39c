"""What the carrier says of a call, transfers, transcripts that are kept, and how an agent introduces itself."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003_call_records"
down_revision = "0002_gate"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and the table; calls that ended have no open line."""
    op.add_column("agents", sa.Column("name", sa.Text))
    op.add_column("agents", sa.Column("discloses", sa.Boolean, nullable=False, server_default=sa.true()))
    op.add_column("calls", sa.Column("kind", sa.String, nullable=False, server_default="call"))
    op.add_column("calls", sa.Column("line_ended_at", sa.DateTime(timezone=True)))
    op.add_column("calls", sa.Column("carrier_status", sa.String))
    op.add_column("calls", sa.Column("carrier_ended_at", sa.DateTime(timezone=True)))
    op.add_column("calls", sa.Column("carrier_seconds", sa.Float))
    op.add_column("calls", sa.Column("carrier_error", sa.Text))
    op.add_column("calls", sa.Column("picked_up_by", sa.Text))
    op.add_column("calls", sa.Column("transfer_to", sa.Text))
    op.add_column("calls", sa.Column("transfer_outcome", sa.String))
    op.execute("UPDATE calls SET line_ended_at = ended_at WHERE connected_at IS NOT NULL")
    op.create_index("calls_by_end", "calls", ["ended_at"])
    op.create_table(
        "transcripts",
        sa.Column("call_sid", sa.String, sa.ForeignKey("calls.call_sid", ondelete="CASCADE"), primary_key=True),
        sa.Column("lines", sa.JSON, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    confirmed = sa.text("acknowledged_at IS NOT NULL")
    op.create_index(
        "messages_acknowledged", "messages", ["acknowledged_at"], sqlite_where=confirmed, postgresql_where=confirmed
    )
