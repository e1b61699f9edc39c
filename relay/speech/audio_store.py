"""Where the audio of voice messages waits for the carrier to fetch it: files under unguessable names that expire.

    put(audio) ─▶ DIRECTORY/<SHA-256 of the name>.wav, mode 0600 ─▶ find(name) ─▶ relay/twilio/audio_webhook.py
                                  └──run──▶ deleted, some minutes after it expired

Files, because a call that is being placed when the daemon restarts must still find its audio, and because a database
row of megabytes would make the words of live callers wait for the same writer. A directory that several daemons share
serves them all: nothing about a file is kept in memory. Its modification time is the moment at which it expires.

The carrier fetches without credentials (its page on `<Play>`), so the name is the secret: 256 random bits, a new one
for each message, though the audio may be the same. On disk is only the name's hash, so that a listing of the directory,
in a backup for instance, opens nothing. Names are not logged.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TypeVar, TypeVarTuple, Unpack

import attrs
import structlog
import trio
from attrs.validators import ge, gt

from relay.speech.engines.port import Audio, SpeechFailed

log = structlog.get_logger(__name__)

# What expired is not found any more, but stays for those who are reading it: longer than an answer may take.
LINGER_SECONDS = 300.0

_NAME = re.compile(r"[A-Za-z0-9_-]{43}")
_SUFFIX = ".wav"
_UNFINISHED = ".part"

ArgsT = TypeVarTuple("ArgsT")
ResultT = TypeVar("ResultT")


@attrs.frozen(kw_only=True)
class AudioOptions:
    """Where audio is kept, for how long after its last planned use, how much of it, how often it is swept (seconds)."""

    directory: Path
    ttl: float = attrs.field(default=3600.0, validator=ge(0))
    max_bytes: int = attrs.field(default=256 * 2**20, validator=gt(0))
    sweep_every: float = attrs.field(default=60.0, validator=gt(0))


@attrs.frozen
class StoredAudio:
    """Audio that can be served: its file, its size in bytes, what tells it from any other, when it expires."""

    path: Path
    size: int
    etag: str
    expires_at: float


@attrs.frozen(eq=False)
class AudioStore:
    """The audio of all messages. `now` is the wall clock, in seconds since 1970. One task in `run` deletes."""

    options: AudioOptions
    now: Callable[[], float] = time.time
    # One at a time, so that two messages cannot both take the last room. A hop takes a fraction of a millisecond.
    _limiter: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1), init=False)

    async def put(self, audio: Audio, last_use: datetime | None = None) -> str:
        """Keep audio until `ttl` after its last planned use (now, unless given) and return its new name.

        Raises `SpeechFailed` when there is no room, or the directory cannot be written. A cancellation waits for the
        file to be whole.
        """
        name = secrets.token_urlsafe(32)
        starts = self.now() if last_use is None else last_use.timestamp()
        try:
            await self._in_thread(self._write, name, audio.wav, starts + self.options.ttl)
        except OSError as error:
            log.warning("audio_not_kept", error=type(error).__name__, errno=error.errno)
            raise SpeechFailed(
                "audio_not_kept", "The relay cannot keep the audio on its disk; its log says why. Try again later."
            ) from error
        return name

    async def find(self, name: str) -> StoredAudio | None:
        """Find audio by its name; None when there is none, when it has expired, or when it cannot be read."""
        if not _NAME.fullmatch(name):
            return None
        try:
            return await self._in_thread(self._look_up, name)
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("audio_not_found", error=type(error).__name__, errno=error.errno)
            return None

    async def read(self, audio: StoredAudio, first: int, size: int) -> bytes:
        """Read a piece of audio that was found. Raises `OSError`; fewer bytes than `size` are the last ones.

        Nothing stays open between two pieces, so a reader that stops leaves nothing to be closed.
        """
        return await self._in_thread(_read, audio.path, first, size)

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

    def _path(self, name: str) -> Path:
        return self.options.directory / f"{hashlib.sha256(name.encode()).hexdigest()}{_SUFFIX}"

    # ── in the thread ───────────────────────────────────────────────────────────────────────────────────────────────

    def _write(self, name: str, content: bytes, expires_at: float) -> None:
        self.options.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._delete_expired()
        taken = sum(each.size for each in self._files())
        if taken + len(content) > self.options.max_bytes:
            raise SpeechFailed(
                "audio_store_full",
                "Too much audio is waiting to be played. Try again when some messages are delivered.",
            )
        path = self._path(name)
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

    def _look_up(self, name: str) -> StoredAudio | None:
        found = _described(self._path(name))
        return found if found.expires_at > self.now() else None

    def _delete_expired(self) -> int:
        """Delete files that expired and cannot be in use, and those that a crash left unfinished; return how many."""
        gone_since = self.now() - LINGER_SECONDS
        expired = [each for each in self._files() if each.expires_at <= gone_since]
        for each in expired:
            each.path.unlink(missing_ok=True)
        return len(expired)

    def _files(self) -> Iterator[StoredAudio]:
        """Yield our own files in the directory, which others may put things into, and other daemons delete from."""
        with suppress(FileNotFoundError):
            for path in self.options.directory.iterdir():
                if path.suffix in {_SUFFIX, _UNFINISHED}:
                    with suppress(FileNotFoundError):
                        yield _described(path)


def _described(path: Path) -> StoredAudio:
    status = path.stat()
    return StoredAudio(path, status.st_size, path.stem[:32], status.st_mtime)


def _read(path: Path, first: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(first)
        return file.read(size)
