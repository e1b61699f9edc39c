"""What counts as heard, and how much of a conversation is kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.messages import Speaker
from actors.transcript import Transcript, heard_part
from tests.fakes import STARTED


@pytest.mark.parametrize(
    ("said", "heard", "kept"),
    [
        ("Once upon a time there was a king.", "Once upon a time", "Once upon a time"),
        ("Well, then: at nine.", "well then", "Well, then:"),
        ("Well, then: at nine.", "Well, then: at nine.", "Well, then: at nine."),
        ("Hello there.", "Hel", "Hel"),
        ("Hello there.", "", ""),
        ("You meet at 3 PM.", "You meet at three p.m.", "You meet at three p.m."),
        ("May I take a message?", "I am sorry. May I take", "May I take"),
        ("Yes.", "!?", "!?"),
    ],
)
def test_the_heard_part_is_found_loosely(said: str, heard: str, kept: str) -> None:
    """Case and punctuation do not matter; words that cannot be found are kept as the carrier reports them."""
    assert heard_part(said, heard) == kept


@given(st.text(max_size=60), st.integers(0, 60))
def test_every_prefix_is_recognised(said: str, length: int) -> None:
    """What a carrier reports of our own text is found again, whatever the text and wherever it was cut."""
    heard = said[:length]
    assert heard_part(said, heard) == "" or said.startswith(heard_part(said, heard)) or heard.strip() in said


def test_a_cut_line_that_was_not_heard_at_all_is_dropped() -> None:
    """Nothing heard leaves no line."""
    transcript = Transcript(10, 1000)
    transcript.add(Speaker.AGENT, "Good morning.", STARTED)
    transcript.cut_to_heard("", "")
    assert transcript.window() == ()


def test_the_caller_is_never_cut() -> None:
    """An interruption reported after the caller's words does not touch them."""
    transcript = Transcript(10, 1000)
    transcript.add(Speaker.CALLER, "Good morning.", STARTED)
    transcript.cut_to_heard("", "")
    assert [line.text for line in transcript.window()] == ["Good morning."]


@given(st.lists(st.text(min_size=1, max_size=400), max_size=40))
def test_the_window_is_bounded_and_keeps_the_newest(texts: list[str]) -> None:
    """Lines and characters are limited; the newest line always stays whole."""
    transcript = Transcript(max_lines=5, max_characters=500)
    for text in texts:
        transcript.add(Speaker.CALLER, text, STARTED)
    lines = [line.text for line in transcript.window()]
    kept = [text.strip() for text in texts if text.strip()]
    assert lines == kept[len(kept) - len(lines) :]
    assert len(lines) <= 5
    assert sum(map(len, lines)) <= 500 or len(lines) == 1
