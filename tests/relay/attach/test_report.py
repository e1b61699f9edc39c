"""What whoever runs `relay attach` is told."""

from __future__ import annotations

import json

import pytest

from relay.attach.report import JsonReport, PersonReport


def test_json_is_an_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Each event is one line, whatever the caller said."""
    report = JsonReport()
    report.tell("turn", callSid="CA1", text="Grüß\nGott")
    report.tell("lost", why="gone", pause=0.5)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        {"event": "turn", "callSid": "CA1", "text": "Grüß\nGott"},
        {"event": "lost", "why": "gone", "pause": 0.5},
    ]


def test_a_caller_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters and markup in what a caller said are shown as text or not at all."""
    facts = {"from": "+1555", "callerVerified": False, "text": "\x1b]0;mine\x07[red]Hi[/red]\r\n"}
    PersonReport().tell("turn", callSid="CA1", turn=1, **facts)
    assert capsys.readouterr().out.rstrip() == "+1555 (not verified):  ]0;mine [red]Hi[/red]"


def test_trouble_is_reported_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    """What went wrong does not stand between the lines of the conversation."""
    PersonReport().tell("program", why="ended with status 1", pause=0.25)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "ended with status 1" in captured.err
