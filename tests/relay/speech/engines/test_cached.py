"""Said once: what is kept, who waits for whom, and what a cancellation does."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from relay.speech.engines.cached import CachedEngine
from relay.speech.engines.port import Audio, SpeechFailed
from tests.relay.speech.engines.scripted_engine import ScriptedEngine


def ready(**given: object) -> ScriptedEngine:
    """Make an engine that does not wait."""
    engine = ScriptedEngine(**given)  # type: ignore[arg-type]
    engine.go.set()
    return engine


async def test_the_same_text_and_voice_is_spoken_once() -> None:
    """The second asker gets what the first one got; another text, voice or language is spoken anew."""
    inner = ready()
    engine = CachedEngine(inner)
    first = await engine.synthesise("Hello.", "anna", "en")
    assert await engine.synthesise("Hello.", "anna", "en") is first
    for other in [("Hello!", "anna", "en"), ("Hello.", "otto", "en"), ("Hello.", "anna", "de")]:
        await engine.synthesise(*other)
    assert len(inner.asked) == 4


async def test_askers_at_once_share_one_synthesis(autojump_clock: trio.testing.MockClock) -> None:
    """Whoever asks while it is being spoken waits for it."""
    inner = ScriptedEngine()
    engine = CachedEngine(inner)
    got: list[Audio] = []

    async def ask() -> None:
        got.append(await engine.synthesise("Hello.", "", "en"))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        inner.go.set()
    assert len(inner.asked) == 1
    assert len(got) == 5
    assert all(each is got[0] for each in got)


@pytest.mark.parametrize("cancelled", [0, 1, 2], ids=["who speaks", "who waits", "who waits last"])
async def test_cancelling_one_asker_touches_no_other(autojump_clock: trio.testing.MockClock, cancelled: int) -> None:
    """The others get their audio, though the one who was speaking for all is gone."""
    inner = ScriptedEngine()
    engine = CachedEngine(inner)
    got: list[int] = []
    scopes = [trio.CancelScope() for _ in range(3)]

    async def ask(asker: int) -> None:
        with scopes[asker]:
            await engine.synthesise("Hello.", "", "en")
            got.append(asker)

    async with trio.open_nursery() as nursery:
        for asker in range(3):
            nursery.start_soon(ask, asker)
            await wait_all_tasks_blocked()
        scopes[cancelled].cancel()
        await wait_all_tasks_blocked()
        inner.go.set()
    assert sorted(got) == [asker for asker in range(3) if asker != cancelled]
    assert len(inner.asked) == (2 if cancelled == 0 else 1)


async def test_a_synthesis_that_nobody_wants_any_more_ends(autojump_clock: trio.testing.MockClock) -> None:
    """When all askers are gone nothing is being spoken, and the next one is served as if they had never been."""
    inner = ScriptedEngine()
    engine = CachedEngine(inner)
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(engine.synthesise, "Hello.", "", "en")
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    inner.go.set()
    assert (await engine.synthesise("Hello.", "", "en")).seconds > 0


async def test_a_failure_reaches_all_who_wait_and_is_not_kept(autojump_clock: trio.testing.MockClock) -> None:
    """Each asker gets the same code in an error of his own; the next one tries again."""
    inner = ScriptedEngine(failure=SpeechFailed("speech_busy", "Try again."))
    engine = CachedEngine(inner)
    failures: list[SpeechFailed] = []

    async def ask() -> None:
        with pytest.raises(SpeechFailed) as failure:
            await engine.synthesise("Hello.", "", "en")
        failures.append(failure.value)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        inner.go.set()
    assert [(each.code, str(each)) for each in failures] == [("speech_busy", "Try again.")] * 3
    assert len(set(map(id, failures))) == 3
    inner.failure = None
    assert (await engine.synthesise("Hello.", "", "en")).seconds > 0
    assert len(inner.asked) == 2


async def test_what_was_not_asked_for_the_longest_goes_first() -> None:
    """The bound is on bytes, and asking for something keeps it."""
    inner = ready(size=1000)
    engine = CachedEngine(inner, max_bytes=2500)
    for text in ["one", "two", "one", "three", "one", "two"]:
        await engine.synthesise(text, "", "en")
    assert [text for text, _voice, _language in inner.asked] == ["one", "two", "three", "two"]


async def test_what_is_larger_than_the_bound_is_spoken_and_not_kept() -> None:
    """One long message does not drive all others out."""
    inner = ready(size=1000)
    engine = CachedEngine(inner, max_bytes=1500)
    await engine.synthesise("short", "", "en")
    inner.size = 4000
    for _ in range(2):
        assert (await engine.synthesise("long", "", "en")).seconds == 0.25
    await engine.synthesise("short", "", "en")
    assert [text for text, _voice, _language in inner.asked] == ["short", "long", "long"]
