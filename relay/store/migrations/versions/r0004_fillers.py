"""What an agent's callers hear while they wait for its client."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004_fillers"
down_revision = "0003_call_records"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; agents that are there keep the words of the call's language."""
    op.add_column("agents", sa.Column("fillers", sa.JSON))
    op.add_column("agents", sa.Column("long_filler", sa.Text))
