"""What `relay agents add --for` prints, held against the documentation."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from click.testing import CliRunner
from markdown_it import MarkdownIt

from relay.cli.hosts import HOSTS
from relay.cli.main import main

PAGE = Path(__file__).parents[3] / "docs" / "setup.md"
URL = "http://127.0.0.1:8080"


def block_of(heading: str, language: str) -> str:
    """Return the first block of a language below a heading of docs/setup.md."""
    tokens = MarkdownIt("commonmark").parse(PAGE.read_text())
    headings = [index for index, each in enumerate(tokens) if each.type == "inline" and each.content == heading]
    return next(each.content for each in tokens[headings[0] :] if each.type == "fence" and each.info == language)


def without(*keys: str) -> Callable[[Any], Any]:
    """Take away what only the page has: there the token is asked for, here it is in the text."""

    def cut(value: Any) -> Any:
        return (
            {name: cut(each) for name, each in value.items() if name not in keys} if isinstance(value, dict) else value
        )

    return cut


@pytest.mark.parametrize(
    ("host", "heading", "language", "token", "cut"),
    [
        ("vscode", "VS Code", "json", "${input:relay-token}", without("inputs")),
        ("goose", "goose", "yaml", "${COMMS_TOKEN}", without("env_keys")),
        ("fast-agent", "fast-agent", "yaml", "${COMMS_TOKEN}", without()),
        ("claude-desktop", "Claude Desktop", "json", "YOUR-TOKEN", without()),
        ("cursor", "Cursor", "json", "${env:COMMS_TOKEN}", without()),
    ],
)
def test_the_settings_of_a_host_are_those_of_the_page(
    host: str, heading: str, language: str, token: str, cut: Callable[[Any], Any]
) -> None:
    """The document that is printed has the same content as the one that can be read."""
    read = json.loads if language == "json" else yaml.safe_load
    assert read(HOSTS[host].lines(URL, token)) == cut(read(block_of(heading, language)))


def test_the_command_for_claude_code_is_that_of_the_page() -> None:
    """The line that is printed is the line that can be read."""
    assert HOSTS["claude-code"].lines(URL, "$COMMS_TOKEN") == block_of("Claude Code", "sh").strip()


@pytest.mark.parametrize("host", sorted(HOSTS))
def test_a_new_agent_comes_with_what_to_paste(host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines hold this agent's token and address; `rotate` prints them again with the new token."""
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "RELAY_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PUBLIC_URL", "https://voice.example.com")
    runner = CliRunner()
    added = json.loads(runner.invoke(main, ["agents", "add", "my-client", "--for", host, "--json"]).stdout)
    assert added["for"] == host
    assert added["token"] in added["paste"]
    assert "https://voice.example.com" in added["paste"]
    assert "{" not in added["paste"].replace("{AUTHORIZATION}", "") or json_or_yaml(added["paste"])
    shown = runner.invoke(main, ["agents", "rotate", "my-client", "--for", host]).stdout
    assert added["token"] not in shown
    assert f"Paste {added['where']}:" in shown
    assert added["then"] in shown


def json_or_yaml(text: str) -> bool:
    return isinstance(yaml.safe_load(text), dict)
