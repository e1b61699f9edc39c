"""The command line, through click's runner and once as a process."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import click
import pytest
import trio
from click.testing import CliRunner, Result

from actors.call_values import CallSummary
from relay import __version__
from relay.agent import Agent
from relay.cli.checks import examination, own_numbers
from relay.cli.checks.check import Finding, Verdict
from relay.cli.checks.own_numbers import Misled
from relay.cli.main import COMMANDS, main
from relay.daemon import address
from relay.daemon.address import RunningDaemon
from relay.errors import DatabaseError
from relay.settings import Settings
from relay.store.agent_registry import AgentRegistry
from relay.store.call_journal import CallJournal
from relay.store.database import Database, open_database
from relay.store.waiting_messages import WaitingMessages
from relay.twilio.call_orders import NumberState
from tests.contracts.message_store import call, draft

Run: TypeAlias = Callable[..., Result]

VOICE = "XB0fDUnXU5powFXDhCwa"


@pytest.fixture
def run_without_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in an empty directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("PUBLIC_URL", "RELAY_HOST", "RELAY_PORT", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    runner = CliRunner()
    return lambda *arguments, typed=None: runner.invoke(main, list(arguments), input=typed)


@pytest.fixture
def run(run_without_database: Run) -> Run:
    """Run a command in a directory, and on a database, of its own."""

    async def nothing(_database: Database) -> None:
        await trio.lowlevel.checkpoint()

    with_database(nothing)
    return run_without_database


def printed(result: Result) -> Any:
    """Read what a command printed as JSON, having ended well and said nothing else."""
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def with_database(work: Callable[[Database], Any]) -> Any:
    """Do something in the database of the working directory, as a daemon would."""

    async def run() -> Any:
        async with open_database("sqlite:///relay.db") as database:
            return await work(database)

    return trio.run(run)


def test_the_version_is_reported(run: Run) -> None:
    """`--version` names the program and its version."""
    assert run("--version").stdout == f"relay, version {__version__}\n"


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["serve"],
        ["doctor"],
        ["status"],
        ["call"],
        ["attach"],
        ["agents"],
        ["agents", "add"],
        ["agents", "list"],
        ["agents", "rotate"],
        ["agents", "remove"],
        ["agents", "set"],
        ["consents"],
        ["consents", "add"],
        ["consents", "list"],
        ["consents", "withdraw"],
        ["dnc"],
        ["dnc", "add"],
        ["dnc", "list"],
        ["dnc", "remove"],
        ["gate"],
        ["gate", "disable"],
        ["gate", "enable"],
        ["gate", "explain"],
        ["messages"],
        ["messages", "list"],
        ["messages", "show"],
        ["messages", "confirm"],
        ["messages", "export"],
        ["completion"],
        ["calls"],
        ["calls", "list"],
        ["calls", "show"],
        ["nodes"],
        ["nodes", "list"],
    ],
    ids=" ".join,
)
def test_every_command_has_help(run_without_database: Run, command: list[str]) -> None:
    """`--help` explains a command and touches nothing."""
    result = run_without_database(*command, "--help")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("Usage:")
    assert not Path("relay.db").exists()


@pytest.mark.parametrize(
    "command",
    [
        ["agents", "list"],
        ["agents", "set", "a", "--name", "Ada"],
        ["agents", "rotate", "a"],
        ["agents", "remove", "a"],
        ["messages", "list"],
        ["messages", "list", "--json"],
        ["messages", "show", "msg_1"],
        ["calls", "list"],
        ["calls", "show", "CA1"],
        ["nodes", "list"],
        ["dnc", "list"],
        ["dnc", "remove", "+14155550123"],
        ["consents", "list"],
        ["gate", "explain", "+14155550123"],
        ["gate", "disable", "a"],
        ["status"],
        ["status", "--json"],
    ],
    ids=" ".join,
)
def test_no_database_is_made_by_asking(run_without_database: Run, command: list[str], tmp_path: Path) -> None:
    """In a directory without a database a command says so in one line, and leaves the directory as it was."""
    result = run_without_database(*command)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"Error: There is no database at {tmp_path / 'relay.db'}; start `relay serve` here")
    assert len(result.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_command_says_which_database_it_asked(run: Run, tmp_path: Path) -> None:
    """People learn on standard error where the answer is from; programs get nothing beside the document."""
    assert run("agents", "list").stderr == f"Database: {tmp_path / 'relay.db'}\n"
    assert run("agents", "list", "--json").stderr == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["agents", "add"],
        ["messages", "list", "--status", "lost"],
        ["calls", "list", "--limit", "0"],
        ["serve", "--port", "70000"],
        ["messages", "confirm"],
        ["messages", "export", "--csv", "--json"],
        ["completion", "powershell"],
        ["agents", "add", "a", "--for", "notepad"],
        ["attach"],
        ["attach", "--token", "t", "--command", "true", "--claude"],
        ["call"],
        ["call", "a", "--url", "127.0.0.1:8080"],
        ["call", "a", "--url", "http://relay.example/path"],
        ["call", "a", "--url", "http://relay.example:x"],
        ["call", "a", "--url", "ftp://relay.example"],
        ["call", "a", "--pace", "-1"],
        ["call", "a", "--transfer", "maybe"],
        ["call", "a", "b"],
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2(run: Run, arguments: list[str]) -> None:
    """A command that does not exist, or is not complete, is wrong usage."""
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Error:" in result.stderr


def test_an_agent_is_added_with_its_addresses(run: Run) -> None:
    """Adding prints the token once, and where the client and the carrier find the relay."""
    added = printed(run("agents", "add", "my-client", "--json"))
    token = added["token"]
    assert added == {
        "agentId": "my-client",
        "token": token,
        "sseUrl": f"http://127.0.0.1:8080/sse?token={token}",
        "mcpUrl": "http://127.0.0.1:8080/mcp",
        "voiceWebhook": "http://127.0.0.1:8080/webhooks/my-client/voice",
    }

    async def owner(database: Database) -> Agent | None:
        return await AgentRegistry(database).by_token(token)

    assert with_database(owner).agent_id == "my-client"


def test_the_addresses_are_the_public_ones(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a public origin, all addresses are under it; an IPv6 address is put in brackets without one."""
    monkeypatch.setenv("RELAY_HOST", "::1")
    assert printed(run("agents", "add", "a", "--json"))["mcpUrl"] == "http://[::1]:8080/mcp"
    monkeypatch.setenv("PUBLIC_URL", "https://voice.example.com/")
    assert printed(run("agents", "add", "b", "--json"))["mcpUrl"] == "https://voice.example.com/mcp"


def test_an_agent_is_listed_as_it_was_added(run: Run) -> None:
    """The list has all that was given, how many messages wait, and no token."""
    given = {
        "number": "+14155552671",
        "greeting": "Hi!",
        "system-prompt": "Be brief.",
        "voice": VOICE,
        "language": "de",
    }
    token = printed(
        run(
            "agents",
            "add",
            "my-client",
            *(each for name, value in given.items() for each in (f"--{name}", value)),
            "--json",
        )
    )["token"]
    with_database(lambda database: WaitingMessages(database).leave(draft()))
    result = run("agents", "list", "--json")
    (agent,) = printed(result)["agents"]
    assert agent.pop("createdAt").endswith("Z")
    assert agent == {
        "agentId": "my-client",
        "number": "+14155552671",
        "name": None,
        "discloses": True,
        "greeting": "Hi!",
        "systemPrompt": "Be brief.",
        "voice": VOICE,
        "language": "de",
        "fillers": None,
        "longFiller": None,
        "waitingMessages": 1,
    }
    assert token not in result.stdout


def test_people_get_tables(run: Run) -> None:
    """Without `--json` there is a line for each thing, and an empty table says what to do."""
    assert "relay agents add" in run("agents", "list").stdout
    assert "my-client" in run("agents", "add", "my-client").stdout
    lines = run("agents", "list").stdout.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("my-client ")


def test_a_token_is_rotated(run: Run) -> None:
    """Rotating prints what adding printed, with another token."""
    before = printed(run("agents", "add", "my-client", "--json"))
    after = printed(run("agents", "rotate", "my-client", "--json"))
    assert after.keys() == before.keys()
    assert after["token"] != before["token"]


def test_an_agent_is_removed(run: Run) -> None:
    """A removed agent is gone; while messages wait for it that has to be said twice."""
    run("agents", "add", "my-client")
    with_database(lambda database: WaitingMessages(database).leave(draft()))
    refused = run("agents", "remove", "my-client")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "--discard-messages" in refused.stderr
    assert printed(run("agents", "remove", "my-client", "--discard-messages", "--json")) == {"removed": "my-client"}
    assert printed(run("agents", "list", "--json")) == {"agents": []}
    assert run("agents", "add", "my-client").exit_code == 0
    assert "removed" in run("agents", "remove", "my-client").stdout


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["agents", "add", "a b"], "letters, digits"),
        (["agents", "add", "a", "--number", "12"], "E.164"),
        (["agents", "rotate", "nobody"], "relay agents list"),
        (["agents", "remove", "nobody"], "relay agents list"),
        (["messages", "list", "--agent", "nobody"], "relay agents list"),
        (["messages", "show", "msg_none"], "relay messages list"),
        (["calls", "list", "--agent", "nobody"], "relay agents list"),
        (["calls", "show", "CA404"], "relay calls list"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_failure_ends_with_1_and_says_what_to_do(run: Run, arguments: list[str], advice: str) -> None:
    """What cannot be done is said on standard error, in a sentence and not in a traceback."""
    result = run(*arguments, "--json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert advice in result.stderr
    assert "Traceback" not in result.stderr


def test_settings_and_database_errors_end_with_1(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt setting and a database that cannot be used are failures of the command."""
    monkeypatch.setenv("RELAY_PROT", "80")
    misspelt = run("agents", "list")
    assert (misspelt.exit_code, "RELAY_PORT" in misspelt.stderr) == (1, True)
    monkeypatch.delenv("RELAY_PROT")
    monkeypatch.setenv("DATABASE_URL", "sqlite:///none/relay.db")
    unusable = run("agents", "list")
    assert (unusable.exit_code, "directory" in unusable.stderr) == (1, True)


def leave_two(run: Run) -> list[str]:
    """Leave one message for each of two agents, confirm the first, and return their ids."""

    async def work(database: Database) -> list[str]:
        waiting = WaitingMessages(database)
        ids = [await waiting.leave(draft(agent_id=name, call_sid=f"CA-{name}")) for name in ("a", "b")]
        await waiting.acknowledge("a", ids[:1])
        return ids

    for name in ("a", "b"):
        run("agents", "add", name)
    found: list[str] = with_database(work)
    return found


def test_messages_are_listed(run: Run) -> None:
    """The list has every message with its status, of one agent or one status if asked."""
    first, second = leave_two(run)

    def listed(*arguments: str) -> list[tuple[str, str]]:
        result = printed(run("messages", "list", *arguments, "--json"))
        return [(each["id"], each["status"]) for each in result["messages"]]

    assert listed() == [(first, "acknowledged"), (second, "waiting")]
    assert listed("--agent", "b") == [(second, "waiting")]
    assert listed("--status", "acknowledged") == [(first, "acknowledged")]
    assert listed("--status", "held") == []
    table = run("messages", "list").stdout
    assert len(table.splitlines()) == 3
    assert "Please call me back." in table
    assert run("messages", "list", "--status", "held").stdout == "No messages.\n"


def test_looking_at_messages_does_not_deliver_them(run: Run) -> None:
    """What the operator reads still waits for the client, unheld and uncounted."""
    _first, second = leave_two(run)
    run("messages", "list")
    shown = printed(run("messages", "show", second, "--json"))
    assert (shown["status"], shown["deliveries"], shown["body"]) == ("waiting", 0, "Please call me back.")


def test_a_message_is_shown_with_its_transcript(run: Run) -> None:
    """Showing a message prints who said what."""
    first, _second = leave_two(run)
    shown = run("messages", "show", first).stdout
    assert "after 8" in shown
    assert "caller: Please call me back." in shown


def test_what_a_caller_said_does_not_steer_the_terminal(run: Run) -> None:
    """Control characters and markup in a message are not obeyed."""
    run("agents", "add", "my-client")
    with_database(lambda database: WaitingMessages(database).leave(draft(body="\x1b[2Jgone [red]\r\nfake row")))
    (message,) = printed(run("messages", "list", "--json"))["messages"]
    assert message["body"] == "\x1b[2Jgone [red]\r\nfake row"
    for result in (run("messages", "list"), run("messages", "show", message["id"])):
        assert "\x1b" not in result.stdout
        assert "\r" not in result.stdout
        assert "gone [red]  fake row" in result.stdout


def test_calls_are_listed_and_shown(run: Run) -> None:
    """Records of calls are listed by agent and state, and shown one by one."""

    async def work(database: Database) -> None:
        journal = CallJournal(database)
        for sid in ("CA1", "CA2"):
            await journal.open_call(call(sid))
        await journal.close_call("CA1", CallSummary(outcome="completed", turns_by={"client": 2, "machine": 1}))

    assert run("calls", "list").stdout == "No calls.\n"
    run("agents", "add", "my-client")
    with_database(work)

    def listed(*arguments: str) -> set[str]:
        return {each["callSid"] for each in printed(run("calls", "list", *arguments, "--json"))["calls"]}

    assert listed() == listed("--agent", "my-client") == {"CA1", "CA2"}
    assert listed("--state", "live") == {"CA2"}
    assert len(listed("--limit", "1")) == 1
    assert len(run("calls", "list").stdout.splitlines()) == 3
    assert printed(run("calls", "show", "CA1", "--json"))["answeredBy"] == {"client": 2, "machine": 1}
    assert "client: 2, machine: 1" in run("calls", "show", "CA1").stdout


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the settings of whoever runs the tests."""
    for name in ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_API_BASE_URL", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("bare")
def test_the_doctor_prints_a_line_a_check(run: Run) -> None:
    """Each check is one line with its fix; what failed is named on standard error, with exit code 1."""
    result = run("doctor")
    assert result.exit_code == 1
    lines = [line.split(maxsplit=2) for line in result.stdout.splitlines()]
    assert [tuple(line[:2]) for line in lines[:4]] == [
        ("failed", "settings"),
        ("ok", "descriptors"),
        ("ok", "files"),
        ("ok", "database"),
    ]
    assert "relay serve --local" in lines[0][2]
    assert len(lines) == len(examination.CHECKS)
    assert result.stderr == "Error: Fix what failed, then ask again: settings, agents.\n"


@pytest.mark.usefixtures("bare")
def test_the_doctor_prints_json(run: Run) -> None:
    """With `--json` the findings are one document, and the exit code is the same."""
    result = run("doctor", "--json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert report["healthy"] is False
    (agents,) = (each for each in report["checks"] if each["check"] == "agents")
    assert agents == {
        "check": "agents",
        "status": "failed",
        "detail": "No agent is registered, so no number can be answered.",
        "mend": "Add one with: relay agents add ID",
    }


def test_the_doctor_ends_with_0_when_nothing_failed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was skipped or could not be told is no failure."""
    verdicts = [Verdict.OK, Verdict.SKIPPED, Verdict.UNKNOWN]

    async def examine(_load: object, tell: Callable[[Finding], None], **_more: object) -> list[Finding]:
        await trio.lowlevel.checkpoint()
        return [Finding("a", each, "A sentence.") for each in verdicts]

    monkeypatch.setattr(examination, "examine", examine)
    report = printed(run("doctor", "--json"))
    assert report["healthy"] is True
    assert [each["status"] for each in report["checks"]] == ["ok", "skipped", "unknown"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--yes"], "--yes is for --fix"),
        (["--fix", "--json"], "--fix asks; give it or --json"),
        (["--fix"], "No number was set, because settings is not ok: fix that first, then ask again."),
    ],
)
@pytest.mark.usefixtures("bare")
def test_the_doctor_sets_no_number_that_would_not_be_answered(run: Run, options: list[str], told: str) -> None:
    """What stands in the way is named."""
    result = run("doctor", *options)
    assert result.exit_code != 0
    assert told in result.stderr


@pytest.mark.parametrize(("typed", "is_set"), [("y\n", True), ("n\n", False), ("", False)])
def test_the_doctor_asks_before_it_sets_a_number(
    run: Run, monkeypatch: pytest.MonkeyPatch, typed: str, *, is_set: bool
) -> None:
    """Each by itself; what is not answered is not set."""
    led: list[object] = []
    state = NumberState(sid="PN1", voice_url="", voice_method="POST", is_led_elsewhere=False)
    misled = Misled(
        agent=Agent(agent_id="my-client", number="+14155550123", created_at=datetime.now(UTC)),
        state=state,
        how="leads nowhere",
    )

    async def examine(*_given: object, **_more: object) -> list[Finding]:
        await trio.lowlevel.checkpoint()
        return [Finding(check.name, Verdict.OK, "Well.") for check in examination.CHECKS]

    async def find(_settings: object) -> list[Misled]:
        await trio.lowlevel.checkpoint()
        return [misled]

    async def lead(_settings: object, number: Misled) -> None:
        await trio.lowlevel.checkpoint()
        led.append(number)

    daemon = RunningDaemon(url="http://127.0.0.1:1", public_url="https://voice.example.com", pid=1, is_local=False)
    monkeypatch.setattr(examination, "examine", examine)
    monkeypatch.setattr(own_numbers, "find_misled", find)
    monkeypatch.setattr(own_numbers, "lead_home", lead)
    monkeypatch.setattr(address, "find_daemon", lambda _url: daemon)
    result = run("doctor", "--fix", typed=typed)
    assert "my-client's number +14155550123 leads nowhere. Set it to the agent's webhook?" in result.stdout
    assert led == ([misled] if is_set else [])
    assert ("leads here now" in result.stdout) is is_set


class Daemon(ModuleType):
    """A stand-in for `relay.daemon.life_cycle`, which remembers how it was started and may fail."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__("relay.daemon.life_cycle")
        self.error = error
        self.started: list[tuple[Settings, bool]] = []
        self.warnings: list[str] = []

    async def serve(self, settings: Settings, *, local: bool, warnings: list[str]) -> None:
        await trio.lowlevel.checkpoint()
        self.started.append((settings, local))
        self.warnings = warnings
        if self.error is not None:
            raise self.error


def test_serving_takes_the_address_from_the_command_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--host` and `--port` win over the settings; all else is as the environment says."""
    monkeypatch.setitem(sys.modules, "relay.daemon.life_cycle", daemon := Daemon())
    monkeypatch.setenv("RELAY_PORT", "9000")
    assert run("serve", "--host", "0.0.0.0", "--port", "0", "--local").exit_code == 0
    assert run("serve").exit_code == 0
    assert [(each.relay_host, each.relay_port, local) for each, local in daemon.started] == [
        ("0.0.0.0", 0, True),
        ("127.0.0.1", 9000, False),
    ]


@pytest.mark.parametrize(
    "error",
    [
        DatabaseError("Fix the disk."),
        ExceptionGroup("nursery", [ExceptionGroup("inner", [DatabaseError("Fix the disk.")])]),
    ],
    ids=["plain", "in groups"],
)
def test_a_daemon_that_cannot_start_ends_with_1(run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """What stops the daemon is said in its own words, also when it comes out of nurseries."""
    monkeypatch.setitem(sys.modules, "relay.daemon.life_cycle", Daemon(error))
    result = run("serve")
    assert (result.exit_code, result.stderr) == (1, "Error: Fix the disk.\n")


def test_a_fault_of_ours_keeps_its_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody expected is not dressed up as the operator's, even beside one that is."""
    fault = ExceptionGroup("nursery", [DatabaseError("Fix the disk."), ZeroDivisionError()])
    monkeypatch.setitem(sys.modules, "relay.daemon.life_cycle", Daemon(fault))
    result = run("serve")
    assert result.exit_code == 1
    assert result.exception is fault


def test_the_program_runs_as_a_module(tmp_path: Path) -> None:
    """`python -m relay` works in a fresh directory, keeps its database there, and ends with the right code."""
    root = str(Path(__file__).parents[3])

    def relay(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "relay", *arguments],
            cwd=tmp_path,
            env={"PYTHONPATH": root},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    added = relay("agents", "add", "my-client", "--json")
    assert (added.returncode, json.loads(added.stdout)["agentId"]) == (0, "my-client")
    assert (tmp_path / "relay.db").exists()
    again = relay("agents", "add", "my-client")
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr.startswith("Error: Agent my-client exists already.")


NEAR = "ANTROPIC_API_KEY (.env, line 2) is not a setting, and is ignored. Did you mean ANTHROPIC_API_KEY?"


def test_a_name_that_is_nearly_a_setting_s_is_warned_of(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands say it on standard error, the daemon in its log, the doctor with the settings."""
    for name in ("ANTHROPIC_API_KEY", "TWILIO_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    Path(".env").write_text("# keys\nANTROPIC_API_KEY=sk-ant-hidden\n")
    listed = run("agents", "list", "--json")
    assert (listed.exit_code, json.loads(listed.stdout)) == (0, {"agents": []})
    assert listed.stderr == f"Warning: {NEAR}\n"
    monkeypatch.setitem(sys.modules, "relay.daemon.life_cycle", daemon := Daemon())
    assert run("serve", "--local").exit_code == 0
    assert daemon.warnings == [NEAR]
    examined = json.loads(run("doctor", "--json").stdout)["checks"][0]
    assert (examined["check"], NEAR in examined["mend"]) == ("settings", True)
    assert "sk-ant-hidden" not in listed.stderr + str(daemon.warnings) + str(examined)


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ("COMMS_TOKEN=a b\n", "that is no token of the relay's (.env, line 1); copy it again"),
        ("COMMS_URL=relay.lan\nCOMMS_TOKEN=t\n", "COMMS_URL (.env, line 1) cannot be used"),
        ("COMS_TOKEN=t\n", "Did you mean COMMS_TOKEN?"),
        ("", "give the agent's token"),
    ],
)
def test_attaching_reads_the_settings_file(
    run: Run, monkeypatch: pytest.MonkeyPatch, lines: str, sentence: str
) -> None:
    """What stands in `.env` is read, and what is wrong with it is told with its line."""
    for name in ("COMMS_TOKEN", "COMMS_URL"):
        monkeypatch.delenv(name, raising=False)
    Path(".env").write_text(lines)
    result = run("attach")
    assert result.exit_code == 2
    assert sentence in result.stderr


def all_commands() -> list[list[str]]:
    """Return the words of each command and group."""
    found: list[list[str]] = []

    def walk(command: click.Command, words: list[str]) -> None:
        found.append(words)
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                inner = command.get_command(context, name)
                assert inner is not None
                walk(inner, [*words, name])

    walk(main, [])
    return found


@pytest.mark.parametrize("command", all_commands(), ids=" ".join)
def test_every_help_fits_a_terminal_and_has_an_example(run: Run, command: list[str]) -> None:
    """No line is longer than 80 columns but those of examples, no summary is cut, and there is something to paste."""
    if command in (["attach"], ["call"]):
        return  # their examples are on docs/attach.md and in the README
    text, _mark, pasted = run(*command, "--help").stdout.partition("Example:")
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "..." not in text.replace("ID...", "").replace("[ARGS]...", "")
    assert pasted.split()[0] in {"relay", "eval"}


def test_summaries_are_those_of_the_commands_themselves() -> None:
    """What `relay --help` says of a command, without loading it, is the first sentence of its own help."""
    context = click.Context(main)
    for name, summary in COMMANDS.items():
        command = main.get_command(context, name)
        assert command is not None
        assert command.get_short_help_str(limit=1000) == summary


@pytest.mark.parametrize(
    "words", [["--help"], ["agents", "add", "--help"], ["messages", "list", "--help"], ["--version"]]
)
def test_help_does_not_wait_for_what_the_work_needs(words: list[str]) -> None:
    """Neither the database's libraries nor Trio are loaded to print a help text."""
    program = (
        "import sys; from relay.cli.main import main\n"
        f"try: main({words!r})\n"
        "except SystemExit: pass\n"
        "heavy = {'sqlalchemy', 'alembic', 'trio', 'rich', 'phonenumbers', 'mcp', 'twilio', 'pydantic'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or None)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_can_complete_commands(run: Run, shell: str) -> None:
    """The script names the variable by which the command itself is asked."""
    script = run("completion", shell).stdout
    assert "_RELAY_COMPLETE" in script
    assert "relay" in script


def test_commands_are_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the script asks is answered, for commands that are loaded only when used, too."""
    asked = CliRunner().invoke(
        main,
        prog_name="relay",
        env={"_RELAY_COMPLETE": "bash_complete", "COMP_WORDS": "relay messages co", "COMP_CWORD": "2"},
    )
    assert asked.stdout.split() == ["plain,confirm"]


def test_messages_are_confirmed_by_the_beginnings_of_their_ids(run: Run) -> None:
    """Any part of an id that tells it apart will do; one that does not confirms none, and says which there are."""
    first, second = leave_two(run)
    told = printed(run("messages", "show", second[:-3], "--json"))
    assert told["id"] == second
    several = run("messages", "confirm", second, "msg_")
    assert (several.exit_code, several.stdout) == (1, "")
    assert first in several.stderr
    assert second in several.stderr
    assert printed(run("messages", "show", second, "--json"))["status"] == "waiting"
    assert run("messages", "confirm", second, "nothing").exit_code == 1
    assert run("messages", "confirm", "").exit_code == 1
    assert printed(run("messages", "confirm", second[:-2], second, first, "--json")) == {
        "acknowledged": [second, first]
    }
    assert printed(run("messages", "show", second, "--json"))["status"] == "acknowledged"
    assert f"{second} is confirmed." in run("messages", "confirm", second).stdout


def test_messages_are_exported_whole(run: Run) -> None:
    """As JSON they are what `list` has; as CSV each is a row, whatever the caller said."""
    run("agents", "add", "my-client")
    said = '=HYPERLINK("http://x.example"), "quoted";\r\nsecond line, naïve 😀'
    with_database(lambda database: WaitingMessages(database).leave(draft(body=said)))
    assert json.loads(run("messages", "export").stdout) == printed(run("messages", "list", "--json"))
    exported = run("messages", "export", "--csv").stdout_bytes.decode()
    (row,) = csv.DictReader(io.StringIO(exported, newline=""))
    (message,) = printed(run("messages", "export", "--json"))["messages"]
    assert row["id"] == message["id"]
    assert row["body"] == f"'{said}"
    assert row["from"] == message["from"]
    assert row["transcript"].startswith("caller: ")
    assert list(csv.reader(io.StringIO(run("messages", "export", "--csv", "--status", "held").stdout)))[1:] == []


def test_calls_are_shown_by_the_beginning_of_their_sid(run: Run) -> None:
    """A call is found by a part of its SID that no other begins with."""
    run("agents", "add", "my-client")

    async def work(database: Database) -> None:
        for sid in ("CA1a", "CA1b", "CA2"):
            await CallJournal(database).open_call(call(sid))

    with_database(work)
    assert printed(run("calls", "show", "CA2", "--json"))["callSid"] == "CA2"
    assert printed(run("calls", "show", "CA1a", "--json"))["callSid"] == "CA1a"
    several = run("calls", "show", "CA1")
    assert (several.exit_code, several.stdout) == (1, "")
    assert "CA1a" in several.stderr
    assert "CA1b" in several.stderr


def test_tables_fit_a_terminal_of_eighty_columns(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal no line is longer than it is wide, and the ids stand first, whole, on one line."""
    ids = leave_two(run)
    sid = "CA" + "0123456789abcdef" * 2

    async def work(database: Database) -> None:
        await CallJournal(database).open_call(call(sid))

    with_database(work)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    for words, wanted in ((("messages", "list"), ids), (("calls", "list"), [sid]), (("agents", "list"), ["a", "b"])):
        lines = [click.unstyle(line) for line in run(*words).stdout.splitlines()]
        assert max(len(line) for line in lines) <= 80
        assert [each for each in wanted if any(line.startswith(each) for line in lines)] == list(wanted)
