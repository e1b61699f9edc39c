"""What nobody has answered yet, in one tree on SQLite: the table and its index cost a page of each write."""

from __future__ import annotations

from alembic import op

revision = "0010_held_words"
down_revision = "0009_recent_lines"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table anew where one process alone has it, and no older one reads what this one has migrated."""
    if op.get_bind().dialect.name == "sqlite":
        with op.batch_alter_table("held_words", recreate="always", table_kwargs={"sqlite_with_rowid": False}):
            pass
