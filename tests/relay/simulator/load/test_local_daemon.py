"""A daemon and the carrier around it: each knows the other, and nothing of this process's own settings."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest
import trio

from relay.simulator.load.local_daemon import ACCOUNT, DaemonFailed, run_local_world

pytestmark = pytest.mark.e2e


async def test_a_world_is_one_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon takes the carrier's calls and is told where its API is, and no setting of ours reaches it.

    The carrier signs with the token of the settings, where there is one.
    """
    foreign = {"ELEVENLABS_API_KEY": "ours", "TWILIO_API_BASE_URL": "http://127.0.0.1:1", "RELAY_HOST": "192.0.2.1"}
    for name, value in foreign.items():
        monkeypatch.setenv(name, value)
    with trio.fail_after(60):
        settings = {"DEFAULT_VOICE_GREETING": "Here.", "TWILIO_AUTH_TOKEN": "given"}
        async with run_local_world(tmp_path, settings) as (daemon, carrier, rest):
            assert daemon.token == "given"
            await daemon.register("a")
            async with carrier.call("a") as call:
                assert call.greeting == "Here."
            async with httpx2.AsyncClient(base_url=rest.url, auth=(ACCOUNT, daemon.token)) as http:
                answer = await http.get(f"/2010-04-01/Accounts/{ACCOUNT}/Calls/{call.call_sid}.json")
            told = (await trio.Path(f"/proc/{daemon.process.pid}/environ").read_bytes()).decode().split("\0")
        assert daemon.process.returncode == 0
    assert answer.json()["status"] == "completed"
    assert f"TWILIO_API_BASE_URL={rest.url}" in told
    assert not [each for each in told if each.startswith(("ELEVENLABS_", "RELAY_"))]


async def test_a_daemon_that_does_not_start(tmp_path: Path) -> None:
    """Its log is in the error, and the API's port is free again."""
    with pytest.raises(DaemonFailed, match="RELAY_NONSENSE"):
        async with run_local_world(tmp_path, {"RELAY_NONSENSE": "1"}):
            pass
