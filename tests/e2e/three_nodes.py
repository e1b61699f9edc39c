"""Three nodes where a test expects one daemon, and nothing enters at the agent's home: `scripts/test … --cluster`.

    client ──▶ node a ──┐
                        ├──▶ node c, the agent's home: its process and its directory are the daemon's
    carrier ─▶ node b ──┘

All have one PUBLIC_URL: the address of a, or what a test gives them. Killing or stopping the daemon kills or stops the
home; what is started in the same directory while the other two still run is the next node c, and what is started there
when all are over has the address of a again.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import attrs
import httpx2
import trio

from relay.simulator.load.local_daemon import STOP_SECONDS, LocalDaemon, run_local_daemon
from scripts.local_postgresql import free_port


@runtime_checkable
class Doors(Protocol):
    """A daemon with more addresses than its `url`, where clients come: the carrier's, and that of its own process."""

    carrier_url: str
    home_url: str


@attrs.define(eq=False)
class ThreeNodes(LocalDaemon):
    """Node c in the place of one daemon, with the doors to it."""

    carrier_url: str = attrs.field(kw_only=True)
    home_url: str = attrs.field(kw_only=True)
    others: tuple[LocalDaemon, ...] = attrs.field(kw_only=True)

    async def register(self, agent_id: str, *options: str) -> dict[str, str]:
        """Register an agent by the command line, and have it at home."""
        access = await LocalDaemon.register(self, agent_id, *options)
        await be_at_home(self, access["token"])
        return access

    async def events(self, name: str | None = None) -> list[dict[str, Any]]:
        """Return the events of all logs, each node's in their order, all or those of one name."""
        of_others = [event for node in self.others for event in await node.events(name)]
        return [*of_others, *await LocalDaemon.events(self, name)]


async def be_at_home(daemon: object, token: str) -> None:
    """Let an agent be at home where the daemon's process is, by the first request with its token, which opens nothing.

    No-op for a daemon with one address.
    """
    if isinstance(daemon, Doors):
        async with httpx2.AsyncClient() as http:
            answer = await http.post(f"{daemon.home_url}/mcp", headers={"Authorization": f"Bearer {token}"}, json={})
        assert answer.status_code == 400, answer.text


async def kill_all(daemon: LocalDaemon) -> None:
    """Kill the daemon and whatever could go on with its calls in its place."""
    for node in (*(daemon.others if isinstance(daemon, ThreeNodes) else ()), daemon):
        await node.kill()


_running: dict[Path, ThreeNodes] = {}
# Where clients come to the nodes of a directory, which is their PUBLIC_URL: while those that were killed count as seen,
# the next three cannot have another one.
_entries: dict[Path, str] = {}


@asynccontextmanager
async def run_three_nodes(
    directory: Path, settings: Mapping[str, str], *, port: int = 0, **options: Any
) -> AsyncIterator[ThreeNodes]:
    """Run nodes a, b and c on the database of `settings` for the length of the block; the carrier comes to `port`.

    `options` are those of `run_local_daemon`, for each of them.
    """
    if directory in _running:
        async with _next_home(_running[directory], settings, **options) as cluster:
            yield cluster
        return
    urls = {"a": _entries.setdefault(directory, _url()), "b": _url(port), "c": _url()}
    given = {"PUBLIC_URL": urls["a"], **settings}
    async with run_nodes(directory, given, urls, **options) as nodes:
        a, b, home = (nodes[name] for name in "abc")
        cluster = _running[directory] = ThreeNodes(
            directory,
            home.process,
            urls["a"],
            home.token,
            given,
            carrier_url=urls["b"],
            home_url=urls["c"],
            others=(a, b),
        )
        try:
            yield cluster
        finally:
            del _running[directory]


@asynccontextmanager
async def run_nodes(
    directory: Path, settings: Mapping[str, str], urls: Mapping[str, str], **options: Any
) -> AsyncIterator[dict[str, LocalDaemon]]:
    """Run nodes of these names and addresses for the length of the block: c in the directory, others below it.

    They are started together, and stopped together, so that no agent moves to one that is the next to be stopped.
    """
    nodes: dict[str, LocalDaemon] = {}

    async def start(name: str, url: str) -> None:
        place = directory if name == "c" else directory / f"node-{name}"
        place.mkdir(exist_ok=True)
        started = run_local_daemon(place, _settings_of(name, url, settings), port=_port(url), **options)
        nodes[name] = await stack.enter_async_context(started)

    async with AsyncExitStack() as stack:
        async with trio.open_nursery() as nursery:
            for name, url in urls.items():
                nursery.start_soon(start, name, url)
        yield nodes
        running = [node.process for node in nodes.values() if node.process.returncode is None]
        for process in running:
            process.send_signal(signal.SIGTERM)
        with trio.fail_after(STOP_SECONDS):
            for process in running:
                await process.wait()


@asynccontextmanager
async def _next_home(before: ThreeNodes, settings: Mapping[str, str], **options: Any) -> AsyncIterator[ThreeNodes]:
    """Run node c again, in the place of one that is over."""
    url = before.home_url
    given = _settings_of("c", url, {"PUBLIC_URL": before.url, **settings})
    async with run_local_daemon(before.directory, given, port=_port(url), **options) as home:
        yield attrs.evolve(before, process=home.process)


def _settings_of(name: str, url: str, settings: Mapping[str, str]) -> dict[str, str]:
    return {**settings, "RELAY_NODE": name, "RELAY_NODE_URL": url}


def _url(port: int = 0) -> str:
    return f"http://127.0.0.1:{port or free_port()}"


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])
