"""`relay agents`, where it describes agents: what is given when one is added, and what is changed later."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from click.testing import CliRunner, Result

from relay.cli import main

Run: TypeAlias = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in a directory, and on a database, of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    runner = CliRunner()
    return lambda *arguments: runner.invoke(main, list(arguments))


def printed(result: Result) -> Any:
    """Read what a command printed as JSON, having ended well and said nothing else."""
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def listed(run: Run) -> dict[str, Any]:
    (agent,) = printed(run("agents", "list", "--json"))["agents"]
    del agent["waitingMessages"]
    found: dict[str, Any] = agent
    return found


def test_an_agent_introduces_itself_unless_told_otherwise(run: Run) -> None:
    """The disclosure is on from the start, and both it and the name are set when the agent is added."""
    assert run("agents", "add", "my-client", "--name", "Ada's office").exit_code == 0
    assert (listed(run)["name"], listed(run)["discloses"]) == ("Ada's office", True)
    table = run("agents", "list").stdout.splitlines()
    assert "discloses" in table[0]
    assert "Ada's office" in table[1]
    run("agents", "remove", "my-client")
    run("agents", "add", "my-client", "--no-disclosure")
    assert (listed(run)["name"], listed(run)["discloses"]) == (None, False)


def test_setting_changes_what_is_given(run: Run) -> None:
    """What is not given stays as it was, and the agent is printed as it is then."""
    run("agents", "add", "my-client", "--greeting", "Hi!", "--voice", "v", "--no-disclosure")
    before = listed(run)
    change = ("--number", "+1 (415) 555-2671", "--name", "Ada's office", "--disclosure", "--language", "de-DE")
    after = printed(run("agents", "set", "my-client", *change, "--json"))
    assert after == listed(run)
    expected = {"number": "+14155552671", "name": "Ada's office", "discloses": True, "language": "de-DE"}
    assert after == before | expected
    assert "Ada's office" in run("agents", "set", "my-client", "--system-prompt", "Be brief.").stdout
    assert listed(run) == after | {"systemPrompt": "Be brief."}


def test_an_empty_text_takes_a_thing_away(run: Run) -> None:
    """What is cleared is as the settings say again."""
    given = ("--number", "+14155552671", "--greeting", "Hi!", "--system-prompt", "p", "--voice", "v", "--name", "Ada")
    run("agents", "add", "my-client", *given, "--language", "de")
    cleared = [
        each
        for name in ("number", "greeting", "system-prompt", "voice", "language", "name")
        for each in (f"--{name}", "")
    ]
    after = printed(run("agents", "set", "my-client", *cleared, "--json"))
    kept = {name: value for name, value in after.items() if value is not None}
    assert kept.keys() == {"agentId", "discloses", "createdAt"}


def test_setting_nothing_is_wrong_usage(run: Run) -> None:
    """A change needs something to change."""
    run("agents", "add", "my-client")
    result = run("agents", "set", "my-client")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Say what to change" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["agents", "set", "nobody", "--name", "Ada"], "relay agents list"),
        (["agents", "set", "my-client", "--number", "hello"], "E.164"),
        (["agents", "set", "my-client", "--number", "+1 555 1234"], "E.164"),
        (["agents", "add", "other", "--number", "+1 555 1234"], "E.164"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_set_ends_with_1(run: Run, arguments: list[str], advice: str) -> None:
    """An agent that is not there, and a number that cannot be dialled from anywhere, are told and change nothing."""
    run("agents", "add", "my-client")
    before = listed(run)
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert advice in result.stderr
    assert listed(run) == before


FILLERS = ("--filler", "One second.", "--filler", "Let me look.", "--long-filler", "Nearly there.")


def fillers(agent: dict[str, Any]) -> tuple[list[str] | None, str | None]:
    """Take what is said of fillers out of an agent's description."""
    return agent["fillers"], agent["longFiller"]


def test_fillers_are_given_one_by_one(run: Run) -> None:
    """Without any, an agent has the language's own; those that are given are kept in their order."""
    run("agents", "add", "other")
    assert fillers(listed(run)) == (None, None)
    run("agents", "remove", "other")
    run("agents", "add", "my-client", *FILLERS)
    assert fillers(listed(run)) == (["One second.", "Let me look."], "Nearly there.")
    assert "One second. | Let me look." in run("agents", "set", "my-client", "--voice", "v").stdout


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (["--filler", "Moment."], (["Moment."], "Nearly there.")),
        (["--long-filler", "Soon."], (["One second.", "Let me look."], "Soon.")),
        (["--filler", ""], (None, "Nearly there.")),
        (["--long-filler", ""], (["One second.", "Let me look."], None)),
        (["--no-fillers"], ([], "")),
        (["--no-fillers", "--filler", "Moment."], (["Moment."], "")),
        (["--no-fillers", "--long-filler", "Soon."], ([], "Soon.")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_fillers_are_changed(run: Run, change: list[str], expected: tuple[list[str] | None, str | None]) -> None:
    """They are replaced together, an empty one brings the language's back, and a caller may wait in silence."""
    run("agents", "add", "my-client", *FILLERS)
    assert fillers(printed(run("agents", "set", "my-client", *change, "--json"))) == expected
    assert fillers(listed(run)) == expected


def test_an_agent_without_fillers_is_told_from_one_with_the_languages(run: Run) -> None:
    """People read `none` where nothing is said, and nothing where the language's own words are."""
    run("agents", "add", "my-client")
    assert "none" not in run("agents", "set", "my-client", "--voice", "v").stdout
    assert run("agents", "set", "my-client", "--no-fillers").stdout.count("none") == 2
