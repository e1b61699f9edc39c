"""`relay agents`, where it describes agents: what is given when one is added, and what is changed later."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from click.testing import CliRunner, Result

from relay.cli.main import main

Run: TypeAlias = Callable[..., Result]

VOICE = "XB0fDUnXU5powFXDhCwa"


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
    run("agents", "add", "my-client", "--greeting", "Hi!", "--voice", VOICE, "--no-disclosure")
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
    given = ("--number", "+14155552671", "--greeting", "Hi!", "--system-prompt", "p", "--voice", VOICE, "--name", "Ada")
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
    assert "One second. | Let me look." in run("agents", "set", "my-client", "--voice", VOICE).stdout


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


def test_an_agent_without_fillers_is_distinguished_from_one_with_the_languages(run: Run) -> None:
    """People read `none` where nothing is said, and nothing where the language's own words are."""
    run("agents", "add", "my-client")
    assert "none" not in run("agents", "set", "my-client", "--voice", VOICE).stdout
    assert run("agents", "set", "my-client", "--no-fillers").stdout.count("none") == 2


@pytest.mark.parametrize("command", ["add", "set"])
@pytest.mark.parametrize(
    ("option", "value", "hint"),
    [
        ("--language", "klingon", "such as en-US or de-DE"),
        ("--language", "en US", "Did you mean en-US?"),
        ("--language", "english", "Did you mean en-US?"),
        ("--language", "de_DE", "Did you mean de-DE?"),
        ("--voice", "Sarah", "Did you mean EXAVITQu4vr4xnSDxMaL?"),
        ("--voice", "Google.en-US-Journey-O", "speak in no conversation"),
        ("--voice", "EXAVITQu4vr4xnSDxMa", "this id has 19. Copy it again."),
        ("--voice", "EXAVITQu4vr4xnSDxMaL-1.0_2.0_0.5", "stability"),
    ],
)
def test_a_language_or_voice_that_is_none_is_refused(
    run: Run, command: str, option: str, value: str, hint: str
) -> None:
    """The option is named with what was probably meant, and nothing is added or changed."""
    run("agents", "add", "other" if command == "add" else "my-client")
    result = run("agents", command, "my-client", option, value)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"Error: {option} cannot be used: ")
    assert hint in result.stderr
    (kept,) = printed(run("agents", "list", "--json"))["agents"]
    assert (kept["agentId"] == "other", kept["voice"], kept["language"]) == (command == "add", None, None)


def test_a_language_that_the_carrier_may_not_have_is_taken_with_a_warning(run: Run) -> None:
    """A list of languages grows, so an operator who knows better is only warned."""
    result = run("agents", "add", "my-client", "--language", "EU-es")
    assert result.exit_code == 0
    assert result.stderr.startswith("Warning: A call in eu-ES may fail at once: the voice service (ElevenLabs)")
    assert listed(run)["language"] == "eu-ES"


def test_a_voice_is_as_usual_or_the_carrier_s_own(run: Run) -> None:
    """`none` is no voice at all, which an empty text takes back to that of the settings."""
    run("agents", "add", "my-client", "--voice", "none")
    assert listed(run)["voice"] == ""
    assert "none" in run("agents", "set", "my-client", "--name", "Ada").stdout
    run("agents", "set", "my-client", "--voice", "")
    assert listed(run)["voice"] is None
    run("agents", "set", "my-client", "--voice", "none")
    assert listed(run)["voice"] == ""
    run("agents", "set", "my-client", "--voice", f" {VOICE} ")
    assert listed(run)["voice"] == VOICE
