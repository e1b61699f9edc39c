"""What is one for all nodes on one database, asked of whole daemons."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest
import trio

from relay.speech.engines.port import audio_of
from relay.store.audio_table import PIECE_BYTES, AudioTable
from relay.store.database import open_database
from tests.e2e.nodes import node, reports
from tests.e2e.parties import eventually
from tests.e2e.test_database_trouble import is_ready
from tests.postgresql_server import PostgresqlServer

# Three pieces and a bit.
AUDIO = audio_of(bytes(range(250)) * (3 * PIECE_BYTES // 250 + 40))


@pytest.mark.slow
async def test_every_node_serves_the_audio(tmp_path: Path, server: PostgresqlServer) -> None:
    """The carrier may ask any of them, for the whole or a part, also when another one was killed."""
    async with open_database(server.url) as database:
        path = f"/audio/{await AudioTable(database).put(AUDIO)}.wav"
    async with (
        node(tmp_path, server, "a") as first,
        node(tmp_path, server, "b") as second,
        httpx2.AsyncClient() as http,
    ):
        assert (await http.get(f"{first.url}{path}")).content == AUDIO.wav
        await first.kill()
        assert (await http.get(f"{second.url}{path}")).content == AUDIO.wav
        part = await http.get(f"{second.url}{path}", headers={"Range": f"bytes={PIECE_BYTES - 2}-{PIECE_BYTES + 1}"})
        assert (part.status_code, part.content) == (206, AUDIO.wav[PIECE_BYTES - 2 : PIECE_BYTES + 2])
        assert (await http.get(f"{second.url}/audio/{'A' * 43}.wav")).status_code == 404


@pytest.mark.slow
async def test_nodes_outlast_a_restart_of_their_database(tmp_path: Path, server: PostgresqlServer) -> None:
    """While it is away for five seconds no node gives up what it has, and both are seen again afterwards."""
    async with node(tmp_path, server, "a") as first, node(tmp_path, server, "b") as second:
        server.kill()
        await trio.sleep(5)
        await trio.to_thread.run_sync(server.start)
        for each in (first, second):
            await eventually(lambda daemon=each: is_ready(daemon))  # type: ignore[misc]
            assert not await each.events("node_lost")
        assert [each.node.name for each in await reports(server)] == ["a", "b"]
