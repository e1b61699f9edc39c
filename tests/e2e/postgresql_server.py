"""A PostgreSQL server of a test's own, in a directory of its own, on a free port of the loopback interface.

Nothing is installed: where Debian's or another package has not put the programs, the tests are skipped. The server
refuses to run as root, so there it runs as the account that its package made, or as `nobody`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs
import pytest

from tests.e2e.calling_out import free_port

_START_SECONDS = 60


def programs() -> Path:
    """Return where initdb and postgres are. Skips the test without them, except in CI, which installs them."""
    found = [Path(each).parent for each in (shutil.which("initdb"), shutil.which("postgres")) if each]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for directory in found:
        if (directory / "initdb").exists() and (directory / "postgres").exists():
            return directory
    message = "PostgreSQL is not installed: these tests need its programs initdb and postgres"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def _unprivileged() -> str | None:
    if os.geteuid() != 0:
        return None
    names = {each.pw_name for each in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


@attrs.define(eq=False)
class PostgresqlServer:
    """A server that can be stopped dead, killed and started again. `url` is SQLAlchemy's."""

    directory: Path
    port: int
    user: str | None
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://relay@127.0.0.1:{self.port}/postgres"

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
        subprocess.run(command, check=True, user=self.user, cwd="/", stdout=subprocess.DEVNULL)

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        options = ["-k", "", "-h", "127.0.0.1", "-p", str(self.port)]
        with (self.directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [programs() / "postgres", "-D", self.directory, *options], user=self.user, cwd="/", stderr=log
            )
        status = self.directory / "postmaster.pid"
        deadline = time.monotonic() + _START_SECONDS
        while not (status.exists() and "ready" in status.read_text()):
            assert self._process.poll() is None, (self.directory / "server.log").read_text()
            assert time.monotonic() < deadline, "the server does not start"
            time.sleep(0.05)

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
        if self._process is None or self._process.poll() is not None:
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
def run_postgresql() -> Iterator[PostgresqlServer]:
    """Run a server for the length of the block."""
    programs()
    directory, user = Path(tempfile.mkdtemp(prefix="relay-postgresql-")), _unprivileged()
    server = PostgresqlServer(directory, free_port(), user)
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
