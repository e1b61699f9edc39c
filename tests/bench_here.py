"""Commands of `scripts/bench` in the test's own process, with forked daemons: seconds of imports less."""

from __future__ import annotations

import json
from typing import Any, Protocol

import pytest
from click.testing import CliRunner

from scripts.bench import main
from tests.forked_process import run_local_daemon


class Bench(Protocol):
    """Runs a command with options, and returns its JSON."""

    def __call__(self, command: str, *options: str) -> Any: ...


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Return what runs a command here."""
    monkeypatch.setattr("scripts.bench_daemon.run_local_daemon", run_local_daemon)
    # A shell that sets the limit could not be forked.
    monkeypatch.setattr("scripts.bench_daemon._descriptors", lambda: None)
    monkeypatch.setattr("scripts.bench_commands.logs.configure", lambda _level: None)

    def run(command: str, *options: str) -> Any:
        done = CliRunner().invoke(main, [command, "--json", *options], catch_exceptions=False)
        assert done.exit_code == 0, done.stderr
        return json.loads(done.stdout)

    return run
