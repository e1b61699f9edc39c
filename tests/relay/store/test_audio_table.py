"""Audio of voice messages in the database: any node finds what another one made, in the pieces that are asked for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import trio
from sqlalchemy import Connection, func, select
from structlog.testing import capture_logs

from relay.speech.audio_store import LINGER_SECONDS, AudioLimits
from relay.speech.engines.port import Audio, SpeechFailed
from relay.store import audio_table
from relay.store.audio_table import AudioTable
from relay.store.database import Database, open_database
from relay.store.schema import audio_pieces
from tests.fakes_store import WallClock

CONTENT = bytes(range(251)) * 10
AUDIO = Audio(CONTENT, 1.0)


@pytest.fixture(autouse=True)
def short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a short message of several pieces, the last one not whole."""
    monkeypatch.setattr(audio_table, "PIECE_BYTES", 1000)


@pytest.fixture
def table(database: Database, clock: WallClock) -> AudioTable:
    return AudioTable(database, AudioLimits(ttl=3600, max_bytes=10_000), lambda: clock().timestamp())


def pieces(connection: Connection) -> int:
    return connection.execute(select(func.count()).select_from(audio_pieces)).scalar_one()


async def test_another_node_serves_it(table: AudioTable, database_url: str, clock: WallClock) -> None:
    """Each part of it that is asked for, also when the one that made it is gone."""
    name = await table.put(AUDIO)
    async with open_database(database_url) as other:
        store = AudioTable(other, now=table.now)
        found = await store.find(name)
        assert found is not None
        assert (found.size, found.expires_at) == (len(CONTENT), clock().timestamp() + 3600)
        for first, size in [(0, 2510), (0, 1), (999, 2), (1000, 1000), (1500, 5000), (2509, 1), (2510, 10), (9000, 5)]:
            assert await store.read(found, first, size) == CONTENT[first : first + size]


async def test_the_database_does_not_know_the_name(table: AudioTable, database: Database) -> None:
    """It has a hash, which opens nothing."""
    name = await table.put(AUDIO)
    key = await database.read(lambda connection: connection.execute(select(audio_pieces.c.key).limit(1)).scalar_one())
    assert name not in key
    assert await table.find(key) is None
    assert await table.find("../../etc/passwd") is None


async def test_audio_expires(table: AudioTable, database: Database, clock: WallClock) -> None:
    """It is not found from then on; its pieces linger for those who read it, and are deleted by the task."""
    name = await table.put(AUDIO, clock() + timedelta(days=1))
    clock.turn(seconds=86_400 + 3599)
    assert await table.extend(name, clock())
    clock.turn(seconds=3600)
    assert await table.find(name) is None
    assert not await table.extend(name, clock())
    assert await database.read(pieces) == 3
    clock.turn(seconds=LINGER_SECONDS)
    async with trio.open_nursery() as nursery:
        await nursery.start(table.run)
        nursery.cancel_scope.cancel()
    assert await database.read(pieces) == 0


async def test_audio_can_be_let_expire(table: AudioTable) -> None:
    """Doing it twice, or for nothing, is no error."""
    name = await table.put(AUDIO)
    for each in (name, name, "A" * 43):
        await table.expire(each)
    assert await table.find(name) is None


async def test_what_is_not_whole_is_not_found(table: AudioTable, database: Database, clock: WallClock) -> None:
    """A message whose maker is cancelled or dies half-way is served to nobody, and deleted in time."""
    with trio.CancelScope() as scope:
        scope.cancel()
        await table.put(AUDIO)
    clock.turn(seconds=3600 + LINGER_SECONDS)
    await table.put(AUDIO)
    assert await database.read(pieces) == 3


async def test_a_full_store_refuses_until_something_expired(table: AudioTable, clock: WallClock) -> None:
    """Of those that come at once only as many are kept as there is room for."""
    outcomes: list[str] = []

    async def put() -> None:
        try:
            await table.put(AUDIO)
        except SpeechFailed as failure:
            outcomes.append(failure.code)
        else:
            outcomes.append("kept")

    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(put)
    assert sorted(outcomes) == ["audio_store_full"] * 3 + ["kept"] * 3
    clock.turn(seconds=3600 + LINGER_SECONDS)
    await table.put(AUDIO)


async def test_a_database_that_is_gone_is_a_failure(database_url: str) -> None:
    """The error is for the client, the reason for the log; who asks for audio finds none."""
    async with open_database(database_url) as database:
        table = AudioTable(database, now=lambda: datetime(2026, 11, 22, tzinfo=UTC).timestamp())
        name = await table.put(AUDIO)
    with capture_logs() as logs, pytest.raises(SpeechFailed) as refusal:
        await table.put(AUDIO)
    assert refusal.value.code == "audio_not_kept"
    assert [each["event"] for each in logs] == ["audio_not_kept"]
    assert await table.find(name) is None
