"""The stock MCP clients as subprocesses: published SDKs in the roles of an AI client, for tests over real sockets.

    async with start_client(PYTHON_2, url, "--pieces") as client:
        await client.next("ready")

What a client does and prints is told in tests/clients/options.py. `scripts/prepare_clients` installs what they need.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import attrs
import pytest
import trio

from tests.forked_process import ForkedProcess, opener
from tests.limits import HANGING

REPOSITORY = Path(__file__).parents[1]
CLIENTS = REPOSITORY / "tests" / "clients"
NEWEST = "2026-07-28"
"""The revision of the protocol that has no sessions; a client that is pinned to it takes no other."""


@attrs.frozen
class StockClient:
    """A published SDK with a small program around it. `needs` names a part of `scripts/prepare_clients`."""

    name: str
    command: tuple[str, ...]
    needs: str | None = None
    withdraws: bool = True
    """Whether it stops working on a request that is cancelled."""
    imports: tuple[str, ...] = ()
    """What it is forked with, because importing takes most of its life; nothing if it is started as users do."""


def _node(name: str, program: str, *options: str) -> StockClient:
    return StockClient(name, ("node", str(CLIENTS / program), *options), needs="node")


def _python(environment: str) -> str:
    return str(REPOSITORY / environment / "bin" / "python")


_SDK = ("mcp.client.sse", "mcp.client.streamable_http", "anyio._backends._asyncio")
PYTHON_2 = StockClient("python-2.3-asyncio", (sys.executable, str(CLIENTS / "python2.py")), imports=_SDK)
PYTHON_2_TRIO = attrs.evolve(PYTHON_2, name="python-2.3-trio", command=(*PYTHON_2.command, "--backend", "trio"))
PYTHON_2_LEGACY = attrs.evolve(PYTHON_2, name="python-2.3-legacy", command=(*PYTHON_2.command, "--mode", "legacy"))
PYTHON_2_PINNED = attrs.evolve(PYTHON_2, name="python-2.3-pinned", command=(*PYTHON_2.command, "--mode", NEWEST))
PYTHON_1 = StockClient(
    "python-1.26",
    (_python(".venv-mcp126"), str(CLIENTS / "python1.py")),
    needs="python",
    withdraws=False,
    imports=_SDK,
)
FASTMCP = StockClient(
    "fastmcp-4.1",
    (_python(".venv-fastmcp"), str(CLIENTS / "fastmcp4.py")),
    needs="fastmcp",
    imports=(*_SDK, "fastmcp.client.transports"),
)
FASTMCP_PINNED = attrs.evolve(FASTMCP, name="fastmcp-4.1-pinned", command=(*FASTMCP.command, "--mode", NEWEST))
LANGCHAIN = StockClient(
    "langchain-0.3", (_python(".venv-mcp126"), str(CLIENTS / "langchain_tools.py")), needs="langchain"
)
LLAMAINDEX = StockClient(
    "llamaindex-0.6", (_python(".venv-fastmcp"), str(CLIENTS / "llamaindex_tools.py")), needs="llamaindex"
)
TYPESCRIPT_1 = _node("typescript-1.32", "typescript1.mjs")
TYPESCRIPT_2 = _node("typescript-2.4", "typescript2.mjs")
TYPESCRIPT_2_AUTO = _node("typescript-2.4-auto", "typescript2.mjs", "--mode", "auto")
TYPESCRIPT_2_PINNED = _node("typescript-2.4-pinned", "typescript2.mjs", "--mode", NEWEST)

STOCK_CLIENTS = (PYTHON_2, PYTHON_2_TRIO, PYTHON_1, TYPESCRIPT_1, TYPESCRIPT_2, TYPESCRIPT_2_AUTO)


# A mark, because a skip that is raised inside a Trio test loses its reason on the way out. Never on CI: there a missing
# Node is a failure.
_NEEDS_NODE = pytest.mark.skipif(
    os.environ.get("CI") != "true" and not (shutil.which("node") and shutil.which("npm")),
    reason="the TypeScript clients need node and npm, which are not installed",
)


def marks_of(stock: StockClient) -> list[pytest.MarkDecorator]:
    """Return the marks of a test that starts this client."""
    return [pytest.mark.e2e, *([pytest.mark.node, _NEEDS_NODE] if stock.needs == "node" else [])]


def each_client(*clients: StockClient) -> pytest.MarkDecorator:
    """Run a test with each of these stock clients, all of them when none is named, as its argument `stock`."""
    cases = [pytest.param(each, id=each.name, marks=marks_of(each)) for each in clients or STOCK_CLIENTS]
    return pytest.mark.parametrize("stock", cases)


_prepared: set[str] = set()


def prepare(stock: StockClient) -> None:
    """Install what a client needs, once; skip the test where that cannot be had, but never on CI."""
    if stock.needs is None or stock.needs in _prepared:
        return
    on_ci = os.environ.get("CI") == "true"
    script = str(REPOSITORY / "scripts" / "prepare_clients")
    environment = {name: value for name, value in os.environ.items() if name != "SSL_CERT_FILE"}
    environment["PYTHON"] = sys.executable
    with Path(script).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the tests run in several processes, and one installation at a time is enough
        done = subprocess.run([script, stock.needs], env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0 and not on_ci:
        pytest.skip(f"what {stock.name} needs cannot be installed: {done.stderr.strip()[-500:]}")
    assert done.returncode == 0, done.stderr
    _prepared.add(stock.needs)


class Daemon(Protocol):
    """A whole relay, as far as its log is read here."""

    async def events(self) -> list[dict[str, Any]]:
        """Return the log's events."""
        ...


async def session_of(agent_id: str, daemon: Daemon) -> None:
    """Wait until a daemon has a session of an agent's client that it can ask for answers."""

    def can_be_asked(event: dict[str, Any]) -> bool:
        # At /mcp the client is ready and its stream open in either order, and it can be asked with the second.
        is_of_session = event["event"] in {"session_ready", "stream_opened"}
        return is_of_session and event["agent_id"] == agent_id and event["can_sample"]

    with trio.fail_after(HANGING):
        while True:
            if any(can_be_asked(each) for each in await daemon.events()):
                return
            await trio.sleep(0.02)


@attrs.define(eq=False)
class RunningClient:
    """A stock client's process and what it has reported."""

    process: trio.Process | ForkedProcess
    events: list[dict[str, Any]] = attrs.field(factory=list)
    _changed: trio.Event = attrs.field(factory=trio.Event)
    _taken: int = 0

    async def next(self, event: str, within: float = HANGING) -> dict[str, Any]:
        """Wait for its next report of this kind, passing over others."""
        with trio.fail_after(within):
            while True:
                while self._taken < len(self.events):
                    self._taken += 1
                    if self.events[self._taken - 1]["event"] == event:
                        return self.events[self._taken - 1]
                await self._changed.wait()

    def seen(self, event: str) -> list[dict[str, Any]]:
        """Return all its reports of this kind so far."""
        return [each for each in self.events if each["event"] == event]

    async def call(self, tool: str, **arguments: object) -> None:
        """Have it call a tool; it reports `tool` or `error`. The TypeScript ones take no arguments."""
        assert self.process.stdin is not None
        order = f"{tool} {json.dumps(arguments)}" if arguments else tool
        await self.process.stdin.send_all(f"{order}\n".encode())

    def kill(self) -> None:
        """Kill it, without a word to the relay."""
        self.process.send_signal(signal.SIGKILL)

    async def _read(self) -> None:
        assert self.process.stdout is not None
        unread = b""
        async for chunk in self.process.stdout:
            *lines, unread = (unread + chunk).split(b"\n")
            self.events += [json.loads(line) for line in lines]
            self._changed.set()
            self._changed = trio.Event()


@asynccontextmanager
async def start_client(stock: StockClient, url: str, *options: str) -> AsyncIterator[RunningClient]:
    """Run a stock client against a URL, /sse or /mcp, for as long as the block lasts."""
    prepare(stock)
    async with trio.open_nursery() as nursery:
        command = [*stock.command, url, *options]
        open_process = opener(stock.imports) if stock.imports else trio.lowlevel.open_process
        process = await open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        client = RunningClient(process)
        nursery.start_soon(client._read)
        try:
            yield client
        finally:
            process.kill()
            with trio.move_on_after(5, shield=True):
                await process.wait()
            nursery.cancel_scope.cancel()
