"""`relay operators` and `relay console`: who may use the console, a link for one, and what is on record."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from click.testing import CliRunner, Result

from relay.cli.main import main

Run: TypeAlias = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in a directory, and on a database, of its own."""
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "PUBLIC_URL", "RELAY_PORT"):
        monkeypatch.delenv(name, raising=False)
    runner = CliRunner()
    return lambda *arguments: runner.invoke(main, list(arguments))


def printed(result: Result) -> Any:
    """Read what a command printed as JSON, having ended well and said nothing else."""
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def test_an_operator_comes_and_goes(run: Run) -> None:
    """A token is printed once and never listed; a new one replaces it; who is removed is not listed any more."""
    added = printed(run("operators", "add", "ada", "--role", "act", "--json"))
    assert added["token"].startswith("op_")
    assert added["console"] == "http://127.0.0.1:8080/console"
    shown = run("operators", "add", "ben", "--role", "read")
    assert "Keep the token: it is not shown again." in shown.stdout
    assert "op_" in shown.stdout
    listed = run("operators", "list")
    assert "op_" not in listed.stdout
    assert [
        (each["name"], each["role"], each["lastSignIn"])
        for each in printed(run("operators", "list", "--json"))["operators"]
    ] == [
        ("ada", "act", None),
        ("ben", "read", None),
    ]
    rotated = printed(run("operators", "rotate", "ben", "--json"))
    assert (rotated["name"], rotated["role"]) == ("ben", "read")
    assert rotated["token"] not in shown.stdout
    assert "Operator ben is removed." in run("operators", "remove", "ben").stdout
    assert [each["name"] for each in printed(run("operators", "list", "--json"))["operators"]] == ["ada"]


def test_what_was_done_is_listed(run: Run) -> None:
    """The record is there for people and for programs, oldest first, of one operator if one is named."""
    run("operators", "add", "ada", "--role", "act")
    run("operators", "add", "ben", "--role", "read")
    run("operators", "rotate", "ada")
    of_ada = printed(run("operators", "log", "--operator", "ada", "--json"))["actions"]
    assert [(each["action"], each["detail"], each["outcome"]) for each in of_ada] == [
        ("operator_added", "act", "done"),
        ("operator_rotated", "", "done"),
    ]
    assert [each["operator"] for each in printed(run("operators", "log", "--limit", "2", "--json"))["actions"]] == [
        "ben",
        "ada",
    ]
    assert printed(run("operators", "log", "--call", "CA1", "--json")) == {"actions": []}
    assert "operator_rotated" in run("operators", "log").stdout


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("operators", "add", "ada b", "--role", "act"), 1, "cannot be an operator's name"),
        (("operators", "add", "ada"), 2, "--role"),
        (("operators", "add", "ada", "--role", "admin"), 2, "'read', 'act'"),
        (("operators", "add", "ada", "--role", "read"), 1, "relay operators rotate ada"),
        (("operators", "rotate", "eve"), 1, "relay operators list"),
        (("operators", "remove", "eve"), 1, "relay operators list"),
        (("operators", "log", "--limit", "0"), 2, "--limit"),
        (("console", "eve", "--url", "http://127.0.0.1:1"), 1, "relay operators list"),
        (("console", "ada"), 1, "No daemon serves this database"),
        (("console", "--url", "http://127.0.0.1:1/console"), 2, "without a path"),
    ],
)
def test_what_cannot_be_done_is_said(run: Run, arguments: tuple[str, ...], status: int, words: str) -> None:
    """One sentence, with what to do instead."""
    run("operators", "add", "ada", "--role", "act")
    result = run(*arguments)
    assert result.exit_code == status
    assert words in result.stderr


def test_a_link_is_for_the_only_operator(run: Run) -> None:
    """Where there are several one has to be named, and where there is none one has to be added."""
    run("agents", "add", "my-client")
    at = ("--url", "http://127.0.0.1:8080", "--json")
    assert "relay operators add" in run("console", *at).stderr
    run("operators", "add", "ada", "--role", "act")
    link = printed(run("console", *at))
    assert (link["operator"], link["seconds"]) == ("ada", 60)
    assert link["url"].startswith("http://127.0.0.1:8080/console/sign-in?link=")
    plain = run("console", "--url", "https://relay.example")
    assert plain.stdout.startswith("https://relay.example/console/sign-in?link=")
    run("operators", "add", "ben", "--role", "read")
    assert "ada, ben" in run("console", *at).stderr
    assert printed(run("console", "ben", *at))["operator"] == "ben"
