"""What a daemon says of its own state."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from relay.daemon.status import DaemonStatus
from relay.store.database import open_database


async def test_a_node_that_is_not_seen_takes_no_calls(tmp_path: Path) -> None:
    """Whatever it can write: the others take its agents, and who watches it learns why, until it is seen again."""
    seen = False
    async with open_database(f"sqlite:///{tmp_path / 'relay.db'}") as database:
        status = DaemonStatus(
            database=database,
            calls=SimpleNamespace(draining=False),  # type: ignore[arg-type]
            clients=SimpleNamespace(),  # type: ignore[arg-type]
            has_answering_machine=True,
            is_seen=lambda: seen,
        )
        why = "it does not learn that this node is here, so the other nodes do not see it"
        assert await status.checks() == {"database": why, "draining": None}
        assert status.banner() == f"The database is in trouble: {why}."
        seen = True
        assert await status.checks() == {"database": None, "draining": None}
        assert status.banner() is None
