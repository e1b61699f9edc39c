"""A cluster of its own: PostgreSQL, nodes as processes, and HAProxy before them from the file that operators are given.

    carrier, clients ──▶ HAProxy (deploy/haproxy-cluster.cfg) ──▶ relay-1 … relay-3 ──▶ PostgreSQL
                                                                     └── a door ──┴── a door ──┘

Where a node is to be cut off, what leads to it or from it goes through a `Door` of this process, which can be shut.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path

import attrs
import httpx2
import trio

from relay.simulator.load.local_daemon import ACCOUNT, DaemonFailed, DaemonProcess, LocalDaemon, run_local_daemon
from relay.store.database import open_database
from relay.store.homes import Homes
from scripts.local_hosts import Host, Hosts, run_hosts
from scripts.local_postgresql import NotInstalled, PostgresqlServer, free_port, run_postgresql

CONFIGURATION = Path(__file__).parents[1] / "deploy" / "haproxy-cluster.cfg"
TOKEN = "0" * 32
"""The carrier's auth token."""

MOST_NODES = 3
"""As many as the configuration of HAProxy names."""

_START_SECONDS = 15.0
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"


@attrs.define(eq=False)
class Door:
    """A TCP port that leads to another one of this machine, as long as it is open. What waits at it is not lost."""

    port: int
    target: int
    host: str = "127.0.0.1"
    """The address that it is at; it leads to loopback."""
    _opened: trio.Event = attrs.field(factory=trio.Event)

    def shut(self) -> None:
        """Let nothing through any more, in either direction; connections stay, and new ones are made."""
        self._opened = trio.Event()

    def open(self) -> None:
        """Let everything through, also what has waited."""
        self._opened.set()

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take connections until cancelled."""
        self.open()
        listeners = await trio.open_tcp_listeners(self.port, host=self.host)
        task_status.started()
        await trio.serve_listeners(self._pass_on, listeners)

    async def _pass_on(self, near: trio.SocketStream) -> None:
        await self._opened.wait()
        try:
            async with await trio.open_tcp_stream("127.0.0.1", self.target) as far, trio.open_nursery() as nursery:
                nursery.start_soon(self._pump, near, far, nursery.cancel_scope)
                nursery.start_soon(self._pump, far, near, nursery.cancel_scope)
        except OSError:
            pass  # as the port itself would refuse

    async def _pump(self, source: trio.SocketStream, sink: trio.SocketStream, both: trio.CancelScope) -> None:
        try:
            async for piece in source:
                await self._opened.wait()
                await sink.send_all(piece)
            await sink.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            both.cancel()


@attrs.define(eq=False)
class LocalNode:
    """A node that can be started again; `daemon` is its newest process. `host` is its own, where it has one."""

    name: str
    directory: Path
    port: int
    settings: Mapping[str, str]
    _stack: AsyncExitStack
    _open_process: Callable[..., Awaitable[DaemonProcess]]
    host: Host | None = None
    _daemon: LocalDaemon | None = None

    @property
    def daemon(self) -> LocalDaemon:
        """Return its newest process. It must have been started."""
        assert self._daemon is not None
        return self._daemon

    async def start(self) -> None:
        """Start it, and wait until it is ready. Raises `DaemonFailed`."""
        running = run_local_daemon(
            self.directory,
            self.settings,
            port=self.port,
            wrapper=() if self.host is None else self.host.wrapper,
            is_local=self.host is None,
            open_process=self._open_process,
        )
        self._daemon = await self._stack.enter_async_context(running)


@attrs.define(eq=False)
class LocalCluster:
    """A running cluster; `url` is where HAProxy answers. The doors are by the name of the node, where there are any."""

    url: str
    server: PostgresqlServer
    nodes: dict[str, LocalNode]
    database_doors: dict[str, Door]
    node_doors: dict[str, Door]
    hosts: Hosts | None = None
    token: str = TOKEN

    @property
    def database_url(self) -> str:
        """Return the URL of its database, past all doors."""
        return self.server.url

    async def register(self, agent_id: str, *options: str) -> str:
        """Register an agent, with options of `relay agents add`; return its token."""
        return (await next(iter(self.nodes.values())).daemon.register(agent_id, *options))["token"]

    async def be_at_home(self, token: str, name: str) -> None:
        """Make a node the home of an agent that has none yet: its first client comes there, and leaves."""
        url = f"{self.nodes[name].daemon.url}/sse"
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx2.AsyncClient(headers=headers) as http, http.stream("GET", url) as answer:
            answer.raise_for_status()

    async def home_of(self, agent_id: str) -> str | None:
        """Return the name of the node that is an agent's home."""
        async with open_database(self.database_url) as database:
            home = await Homes(database).find(agent_id)
        return None if home is None else home.node


@asynccontextmanager
async def run_local_cluster(
    directory: Path,
    count: int = MOST_NODES,
    settings: Mapping[str, str] | None = None,
    *,
    has_doors: bool = False,
    entries: Mapping[str, str] | None = None,
    has_hosts: bool = False,
    open_process: Callable[..., Awaitable[DaemonProcess]] = trio.lowlevel.open_process,
) -> AsyncIterator[LocalCluster]:
    """Run PostgreSQL, up to three nodes and HAProxy for the length of the block, all on loopback.

    With doors, each node reaches PostgreSQL, and the others reach it, through one of its own. With hosts, each node has
    a network namespace of its own. `entries` is as for `configure`. Raises `NotInstalled` without PostgreSQL or
    HAProxy, or where there can be no such namespaces, and `DaemonFailed` when a node or HAProxy does not start.
    """
    find_haproxy()
    public = free_port()
    ports = {f"relay-{number}": free_port() for number in range(1, count + 1)}
    with ExitStack() as servers:
        hosts = servers.enter_context(run_hosts(list(ports))) if has_hosts else None
        server = await trio.to_thread.run_sync(servers.enter_context, run_postgresql())
        async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
            cluster = LocalCluster(f"http://127.0.0.1:{public}", server, {}, {}, {}, hosts)
            if hosts is not None:
                # One port of this machine for all of them, which they can reach and is PostgreSQL's.
                door = Door(free_port(), server.port, hosts.gateway)
                cluster.database_doors = dict.fromkeys(ports, door)
                await nursery.start(door.serve)
            if has_doors:
                for name, port in ports.items():
                    cluster.database_doors[name] = Door(free_port(), server.port)
                    cluster.node_doors[name] = Door(free_port(), port)
                for door in (*cluster.database_doors.values(), *cluster.node_doors.values()):
                    await nursery.start(door.serve)
            for name, port in ports.items():
                (place := directory / name).mkdir()
                given = {**_settings(cluster, name, port), **(settings or {})}
                host = None if hosts is None else hosts.by_name[name]
                cluster.nodes[name] = LocalNode(name, place, port, given, stack, open_process, host)
                await cluster.nodes[name].start()
            addresses = {} if hosts is None else {name: host.address for name, host in hosts.by_name.items()}
            text = configure(public, ports, entries, addresses)
            await stack.enter_async_context(run_haproxy(directory, text, public))
            yield cluster
            for door in (*cluster.database_doors.values(), *cluster.node_doors.values()):
                door.open()
            await stack.aclose()
            nursery.cancel_scope.cancel("the cluster is not needed any more")


def _settings(cluster: LocalCluster, name: str, port: int) -> dict[str, str]:
    database, door = cluster.database_doors.get(name), cluster.node_doors.get(name)
    url, host = cluster.server.url, None if cluster.hosts is None else cluster.hosts.by_name[name]
    where = {} if host is None else {"RELAY_HOST": host.address, "TWILIO_ACCOUNT_SID": ACCOUNT}
    if database is not None:
        url = url.replace(f"127.0.0.1:{cluster.server.port}/", f"{database.host}:{database.port}/")
    return {
        **where,
        "DATABASE_URL": url,
        "TWILIO_AUTH_TOKEN": TOKEN,
        "PUBLIC_URL": cluster.url,
        "RELAY_NODE": name,
        "RELAY_NODE_URL": f"http://{host.address if host else '127.0.0.1'}:{door.port if door else port}",
    }


# ── HAProxy ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def find_haproxy() -> str:
    """Return where HAProxy is. Raises `NotInstalled`."""
    found = shutil.which("haproxy", path=_PATH)
    if found is None:
        raise NotInstalled("HAProxy is not installed: apt-get install haproxy")
    return found


def configure(
    port: int,
    nodes: Mapping[str, int],
    entries: Mapping[str, str] | None = None,
    addresses: Mapping[str, str] | None = None,
) -> str:
    """Return the configuration with these ports in place of its addresses, and without its certificate.

    They are of loopback where no other address is given. `entries` says which node takes what begins with a path, as
    long as it is there; without it any node takes anything, and a call's socket goes to the node that it names.
    """
    lines = []
    for line in CONFIGURATION.read_text().splitlines():
        match line.split():
            case ["backend", *_] if entries:
                lines += [line, *(f"    use-server {node} if {{ path_beg {path} }}" for path, node in entries.items())]
            case ["use-server", *_] if entries:
                pass
            case ["bind", *_]:
                lines.append(f"    bind 127.0.0.1:{port}")
            case ["server", name, _, *more]:
                host = (addresses or {}).get(name, "127.0.0.1")
                lines += [f"    server {name} {host}:{nodes[name]} {' '.join(more)}"] if name in nodes else []
            case ["use-server", name, *_] if name not in nodes:
                pass
            case _:
                lines.append(line)
    return "\n".join(lines) + "\n"


@asynccontextmanager
async def run_haproxy(directory: Path, text: str, port: int) -> AsyncIterator[None]:
    """Run HAProxy with this configuration, which binds a port, for the length of the block. Raises `DaemonFailed`."""
    configuration, log = trio.Path(directory / "haproxy.cfg"), trio.Path(directory / "haproxy.log")
    await configuration.write_text(text)
    async with await log.open("wb") as output:
        process = await trio.lowlevel.open_process(
            [find_haproxy(), "-db", "-f", str(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=output.fileno(),
            stderr=subprocess.STDOUT,
        )
    try:
        with trio.move_on_after(_START_SECONDS) as starting:
            while process.poll() is None and not await is_listening(port):  # noqa: ASYNC110 - it tells nobody
                await trio.sleep(0.05)
        if starting.cancelled_caught or process.poll() is not None:
            raise DaemonFailed(f"HAProxy did not start:\n{await log.read_text()}")
        yield
    finally:
        process.kill()
        with trio.move_on_after(_START_SECONDS, shield=True):
            await process.wait()


async def is_listening(port: int) -> bool:
    """Return whether a connection to a port of this machine is accepted."""
    try:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
    except OSError:
        return False
    await stream.aclose()
    return True
