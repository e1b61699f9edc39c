"""A daemon under test with a load generator of its own, and what the operating system tells of it from outside.

    contender (this tree, or another revision in an environment of its own) ─▶ station: daemon + generator
                                                       CPU clock, memory, perf, callgrind ──┘

The generator is always this tree's and goes in by the public doors alone, so that any revision can be measured that
has them. Processor time is the process's CPU clock, which counts nanoseconds and the threads that are gone.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

from relay.simulator.load.local_daemon import LocalDaemon, run_local_daemon

REPOSITORY = Path(__file__).parents[1]
AGENT = "bench"
SETTINGS = {
    "RELAY_MAX_CALLS": "20000",
    "RELAY_MAX_CALL_SECONDS": "14400",
    # Calls rest between two measurements, longer than a caller may.
    "RELAY_SILENCE_SECONDS": "14400",
}
PROBE = Path(__file__).parent / "bench_probe.py"
PROBE_SECONDS = 10.0
DESCRIPTORS = 40_000


class BenchFailed(Exception):
    """Something that a measurement needs could not be had."""


# ── contenders ──────────────────────────────────────────────────────────────────────────────────────────────────────


@attrs.frozen
class Contender:
    """A revision that can be run: its name, its tree, and the interpreter that has it and what it needs."""

    name: str
    tree: Path
    python: str

    @property
    def program(self) -> tuple[str, ...]:
        """The `relay` command."""
        return (self.python, "-m", "relay")

    @property
    def settings(self) -> dict[str, str]:
        """What it is run with: those settings that it has, as it refuses others. Its README has a row for each."""
        known = (self.tree / "README.md").read_text()
        return {name: value for name, value in SETTINGS.items() if name in known}


HERE = Contender("here", REPOSITORY, sys.executable)


async def prepare(revision: str, tell: Callable[[str], None]) -> Contender:
    """Return a revision of this project, in a directory under the cache that is made the first time.

    It is given the packages that its own constraints name, so that what is compared is what was run then. Raises
    `BenchFailed` when there is no such revision, or its packages cannot be had.
    """
    try:
        commit = (
            await _output("git", "-C", str(REPOSITORY), "rev-parse", "--verify", f"{revision}^{{commit}}")
        ).strip()
    except subprocess.CalledProcessError:
        raise BenchFailed(f"there is no revision {revision} in {REPOSITORY}") from None
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "relay-bench"
    place = cache / commit
    python = place / "venv" / "bin" / "python"
    if not (place / "complete").exists():
        tell(f"making an environment for {revision} in {place}; this takes a minute or two, once")
        shutil.rmtree(place, ignore_errors=True)
        (place / "tree").mkdir(parents=True)
        archive = place / "tree.tar"
        await _output("git", "-C", str(REPOSITORY), "archive", "--output", str(archive), commit)
        await _output("tar", "-xf", str(archive), "-C", str(place / "tree"))
        archive.unlink()
        await _output(sys.executable, "-m", "venv", str(place / "venv"))
        constraints = str(place / "tree" / "constraints.txt")
        try:
            await _output(
                *(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
                *("--constraint", constraints, "--editable", str(place / "tree")),
            )
        except subprocess.CalledProcessError as error:
            raise BenchFailed(f"the packages of {revision} cannot be had:\n{error.stderr.decode()}") from error
        (place / "complete").touch()
    return Contender(revision, place / "tree", str(python))


async def _output(*command: str) -> str:
    done = await trio.run_process(command, capture_stdout=True, capture_stderr=True)
    return done.stdout.decode()


# ── stations ────────────────────────────────────────────────────────────────────────────────────────────────────────


@attrs.define(eq=False)
class Station:
    """A running daemon and the generator that belongs to it."""

    contender: Contender
    daemon: LocalDaemon
    _generator: trio.Process
    _tell: Callable[[str], None]
    _unread: bytes = b""

    async def order(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Have the generator do something; return what it made of it. Raises `BenchFailed`, with its reason."""
        assert self._generator.stdin is not None
        await self._generator.stdin.send_all(json.dumps({"do": do, **arguments}).encode() + b"\n")
        while True:
            told = await self._read()
            if "result" in told:
                return dict(told["result"])
            if "failure" in told:
                raise BenchFailed(f"{self.contender.name}: {told['failure']}")
            progress = told["progress"]
            answered, asked, live = progress["answered"], progress["asked"], progress["live"]
            self._tell(f"{self.contender.name}: {answered:,} of {asked:,} turns answered in {live} calls")

    async def _read(self) -> dict[str, Any]:
        assert self._generator.stdout is not None
        while b"\n" not in self._unread:
            chunk = await self._generator.stdout.receive_some()
            if not chunk:
                log = (await trio.Path(self.daemon.directory / "generator.log").read_text())[-2000:]
                raise BenchFailed(f"the load generator of {self.contender.name} has ended:\n{log}")
            self._unread += chunk
        line, _newline, self._unread = self._unread.partition(b"\n")
        return dict(json.loads(line))

    @property
    def pid(self) -> int:
        """The daemon's process."""
        return self.daemon.process.pid

    def cpu_seconds(self) -> float | None:
        """Return the daemon's processor time so far; None where the system does not tell of another process."""
        if sys.platform != "linux":
            return None
        # The kernel's number for a process's CPU clock, as clock_getcpuclockid(3) makes it.
        return time.clock_gettime((~self.pid << 3) | 2)

    def resident_bytes(self) -> int | None:
        """Return how much memory the daemon has; None where the system does not tell."""
        statm = Path(f"/proc/{self.pid}/statm")
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else None

    async def probe(self) -> dict[str, Any]:
        """Return what the probe in the daemon has seen so far."""
        file = trio.Path(probe_file(self.daemon.directory))
        await file.unlink(missing_ok=True)
        self.daemon.process.send_signal(signal.SIGUSR1)
        with trio.move_on_after(PROBE_SECONDS):
            while not await file.exists():  # noqa: ASYNC110 - another process writes it
                await trio.sleep(0.02)
            return dict(json.loads(await file.read_text()))
        raise BenchFailed("the probe in the daemon does not answer")


def probe_file(directory: Path) -> Path:
    """Return where a probe writes what it has seen."""
    return directory / "probe.json"


@asynccontextmanager
async def open_station(
    contender: Contender, tell: Callable[[str], None], *, probe: str = "", wrapper: Sequence[str] = ()
) -> AsyncIterator[Station]:
    """Run a daemon and its generator for the length of the block; with a `probe` it counts, or it is looked into.

    `wrapper` is what its command line is given to, such as valgrind. Raises `DaemonFailed`, and `BenchFailed`.
    """
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as name:
        directory = Path(name)
        prefix = (contender.python, str(PROBE), str(probe_file(directory)), probe) if probe else tuple(wrapper)
        running = run_local_daemon(
            directory, contender.settings, program=contender.program, wrapper=prefix, descriptors=_descriptors()
        )
        async with running as daemon:
            access = await daemon.register(AGENT)
            command = [
                sys.executable,
                "-m",
                "scripts.bench_generator",
                daemon.url,
                AGENT,
                access["token"],
                daemon.token,
            ]
            with (directory / "generator.log").open("wb") as log:
                generator = await trio.lowlevel.open_process(
                    command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log.fileno()
                )
            try:
                yield Station(contender, daemon, generator, tell)
            finally:
                generator.kill()
                with trio.move_on_after(5, shield=True):
                    await generator.wait()
                # Calls that are cut off are waited for by a daemon that is told to stop; nothing is measured any more.
                daemon.process.kill()


def _descriptors() -> int:
    import resource  # noqa: PLC0415 - not on every system

    return min(DESCRIPTORS, resource.getrlimit(resource.RLIMIT_NOFILE)[1])


# ── what the system counts ──────────────────────────────────────────────────────────────────────────────────────────

SYSTEM_CALLS, INSTRUCTIONS = "raw_syscalls:sys_enter", "instructions:u"


async def countable() -> frozenset[str]:
    """Return which events of perf(1) can be counted here: none without it, or without the right to."""
    return frozenset([event for event in (SYSTEM_CALLS, INSTRUCTIONS) if await _is_countable(event)])


async def _is_countable(event: str) -> bool:
    try:
        done = await trio.run_process(
            ["perf", "stat", "-x", ",", "-e", event, "true"], capture_stderr=True, check=False
        )
    except OSError:
        return False
    return event in _read_perf(done.stderr.decode())


@asynccontextmanager
async def counting(pid: int, events: Sequence[str]) -> AsyncIterator[dict[str, int]]:
    """Have perf count events of a process during the block; the counts are there after it."""
    counts: dict[str, int] = {}
    if not events:
        yield counts
        return
    command = ["perf", "stat", "-x", ",", "-e", ",".join(events), "-p", str(pid)]
    process = await trio.lowlevel.open_process(command, stderr=subprocess.PIPE)
    await trio.sleep(0.5)  # it does not tell when it has begun
    try:
        yield counts
    finally:
        process.send_signal(signal.SIGINT)
        with trio.move_on_after(5, shield=True):
            assert process.stderr is not None
            counts |= _read_perf((b"".join([chunk async for chunk in process.stderr])).decode())
            await process.wait()


def _read_perf(text: str) -> Mapping[str, int]:
    lines = (line.split(",") for line in text.splitlines())
    return {fields[2]: int(fields[0]) for fields in lines if len(fields) > 2 and fields[0].isdigit()}


CALLGRIND = ("valgrind", "--tool=callgrind", "--instr-atstart=no", "--callgrind-out-file=callgrind.%p")


async def instructions(station: Station, do: str, **arguments: Any) -> tuple[dict[str, Any], int]:
    """Have the generator of a daemon under callgrind do something; return what came of it, and the instructions."""
    pid = str(station.pid)
    await _output("callgrind_control", "--instr=on", pid)
    await _output("callgrind_control", "--zero", pid)
    result = await station.order(do, **arguments)
    await _output("callgrind_control", "--dump", pid)
    await _output("callgrind_control", "--instr=off", pid)
    dumps = sorted(station.daemon.directory.glob("callgrind.*"), key=lambda path: path.stat().st_mtime)
    totals = [re.search(r"^(?:summary|totals): (\d+)", path.read_text(), re.MULTILINE) for path in dumps]
    found = [int(each[1]) for each in totals if each]
    if not found:
        raise BenchFailed("callgrind has written nothing")
    return result, found[-1]
