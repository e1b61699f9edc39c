"""scripts/simulate_calls.py as it is run: against a daemon in a process of its own, both ways of calling."""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import trio

from relay.simulator.load.local_daemon import LocalDaemon
from tests.e2e.parties import eventually, own_url
from tests.forked_process import run_local_daemon, run_relay

SCRIPT = Path(__file__).parents[2] / "scripts" / "simulate_calls.py"


async def run_script(*options: str, cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run the script; its output is kept, and its exit status is for the test to judge."""
    return await run_relay([sys.executable, str(SCRIPT), *options], cwd=cwd)


async def load(daemon: LocalDaemon, *options: str, calls: int = 3) -> dict[str, Any]:
    """Put so many calls of two turns on a daemon; return the report."""
    agent_id = f"load-{secrets.token_hex(4)}"
    access = await daemon.register(agent_id, "--number", "+15550001111")
    where = ("--url", daemon.url, "--agent", agent_id, "--auth-token", daemon.token)
    plan = ("--calls", str(calls), "--turns", "2", "--json", f"--client-token={access['token']}")
    done = await run_script(*where, *plan, *options)
    assert done.returncode == 0, done.stderr.decode() + done.stdout.decode()
    return dict(json.loads(done.stdout))


async def free_port() -> int:
    """Find a port that was free a moment ago."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        port: int = listener.socket.getsockname()[1]
    return port


async def test_calls_that_come_in(keyless_daemon: LocalDaemon) -> None:
    """Every turn of every call is answered by the client that the script brings along."""
    report = await load(keyless_daemon, "--no-idle")
    assert (report["calls"], report["answered"], report["errors"]) == (3, {"client": 6}, {})


async def test_calls_that_are_answered_by_turn_tools(keyless_daemon: LocalDaemon) -> None:
    """Twenty calls are answered by three clients that cannot be asked: none of the turns is lost, and none mixed up."""
    report = await load(keyless_daemon, "--no-idle", "--turn-tools", "3", calls=20)
    assert (report["calls"], report["answered"], report["errors"]) == (20, {"client": 40}, {})
    assert (report["lost"], report["wrong_call"], report["not_taken"]) == (0, 0, {})
    assert report["turn_tool_clients"] == 3


async def test_calls_that_go_out(tmp_path: Path) -> None:
    """The script is client, carrier and callees: every call is placed, picked up, and every turn answered."""
    port = await free_port()
    with trio.fail_after(60):
        async with run_local_daemon(tmp_path, {"TWILIO_API_BASE_URL": f"http://127.0.0.1:{port}"}) as daemon:
            report = await load(daemon, "--outbound", "--rest-port", str(port))
    assert (report["placed"], report["picked_up"], report["refused"]) == (3, 3, {})
    assert report["answered"] == {"client": 6}
    assert report["reach"]["p50"] > 0


async def test_turn_tools_need_a_token() -> None:
    """Clients of the script are clients of an agent: without its token the script says what it needs."""
    options = ("--url", "http://127.0.0.1:1", "--agent", "a", "--calls", "1", "--turns", "1")
    done = await run_script("--turn-tools", "3", *options)
    assert done.returncode == 2
    assert b"--turn-tools needs --client-token" in done.stderr


async def test_calls_that_go_out_need_a_carrier() -> None:
    """Without a port for the REST API the script says what it and the relay need, and calls nobody."""
    options = ("--url", "http://127.0.0.1:1", "--agent", "a", "--calls", "1", "--turns", "1")
    done = await run_script("--outbound", *options)
    assert done.returncode == 2
    assert b"--rest-port" in done.stderr
    assert b"TWILIO_API_BASE_URL=http://127.0.0.1:PORT" in done.stderr


async def test_a_load_that_is_stopped_reports_what_it_saw(tmp_path: Path) -> None:
    """Ctrl-C ends a run with its figures so far, none of which counts as lost, and exit status 1."""
    with trio.fail_after(100):
        async with run_local_daemon(tmp_path) as daemon:
            access = await daemon.register("a")
            options = ["--url", daemon.url, "--agent", "a", "--auth-token", daemon.token, "--no-idle", "--json"]
            plan = ["--calls", "2", "--turns", "1000", "--think", "0.01", f"--client-token={access['token']}"]
            process = await trio.lowlevel.open_process(
                [sys.executable, str(SCRIPT), *options, *plan], stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )

            async def has_begun() -> bool:
                return await turns_answered(daemon) >= 4

            await eventually(has_begun)
            process.send_signal(signal.SIGINT)
            assert process.stdout is not None
            report = json.loads(b"".join([chunk async for chunk in process.stdout]))
            assert await process.wait() == 1
    assert report["turns"] == report["answered"]["client"] >= 2
    assert (report["lost"], report["errors"]) == (0, {"stopped before the end": 1})


async def turns_answered(daemon: LocalDaemon) -> int:
    """Read how many turns a daemon has had answered."""
    async with httpx2.AsyncClient() as http:
        page = (await http.get(f"{own_url(daemon)}/metrics")).text
    found = [line for line in page.splitlines() if line.startswith("relay_turns_total") and 'client"' in line]
    return sum(round(float(line.rpartition(" ")[2])) for line in found)


async def test_why_there_is_no_load(keyless_daemon: LocalDaemon, tmp_path: Path) -> None:
    """Without a daemon, an agent or a secret there is one line with what to do, and no secret is made."""
    here = tmp_path / "here"
    here.mkdir()
    plan = ("--calls", "2", "--turns", "1")

    async def fails(*options: str) -> tuple[int, str]:
        done = await run_script(*plan, *options, cwd=here)
        *_progress, line = done.stderr.decode().splitlines()
        assert "Traceback" not in done.stderr.decode()
        return done.returncode, line

    daemon = keyless_daemon
    secret = ("--auth-token", daemon.token)
    found = [
        await fails("--url", daemon.url, "--agent", "a"),
        await fails("--url", "http://127.0.0.1:1", "--agent", "a", *secret),
        await fails("--url", daemon.url, "--agent", "nobody", *secret),
        await fails("--url", daemon.url, "--agent", "nobody", "--no-idle", *secret),
        await fails("--url", daemon.url, "--agent", "a", "--no-idle", "--auth-token", "wrong"),
    ]
    assert [status for status, _line in found] == [2, 1, 1, 1, 1]
    advice = [
        "relay serve --local",
        "relay serve --local",
        "relay agents list",
        "relay agents list",
        "TWILIO_AUTH_TOKEN",
    ]
    assert all(each in line for each, (_status, line) in zip(advice, found, strict=True)), found
    assert list(here.iterdir()) == []
