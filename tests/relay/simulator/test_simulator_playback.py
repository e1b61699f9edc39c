"""Speech takes its time, can be cut off, and it is known what came out. All under a clock that jumps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from trio.testing import MockClock

from relay.simulator.carrier.speaking import Cut, Playback, Reports


@attrs.define
class Log:
    """What playback reported, with the time of each report."""

    events: list[tuple[float, str]] = attrs.field(factory=list)

    def note(self, what: str) -> None:
        """Write down one report."""
        self.events.append((round(trio.current_time(), 3), what))

    async def speaking(self, on: bool) -> None:
        """Report that speech begins or ends."""
        self.note("on" if on else "off")

    async def played(self, text: str) -> None:
        """Report a piece."""
        self.note(f"played {text}")

    def heard(self, text: str) -> None:
        """Report a line."""
        self.note(f"heard {text}")


@asynccontextmanager
async def playing(rate: float | None = 10.0) -> AsyncIterator[tuple[Playback, Log]]:
    """Run a playback of ten characters a second."""
    log = Log()
    playback = Playback(rate, Reports(log.speaking, log.played, log.heard))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(playback.run)
        yield playback, log
        nursery.cancel_scope.cancel()


async def test_speech_takes_its_time(autojump_clock: MockClock) -> None:
    """Pieces are played one after the other, each as long as its characters take, and each is reported at its end."""
    async with playing() as (playback, log):
        playback.add("ten chars ", last=False)
        playback.add("five!", last=True)
        await playback.quiet()
    assert log.events == [
        (0.0, "on"),
        (1.0, "played ten chars "),
        (1.5, "played five!"),
        (1.5, "heard ten chars five!"),
        (1.5, "off"),
    ]


async def test_without_a_rate_speech_takes_no_time(autojump_clock: MockClock) -> None:
    """With no rate everything is heard at once."""
    async with playing(rate=None) as (playback, _log):
        playback.add("a long answer " * 100, last=True)
        await playback.quiet()
        assert trio.current_time() == 0.0
        assert playback.speaking is False


async def test_an_open_cycle_keeps_the_line(autojump_clock: MockClock) -> None:
    """In the middle of a talk cycle the agent counts as speaking, until the cycle is closed."""
    async with playing() as (playback, log):
        playback.add("one ", last=False)
        await trio.sleep(5)
        assert playback.speaking
        playback.add("", last=True)
        await playback.quiet()
    assert log.events[-2:] == [(5.0, "heard one"), (5.0, "off")]


@pytest.mark.parametrize(
    ("after", "cut"),
    [
        (0.15, Cut("", 150, True)),  # in the middle of a word: it does not count
        (1.0, Cut("My name ", 1000, True)),
        (1.45, Cut("My name is ", 1450, True)),
        (9.0, Cut("", 0, False)),  # it was over
    ],
)
async def test_a_cut_says_what_came_out(autojump_clock: MockClock, after: float, cut: Cut) -> None:
    """An interruption reports the whole words of the current cycle that were played, and how long it had played."""
    async with playing() as (playback, _log):
        playback.add("My name ", last=False)
        playback.add("is ", last=False)
        playback.add("Sarah ", last=False)
        playback.add("and I am here.", last=True)
        await trio.sleep(after)
        assert playback.cut() == cut


async def test_what_was_queued_is_never_heard(autojump_clock: MockClock) -> None:
    """After a cut nothing of what was queued is played or reported."""
    async with playing() as (playback, log):
        playback.add("one two three", last=True)
        playback.add("another answer", last=True)
        await trio.sleep(0.5)
        playback.cut()
        await trio.sleep(60)
    assert [what for _at, what in log.events] == ["on", "heard one"]


async def test_speech_after_a_cut_is_played(autojump_clock: MockClock) -> None:
    """What is sent after an interruption is spoken, as the carrier does it."""
    async with playing() as (playback, log):
        playback.add("one two three", last=True)
        await trio.sleep(0.5)
        playback.cut()
        playback.add("late", last=True)
        await playback.quiet()
    assert (0.9, "played late") in log.events


async def test_a_cut_counts_the_current_cycle_only(autojump_clock: MockClock) -> None:
    """What was said in an earlier talk cycle is no part of what an interruption reports."""
    async with playing() as (playback, _log):
        playback.add("first.", last=True)
        playback.add("second one", last=True)
        await trio.sleep(1.3)
        assert playback.cut() == Cut("second ", 700, True)


async def test_a_preemptible_filler_makes_way(autojump_clock: MockClock) -> None:
    """A preemptible piece stops as soon as the next cycle comes, and only what came out of it was heard."""
    async with playing() as (playback, log):
        playback.add("one moment please", last=True, preemptible=True)
        await trio.sleep(1.2)
        playback.add("Done.", last=True)
        await playback.quiet()
    assert [what for _at, what in log.events] == ["on", "heard one moment", "played Done.", "heard Done.", "off"]


async def test_other_speech_does_not_make_way(autojump_clock: MockClock) -> None:
    """A piece that is not preemptible is played to its end before the next cycle."""
    async with playing() as (playback, log):
        playback.add("first", last=True)
        playback.add("second", last=True)
        await playback.quiet()
    assert [what for _at, what in log.events if what.startswith("heard")] == ["heard first", "heard second"]


async def test_a_greeting_is_heard_but_not_reported_as_played(autojump_clock: MockClock) -> None:
    """An unannounced piece is part of what was heard, without a report of its own."""
    async with playing() as (playback, log):
        playback.add("Hello", last=True, announced=False)
        await playback.quiet()
    assert [what for _at, what in log.events] == ["on", "heard Hello", "off"]
