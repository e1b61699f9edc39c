"""Where the audio of voice messages waits for the carrier to fetch it, under unguessable names that expire.

    put(audio) ─▶ AudioFiles (SQLite: beside the database) │ AudioTable (PostgreSQL: in it) ─▶ find(name) ─▶ read
                        └──run──▶ deleted, some minutes after it expired       relay/twilio/audio_webhook.py ◀┘

Files where the database is one, because its one writer has the words of live callers to store, and a call that is being
placed when the daemon restarts still finds its audio. In the database where several nodes share it: any of them is
asked for the audio, also when the one that made it is gone.

The carrier fetches without credentials (its page on `<Play>`), so the name is the secret: 256 random bits, a new one
for each message, though the audio may be the same. Only the name's hash is kept, so that a listing, in a backup for
instance, opens nothing. Names are not logged.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

import attrs
import trio
from attrs.validators import ge, gt

from relay.speech.engines.port import Audio, SpeechFailed

# What expired is not found any more, but stays for those who are reading it: longer than an answer may take.
LINGER_SECONDS = 300.0

_NAME = re.compile(r"[A-Za-z0-9_-]{43}")


@attrs.frozen(kw_only=True)
class AudioLimits:
    """For how long audio is kept after its last planned use, how much of it, how often it is swept (seconds, bytes)."""

    ttl: float = attrs.field(default=3600.0, validator=ge(0))
    max_bytes: int = attrs.field(default=256 * 2**20, validator=gt(0))
    sweep_every: float = attrs.field(default=60.0, validator=gt(0))


@attrs.frozen
class StoredAudio:
    """Audio that can be served: its key in the store, its size in bytes, when it expires (seconds since 1970)."""

    key: str = attrs.field(repr=False)
    size: int
    expires_at: float

    @property
    def etag(self) -> str:
        """Return what tells it from any other."""
        return self.key[:32]


class AudioStore(Protocol):
    """The audio of all messages. One task in `run` deletes."""

    @property
    def now(self) -> Callable[[], float]:
        """Return the wall clock, in seconds since 1970."""
        ...

    async def put(self, audio: Audio, last_use: datetime | None = None) -> str:
        """Keep audio until `ttl` after its last planned use (now, unless given) and return its new name.

        Raises `SpeechFailed` when there is no room, or it cannot be written. Cancelled, it is there as a whole or not.
        """
        ...

    async def find(self, name: str) -> StoredAudio | None:
        """Find audio by its name; None when there is none, when it has expired, or when it cannot be read."""
        ...

    async def read(self, audio: StoredAudio, first: int, size: int) -> bytes:
        """Read a piece of audio that was found. Fewer bytes than `size` are the last ones.

        Raises `OSError` or `DatabaseError`. Nothing stays open between two pieces, so a reader that stops leaves
        nothing to be closed.
        """
        ...

    async def extend(self, name: str, last_use: datetime) -> bool:
        """Keep audio until `ttl` after a later last use; False when it is not there any more."""
        ...

    async def expire(self, name: str) -> None:
        """Expire audio now; a name that is not there is no error. Who is reading it may read on."""
        ...

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Delete what has expired, again and again; started after the first time. Runs until cancelled."""
        ...


def new_name() -> str:
    """Return a name that nobody can guess."""
    return secrets.token_urlsafe(32)


def key_of(name: str) -> str | None:
    """Return under which key the audio of that name is kept; None for what is no name."""
    return hashlib.sha256(name.encode()).hexdigest() if _NAME.fullmatch(name) else None


def no_room() -> SpeechFailed:
    """Return the refusal of a store that is full."""
    return SpeechFailed(
        "audio_store_full", "Too much audio is waiting to be played. Try again when some messages are delivered."
    )
