"""Speech that is played elsewhere: what was heard is what was reported, and no more than was sent."""

from __future__ import annotations

from trio.testing import MockClock

from relay.simulator.carrier.reported_speech import ReportedPlayback
from relay.simulator.carrier.speaking import Cut, Reports


def earpiece() -> tuple[ReportedPlayback, list[str]]:
    """Return a playback, and what it reports."""
    log: list[str] = []

    async def speaking(on: bool) -> None:
        log.append("on" if on else "off")

    async def played(text: str) -> None:
        log.append(f"played {text}")

    return ReportedPlayback(Reports(speaking, played, lambda text: log.append(f"heard {text}"))), log


async def test_pieces_are_played_when_their_characters_were_spoken() -> None:
    """Sentences and pieces begin and end at different places; a piece is reported once all of it was spoken."""
    ear, log = earpiece()
    for piece in ("One ", "two. Th", "ree."):
        ear.add(piece, last=False)
    ear.add("", last=True)
    await ear.note_speaking(True)
    await ear.note_played("One two. ")
    await ear.note_played("Three.")
    await ear.note_speaking(False)
    assert log == ["on", "played One ", "played two. Th", "played ree.", "heard One two. Three.", "off"]
    assert not ear.can_be_cut


async def test_a_cut_reports_what_the_voice_has_said(mock_clock: MockClock) -> None:
    """The sentence under way counts as heard; the rest is discarded, and what is reported late changes nothing."""
    ear, log = earpiece()
    ear.add("One. Two. Three.", last=True)
    await ear.note_speaking(True)
    await ear.note_played("One. ")
    ear.note_heard("One. Two. ")
    assert ear.can_be_cut
    mock_clock.jump(1.2)
    assert ear.cut() == Cut("One. Two. ", 1200, True)
    await ear.note_speaking(False)
    await ear.note_played("Two. ")
    assert log == ["on", "heard One. Two."]
    assert not ear.can_be_cut


async def test_nothing_is_heard_that_was_not_sent() -> None:
    """A page that claims more than it was given is cut to it."""
    ear, log = earpiece()
    ear.add("One.", last=True)
    await ear.note_speaking(True)
    ear.note_heard("x" * 1000)
    assert len(ear.cut().heard) == len("One.")
    await ear.note_played("One.")
    assert log == ["on", "heard xxxx"]


async def test_a_filler_makes_way() -> None:
    """What is preemptible and not spoken yet is dropped for what comes after it."""
    ear, log = earpiece()
    ear.add("One moment, please.", last=True, preemptible=True)
    ear.add("Here it is.", last=True)
    await ear.note_speaking(True)
    await ear.note_played("Here it is.")
    await ear.note_speaking(False)
    assert log == ["on", "played Here it is.", "heard Here it is.", "off"]
    await ear.quiet()
