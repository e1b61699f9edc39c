"""What a line means that the caller enters."""

from __future__ import annotations

import pytest

from relay.cli.caller.lines import Entry, HangUp, Interrupt, Mistake, Press, Say, read_entry


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        ("Hello?", Say("Hello?")),
        ("  Which day is it? ", Say("Which day is it?")),
        ("12", Say("12")),
        ("a", Say("a")),
        ("A", Say("A")),
        ("5 o'clock", Say("5 o'clock")),
        ("½", Say("½")),
        ("٣", Say("٣")),
        ("#1", Say("#1")),
        ("/say 5", Say("5")),
        ("/say /hangup", Say("/hangup")),
        ("5", Press("5")),
        (" 0 ", Press("0")),
        ("*", Press("*")),
        ("#", Press("#")),
        ("/keys 12#", Press("12#")),
        ("/keys 1 2 #", Press("12#")),
        ("/keys a", Press("A")),
        ("", Interrupt()),
        ("   ", Interrupt()),
        ("/hang-up", HangUp()),
        ("/hangup", HangUp()),
        ("/hangup ", HangUp()),
    ],
)
def test_a_line_is_read(line: str, entry: Entry) -> None:
    """Words are said, a line of one key presses it, an empty line interrupts, and commands begin with a slash."""
    assert read_entry(line) == entry


@pytest.mark.parametrize(
    "line", ["/", "/keys", "/keys ", "/keys 12x", "/keys +1", "/say", "/hangup now", "/help", "/HANGUP", "/quit", "//"]
)
def test_what_means_nothing_is_answered_with_advice(line: str) -> None:
    """A command that is none, or lacks something, is neither said nor pressed."""
    entry = read_entry(line)
    assert isinstance(entry, Mistake)
    assert "/keys" in entry.advice
