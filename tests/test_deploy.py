"""The files for operators: what they promise is so. nginx and HAProxy run in tests/e2e/test_proxies.py."""

from __future__ import annotations

import configparser
import importlib
import json
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
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None and os.environ.get("CI") != "true",
    reason="promtool is not installed: apt-get install prometheus",
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
    # Nobody on the same network gets past the proxy.
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


# ── alerts ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@needs_promtool
def test_each_alert_fires_once_and_stays_silent_once() -> None:
    """Prometheus takes the rules, and they do what is written beside them."""
    for arguments in (["check", "rules", "relay.rules.yml"], ["test", "rules", "relay.rules.test.yml"]):
        tried = subprocess.run(
            ["promtool", *arguments], cwd=DEPLOY / "prometheus", capture_output=True, text=True, check=False
        )
        assert tried.returncode == 0, tried.stdout + tried.stderr


def test_each_alert_is_tried_and_explained() -> None:
    """It has a test in which one instance fires and another does not, and a paragraph, to which it links."""
    (group,) = yaml.safe_load((DEPLOY / "prometheus/relay.rules.yml").read_text())["groups"]
    tried = {
        each["name"]: each for each in yaml.safe_load((DEPLOY / "prometheus/relay.rules.test.yml").read_text())["tests"]
    }
    manual = (REPOSITORY / "docs/operations.md").read_text()
    assert len(group["rules"]) == 10
    for rule in group["rules"]:
        name = rule["alert"]
        series = "".join(each["series"] for each in tried[name]["input_series"])
        assert 'instance="fires"' in series
        assert 'instance="silent"' in series
        assert [len(each["exp_alerts"]) for each in tried[name]["alert_rule_test"]] == [0, 1]
        assert rule["annotations"]["runbook"] == f"docs/operations.md#{name.lower()}"
        assert f"\n### {name}\n" in manual


def test_the_dashboard_can_be_imported() -> None:
    """Its data source is chosen when it is opened, and each panel asks for something and has a place of its own."""
    dashboard = json.loads((DEPLOY / "grafana/relay.json").read_text())
    assert [each["name"] for each in dashboard["templating"]["list"] if each["type"] == "datasource"] == ["datasource"]
    panels = [each for each in dashboard["panels"] if each["type"] != "row"]
    assert all(each["targets"] and each["datasource"]["uid"] == "${datasource}" for each in panels)
    places = [(each["gridPos"]["x"], each["gridPos"]["y"]) for each in dashboard["panels"]]
    assert len(places) == len(set(places))
    assert len({each["id"] for each in dashboard["panels"]}) == len(places)
