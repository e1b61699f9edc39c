"""What of our own speech is still to be heard, with and without the carrier's reports."""

from __future__ import annotations

import pytest

from actors.playback import Playback

TEXT = "One two three."
"""Fourteen characters: 1.4 s at ten characters a second."""


def playback(*, now: float = 100.0, max_characters: int = 1000) -> Playback:
    return Playback(characters_per_second=10.0, max_characters=max_characters, until=now)


def test_silence_is_heard_at_once() -> None:
    """Where nothing was said there is nothing to wait for."""
    assert playback(now=100).is_heard(100)


def test_unreported_speech_counts_as_unheard() -> None:
    """A piece that was sent is not heard while the carrier has not said so, however late it is."""
    speech = playback()
    speech.spoke(TEXT, 100, last=True)
    assert not speech.all_reported
    assert not speech.is_heard(1000)


def test_reported_speech_is_heard_when_its_time_is_over() -> None:
    """With every piece reported, the estimate decides, unless the carrier says that it is silent."""
    speech = playback()
    speech.spoke(TEXT, 100, last=True)
    speech.report(TEXT)
    assert speech.all_reported
    assert not speech.is_heard(101.3)
    assert speech.is_heard(101.4)


def test_an_end_cuts_what_the_carrier_has_not_reported() -> None:
    """A carrier that reports is believed, however long ago the speech was sent."""
    speech = playback()
    speech.spoke("One ", 100, last=False)
    speech.spoke("two.", 100, last=True)
    speech.report("One ")
    assert speech.is_cut_short_by_end(1000)
    speech.report("two.")
    assert not speech.is_cut_short_by_end(100)


def test_an_end_cuts_what_takes_longer_than_it_was_there() -> None:
    """Of a carrier that reports nothing the length of the text has to tell."""
    speech = playback()
    assert not speech.is_cut_short_by_end(100)
    speech.spoke(TEXT, 100, last=True)
    assert speech.is_cut_short_by_end(101.3)
    assert not speech.is_cut_short_by_end(101.4)


def test_the_carrier_s_silence_ends_the_wait() -> None:
    """When all pieces are reported and the voice has stopped, nobody waits for the estimate."""
    speech = playback()
    speech.spoke(TEXT, 100, last=True)
    speech.report(TEXT)
    speech.fell_silent(100.5)
    assert speech.is_heard(100.5)


def test_a_pause_between_pieces_is_no_end() -> None:
    """A voice that stops while pieces are still to come has only paused."""
    speech = playback()
    speech.spoke(TEXT, 100, last=False)
    speech.spoke(TEXT, 100, last=True)
    speech.report(TEXT)
    speech.fell_silent(100.5)
    assert speech.until == pytest.approx(102.8)


def test_estimates_add_up() -> None:
    """Speech that is sent while other speech plays is heard after it; after a silence it begins when it is sent."""
    speech = playback()
    speech.spoke(TEXT, 100, last=False)
    speech.spoke(TEXT, 101, last=True)
    assert speech.until == pytest.approx(102.8)
    speech.spoke(TEXT, 200, last=True)
    assert speech.until == pytest.approx(201.4)


def test_an_open_cycle_is_not_heard() -> None:
    """While the talk cycle is open more may come, even when all pieces were reported."""
    speech = playback()
    speech.spoke(TEXT, 100, last=False)
    speech.report(TEXT)
    assert not speech.is_heard(200)
    speech.spoke("", 200, last=True)
    assert speech.is_heard(200)


def test_an_empty_piece_is_no_speech() -> None:
    """Closing a cycle with an empty text adds nothing that could be reported or heard."""
    speech = playback()
    speech.spoke("", 100, last=True)
    assert speech.all_reported
    assert speech.until == 100


def test_what_was_played_is_kept_for_the_cycle() -> None:
    """Reports are put together for as long as the cycle lasts; the next cycle begins with none."""
    speech = playback()
    speech.spoke("One ", 100, last=False)
    speech.spoke("two.", 100, last=True)
    speech.report("One ")
    speech.report("two.")
    assert speech.played == "One two."
    speech.spoke("Three.", 110, last=True)
    assert speech.played == ""


def test_what_was_played_is_bounded() -> None:
    """A carrier that reports without end does not fill the memory."""
    speech = playback(max_characters=10)
    for _ in range(1000):
        speech.report("word ")
    assert speech.played == "word word "


def test_a_report_too_many_is_no_debt() -> None:
    """Reports of what we did not send do not make later pieces count as reported."""
    speech = playback()
    speech.report("somebody else's words")
    speech.spoke(TEXT, 100, last=True)
    assert not speech.all_reported


def test_the_greeting_takes_its_time() -> None:
    """The carrier speaks the greeting by itself; it is heard when it must have been."""
    speech = playback()
    speech.greet(TEXT, 100)
    assert not speech.is_heard(101)
    assert speech.is_heard(101.4)


def test_the_greeting_s_report_is_not_a_piece_s() -> None:
    """The report of the greeting, once, counts for no piece of ours and is not part of what was played."""
    speech = playback()
    speech.greet("Hello.", 100)
    speech.spoke(TEXT, 100, last=True)
    speech.report(" Hello. ")
    assert (speech.played, speech.all_reported) == ("", False)
    speech.report("Hello.")
    assert (speech.played, speech.all_reported) == ("Hello.", True)


def test_an_interruption_makes_everything_heard() -> None:
    """What the carrier discarded will not be played: the cycle is closed and nothing is awaited."""
    speech = playback()
    speech.greet("Hello.", 100)
    speech.spoke(TEXT, 100, last=False)
    speech.report("One ")
    speech.stop(100.3)
    assert speech.is_heard(100.3)
    assert (speech.cycle_open, speech.played) == (False, "")


def test_an_interrupted_greeting_is_forgotten() -> None:
    """After the interruption the same words are a piece like any other."""
    speech = playback()
    speech.greet("Hello.", 100)
    speech.stop(100.3)
    speech.spoke("Hello.", 101, last=True)
    speech.report("Hello.")
    assert speech.all_reported


def test_a_filler_is_heard_like_anything_else() -> None:
    """Nothing came after it: it is awaited, reported and over."""
    speech = playback()
    speech.fill(TEXT, 100)
    assert speech.is_filler
    assert not speech.all_reported
    speech.report(TEXT)
    assert speech.is_heard(101.4)


def test_what_follows_a_filler_cuts_it_short() -> None:
    """The rest of the filler is not awaited any more: neither its report nor its time."""
    speech = playback()
    speech.fill("a" * 100, 100)
    speech.spoke(TEXT, 101, last=True)
    assert not speech.is_filler
    speech.report(TEXT)
    assert speech.is_heard(102.4)


def test_a_longer_filler_cuts_the_shorter_one() -> None:
    """Only the newer one is awaited."""
    speech = playback()
    speech.fill("a" * 100, 100)
    speech.fill(TEXT, 101)
    speech.report(TEXT)
    assert speech.is_heard(102.4)


@pytest.mark.parametrize("late", ["One moment.", "One mo", " "])
def test_the_late_report_of_a_cut_filler_is_no_piece_s(late: str) -> None:
    """However much of it is reported, it counts for nothing of what cut it, and only once."""
    speech = playback()
    speech.fill("One moment.", 100)
    speech.spoke(TEXT, 101, last=True)
    speech.report(late)
    assert (speech.played, speech.all_reported) == ("", False)
    speech.report(TEXT)
    assert (speech.played, speech.all_reported) == (TEXT, True)


def test_a_filler_that_was_reported_is_not_cut() -> None:
    """It was heard to its end, so the next report is the next piece's."""
    speech = playback()
    speech.fill(TEXT, 100)
    speech.report(TEXT)
    speech.spoke(TEXT, 103, last=True)
    speech.report(TEXT)
    assert speech.all_reported


def test_reports_come_in_order() -> None:
    """After the report of another piece, none of the cut filler can follow."""
    speech = playback()
    speech.fill("One moment.", 100)
    speech.spoke("Nine ", 101, last=False)
    speech.spoke("One mo", 101, last=True)
    speech.report("Nine ")
    speech.report("One mo")
    assert speech.all_reported


def test_what_was_heard_last_may_be_the_cut_filler() -> None:
    """The start of it, as long as nothing else was reported."""
    speech = playback()
    speech.fill("One moment.", 100)
    assert not speech.is_of_cut_filler("One mo")
    speech.spoke(TEXT, 101, last=True)
    assert speech.is_of_cut_filler("One mo")
    assert not speech.is_of_cut_filler("One two")
    speech.report(TEXT)
    assert not speech.is_of_cut_filler("One mo")


def test_an_interruption_forgets_the_filler() -> None:
    """What comes after it is neither a filler nor cuts one."""
    speech = playback()
    speech.fill(TEXT, 100)
    speech.stop(100.2)
    assert not speech.is_filler
    speech.spoke(TEXT, 101, last=True)
    speech.report(TEXT)
    assert speech.is_heard(102.4)
