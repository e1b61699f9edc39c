#!/usr/bin/env python3
"""Throw at each door of a daemon the worst that one peer can send, and print what it cost and who noticed.

    .venv/bin/python scripts/doors.py                      every door
    .venv/bin/python scripts/doors.py --door mcp-batch     one of them
    .venv/bin/python scripts/doors.py --tree ../other      the daemon of another checkout

A local daemon is started on a database of its own, with two agents. One of them sends what is thrown; the other has a
caller on the line who says something again and again, and is answered at once.

    held      the longest that the event loop was kept busy without a break, in milliseconds of its own CPU time
    turn      the slowest turn of the other agent's caller meanwhile, in milliseconds by the clock: the caller lives in
              this script, whose own work counts, too, and on a busy machine it says little
    memory    by how much the daemon's largest size grew, in MB
    in, out   bytes that were sent, and that came back

Run it with the project's environment (`scripts/environment` makes it).
"""

from __future__ import annotations

import json
import logging
import mmap
import sqlite3
import struct
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import click
import httpx2
import trio
from rich.console import Console
from rich.table import Table

from relay import logs
from relay.cli.one_line import leaves_of
from relay.simulator.carrier.exchange import open_carrier
from relay.simulator.carrier.fault_plan import CallOver
from relay.simulator.load.echo_client import open_echo_client
from relay.simulator.load.local_daemon import ACCOUNT, DaemonFailed, LocalDaemon, run_local_daemon

MEGABYTE = 1 << 20
PATIENCE = 180.0
"""Seconds that one door may take; what takes longer is told as such."""
BOTH = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
NEWEST = "2026-07-28"
_META = "io.modelcontextprotocol/"

# Python imports a module of this name by itself: the daemon is measured without being changed.
_PROBE = """
import mmap, os, struct, threading, time
import trio

with open(os.environ["DOORS_FILE"], "r+b") as file:
    shared = mmap.mmap(file.fileno(), 8)


class Held(trio.abc.Instrument):
    began = 0.0

    def before_task_step(self, task):
        self.began = time.thread_time()

    def after_task_step(self, task):
        held = time.thread_time() - self.began
        if held > struct.unpack("d", shared)[0]:
            shared[:] = struct.pack("d", held)


run = trio.run
trio.run = lambda *given, **named: run(*given, **{**named, "instruments": [*named.get("instruments", ()), Held()]})
"""


@attrs.define(eq=False)
class Probe:
    """What is known of the daemon from outside: how long its loop was held, and how large it has been."""

    shared: mmap.mmap
    pid: int
    _size: float = 0.0

    def begin(self) -> None:
        """Forget what was."""
        self.shared[:] = struct.pack("d", 0.0)
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")  # the largest size is the present one again
        self._size = self._largest()

    def held(self) -> float:
        """Return the longest step of a task, in milliseconds of CPU time."""
        seconds: float = struct.unpack("d", self.shared)[0]
        return seconds * 1000

    def grown(self) -> float:
        """Return by how many MB the largest size exceeds what it was at the beginning."""
        return self._largest() - self._size

    def _largest(self) -> float:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


@attrs.define(eq=False)
class Peer:
    """The agent that sends what is thrown. It counts what it sends, and keeps what it was answered."""

    url: str
    token: str
    http: httpx2.AsyncClient
    session: str = ""
    sent: int = 0
    received: int = 0
    statuses: list[str] = attrs.field(factory=list)

    async def post(self, path: str, body: bytes, **headers: str) -> httpx2.Response:
        """Send a body to a path, with the agent's token."""
        named = {**BOTH, "authorization": f"Bearer {self.token}"}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        response = await self.http.post(f"{self.url}{path}", content=body, headers=named)
        self.sent += len(body)
        self.received += len(response.content)
        self.statuses.append(str(response.status_code))
        return response

    async def mcp(self, message: Any, **headers: str) -> httpx2.Response:
        """Post a message, or bytes as they are, in a session of the revision with one."""
        if not self.session:
            hello = {
                "protocolVersion": "2025-03-26",
                "capabilities": {},
                "clientInfo": {"name": "doors", "version": "1"},
            }
            request = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello}
            answer = await self.http.post(
                f"{self.url}/mcp", json=request, headers={**BOTH, "authorization": f"Bearer {self.token}"}
            )
            self.session = answer.headers["mcp-session-id"]
            await self.mcp({"jsonrpc": "2.0", "method": "notifications/initialized"})
            self.statuses.clear()
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        return await self.post("/mcp", body, mcp_session_id=self.session, **headers)

    async def tool(self, name: str, arguments: Any, number: int = 1) -> None:
        """Call a tool."""
        await self.mcp(request("tools/call", {"name": name, "arguments": arguments}, number))


def request(method: str, params: Any, number: int = 1) -> dict[str, Any]:
    """Word a request."""
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def fill(unit: bytes, last: bytes) -> bytes:
    """Repeat a unit to a megabyte, less some room for what goes around it."""
    return unit * ((MEGABYTE - 512) // len(unit)) + last


async def together(times: int, one: Callable[[int], Awaitable[object]]) -> None:
    """Do the same so many times at once."""
    async with trio.open_nursery() as nursery:
        for number in range(times):
            nursery.start_soon(one, number)


Door = Callable[[Peer], Awaitable[object]]
DOORS: dict[str, Door] = {}


def door(name: str) -> Callable[[Door], Door]:
    def note(throw: Door) -> Door:
        DOORS[name] = throw
        return throw

    return note


async def stateless(peer: Peer, method: str, params: Any, name: str = "") -> None:
    """Send a request of the revision without sessions."""
    meta = {
        f"{_META}protocolVersion": NEWEST,
        f"{_META}clientCapabilities": {},
        f"{_META}clientInfo": {"name": "doors", "version": "1"},
    }
    headers = {"mcp_protocol_version": NEWEST, "mcp_method": method, **({"mcp_name": name} if name else {})}
    body = params if isinstance(params, bytes) else json.dumps(request(method, {**params, "_meta": meta})).encode()
    await peer.post("/mcp", body, **headers)


def _raw(name: str, body: bytes) -> None:
    """Add a body at the three doors that take messages."""

    async def in_session(peer: Peer) -> None:
        await peer.mcp(body)

    async def without(peer: Peer) -> None:
        await peer.post("/mcp", body)

    async def newest(peer: Peer) -> None:
        await stateless(peer, "tools/call", body)

    async def messages(peer: Peer) -> None:
        async with sse_address(peer) as address:
            await peer.post(address, body)

    DOORS[f"mcp-{name}"] = in_session
    DOORS[f"hello-{name}"] = without
    DOORS[f"newest-{name}"] = newest
    DOORS[f"messages-{name}"] = messages


@asynccontextmanager
async def sse_address(peer: Peer) -> AsyncIterator[str]:
    """Open a stream for the length of the block; give the address to post to."""
    headers = {"authorization": f"Bearer {peer.token}"}
    async with peer.http.stream("GET", f"{peer.url}/sse", headers=headers) as response:
        async for line in response.aiter_lines():
            if line.startswith("data: /messages"):
                break
        yield line.removeprefix("data: ")


_PARAMS = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":'
_raw("batch", b"[" + fill(b"1,", b"1]"))
_raw("lists", _PARAMS + b'{"a":[' + fill(b"[],", b"1]}}"))
_raw("names", _PARAMS + b"{" + b",".join(b'"%d":1' % n for n in range(90_000)) + b"}}")
_raw("deep", b"[" * (MEGABYTE - 512))
_raw("text", _PARAMS + b'{"name":"' + fill(b",", b'"}}'))
_raw("number", _PARAMS + b'{"a":' + fill(b"9", b"}}"))
_raw("method", b'{"jsonrpc":"2.0","id":1,"method":"' + fill(b"x", b'"}'))
_raw("id", b'{"jsonrpc":"2.0","method":"ping","id":"' + fill(b"x", b'"}'))
_raw("within", _PARAMS + b'{"a":[' + b"[]," * 4900 + b"1]}}")


@door("unknown-arguments")
async def _unknown_arguments(peer: Peer) -> None:
    await together(8, lambda n: peer.tool("comms_list_calls", {f"a{i}": 1 for i in range(70_000)}, n))


@door("some-unknown-arguments")
async def _some_unknown_arguments(peer: Peer) -> None:
    await together(8, lambda n: peer.tool("comms_list_calls", {f"a{i}": 1 for i in range(4_900)}, n))


@door("long-argument")
async def _long_argument(peer: Peer) -> None:
    await together(8, lambda n: peer.tool("comms_converse", {"say": "x" * 900_000}, n))


@door("ids")
async def _ids(peer: Peer) -> None:
    await together(8, lambda n: peer.tool("comms_acknowledge_messages", {"ids": [{}] * 4_900}, n))


@door("ids-as-text")
async def _ids_as_text(peer: Peer) -> None:
    await together(8, lambda n: peer.tool("comms_acknowledge_messages", {"ids": "[" + "[]," * 300_000 + "1]"}, n))


@door("answers-of-the-newest")
async def _answers_of_the_newest(peer: Peer) -> None:
    params = {"name": "comms_answer_calls", "arguments": {}, "inputResponses": {f"k{i}": {} for i in range(4_900)}}
    await stateless(peer, "tools/call", params, "comms_answer_calls")


@door("unknown-tool")
async def _unknown_tool(peer: Peer) -> None:
    await peer.tool("x" * 900_000, {})


@door("unknown-resource")
async def _unknown_resource(peer: Peer) -> None:
    await peer.mcp(request("resources/read", {"uri": "x:" + "x" * 900_000}))


@door("prompt-wishes")
async def _prompt_wishes(peer: Peer) -> None:
    await peer.mcp(request("prompts/get", {"name": "answer_the_phone", "arguments": {"wishes": "x" * 900_000}}))


@door("cursor")
async def _cursor(peer: Peer) -> None:
    await peer.mcp(request("tools/list", {"cursor": "x" * 900_000}))


@door("hello")
async def _hello(peer: Peer) -> None:
    async def one(number: int) -> None:
        info = {"name": "x" * 900_000, "version": "1"}
        params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info}
        await peer.post("/mcp", json.dumps(request("initialize", params, number)).encode())

    await together(30, one)


@door("progress")
async def _progress(peer: Peer) -> None:
    async def one(number: int) -> None:
        params = {"progressToken": "x" * 100_000, "progress": number, "message": "x" * 500_000}
        await peer.mcp({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})

    await together(20, one)


@door("lists-of-calls")
async def _lists_of_calls(peer: Peer) -> None:
    await together(120, lambda n: peer.tool("comms_list_calls", {"limit": 1000}, n))


@door("lists-of-calls-in-sessions")
async def _lists_of_calls_in_sessions(peer: Peer) -> None:
    async def one(number: int) -> None:
        other = Peer(peer.url, peer.token, peer.http)
        await together(8, lambda n: other.tool("comms_list_calls", {"limit": 1000}, n + number))
        peer.statuses += other.statuses
        peer.received += other.received

    await together(16, one)


@door("waiting-messages")
async def _waiting_messages(peer: Peer) -> None:
    await together(60, lambda n: peer.mcp(request("resources/read", {"uri": "comms://waiting-messages"}, n)))


@door("headers")
async def _headers(peer: Peer) -> None:
    await peer.post("/mcp", b"{}", **{f"x_{i}": "y" * 20 for i in range(400)})


@door("query")
async def _query(peer: Peer) -> None:
    await peer.post("/messages?" + "&".join(f"a{i}" for i in range(1_800)), b"{}")


@door("form")
async def _form(peer: Peer) -> None:
    form = b"&".join(b"a%d=1" % i for i in range(100_000))
    named = {"x_twilio_signature": "x", "content_type": "application/x-www-form-urlencoded"}
    await peer.post("/webhooks/loud/voice", form, **named)


@door("metrics")
async def _metrics(peer: Peer) -> None:
    async def one(_number: int) -> None:
        response = await peer.http.get(f"{peer.url}/metrics")
        peer.received += len(response.content)
        peer.statuses.append(str(response.status_code))

    await together(50, one)


# ── the run ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@attrs.define
class Row:
    """What a door cost."""

    door: str
    sent: int = 0
    received: int = 0
    held: float = 0.0
    turn: float | None = None
    memory: float = 0.0
    status: str = "the daemon is gone"

    def note(self, peer: Peer, probe: Probe) -> None:
        """Note what is known so far."""
        self.sent, self.received, self.held, self.memory = peer.sent, peer.received, probe.held(), probe.grown()
        self.status = " ".join(sorted(set(peer.statuses))) or "none"


@asynccontextmanager
async def talking(daemon: LocalDaemon, token: str) -> AsyncIterator[list[float]]:
    """Have a caller of the other agent talk for the length of the block; give the seconds of each turn."""
    turns: list[float] = []

    async def talk() -> None:
        while True:
            began = trio.current_time()
            await call.say("Are you there?")
            await call.hear()
            turns.append(trio.current_time() - began)
            await trio.sleep(0.02)

    async with (
        open_echo_client(f"{daemon.url}/mcp", token=token),
        open_carrier(ACCOUNT, daemon.token, daemon.url) as carrier,
        carrier.call("quiet") as call,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(talk)
        yield turns
        nursery.cancel_scope.cancel()


async def throw(name: str, peer: Peer, probe: Probe, turns: list[float], row: Row) -> None:
    """Throw what a door has, and note what it cost."""
    await trio.sleep(0.5)
    turns.clear()
    probe.begin()
    with trio.move_on_after(PATIENCE) as scope:
        try:
            await DOORS[name](peer)
        except* (httpx2.HTTPError, OSError) as group:
            peer.statuses.append(type(group.exceptions[0]).__name__)
        row.note(peer, probe)
        began = len(turns)
        while len(turns) < began + 2:  # noqa: ASYNC110 - the one that is under way counts, too
            await trio.sleep(0.02)
    row.turn = None if scope.cancelled_caught else max(turns) * 1000


def many_calls(daemon: LocalDaemon, agent_id: str, count: int) -> None:
    """Give an agent a past: so many ended calls."""
    at = datetime.now(UTC).isoformat(sep=" ").removesuffix("+00:00")
    row = (agent_id, "inbound", "+14155550101", "+14155550102", "past", at, at, "{}", "call", "completed")
    with closing(sqlite3.connect(daemon.directory / "relay.db")) as database, database:
        database.executemany(
            "INSERT INTO calls (call_sid, agent_id, direction, caller, called, boot, opened_at, ended_at, turns_by, "
            "kind, outcome) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(f"CA{number:032x}", *row) for number in range(count)],
        )


async def run(tree: Path, names: tuple[str, ...]) -> list[Row]:
    """Throw everything at a daemon of a checkout; at another one, where a call did not outlive what was thrown."""
    rows: list[Row] = []
    while len(rows) < len(names):
        try:
            with tempfile.TemporaryDirectory() as name:
                await run_some(Path(name), tree, names[len(rows) :], rows)
        except* (CallOver, OSError, httpx2.HTTPError, DaemonFailed, trio.TooSlowError) as group:
            reasons = sorted({str(each) or type(each).__name__ for each in leaves_of(group)})
            click.echo(f"  the call is lost: {', '.join(reasons)}"[:200], err=True)
    return rows


async def run_some(directory: Path, tree: Path, names: tuple[str, ...], rows: list[Row]) -> None:
    """Throw at one daemon until its other agent's call is lost, or all was thrown."""
    (directory / "probe").mkdir()
    (directory / "probe" / "sitecustomize.py").write_text(_PROBE)
    shared = directory / "held"
    shared.write_bytes(bytes(8))
    settings = {"PYTHONPATH": f"{tree}:{directory / 'probe'}", "DOORS_FILE": str(shared)}
    with shared.open("r+b") as file, mmap.mmap(file.fileno(), 8) as memory:
        async with run_local_daemon(directory, settings) as daemon, httpx2.AsyncClient(timeout=PATIENCE) as http:
            loud, quiet = await daemon.register("loud"), await daemon.register("quiet")
            many_calls(daemon, "loud", 1000)
            probe = Probe(memory, daemon.process.pid)
            async with talking(daemon, quiet["token"]) as turns:
                for each in names:
                    rows.append(Row(each))
                    peer = Peer(daemon.url, loud["token"], http)
                    try:
                        await throw(each, peer, probe, turns, rows[-1])
                    finally:
                        if daemon.process.poll() is None:
                            rows[-1].note(peer, probe)
                        click.echo(f"{each}: {rows[-1].held:.1f} ms held, {rows[-1].status}", err=True)


@click.command(help=__doc__, context_settings={"help_option_names": ["--help"]})
@click.option(
    "--tree", type=click.Path(exists=True, file_okay=False, path_type=Path), default=Path(__file__).parents[1]
)
@click.option("--door", "doors", multiple=True, type=click.Choice(list(DOORS)), help="Only this one; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
def main(tree: Path, doors: tuple[str, ...], as_json: bool) -> None:
    """Throw, and print."""
    logs.configure(logging.WARNING)
    rows = trio.run(run, tree.resolve(), doors or tuple(DOORS))
    if as_json:
        click.echo(json.dumps([attrs.asdict(each) for each in rows]))
        return
    table = Table("door", "in", "out", "held ms", "turn ms", "memory MB", "status")
    for each in rows:
        turn = "lost" if each.turn is None else f"{each.turn:.0f}"
        numbers = (f"{each.held:.1f}", turn, f"{each.memory:.0f}")
        table.add_row(each.door, f"{each.sent:,}", f"{each.received:,}", *numbers, each.status)
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
