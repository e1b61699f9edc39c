"""Several nodes on one database: who they are, and which of them is the home of an agent."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006_homes"
down_revision = "0005_durable_calls"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table and the columns. Earlier runs were no nodes of a cluster."""
    for name in ("is_member", "is_leaving"):
        op.add_column("runs", sa.Column(name, sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("runs", sa.Column("public_url", sa.String, nullable=False, server_default=""))
    op.add_column("runs", sa.Column("account_proof", sa.String(64), nullable=False, server_default=""))
    op.create_table(
        "homes",
        sa.Column("agent_id", sa.String, primary_key=True),
        sa.Column("node", sa.String, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("had_client", sa.Boolean, nullable=False),
    )
    op.create_index("homes_of_node", "homes", ["node"])
