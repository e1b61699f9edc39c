"""A PostgreSQL server of its own, in a directory of its own, on a free port of the loopback interface.

    run_postgresql() ──▶ PostgresqlServer ──empty_database──▶ one database, whose rows are deleted for each test
                                          ──new_database────▶ another database, without any tables

Nothing is installed: where Debian's or another package has not put the programs, there is no server. It refuses to
run as root, so there it runs as the account that its package made, or as `nobody`.

Deleting rows is what a test of the store can afford: it takes a millisecond, and a copy of a template fifty.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import attrs
import psycopg

_START_SECONDS = 60
# Each new server has this one.
_FIRST = "postgres"
# Nothing of a run outlives its server, so nothing has to reach a disk, and nobody has to tidy up.
_FAST = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "autovacuum=off")
_THROW_OUT = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'"


class NotInstalled(Exception):
    """A program is not on this machine; the message says what to install."""


def programs() -> Path:
    """Return the directory of initdb and postgres. Raises `NotInstalled`."""
    found = [Path(each).parent for each in (shutil.which("initdb"), shutil.which("postgres")) if each]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for directory in found:
        if (directory / "initdb").exists() and (directory / "postgres").exists():
            return directory
    raise NotInstalled("PostgreSQL is not installed: its programs initdb and postgres are needed")


def _unprivileged() -> str | None:
    if os.geteuid() != 0:
        return None
    names = {each.pw_name for each in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


@attrs.define(eq=False)
class PostgresqlServer:
    """A server that can be stopped dead, killed and started again. `url` is SQLAlchemy's, of its `database`.

    What it commits is on disk only if it is `durable`.
    """

    directory: Path
    port: int
    user: str | None
    durable: bool = True
    database: str = _FIRST
    _process: subprocess.Popen[bytes] | None = None
    _emptied: bool = False
    _databases: Iterator[int] = attrs.field(factory=count)

    @property
    def url(self) -> str:
        return self.url_of(self.database)

    def url_of(self, database: str) -> str:
        """Return the URL of one of its databases."""
        return f"postgresql://relay@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """Make a database without tables and return its URL."""
        name = f"new_{next(self._databases)}"
        with connected(self.url_of(_FIRST)) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url_of(name)

    @contextmanager
    def with_a_new_database(self) -> Iterator[None]:
        """Have a new one for `database` in the block; after it the server runs, whatever was done to it."""
        self.database = self.new_database().rpartition("/")[2]
        try:
            yield
        finally:
            self.go_on()
            if not self.is_running:
                self.start()
            with connected(self.url_of(_FIRST)) as connection:
                connection.execute(f"DROP DATABASE {self.database} WITH (FORCE)")
            self.database = _FIRST

    def empty_database(self) -> str:
        """Return the URL of the one database whose tables have no rows, or that has no tables yet.

        Connections to it that an earlier test left are ended.
        """
        if not self._emptied:
            with connected(self.url_of(_FIRST)) as connection:
                connection.execute("CREATE DATABASE emptied")
            self._emptied = True
        url = self.url_of("emptied")
        with connected(url) as connection:
            connection.execute(_THROW_OUT)
            names = connection.execute(_TABLES).fetchall()
            connection.execute("; ".join(f"DELETE FROM {name}" for (name,) in names) or "SELECT 1")  # noqa: S608 - names of ours
        return url

    def initialise(self) -> None:
        """Make an empty cluster."""
        command = [
            str(programs() / "initdb"),
            "-D",
            str(self.directory),
            "-U",
            "relay",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-sync",
        ]
        subprocess.run(  # noqa: S603 - a program that was found, and arguments of ours
            command, check=True, user=self.user, cwd="/", stdout=subprocess.DEVNULL
        )

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        options = ["-k", "", "-h", "127.0.0.1", "-p", str(self.port)]
        if not self.durable:
            options += [part for setting in _FAST for part in ("-c", setting)]
        log_file, status = self.directory / "server.log", self.directory / "postmaster.pid"
        deadline = time.monotonic() + _START_SECONDS
        # What a killed one has left there is no news of this one; and it may still hold the memory that this one needs.
        status.unlink(missing_ok=True)
        while not (status.exists() and "ready" in status.read_text()):
            if not self.is_running:
                with log_file.open("ab") as log:
                    self._process = subprocess.Popen(  # noqa: S603 - as above
                        [programs() / "postgres", "-D", self.directory, *options], user=self.user, cwd="/", stderr=log
                    )
            if time.monotonic() > deadline:
                raise TimeoutError(log_file.read_text())
            time.sleep(0.05)

    @property
    def is_running(self) -> bool:
        """Return whether it takes connections, or would if it were not paused."""
        return self._process is not None and self._process.poll() is None

    def pause(self) -> None:
        """Stop all its processes where they are: connections stay open, and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let them go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it as a crash does."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None or not self.is_running:
            return
        # Each backend leads a session of its own, so there is no group to signal.
        for pid in (self._process.pid, *_children(self._process.pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def _children(parent: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = status.read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent:
                found.append(int(status.parent.name))
    return found


@contextmanager
def connected(url: str) -> Iterator[psycopg.Connection]:
    """Connect with the driver alone, as another program would; each statement is a transaction of its own."""
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def run_postgresql(*, durable: bool = True) -> Iterator[PostgresqlServer]:
    """Run a server for the length of the block. Raises `NotInstalled`."""
    programs()
    directory, user = Path(tempfile.mkdtemp(prefix="relay-postgresql-")), _unprivileged()
    server = PostgresqlServer(directory, free_port(), user, durable)
    try:
        if user is not None:
            shutil.chown(directory, user)
        server.initialise()
        server.start()
        yield server
    finally:
        server.go_on()
        server.kill()
        shutil.rmtree(directory, ignore_errors=True)
