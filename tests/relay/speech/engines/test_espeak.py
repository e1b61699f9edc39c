"""The embedded engine, for real: what comes out is decoded and looked at."""

from __future__ import annotations

import math
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs

from relay.speech.engines import espeak_worker
from relay.speech.engines.espeak import EspeakEngine
from relay.speech.engines.espeak_library import Recording
from relay.speech.engines.port import MAX_CHARACTERS, SpeechFailed
from tests.limits import HANGING
from tests.relay.speech.engines.heard import heard

REMINDER = "Reminder: your appointment is tomorrow at 3 PM."
ERINNERUNG = "Guten Tag, Ihr Termin ist morgen um fünfzehn Uhr. Bitte rufen Sie uns zurück."
# Some 190 seconds of speech, which take the library a fifth of a second or more.
LONG = ("The quick brown fox jumps over the lazy dog. " * 70)[:MAX_CHARACTERS]


@pytest.mark.parametrize(("text", "language"), [(REMINDER, "en-US"), (ERINNERUNG, "de-DE")], ids=["english", "german"])
async def test_a_text_becomes_audio_that_a_telephone_can_play(text: str, language: str) -> None:
    """8 kHz, one channel, 16 bit, neither silent nor at the end of the scale, at the pace of speech."""
    with trio.fail_after(HANGING):
        audio = await EspeakEngine().synthesise(text, "", language)
    decoded = heard(audio)
    assert (decoded.channels, decoded.bits, decoded.rate) == (1, 16, 8000)
    assert audio.seconds == pytest.approx(decoded.seconds)
    assert 12 < len(text) / decoded.seconds < 20
    assert decoded.loudness > 1000
    assert max(map(abs, decoded.samples)) < 32_767


async def test_a_german_text_is_spoken_by_the_german_voice() -> None:
    """The same words sound otherwise in English, and the voice's name makes no difference."""
    with trio.fail_after(HANGING):
        engine = EspeakEngine()
        german = await engine.synthesise(ERINNERUNG, "", "de-DE")
        english = await engine.synthesise(ERINNERUNG, "", "en-US")
        with_voice = await engine.synthesise(ERINNERUNG, "EXAVITQu4vr4xnSDxMaL", "de")
    assert german.seconds != pytest.approx(english.seconds, rel=0.03)
    assert with_voice.seconds == pytest.approx(german.seconds, rel=0.02)


def test_what_a_telephone_cannot_carry_is_taken_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tone inside the telephone's band stays; one far above it neither stays nor comes back as a lower one."""

    def tones(_text: str, _language: str, *, max_seconds: float) -> Recording:
        times = [index / 22_050 for index in range(22_050)]
        wave = [8000 * (math.sin(2 * math.pi * 1500 * at) + math.sin(2 * math.pi * 7000 * at)) for at in times]
        return Recording(struct.pack(f"<{len(wave)}h", *map(int, wave)), 22_050)

    monkeypatch.setattr(espeak_worker, "speak", tones)
    decoded = heard(espeak_worker.spoken("beep", "en"))
    assert decoded.loudness_at(1500) == pytest.approx(8000 / math.sqrt(2), rel=0.1)
    # 7,000 Hz, sampled 8,000 times a second, would come back as 1,000.
    assert decoded.loudness_at(1000) < decoded.loudness_at(1500) / 20


async def test_many_askers_are_served_one_after_the_other() -> None:
    """Texts that are asked for at once all come out whole, each as its own."""
    texts = {language: f"{'la ' * length}" for length, language in enumerate(["en", "de", "fr", "es", "it"], start=2)}
    engine = EspeakEngine()
    alone = {language: await engine.synthesise(text, "", language) for language, text in texts.items()}
    together: dict[str, float] = {}

    async def ask(language: str) -> None:
        together[language] = (await engine.synthesise(texts[language], "", language)).seconds

    with trio.fail_after(HANGING):
        async with trio.open_nursery() as nursery:
            for language in texts:
                nursery.start_soon(ask, language)
    assert together == {language: pytest.approx(audio.seconds, rel=0.05) for language, audio in alone.items()}


async def test_a_cancelled_synthesis_is_dropped_and_the_next_one_runs() -> None:
    """Cancelling returns at once, before the text is through, and the engine is free again."""
    engine = EspeakEngine()
    await engine.synthesise("Hello.", "", "en")
    with trio.fail_after(HANGING):
        with trio.move_on_after(0.01) as scope:
            await engine.synthesise(LONG, "", "en")
        assert scope.cancelled_caught
        assert (await engine.synthesise(REMINDER, "", "en")).seconds > 1


async def test_an_engine_that_takes_too_long_is_a_failure() -> None:
    """The time limit is the engine's own, and its error says to try again."""
    with trio.fail_after(HANGING), pytest.raises(SpeechFailed) as refusal:
        await EspeakEngine(timeout=0.001).synthesise(LONG, "", "en")
    assert refusal.value.code == "speech_timeout"


@pytest.mark.parametrize(
    ("text", "code"),
    [("", "nothing_to_say"), ("…", "nothing_to_say"), ("x" * 3001, "text_too_long"), ("㐀" * 3000, "text_too_long")],
    ids=["empty", "silent", "long", "long when spoken"],
)
async def test_a_text_that_cannot_be_spoken_has_a_named_failure(text: str, code: str) -> None:
    """Nothing to say and too much to say are told apart, before and after speaking."""
    with trio.fail_after(HANGING), pytest.raises(SpeechFailed) as refusal:
        await EspeakEngine().synthesise(text, "", "en")
    assert refusal.value.code == code


@pytest.mark.parametrize("text", ["[[h@'loU]]", "<speak><break time='9999s'/>hi</speak>", "\0hello\0", "a" * 3000])
async def test_markup_of_the_library_is_no_order_to_it(text: str) -> None:
    """Phoneme codes, SSML and control characters are spoken or dropped, and never obeyed."""
    with trio.fail_after(HANGING):
        audio = await EspeakEngine().synthesise(text, "", "en")
    assert 0 < audio.seconds < 600


async def test_a_fault_of_the_library_ends_one_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text whose process crashes is a failure, is logged without its words, and the next one is spoken."""
    crash = tmp_path / "python"
    crash.write_text("#!/bin/sh\nkill -SEGV $$\n")
    crash.chmod(0o700)
    engine = EspeakEngine()
    with trio.fail_after(HANGING), capture_logs() as logs:
        with monkeypatch.context() as patched:
            patched.setattr(sys, "executable", str(crash))
            with pytest.raises(SpeechFailed) as refusal:
                await engine.synthesise("Bom dia.", "", "pt-PT")
        assert (await engine.synthesise("Bom dia.", "", "pt-PT")).seconds > 0.3
    assert refusal.value.code == "speech_failed"
    assert [(each["event"], each["voice"]) for each in logs] == [("speech_engine_crashed", "pt")]
    assert "Bom dia" not in str(logs)


async def test_no_language_is_too_odd() -> None:
    """Whatever a client calls a language, English is spoken where it is none."""
    with trio.fail_after(HANGING):
        for language in ("\0", "\ud800", "--help", "x" * 1000):
            assert (await EspeakEngine().synthesise("Hello.", "", language)).seconds > 0.3


async def test_the_secrets_stay_with_the_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker's process gets what it needs of the environment, and nothing else."""
    given: list[dict[str, str]] = []
    run_process = trio.run_process

    async def observed(command: list[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
        given.append(options["env"])
        return await run_process(command, **options)

    monkeypatch.setenv("TWILIO_AUTH_TOKEN", "secret")
    monkeypatch.setattr(trio, "run_process", observed)
    with trio.fail_after(HANGING):
        await EspeakEngine().synthesise("Hello.", "", "en")
    assert [each.keys() - {"LD_LIBRARY_PATH", "PATH", "TMPDIR"} for each in given] == [{"PYTHONPATH"}]
