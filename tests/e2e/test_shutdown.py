"""Stopping a daemon: calls that are live may finish, new ones are turned away politely, and nothing holds it up."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import httpx2
import pytest
import trio

from actors.call_values import Reason
from relay.simulator.carrier.fault_plan import WebhookFailed
from relay.simulator.load.local_daemon import DaemonFailed, LocalDaemon
from tests.e2e.parties import (
    ask,
    calling,
    calling_until_killed,
    carrier_of,
    connected,
    eventually,
    messages_of,
    own_url,
    register,
    session_address,
    stay_silent,
)
from tests.forked_process import run_local_daemon


async def begin_to_stop(daemon: LocalDaemon) -> None:
    """Send SIGTERM, and wait until the daemon says that it is not ready for calls any more."""
    daemon.process.send_signal(signal.SIGTERM)
    async with httpx2.AsyncClient(base_url=own_url(daemon)) as http:

        async def is_not_ready() -> bool:
            return (await http.get("/health/ready")).status_code == 503

        await eventually(is_not_ready)
        assert "draining" in (await http.get("/health/ready")).text


async def exit_status(daemon: LocalDaemon, within: float) -> int:
    """Wait for the daemon's end."""
    with trio.fail_after(within):
        return await daemon.process.wait()


@pytest.mark.one_daemon("callers of an agent whose home leaves get through as long as another node stays")
async def test_new_callers_hear_an_apology_while_live_calls_go_on(tmp_path: Path) -> None:
    """While a stopped daemon waits for its live calls, it answers them, and turns new callers away in spoken words."""
    async with run_local_daemon(tmp_path) as daemon:
        agent = await register(daemon)
        async with connected(agent), carrier_of(daemon) as carrier, carrier.call(agent.agent_id) as call:
            await begin_to_stop(daemon)
            with pytest.raises(WebhookFailed) as refused:
                async with carrier.call(agent.agent_id):
                    pass
            assert await ask(call, "Still there?") == "You said: Still there?"
        status = await exit_status(daemon, within=5)
    assert (refused.value.status, status) == (503, 0)
    assert "<Say" in refused.value.body
    assert call.outcomes[-1].status == "completed"


async def test_a_long_call_hears_a_farewell(tmp_path: Path) -> None:
    """A call that outlasts RELAY_DRAIN_SECONDS is told so to its end, its last webhook is answered, and all is well."""
    async with run_local_daemon(tmp_path, {"RELAY_DRAIN_SECONDS": "1"}) as daemon:
        agent = await register(daemon)
        async with connected(agent), calling(daemon, agent, speech_rate=200.0) as call:
            await ask(call, "Hello.")
            await call.quiet()
            stopped = trio.current_time()
            await begin_to_stop(daemon)
            farewell = await call.hear()
            await call.wait_ended()
        status = await exit_status(daemon, within=5)
    assert status == 0
    assert farewell.began - stopped >= 1
    assert call.heard[-1] == farewell.text.strip()
    assert "I have to end this call now" in farewell.text
    assert call.outcomes[-1].status == "ended"


async def test_a_connected_client_does_not_delay_the_end(tmp_path: Path) -> None:
    """Without calls a daemon ends at once, although a client is connected."""
    async with run_local_daemon(tmp_path) as daemon:
        agent = await register(daemon)
        async with connected(agent):
            daemon.process.send_signal(signal.SIGTERM)
            assert await exit_status(daemon, within=4) == 0


async def test_stalled_peers_do_not_delay_the_end(tmp_path: Path) -> None:
    """Peers that never finish a request, never read, or never send their setup are not waited for."""
    async with run_local_daemon(tmp_path) as daemon:
        agent = await register(daemon)
        host, _, port = daemon.url.removeprefix("http://").partition(":")
        async with (
            await trio.open_tcp_stream(host, int(port)) as half_a_request,
            session_address(daemon, agent),
            carrier_of(daemon) as carrier,
            carrier.open_socket(f"ws://{host}:{port}/webhooks/{agent.agent_id}/voice-ws"),
        ):
            await half_a_request.send_all(
                b"POST /webhooks/x/voice HTTP/1.1\r\nHost: relay\r\nContent-Length: 9\r\n\r\n"
            )
            daemon.process.send_signal(signal.SIGTERM)
            assert await exit_status(daemon, within=5) == 0


async def test_a_second_signal_stops_at_once(tmp_path: Path) -> None:
    """A second SIGTERM cuts live calls, with status 1; what their callers said is stored all the same."""

    async def leave_words_and_stop_twice() -> None:
        async with run_local_daemon(tmp_path) as daemon:
            agent = await register(daemon)
            async with connected(agent, stay_silent) as client, calling_until_killed(daemon, agent) as call:
                await call.say("The key is under the mat.")
                await client.asked.receive()
                await begin_to_stop(daemon)
                daemon.process.send_signal(signal.SIGTERM)
                assert await exit_status(daemon, within=5) == 1
            (message,) = await messages_of(daemon, agent)
            assert (message.body, message.reason) == ("The key is under the mat.", Reason.UNANSWERED)

    with pytest.raises(DaemonFailed, match="1 live calls were cut"):
        await leave_words_and_stop_twice()


@pytest.mark.sqlite_only("it starts its daemon by itself")
@pytest.mark.parametrize("when", ["start", "ready"])
async def test_signals_that_come_together_end_it_without_a_traceback(tmp_path: Path, when: str) -> None:
    """Ctrl-C twice in a moment, in the middle of the start or later, is no crash, and leaves no address behind."""
    log = tmp_path / "log"
    with log.open("wb") as errors:
        command = [sys.executable, "-m", "relay", "serve", "--local", "--port", "0"]
        process = await trio.lowlevel.open_process(command, cwd=tmp_path, stderr=errors)

    async def has_got_so_far() -> bool:
        await trio.lowlevel.checkpoint()
        return (tmp_path / "relay.db").exists() if when == "start" else b'"ready"' in log.read_bytes()

    try:
        await eventually(has_got_so_far)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
            process.send_signal(number)
        assert await process.wait() in {0, 1}
    finally:
        process.kill()
    assert b"Traceback" not in log.read_bytes()
    assert not (tmp_path / "relay.db.daemon").exists()
