"""The MCP project's own conformance suite for servers, run against `/mcp`.

    suite (Node) ──▶ a listener that adds the token, because the suite has none ──▶ the MCP app

All its scenarios run, of every revision. `not_applicable.toml` lists the checks that cannot pass and why. The suite
needs a newer Node than most machines have, so that is installed beside it, by npm, when the test first runs.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from relay.http.listener import ListenerOptions, serve
from tests.relay.mcp.mcp_relay import running_relay

HERE = Path(__file__).parent
NODE = HERE / "node_modules" / "node" / "bin" / "node"
SUITE = HERE / "node_modules" / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
ON_CI = os.environ.get("CI") == "true"

pytestmark = [
    pytest.mark.node,
    # Never on CI: there a missing npm is a failure.
    pytest.mark.skipif(not ON_CI and not shutil.which("npm"), reason="the suite needs npm, which is not installed"),
]


@pytest.fixture(scope="module")
def suite() -> None:
    """Install the suite, once; skip where that cannot be had, but never on CI."""
    prepared = HERE / "node_modules" / "prepared.json"
    wanted = (HERE / "package.json").read_text()
    if prepared.is_file() and prepared.read_text() == wanted:
        return
    command = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    if done.returncode != 0 and not ON_CI:
        pytest.skip(f"the suite cannot be installed: {done.stderr.strip()[-500:]}")
    assert done.returncode == 0, done.stderr
    prepared.write_text(wanted)  # last, so that an interrupted installation is done again


@pytest.mark.usefixtures("suite")
async def test_what_applies_passes(tmp_path: Path) -> None:
    """Every check of the suite passes, except those that are listed with the reason why they cannot."""
    async with running_relay() as relay, trio.open_nursery() as nursery:

        async def with_token(scope: Any, receive: Any, send: Any) -> None:
            await relay.app({**scope, "headers": [*scope["headers"], TOKEN]}, receive, send)

        listen = partial(serve, with_token, ListenerOptions(grace=0), host="127.0.0.1", port=0, stop=trio.Event())
        host, port = await nursery.start(listen)
        options = ["--url", f"http://{host}:{port}/mcp", "--suite", "all", "--output-dir", str(tmp_path)]
        with trio.fail_after(120):
            await trio.run_process([NODE, SUITE, "server", *options], capture_stdout=True, check=False)
        nursery.cancel_scope.cancel()
    results = list(results_in(tmp_path))
    failed = {name for name, status in results if status not in {"SUCCESS", "INFO", "SKIPPED", "WARNING"}}
    patterns = {each for group in not_applicable() for each in group["checks"]}
    assert {name for name in failed if not any(fnmatchcase(name, each) for each in patterns)} == set()
    assert {each for each in patterns if not any(fnmatchcase(name, each) for name in failed)} == set()
    assert {name.partition("/")[0] for name, status in results if status == "SUCCESS"} >= APPLY


TOKEN = (b"authorization", b"Bearer token-anna")

# What is about the transport, the handshake and what the relay does offer.
APPLY = {
    "caching",
    "dns-rebinding-protection",
    "http-header-validation",
    "logging-set-level",
    "ping",
    "prompts-list",
    "resources-list",
    "sep-2164-resource-not-found",
    "server-initialize",
    "server-session-lifecycle",
    "server-sse-multiple-streams",
    "server-stateless",
    "tools-list",
}


def not_applicable() -> list[dict[str, Any]]:
    """Read the checks that cannot pass."""
    groups: list[dict[str, Any]] = tomllib.loads((HERE / "not_applicable.toml").read_text())["group"]
    return groups


def test_what_does_not_apply_says_why() -> None:
    """Each group of checks that cannot pass gives its reason."""
    assert all(len(group["why"]) > 40 and group["checks"] for group in not_applicable())


def results_in(directory: Path) -> Iterator[tuple[str, str]]:
    """Read what the suite wrote: the status of each check as `scenario/check`."""
    for folder in directory.iterdir():
        scenario = re.sub(r"-\d{4}-\d\d-\d\dT.*", "", folder.name.removeprefix("server-"))
        checks = folder / "checks.json"
        if not checks.is_file():
            yield f"{scenario}/", "FAILURE"
            continue
        for check in json.loads(checks.read_text()):
            yield f"{scenario}/{check['id']}", check["status"]
