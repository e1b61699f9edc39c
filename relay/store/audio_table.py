"""Audio of voice messages in the database, for all nodes that share it.

    put ─▶ audio, not whole ─▶ audio_pieces, one write each ─▶ audio, whole ─▶ find, read
              └──run──▶ deleted with its pieces, some minutes after it expired

In pieces, because four minutes of speech are four megabytes: what the callers of this node say is written between two
of them, and never waits for all.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

import attrs
import structlog
import trio
from sqlalchemy import Connection, delete, func, insert, select, update

from actors.errors import StoreFailed
from relay.errors import DatabaseError
from relay.speech.audio_store import LINGER_SECONDS, AudioLimits, StoredAudio, key_of, new_name, no_room
from relay.speech.engines.port import Audio, SpeechFailed
from relay.store.database import Database
from relay.store.schema import audio, audio_pieces

log = structlog.get_logger(__name__)

PIECE_BYTES = 65_536


@attrs.frozen(eq=False)
class AudioTable:
    """The audio of all messages, in the database; implements `relay.speech.audio_store.AudioStore`."""

    database: Database
    limits: AudioLimits = attrs.field(factory=AudioLimits)
    now: Callable[[], float] = time.time

    async def put(self, audio: Audio, last_use: datetime | None = None) -> str:
        """Keep audio as `AudioStore.put` says. Cancelled, what was written of it is found by nobody, and deleted."""
        name = new_name()
        key, content = key_of(name) or "", audio.wav
        starts = self.now() if last_use is None else last_use.timestamp()
        try:
            await self.database.write(
                lambda connection: self._begin(connection, key, len(content), starts + self.limits.ttl)
            )
            for number, first in enumerate(range(0, len(content), PIECE_BYTES)):
                await self._write_piece(key, number, content[first : first + PIECE_BYTES])
            await self.database.write(lambda connection: _set(connection, key, is_whole=True))
        except StoreFailed as error:
            log.warning("audio_not_kept", error=type(error).__name__, errno=None)
            raise SpeechFailed(
                "audio_not_kept", "The relay cannot keep the audio in its database; its log says why. Try again later."
            ) from error
        return name

    async def find(self, name: str) -> StoredAudio | None:
        """Find audio by its name; None when there is none, when it has expired, or when it cannot be read."""
        key = key_of(name)
        if key is None:
            return None
        wanted = select(audio.c.size, audio.c.expires_at).where(audio.c.key == key, audio.c.is_whole)
        try:
            row = await self.database.read(lambda connection: connection.execute(wanted).one_or_none())
        except DatabaseError as error:
            log.warning("audio_not_found", error=type(error).__name__, errno=None)
            return None
        if row is None or row.expires_at.timestamp() <= self.now():
            return None
        return StoredAudio(key, row.size, row.expires_at.timestamp())

    async def read(self, audio: StoredAudio, first: int, size: int) -> bytes:
        """Read a piece of audio that was found. Raises `DatabaseError`; fewer bytes than `size` are the last ones."""
        begins = first // PIECE_BYTES
        wanted = (
            select(audio_pieces.c.content)
            .where(
                audio_pieces.c.key == audio.key,
                audio_pieces.c.number.between(begins, (first + max(size, 1) - 1) // PIECE_BYTES),
            )
            .order_by(audio_pieces.c.number)
        )
        pieces = await self.database.read_many(lambda connection: connection.execute(wanted).scalars().all())
        start = first - begins * PIECE_BYTES
        return b"".join(pieces)[start : start + size]

    async def extend(self, name: str, last_use: datetime) -> bool:
        """Keep audio until `ttl` after a later last use; False when it is not there any more."""
        found = await self.find(name)
        if found is None:
            return False
        expires_at = max(found.expires_at, last_use.timestamp() + self.limits.ttl)
        return await self._let_expire(found.key, expires_at)

    async def expire(self, name: str) -> None:
        """Expire audio now; a name that is not there is no error. Who is reading it may read on."""
        if (found := await self.find(name)) is not None:
            await self._let_expire(found.key, self.now())

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Delete what has expired, again and again; started after the first time. Runs until cancelled."""
        await self._sweep()
        task_status.started()
        while True:
            await trio.sleep(self.limits.sweep_every)
            await self._sweep()

    async def _let_expire(self, key: str, at: float) -> bool:
        try:
            return await self.database.write(lambda connection: _set(connection, key, expires_at=_time(at)))
        except StoreFailed:
            return False

    async def _write_piece(self, key: str, number: int, content: bytes) -> None:
        row = {"key": key, "number": number, "content": content}
        await self.database.write(lambda connection: connection.execute(insert(audio_pieces), row))

    async def _sweep(self) -> None:
        gone_since = _time(self.now() - LINGER_SECONDS)
        expired = delete(audio).where(audio.c.expires_at <= gone_since)
        try:
            deleted = await self.database.write(lambda connection: connection.execute(expired).rowcount)
        except StoreFailed as error:
            log.warning("audio_not_swept", error=type(error).__name__, errno=None)
            return
        if deleted:
            log.info("audio_expired", files=deleted)

    def _begin(self, connection: Connection, key: str, size: int, expires_at: float) -> None:
        if connection.dialect.name == "postgresql":
            # Of two nodes each would see the last room; SQLite has one writer. Readers are let be.
            connection.exec_driver_sql("LOCK TABLE audio IN SHARE ROW EXCLUSIVE MODE")
        connection.execute(delete(audio).where(audio.c.expires_at <= _time(self.now() - LINGER_SECONDS)))
        taken = connection.execute(select(func.coalesce(func.sum(audio.c.size), 0))).scalar_one()
        if taken + size > self.limits.max_bytes:
            raise no_room()
        row = {"key": key, "size": size, "expires_at": _time(expires_at), "is_whole": False}
        connection.execute(insert(audio), row)


def _set(connection: Connection, key: str, **values: object) -> bool:
    return connection.execute(update(audio).where(audio.c.key == key).values(values)).rowcount > 0


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
