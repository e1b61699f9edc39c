"""A daemon to call: `relay serve --local` as a process of its own, for the demo, the benchmarks and the tests.

    async with run_local_daemon(directory) as daemon, open_carrier(ACCOUNT, daemon.token, daemon.url) as carrier:
        access = await daemon.register("my-client")

A daemon that calls out must know the carrier's REST API before it starts, and the carrier the daemon's address and
token: `run_local_world` takes the API's port first, serves it last, and gives both.

    async with run_local_world(directory) as (daemon, carrier, rest):
        rest.callee("+15559876543", Answers(says=("Hello?",)))
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import attrs
import trio

from relay.http.listener import address_of, bind
from relay.simulator.carrier.exchange import Carrier, open_carrier
from relay.simulator.carrier.rest_service import RestApi, open_rest

ACCOUNT = "AC" + "0" * 32
"""The carrier's account in local runs: any will do."""

PROGRAM = (sys.executable, "-m", "relay")
"""The `relay` command of this process's own environment."""

START_SECONDS = 60.0
STOP_SECONDS = 30.0

# The caller's own settings must not reach it: a demo or a test must not touch a real database or account.
_FOREIGN = (
    *("TWILIO_", "RELAY_", "DEFAULT_VOICE_", "DATABASE_URL", "PUBLIC_URL"),
    *("ANTHROPIC_", "ANSWERING_", "ELEVENLABS_"),
)


RunProcess = Callable[..., Awaitable["subprocess.CompletedProcess[bytes]"]]


class DaemonProcess(Protocol):
    """What is used of a daemon's process. A `trio.Process` is one."""

    @property
    def pid(self) -> int: ...
    @property
    def returncode(self) -> int | None: ...
    def poll(self) -> int | None: ...
    def send_signal(self, sig: signal.Signals, /) -> None: ...
    def kill(self) -> None: ...
    async def wait(self) -> int: ...


class DaemonFailed(Exception):
    """The daemon did not start, or did not stop as it should, with its log."""


@attrs.define(eq=False)
class LocalDaemon:
    """A running daemon. `token` is what the simulated carrier signs with."""

    directory: Path
    process: DaemonProcess
    url: str
    token: str = attrs.field(repr=False)
    _settings: Mapping[str, str]
    _program: Sequence[str] = PROGRAM
    _run_process: RunProcess = trio.run_process

    @property
    def database_url(self) -> str:
        """Return the URL of its database, wherever it is opened from."""
        return self._settings.get("DATABASE_URL", f"sqlite:///{self.directory / 'relay.db'}")

    async def register(self, agent_id: str, *options: str) -> dict[str, str]:
        """Register an agent by the command line; return what `relay agents add --json` prints."""
        return dict(json.loads(await self.command("agents", "add", agent_id, "--json", *options)))

    async def command(self, *words: str) -> str:
        """Run a `relay` command on this daemon's database; return its output.

        Raises `subprocess.CalledProcessError` when it fails.
        """
        done = await self._run_process(
            [*self._program, *words],
            cwd=self.directory,
            env=_environment({**self._settings, "PUBLIC_URL": self.url}),
            capture_stdout=True,
            capture_stderr=True,
        )
        return done.stdout.decode()

    async def interact(self, *words: str) -> int:
        """Run a `relay` command on this daemon at the terminal of this process; return its exit status."""
        done = await trio.run_process(
            [*self._program, *words],
            stdin=sys.stdin.fileno(),
            cwd=self.directory,
            env=_environment(self._settings),
            check=False,
        )
        return done.returncode

    async def events(self, name: str | None = None) -> list[dict[str, Any]]:
        """Return the log's events so far, all or those of one name."""
        log = await trio.Path(self.directory / "daemon.log").read_text()
        # The last line may still be being written.
        events = [json.loads(line) for line in log[: log.rfind("\n") + 1].splitlines() if line.startswith("{")]
        return [event for event in events if name in {None, event["event"]}]

    async def kill(self) -> None:
        """Kill it as a crash or an operator's SIGKILL does."""
        self.process.kill()
        await self.process.wait()

    async def stop(self) -> int:
        """Stop it as an operator does; return its exit status. Idempotent."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        with trio.fail_after(STOP_SECONDS):
            return await self.process.wait()


@asynccontextmanager
async def run_local_daemon(
    directory: Path,
    settings: Mapping[str, str] | None = None,
    *,
    port: int = 0,
    descriptors: int | None = None,
    program: Sequence[str] = PROGRAM,
    wrapper: Sequence[str] = (),
    is_local: bool = True,
    open_process: Callable[..., Awaitable[DaemonProcess]] = trio.lowlevel.open_process,
    run_process: RunProcess = trio.run_process,
) -> AsyncIterator[LocalDaemon]:
    """Run a daemon in `directory` for the length of the block, then stop it.

    `descriptors` is how many files and sockets it may have open at most. `program` is another revision's `relay`
    command; the daemon's is given to `wrapper`, where there is one. One that is not `is_local` is told its account and
    its address by the settings. `open_process` is called as Trio's is, and so is `run_process`, for its commands. A
    second daemon in the same directory finds the database of the first. Raises `DaemonFailed` when it does not get
    ready, or stops with an unexpected error; on cancellation it is killed.
    """
    given = settings or {}
    log = trio.Path(directory / "daemon.log")
    began = len(await log.read_bytes()) if await log.exists() else 0
    command = [*wrapper, *program, "serve", *(["--local"] if is_local else []), "--port", str(port)]
    if descriptors is not None:
        command = ["sh", "-c", f'ulimit -n {descriptors} && exec "$@"', "sh", *command]
    async with await log.open("ab") as errors:
        process = await open_process(
            command, cwd=directory, env=_environment(given), stdin=subprocess.DEVNULL, stderr=errors.fileno()
        )
    try:
        with trio.fail_after(START_SECONDS * 10 if wrapper else START_SECONDS):
            url = await _ready_url(process, log, began)
        token = given.get("TWILIO_AUTH_TOKEN") or await trio.Path(directory / "relay.db.token").read_text()
        daemon = LocalDaemon(directory, process, url, token, given, program, run_process)
        yield daemon
        status = await daemon.stop()
        if status not in {0, -signal.SIGKILL}:
            raise DaemonFailed(f"the daemon ended with {status}:\n{await log.read_text()}")
    finally:
        process.kill()
        with trio.move_on_after(STOP_SECONDS, shield=True):
            await process.wait()


class LocalWorld(NamedTuple):
    """A daemon, the carrier whose calls it takes, and the REST API over which it orders calls of that carrier."""

    daemon: LocalDaemon
    carrier: Carrier
    rest: RestApi


@asynccontextmanager
async def run_local_world(
    directory: Path,
    settings: Mapping[str, str] | None = None,
    *,
    speech_rate: float | None = None,
    calls_per_second: float | None = None,
) -> AsyncIterator[LocalWorld]:
    """Run a daemon that can call out, and the simulated carrier around it, for the length of the block.

    The daemon is told where the API is, unless the settings say it; `speech_rate` is as for `open_carrier` and
    `calls_per_second` as for `open_rest`. At the end of the block calls that the daemon ordered are cut, others must be
    over, and the daemon is stopped. Raises as `run_local_daemon` does, and `ListenError` without a free port.
    """
    async with AsyncExitStack() as stack:
        # The sockets queue what comes before they are served: the daemon may ask as soon as it runs.
        listeners = await bind("127.0.0.1", 0)
        for listener in listeners:
            await stack.enter_async_context(listener)
        host, port = address_of(listeners)
        given = {"TWILIO_API_BASE_URL": f"http://{host}:{port}", **(settings or {})}
        daemon = await stack.enter_async_context(run_local_daemon(directory, given))
        account = given.get("TWILIO_ACCOUNT_SID", ACCOUNT)
        connected = open_carrier(account, daemon.token, daemon.url, speech_rate=speech_rate)
        carrier = await stack.enter_async_context(connected)
        api = open_rest(carrier, calls_per_second=calls_per_second, listeners=listeners)
        yield LocalWorld(daemon, carrier, await stack.enter_async_context(api))


async def _ready_url(process: DaemonProcess, log: trio.Path, began: int) -> str:
    while process.poll() is None:
        for line in (await log.read_bytes())[began:].splitlines():
            if b'"ready"' in line:
                return str(json.loads(line)["url"])
        await trio.sleep(0.05)
    raise DaemonFailed(f"the daemon did not start:\n{await log.read_text()}")


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)} | dict(settings)
