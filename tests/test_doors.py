"""The script that throws at every door: its own list, and one throw at a real daemon."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

DOORS = Path(__file__).parents[1] / "scripts" / "doors.py"


def run(*options: str) -> str:
    command = [sys.executable, str(DOORS), *options]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=100).stdout


def test_help_says_what_is_measured() -> None:
    """Whoever runs it learns what the columns are."""
    told = run("--help")
    assert "--door" in told
    assert "held" in told


def test_a_throw_is_measured() -> None:
    """A megabyte that is refused costs a few bytes in return, and the other agent's caller stays on the line."""
    (row,) = json.loads(run("--door", "mcp-batch", "--json"))
    assert row["door"] == "mcp-batch"
    assert row["sent"] > 1_000_000
    assert 0 < row["received"] < 1_000
    assert row["held"] > 0
    assert row["turn"] is not None
    assert row["status"] == "400"
