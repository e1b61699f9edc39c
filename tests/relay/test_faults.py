"""How failures are logged: what and where, and nothing of what they were made of."""

from __future__ import annotations

import json

import structlog

from relay.faults import report


def test_every_exception_of_a_group_is_named_with_its_place() -> None:
    """Nested groups are unfolded; each exception shows its type and the lines it came through, but no message."""
    with structlog.testing.capture_logs() as logs:
        group = ExceptionGroup("secret", [ValueError("secret"), ExceptionGroup("", [KeyError("secret")])])
        report("it_failed", group, path="/x")
    (entry,) = logs
    assert (entry["event"], entry["log_level"], entry["path"]) == ("it_failed", "error", "/x")
    assert [each.split()[0] for each in entry["errors"]] == ["ValueError", "KeyError"]
    assert "secret" not in str(logs)


def test_the_place_of_an_exception_is_the_way_it_came() -> None:
    """The stack is there as files and lines."""
    with structlog.testing.capture_logs() as logs:
        try:
            json.loads("{")
        except ValueError as error:
            report("it_failed", error)
    assert logs[0]["errors"][0].startswith("JSONDecodeError at test_faults.py:")
    assert "decoder.py:" in logs[0]["errors"][0]
