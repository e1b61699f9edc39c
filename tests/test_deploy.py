"""The files for operators: what they promise is so. nginx and HAProxy run in tests/e2e/test_proxies.py."""

from __future__ import annotations

import configparser
import importlib
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from relay.settings import Settings

REPOSITORY = Path(__file__).parents[1]
DEPLOY = REPOSITORY / "deploy"
yaml: Any = importlib.import_module("yaml")
# The drain time, and what may come after it: a farewell, the last writes.
STOP_SECONDS = Settings().relay_drain_seconds + 30

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None and os.environ.get("CI") != "true",
    reason="systemd-analyze is not installed: apt-get install systemd",
)


def unit() -> configparser.ConfigParser:
    """Read the unit; of a setting that stands several times the last one counts."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(DEPLOY / "relay.service")
    return parser


@needs_systemd
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """Every line is one that it knows, and what the daemon may do is little."""
    here = tmp_path / "relay.service"
    here.write_text((DEPLOY / "relay.service").read_text().replace("/opt/relay/bin/relay", "/usr/bin/env"))
    verified = subprocess.run(["systemd-analyze", "verify", str(here)], capture_output=True, text=True, check=False)
    told = [line for line in verified.stderr.splitlines() if "relay.service" in line]
    assert (verified.returncode, told) == (0, [])
    # 2.0 of 10, in tenths; a unit without restrictions has 9.6.
    judged = ["systemd-analyze", "security", "--offline=yes", "--no-pager", "--threshold=20", str(here)]
    subprocess.run(judged, check=True, capture_output=True)


def test_service_managers_wait_for_calls_to_end() -> None:
    """The time to stop is the drain time and half a minute more, in each of the files."""
    service = unit()["Service"]
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["relay"]
    assert float(service["TimeoutStopSec"]) >= STOP_SECONDS
    assert float(compose["stop_grace_period"].removesuffix("s")) >= STOP_SECONDS
    assert service["KillMode"] == "mixed"


def test_a_container_has_what_is_installed() -> None:
    """What is copied into it exists, and is all that the package is built from."""
    text = (DEPLOY / "Containerfile").read_text().replace("\\\n", " ")
    copied = [name for line in re.findall(r"^COPY (?!--)(.+)$", text, re.MULTILINE) for name in line.split()[:-1]]
    assert [name for name in copied if not (REPOSITORY / name).exists()] == []
    assert {"relay", "actors", "pyproject.toml", "constraints.txt", "README.md", "LICENSE", "THIRD-PARTY.md"} == set(
        copied
    )


def test_a_container_is_not_roots() -> None:
    """It runs as another user, and can write to its data alone."""
    text = (DEPLOY / "Containerfile").read_text()
    assert re.findall(r"^USER (.+)$", text, re.MULTILINE) == ["10001"]
    relay = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["relay"]
    assert relay["read_only"] is True
    assert relay["cap_drop"] == ["ALL"]
    assert [volume.partition(":")[2] for volume in relay["volumes"]] == ["/data"]
    # Whoever is on the same network gets past no proxy.
    assert all(port.startswith("127.0.0.1:") for port in relay["ports"])


@pytest.mark.parametrize("path", ["/console", "/console/", "/console/api/live", "/metrics"])
def test_a_tunnel_closes_what_is_for_operators(path: str) -> None:
    """The first rule that fits is the one that counts."""
    rules = yaml.safe_load((DEPLOY / "cloudflared.yml").read_text())["ingress"]
    first = next(rule for rule in rules if re.search(rule.get("path", ""), path))
    assert first["service"] == "http_status:404"


@pytest.mark.parametrize("path", ["/webhooks/my-client/voice", "/sse", "/mcp", "/consoles", "/n/relay-1/metrics-of"])
def test_a_tunnel_forwards_the_rest(path: str) -> None:
    """Calls and clients come through."""
    rules = yaml.safe_load((DEPLOY / "cloudflared.yml").read_text())["ingress"]
    first = next(rule for rule in rules if re.search(rule.get("path", ""), path))
    assert first["service"] == "http://127.0.0.1:8080"
