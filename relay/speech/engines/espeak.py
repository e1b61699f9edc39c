"""The speech engine that needs no account: espeak-ng, which is in the installation.

It sounds like a machine, in some forty languages, and speaks three minutes in a quarter of a second. It has one voice
for a language, so the voice that is asked for is not looked at: the settings name those of other engines. Japanese is
read well in kana only; kanji are not known to it.

Each text is spoken in a process of its own, because the library has faults that end its process: "© irj" in European
Portuguese is enough. In a worker thread that would be the daemon with all its calls; here it is one text, whose asker
is told. The price is the start of an interpreter, a tenth of a second.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import attrs
import structlog
import trio
from attrs.validators import gt

import relay
from relay.speech.engines.espeak_library import voice_for
from relay.speech.engines.espeak_worker import FAILED
from relay.speech.engines.port import Audio, SpeechFailed, checked_text, read_audio

log = structlog.get_logger(__name__)

# All that the worker needs to run where the daemon runs. The daemon's secrets are in its environment too.
_INHERITED = ("LD_LIBRARY_PATH", "PATH", "TMPDIR")


@attrs.frozen(eq=False, kw_only=True)
class EspeakEngine:
    """Speak with espeak-ng. `timeout` is in seconds, and includes waiting for others' texts."""

    timeout: float = attrs.field(default=30.0, validator=gt(0))
    # Speech takes a whole core for as long as it is made, and the calls need the others.
    _limiter: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1), init=False)

    async def synthesise(self, text: str, voice: str, language: str) -> Audio:  # noqa: ARG002 - see above
        """Speak a text; a language that espeak-ng has no tried voice for is spoken as English.

        Raises `SpeechFailed`. Cancelled, the process is ended.
        """
        checked = checked_text(text)
        try:
            with trio.fail_after(self.timeout):
                return await self._in_process(checked, language)
        except trio.TooSlowError:
            raise SpeechFailed(
                "speech_timeout",
                f"No speech within {self.timeout:g} seconds; the engine is busy. Try again in a while.",
            ) from None

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
