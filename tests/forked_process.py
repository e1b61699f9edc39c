"""Processes that are forked where their imports are done: a second or two less of CPU time for each.

    async with run_local_daemon(directory) as daemon: ...

Each is a process as any other: its own id, directory, environment and standard streams; signals reach it and no one
else, and it ends by itself. What it has not is a command line that `ps` shows. Most daemons and clients of the tests
are started so; those of tests about the start itself, and those with few descriptors, as users start them.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import attrs
import trio

from relay.simulator.load import local_daemon

SERVER = Path(__file__).with_name("fork_server.py")
RELAY = (
    *("relay.daemon.life_cycle", "relay.cli.main", "relay.cli.serve"),
    *("relay.cli.attach", "relay.attach.client_session", "relay.attach.command_brain", "relay.attach.report"),
    *("relay.cli.call", "relay.cli.caller.caller", "relay.cli.caller.lines"),
    *("relay.simulator.load.costs", "relay.simulator.load.outbound_load", "relay.simulator.load.turn_tool_clients"),
)
"""What a daemon, a command that is used with one, and a load on it import."""


@attrs.define(eq=False)
class ForkedProcess:
    """A process of a fork server, in the shape of a `trio.Process`."""

    pid: int
    _answer: int
    stdin: trio.abc.SendStream | None = None
    stdout: trio.abc.ReceiveStream | None = None
    _status: int | None = None
    _waiting: trio.Lock = attrs.field(factory=trio.Lock)

    @property
    def returncode(self) -> int | None:
        """The exit status, negative if a signal ended it; None while it runs."""
        return self.poll()

    def poll(self) -> int | None:
        """Return the exit status, None while it runs."""
        if self._status is None:
            try:
                answer = os.read(self._answer, 100)
            except BlockingIOError:
                return None
            os.close(self._answer)
            self._status = int(answer)
        return self._status

    async def wait(self) -> int:
        """Wait until it is over; return the exit status."""
        async with self._waiting:
            while (status := self.poll()) is None:
                await trio.lowlevel.wait_readable(self._answer)
            return status

    def send_signal(self, number: int) -> None:
        """Send a signal. No-op if it is over."""
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it is over, and the server has not said so yet
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL. No-op if it is over."""
        self.send_signal(signal.SIGKILL)


@functools.cache
def _server(python: str, imports: tuple[str, ...]) -> socket.socket:
    """Start the fork server of an interpreter, once a test process; it ends with the socket that is returned."""
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen([python, str(SERVER), *imports], stdin=theirs.fileno())

    def end() -> None:
        mine.close()
        process.wait()

    atexit.register(end)
    return mine


async def open_forked(
    imports: tuple[str, ...],
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: int | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
) -> ForkedProcess:
    """Start a process as `trio.lowlevel.open_process` does; `command` begins with an interpreter.

    `imports` are modules that its fork server has imported.
    """
    python, *rest = command
    request = {"command": rest, "cwd": str(cwd or Path.cwd()), "env": dict(os.environ if env is None else env)}
    answer, theirs = os.pipe()
    ends = [_ends_of(number, given) for number, given in enumerate((stdin, stdout, stderr))]
    handed = [*(of_child for _of_parent, of_child in ends), theirs]
    socket.send_fds(_server(python, imports), [json.dumps(request).encode()], handed)
    for descriptor in handed:
        os.close(descriptor)
    os.set_blocking(answer, False)
    pid = b""
    # Until its id is known nobody could end it; the server answers as soon as it has its imports behind it.
    with trio.CancelScope(shield=True):
        while not pid.endswith(b"\n"):
            await trio.lowlevel.wait_readable(answer)
            byte = os.read(answer, 1)
            if not byte:
                raise ChildProcessError(f"the fork server of {python} is gone")
            pid += byte
    written, read, _errors = (None if each is None else trio.lowlevel.FdStream(each) for each, _of_child in ends)
    return ForkedProcess(int(pid), answer, written, read)


def _ends_of(number: int, given: int | None) -> tuple[int | None, int]:
    """Return this process's end of a standard stream, if it has one, and the end of the new process."""
    if given == subprocess.PIPE:
        read, write = os.pipe()
        return (write, read) if number == 0 else (read, write)
    if given == subprocess.DEVNULL:
        return None, os.open(os.devnull, os.O_RDWR)
    return None, os.dup(number if given is None else given)


def opener(imports: tuple[str, ...]) -> Callable[..., Awaitable[trio.Process | ForkedProcess]]:
    """Return what starts a process: `open_forked` on Linux. Elsewhere a fork may not use the system's libraries."""
    return functools.partial(open_forked, imports) if sys.platform == "linux" else trio.lowlevel.open_process


async def run_relay(
    command: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run a command of the relay, forked, until it ends; keep what it printed."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin)
        given.seek(0)
        streams = {"stdin": given.fileno(), "stdout": out.fileno(), "stderr": err.fileno()}
        process = await opener(RELAY)(command, cwd=cwd, env=env, **streams)
        try:
            status = await process.wait()
        finally:
            process.kill()
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(command, status, out.read(), err.read())


async def _run_checked(command: Sequence[str], *, cwd: Path, env: Mapping[str, str], **_captured: bool) -> Any:
    """Run a command of the relay as `trio.run_process` does, forked. Raises `subprocess.CalledProcessError`."""
    done = await run_relay(command, cwd=cwd, env=env)
    done.check_returncode()
    return done


_open_relay = opener(RELAY)
_databases: dict[Path, str] = {}
# The simulated carrier's secret would be in a file named after the database.
_TOKEN = "0" * 32


class RunDaemon(Protocol):
    """What runs a daemon, as `relay.simulator.load.local_daemon.run_local_daemon` does."""

    def __call__(
        self, directory: Path, settings: Mapping[str, str], **options: Any
    ) -> AbstractAsyncContextManager[local_daemon.LocalDaemon]: ...


@attrs.frozen
class _Way:
    make_database: Callable[[], str] | None = None
    run: RunDaemon | None = None


_way = _Way()


@contextmanager
def daemons_with(make_database: Callable[[], str], run: RunDaemon | None = None) -> Iterator[None]:
    """Have each daemon that is started in the block use a database that `make_database` returns the URL of.

    `run` runs more than one in its place. A daemon that is told of a database keeps to it and is the only one, and the
    second one of a directory gets that of the first.
    """
    global _way  # noqa: PLW0603 - the tests name `run_local_daemon`, and not who provides its database
    before, _way = _way, _Way(make_database, run)
    try:
        yield
    finally:
        _way = before


def database_in(directory: Path) -> str:
    """Return the URL of the database of a daemon in this directory, which is new where there was none yet."""
    if _way.make_database is None:
        return f"sqlite:///{directory / 'relay.db'}"
    if directory not in _databases:
        _databases[directory] = _way.make_database()
    return _databases[directory]


def is_one_of_many() -> bool:
    """Return whether more daemons than one run in the place of each."""
    return _way.run is not None


def settings_in(directory: Path) -> dict[str, str]:
    """Return what a command in the directory of a daemon needs to be told, where that was told it too."""
    if directory not in _databases:
        return {}
    return {"DATABASE_URL": _databases[directory], "TWILIO_AUTH_TOKEN": _TOKEN}


def run_local_daemon(
    directory: Path, settings: Mapping[str, str] | None = None, **options: Any
) -> AbstractAsyncContextManager[local_daemon.LocalDaemon]:
    """Run a daemon as `relay.simulator.load.local_daemon` does, forked unless `options` say otherwise."""
    given, options = dict(settings or {}), {"open_process": _open_relay, **options}
    if _way.make_database is not None and "DATABASE_URL" not in given:
        given = {"TWILIO_AUTH_TOKEN": _TOKEN, **given, "DATABASE_URL": database_in(directory)}
        if _way.run is not None:
            return _way.run(directory, given, **options)
    return local_daemon.run_local_daemon(directory, given, **{"run_process": _run_checked, **options})
