"""The speech engine that needs no account: espeak-ng, which is in the installation.

It sounds like a machine, in some forty languages, and speaks three minutes in a quarter of a second. It has one voice
for a language, so the voice that is asked for is not looked at: the settings name those of other engines. Japanese is
read well in kana only; kanji are not known to it.

It runs in a worker thread, or isolated, in a process for each text. The library has faults that end its process:
"© irj" in European Portuguese is enough. In the thread that process is the daemon, with all its calls. Isolated it is
one text, whose asker is told; the price is the start of an interpreter, a tenth of a second.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import attrs
import structlog
import trio
from attrs.validators import gt

import relay
from relay.speech.engines.espeak_library import voice_for
from relay.speech.engines.espeak_worker import FAILED, spoken
from relay.speech.engines.port import Audio, SpeechFailed, checked_text, read_audio

log = structlog.get_logger(__name__)

# All that the worker needs to run where the daemon runs. The daemon's secrets are in its environment too.
_INHERITED = ("LD_LIBRARY_PATH", "PATH", "TMPDIR")


@attrs.frozen(eq=False, kw_only=True)
class EspeakEngine:
    """Speak with espeak-ng. `timeout` is in seconds, and includes waiting for others' texts."""

    isolated: bool = False
    timeout: float = attrs.field(default=30.0, validator=gt(0))
    # The library takes one text after the other, so a second thread would only wait, and a second process take a core.
    _limiter: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1), init=False)

    async def synthesise(self, text: str, voice: str, language: str) -> Audio:  # noqa: ARG002 - see above
        """Speak a text; a language that espeak-ng has no tried voice for is spoken as English.

        Raises `SpeechFailed`. Cancelled, a thread ends by itself within milliseconds, and the next text waits for that;
        a process is ended.
        """
        checked = checked_text(text)
        try:
            with trio.fail_after(self.timeout):
                if self.isolated:
                    return await self._in_process(checked, language)
                return await self._in_thread(checked, language)
        except trio.TooSlowError:
            raise SpeechFailed(
                "speech_timeout",
                f"No speech within {self.timeout:g} seconds; the engine is busy. Try again in a while.",
            ) from None

    async def _in_thread(self, text: str, language: str) -> Audio:
        dropped = threading.Event()
        try:
            return await trio.to_thread.run_sync(
                spoken, text, language, dropped.is_set, abandon_on_cancel=True, limiter=self._limiter
            )
        finally:
            dropped.set()

    async def _in_process(self, text: str, language: str) -> Audio:
        environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        environment["PYTHONPATH"] = str(Path(relay.__file__).parents[1])
        async with self._limiter:
            done = await trio.run_process(
                [sys.executable, "-m", "relay.speech.engines.espeak_worker"],
                stdin=json.dumps({"text": text, "language": language}).encode(),
                capture_stdout=True,
                stderr=subprocess.DEVNULL,
                check=False,
                env=environment,
            )
        if done.returncode == 0:
            return read_audio(done.stdout)
        if done.returncode == FAILED:
            failure = json.loads(done.stdout)
            raise SpeechFailed(failure["code"], failure["message"])
        log.error("speech_engine_crashed", exit_status=done.returncode, voice=voice_for(language))
        raise SpeechFailed("speech_failed", "The speech engine cannot cope with this text; word it differently.")
