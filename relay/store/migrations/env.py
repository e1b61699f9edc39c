"""Where Alembic finds its connection: `relay.store.engine` hands one over, inside a transaction of its own.

There is no `alembic.ini` and no offline mode: the daemon and each command bring the database up to date when they
open it, and a user never runs Alembic by hand.
"""

from __future__ import annotations

from alembic import context

from relay.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
