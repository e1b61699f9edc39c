"""A daemon that cannot do its work does not start: it ends with 1 and says what is missing, and harms no other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from actors.call_record import CallState
from relay.simulator.load.local_daemon import LocalDaemon
from relay.store.call_journal import CallJournal
from tests.e2e.parties import Access, calling, connected, database_of
from tests.limits import HANGING


async def serve(directory: Path, *options: str, **settings: str) -> subprocess.CompletedProcess[bytes]:
    """Run `relay serve` until it ends, with nothing but these settings."""
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | settings
    command = [sys.executable, "-m", "relay", "serve", *options]
    with trio.fail_after(HANGING):
        return await trio.run_process(command, cwd=directory, env=environment, capture_stderr=True, check=False)


async def test_missing_credentials_are_named(tmp_path: Path) -> None:
    """Without `--local` the daemon needs the carrier's credentials, and names those that are missing."""
    done = await serve(tmp_path, "--port", "0", TWILIO_ACCOUNT_SID="AC1")
    assert done.returncode == 1
    assert b"TWILIO_AUTH_TOKEN, PUBLIC_URL must be set" in done.stderr
    assert b"--local" in done.stderr


async def test_local_means_loopback(tmp_path: Path) -> None:
    """`--local`, which trusts a secret in a file, refuses an address that others can reach."""
    done = await serve(tmp_path, "--local", "--host", "0.0.0.0", "--port", "0")
    assert done.returncode == 1
    assert b"loopback only" in done.stderr


async def test_a_misspelt_setting_is_an_error(tmp_path: Path) -> None:
    """A name that begins with RELAY_ but is no setting stops the start, with the name that was probably meant."""
    done = await serve(tmp_path, "--local", RELAY_MAX_CALS="5")
    assert done.returncode == 1
    assert b"Did you mean RELAY_MAX_CALLS?" in done.stderr


@pytest.mark.sqlite_only("the other daemon finds the database in the directory of the first")
async def test_a_second_daemon_does_not_disturb_the_first(daemon: LocalDaemon, agent: Access) -> None:
    """A daemon started by mistake on the same database, at whatever port, ends with 1; the live call goes on."""
    async with connected(agent), calling(daemon, agent) as call:
        done = await serve(daemon.directory, "--local", "--port", "0")
        await call.say("Still there?")
        # The caller may have been silent for so long that the relay has asked the same.
        await call.until(lambda: "You said: Still there?" in call.heard)
        async with database_of(daemon) as database:
            live = await CallJournal(database).list_calls(agent.agent_id, CallState.LIVE)
    assert done.returncode == 1
    assert b"Another relay serves the database" in done.stderr
    assert [each.call_sid for each in live] == [call.call_sid]


async def test_a_taken_port_is_an_error(tmp_path: Path, daemon: LocalDaemon) -> None:
    """A port that another program has stops the start, with a word on what to do."""
    done = await serve(tmp_path, "--local", "--port", daemon.url.rpartition(":")[2])
    assert done.returncode == 1
    assert b"the port is in use" in done.stderr
