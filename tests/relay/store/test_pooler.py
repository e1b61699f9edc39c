"""A pooler between the relay and its PostgreSQL server; skipped where PgBouncer is not installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from relay.errors import DatabaseError
from relay.store.call_journal import CallJournal
from relay.store.database import open_database
from relay.store.waiting_messages import WaitingMessages
from scripts.local_postgresql import free_port
from tests.contracts.message_store import call, draft
from tests.postgresql_server import PostgresqlServer

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="PgBouncer is not installed")


@contextmanager
def pooled(server: PostgresqlServer, mode: str) -> Iterator[str]:
    """Run PgBouncer in front of a server for the block, and yield the URL of a new database."""
    assert PGBOUNCER is not None
    port, database = free_port(), server.new_database()
    # The server's account, as which it runs, may read there.
    settings, users = server.directory / f"{mode}.ini", server.directory / "users.txt"
    users.write_text('"relay" ""\n')
    settings.write_text(
        f"[databases]\n* = host=127.0.0.1 port={server.port}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = trust\nauth_file = {users}\npool_mode = {mode}\nignore_startup_parameters = options\n"
    )
    url = database.replace(f":{server.port}/", f":{port}/")
    with subprocess.Popen([PGBOUNCER, "-q", settings], user=server.user, cwd="/", stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for(url)
            yield url
        finally:
            process.terminate()


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            with psycopg.connect(url):
                return
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


async def test_one_daemon_needs_a_connection_of_its_own(postgresql: PostgresqlServer) -> None:
    """Where each transaction has another one it does not start, and says what to do; nodes of a cluster do."""
    with pooled(postgresql, "transaction") as url:
        async with open_database(url) as database:
            for _attempt in range(3):
                with pytest.raises(DatabaseError, match="pool_mode = session"):
                    async with open_database(url, sole=True):
                        pass
            journal, waiting = CallJournal(database), WaitingMessages(database)
            await journal.open_call(call())
            await journal.hold_utterance("CA1", 1, "hello?")
            await waiting.leave(draft(through_turn=1))
            assert len(await waiting.list_all()) == 1


async def test_a_pool_of_sessions_is_as_good_as_none(postgresql: PostgresqlServer) -> None:
    """One daemon holds the database as long as it runs, and no longer."""
    with pooled(postgresql, "session") as url:
        for _run in range(2):
            async with open_database(url, sole=True):
                with pytest.raises(DatabaseError, match="Another relay serves"):
                    async with open_database(url, sole=True):
                        pass
