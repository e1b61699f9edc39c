"""The demo's `relay attach`: the ten lines of docs/attach.md, run as a program behind it.

relay (daemon) ──SSE──▶ relay attach --command ──a JSON line a turn──▶ brain.py
"""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import click
import trio

PAGE = Path(__file__).parents[1] / "docs" / "attach.md"
PATIENCE = 30.0
"""Seconds for a Python process to start and connect, or to end."""


@asynccontextmanager
async def attach_brain(directory: Path, url: str, token: str) -> AsyncIterator[str]:
    """Have the program of the page answer an agent's calls for as long as the block lasts, and give its text."""
    program = brain_of_the_page()
    brain, token_file = directory / "brain.py", directory / "brain.token"
    brain.write_text(program)
    token_file.touch(mode=0o600)
    token_file.write_text(token)
    command = shlex.join([sys.executable, str(brain)])
    options = ["--url", url, "--token-file", str(token_file), "--command", command, "--json"]
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "relay", "attach", *options], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    try:
        with trio.fail_after(PATIENCE):
            await _connected(process)
        yield program
        process.send_signal(signal.SIGTERM)
        with trio.fail_after(PATIENCE):
            if await process.wait() != 0:
                raise click.ClickException(f"relay attach ended with {process.returncode}")
    finally:
        process.kill()
        with trio.move_on_after(PATIENCE, shield=True):
            await process.wait()


def brain_of_the_page() -> str:
    """Give the program that docs/attach.md shows, so that what the page says is what runs."""
    return PAGE.read_text().partition("```python\n")[2].partition("```")[0]


async def _connected(process: trio.Process) -> None:
    assert process.stdout is not None
    heard = b""
    # What it prints later stays in the pipe, which holds more than a short call.
    while b"\n" not in heard:
        chunk = await process.stdout.receive_some()
        if not chunk:
            raise click.ClickException(f"relay attach ended with {await process.wait()}")
        heard += chunk
    event = json.loads(heard.splitlines()[0])
    if event["event"] != "connected":
        raise click.ClickException(f"relay attach did not connect: {event}")
