"""`relay calls`: what it shows of calls out, transfers, and what was said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import trio
from click.testing import CliRunner, Result

from actors.call_record import CallKind, CallProgress
from actors.call_values import Callee, CallSummary, Direction, Line, Speaker
from actors.transfer import TransferOutcome
from relay.cli.main import main
from relay.store.call_journal import CallJournal
from relay.store.database import open_database
from tests.contracts.message_store import AT, call

Run: TypeAlias = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in a directory of its own, on a database with a conversation and a voice message in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATABASE_URL", raising=False)

    async def leave_records() -> None:
        async with open_database("sqlite:///relay.db") as database:
            journal = CallJournal(database)
            await journal.open_call(call("CA1"))
            await journal.note_picked_up("my-client", "CA1", Callee.HUMAN)
            await journal.note_transfer("my-client", "CA1", "+15551234567", TransferOutcome.DIALLING)
            said = (Line(Speaker.CALLER, "Is Ada there?\x1b[2J", AT), Line(Speaker.AGENT, "I will connect you.", AT))
            await journal.close_call("CA1", CallSummary(outcome="transferred", transcript=said))
            await journal.note_transfer("my-client", "CA1", None, TransferOutcome.ANSWERED)
            about = ("CA2", "my-client", Direction.OUTBOUND, "+1", "+2")
            await journal.announce_call(*about, kind=CallKind.VOICE_MESSAGE)
            await journal.note_progress("my-client", CallProgress(call_sid="CA2", status="failed", error="sip_486"))

    trio.run(leave_records)
    runner = CliRunner()
    return lambda *arguments: runner.invoke(main, list(arguments))


def printed(result: Result) -> Any:
    """Read what a command printed as JSON, having ended well and said nothing else."""
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def test_a_call_is_shown_with_what_was_said(run: Run) -> None:
    """A transcript that was kept is part of what `show` prints, and of nothing else."""
    shown = printed(run("calls", "show", "CA1", "--json"))
    assert shown["transfer"] == {"to": "+15551234567", "outcome": "answered"}
    assert (shown["kind"], shown["pickedUpBy"], shown["state"], shown["outcome"]) == (
        "call",
        "human",
        "live",
        "transferred",
    )
    assert [(each["speaker"], each["text"]) for each in shown["transcript"]] == [
        ("caller", "Is Ada there?\x1b[2J"),
        ("agent", "I will connect you."),
    ]
    assert all("transcript" not in each for each in printed(run("calls", "list", "--json"))["calls"])


def test_a_call_is_shown_to_people(run: Run) -> None:
    """A line a field, then what was said; what a caller said does not steer the terminal."""
    shown = run("calls", "show", "CA1").stdout
    assert "to: +15551234567, outcome: answered" in shown
    assert "caller: Is Ada there? [2J" in shown
    assert "\x1b" not in shown
    assert "transcript" not in run("calls", "show", "CA2").stdout


def test_what_the_carrier_said_is_shown(run: Run) -> None:
    """A voice message that could not be delivered says why, and has no transcript."""
    shown = printed(run("calls", "show", "CA2", "--json"))
    assert shown["transcript"] == []
    assert (shown["kind"], shown["outcome"], shown["carrierStatus"], shown["carrierError"]) == (
        "voice_message",
        "failed",
        "failed",
        "sip_486",
    )


def test_the_list_tells_messages_from_conversations(run: Run) -> None:
    """The table has what each call is for, and how it ended."""
    heading, *rows = run("calls", "list").stdout.splitlines()
    assert "kind" in heading
    (message,) = (row for row in rows if row.startswith("CA2"))
    assert "voice_message" in message
    assert "failed" in message
