"""Audio of voice messages in files of a directory.

    put(audio) ─▶ DIRECTORY/<SHA-256 of the name>.wav, mode 0600 ─▶ find(name), read
                                  └──run──▶ deleted, some minutes after it expired

A directory that several daemons share serves them all: nothing about a file is kept in memory. Its modification time is
the moment at which it expires.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TypeVar, TypeVarTuple, Unpack

import attrs
import structlog
import trio

from relay.speech.audio_store import LINGER_SECONDS, AudioLimits, StoredAudio, key_of, new_name, no_room
from relay.speech.engines.port import Audio, SpeechFailed

log = structlog.get_logger(__name__)

_SUFFIX = ".wav"
_UNFINISHED = ".part"

ArgsT = TypeVarTuple("ArgsT")
ResultT = TypeVar("ResultT")


@attrs.frozen(kw_only=True)
class AudioOptions(AudioLimits):
    """Where audio is kept, and its limits."""

    directory: Path


@attrs.frozen
class AudioFile(StoredAudio):
    """Audio in a file."""

    path: Path


@attrs.frozen(eq=False)
class AudioFiles:
    """The audio of all messages, in files; implements `relay.speech.audio_store.AudioStore`."""

    options: AudioOptions
    now: Callable[[], float] = time.time
    # One at a time, so that two messages cannot both take the last room. A hop takes a fraction of a millisecond.
    _limiter: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1), init=False)

    async def put(self, audio: Audio, last_use: datetime | None = None) -> str:
        """Keep audio as `AudioStore.put` says. A cancellation waits for the file to be whole."""
        name = new_name()
        starts = self.now() if last_use is None else last_use.timestamp()
        try:
            await self._in_thread(self._write, key_of(name) or "", audio.wav, starts + self.options.ttl)
        except OSError as error:
            log.warning("audio_not_kept", error=type(error).__name__, errno=error.errno)
            raise SpeechFailed(
                "audio_not_kept", "The relay cannot keep the audio on its disk; its log says why. Try again later."
            ) from error
        return name

    async def find(self, name: str) -> AudioFile | None:
        """Find audio by its name; None when there is none, when it has expired, or when it cannot be read."""
        key = key_of(name)
        if key is None:
            return None
        try:
            return await self._in_thread(self._look_up, key)
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("audio_not_found", error=type(error).__name__, errno=error.errno)
            return None

    async def read(self, audio: StoredAudio, first: int, size: int) -> bytes:
        """Read a piece of audio that was found. Raises `OSError`; fewer bytes than `size` are the last ones."""
        return await self._in_thread(_read, self._path(audio.key), first, size)

    async def extend(self, name: str, last_use: datetime) -> bool:
        """Keep audio until `ttl` after a later last use; False when it is not there any more."""
        found = await self.find(name)
        if found is None:
            return False
        expires_at = max(found.expires_at, last_use.timestamp() + self.options.ttl)
        try:
            await self._in_thread(os.utime, found.path, (expires_at, expires_at))
        except OSError:
            return False
        return True

    async def expire(self, name: str) -> None:
        """Expire audio now; a name that is not there is no error. Who is reading it may read on."""
        if (found := await self.find(name)) is not None:
            now = self.now()
            with suppress(OSError):
                await self._in_thread(os.utime, found.path, (now, now))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Delete what has expired, again and again; started after the first time. Runs until cancelled."""
        await self._sweep()
        task_status.started()
        while True:
            await trio.sleep(self.options.sweep_every)
            await self._sweep()

    async def _sweep(self) -> None:
        try:
            deleted = await self._in_thread(self._delete_expired)
        except OSError as error:
            log.warning("audio_not_swept", error=type(error).__name__, errno=error.errno)
            return
        if deleted:
            log.info("audio_expired", files=deleted)

    async def _in_thread(self, work: Callable[[Unpack[ArgsT]], ResultT], *arguments: *ArgsT) -> ResultT:
        return await trio.to_thread.run_sync(work, *arguments, limiter=self._limiter)

    def _path(self, key: str) -> Path:
        return self.options.directory / f"{key}{_SUFFIX}"

    # ── in the thread ───────────────────────────────────────────────────────────────────────────────────────────────

    def _write(self, key: str, content: bytes, expires_at: float) -> None:
        self.options.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._delete_expired()
        taken = sum(each.size for each in self._files())
        if taken + len(content) > self.options.max_bytes:
            raise no_room()
        path = self._path(key)
        # Under another suffix until it is whole and has its time: a file that seems to have expired would be deleted.
        unfinished = path.with_suffix(_UNFINISHED)
        try:
            descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            os.utime(unfinished, (expires_at, expires_at))
            unfinished.replace(path)
        except OSError:
            unfinished.unlink(missing_ok=True)
            raise

    def _look_up(self, key: str) -> AudioFile | None:
        found = _described(self._path(key))
        return found if found.expires_at > self.now() else None

    def _delete_expired(self) -> int:
        """Delete files that expired and cannot be in use, and those that a crash left unfinished; return how many."""
        gone_since = self.now() - LINGER_SECONDS
        expired = [each for each in self._files() if each.expires_at <= gone_since]
        for each in expired:
            each.path.unlink(missing_ok=True)
        return len(expired)

    def _files(self) -> Iterator[AudioFile]:
        """Yield our own files in the directory, which others may put things into, and other daemons delete from."""
        with suppress(FileNotFoundError):
            for path in self.options.directory.iterdir():
                if path.suffix in {_SUFFIX, _UNFINISHED}:
                    with suppress(FileNotFoundError):
                        yield _described(path)


def _described(path: Path) -> AudioFile:
    status = path.stat()
    return AudioFile(path.stem, status.st_size, status.st_mtime, path)


def _read(path: Path, first: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(first)
        return file.read(size)
