"""What counts as heard, and how much of a conversation is kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.call_values import Line, Speaker
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


def test_a_note_is_not_in_the_way_of_a_cut() -> None:
    """Nobody heard the relay's note, so what is cut is our speech before it, and the note stays as it is."""
    transcript = Transcript(10, 1000)
    transcript.add(Speaker.ANSWERING_MACHINE, "May I take a message?", STARTED)
    transcript.add_note("The client has come back.", STARTED)
    transcript.cut_to_heard("May I", "")
    assert [line.text for line in transcript.window()] == ["May I", "The client has come back."]


def test_notes_alone_are_not_cut() -> None:
    """An interruption with nothing but a note before it changes nothing."""
    transcript = Transcript(10, 1000)
    transcript.add_note("The client has come back.", STARTED)
    transcript.cut_to_heard("May I", "")
    assert [line.text for line in transcript.window()] == ["The client has come back."]


def test_the_record_gets_everything_but_what_was_before() -> None:
    """Lines, what continues them, and cuts reach the record; an earlier connection's lines do not."""
    record = Transcript(10, 1000)
    transcript = Transcript(2, 1000, record)
    transcript.extend([Line(Speaker.ANSWERING_MACHINE, "Hello.", STARTED)])
    transcript.continue_line(Speaker.ANSWERING_MACHINE, " Hello again.", STARTED)
    transcript.add(Speaker.CALLER, "Hi.", STARTED)
    transcript.add(Speaker.AGENT, "Good morning.", STARTED)
    transcript.cut_to_heard("Good", "")
    assert [line.text for line in record.window()] == ["Hello again.", "Hi.", "Good"]
    assert [line.text for line in transcript.window()] == ["Hi.", "Good"]


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


def test_a_note_is_pending_until_either_party_speaks() -> None:
    """What the relay says after it answers nothing; what the caller or the agent says does."""
    transcript = Transcript(10, 1000)
    assert not transcript.ends_with_note
    transcript.add(Speaker.CALLER, "Hello?", STARTED)
    transcript.add_note("The transfer failed.", STARTED)
    transcript.add(Speaker.RELAY, "One moment, please.", STARTED)
    assert transcript.ends_with_note
    transcript.add(Speaker.AGENT, "I am sorry.", STARTED)
    assert not transcript.ends_with_note


def test_a_window_has_no_blanks_at_the_ends_of_any_line() -> None:
    """Neither in a line that may be continued, nor in one that another line came after; both keep their words."""
    transcript = Transcript(max_lines=4, max_characters=100)
    transcript.add(Speaker.AGENT, " One ", STARTED)
    assert [line.text for line in transcript.window()] == ["One"]
    transcript.continue_line(Speaker.AGENT, "two. ", STARTED)
    transcript.add(Speaker.CALLER, " Yes. ", STARTED)
    transcript.add_note(" A note. ", STARTED)
    assert [line.text for line in transcript.window()] == ["One two.", "Yes.", "A note."]
