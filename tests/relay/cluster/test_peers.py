"""Whether other nodes have the database, asked of them by one that has not."""

from __future__ import annotations

import json

import pytest
import trio

from relay.cluster.peers import _trust, can_beat
from relay.store.members import Node
from tests.relay.cli.checks.small_server import Reply, small_server

NOBODY = "http://127.0.0.1:9"
SEEN = b'{"seen": true}'


def node(url: str) -> Node:
    return Node(name="a", url=url, boot="boot", version="1")


@pytest.mark.parametrize(
    ("answered", "has_it"),
    [
        ({"status": "ok", "node": "a", "seen": True}, True),
        ({"status": "ok", "node": "a", "seen": False}, False),
        ({"status": "ok"}, False),
        ({"seen": "yes"}, False),
        ([], False),
    ],
)
async def test_a_node_says_whether_it_has_the_database(answered: object, has_it: bool) -> None:
    """One that is seen has it; what is no node of a cluster has nothing."""
    async with small_server({"/health": Reply(200, json.dumps(answered).encode())}) as server:
        assert await can_beat([node(server.url)]) is has_it


async def test_one_node_that_has_it_is_enough() -> None:
    """The others may be gone, or not answer."""
    async with small_server({"/health": Reply(200, SEEN)}) as well, small_server({"/health": Reply(0)}) as silent:
        assert await can_beat([node(NOBODY), node(silent.url), node(well.url)])


async def test_nodes_are_not_asked_by_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the environment is for what is outside; else a node that is alone without its database never lets go."""
    monkeypatch.setenv("HTTP_PROXY", NOBODY)
    async with small_server({"/health": Reply(200, SEEN)}) as well:
        assert await can_beat([node(well.url)])


async def test_certificates_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are no reason for a node to end while its database is away: the others just do not answer."""
    _trust.cache_clear()
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
    async with small_server({"/health": Reply(200, SEEN)}) as well:
        assert not await can_beat([node(well.url)])


async def test_no_node_answers() -> None:
    """Then none is known to have it, and the answer does not keep the asker waiting."""
    async with small_server({"/health": Reply(0)}) as silent, small_server({}) as other:
        with trio.fail_after(5):
            assert not await can_beat([node(NOBODY), node(silent.url), node(other.url)])
    assert not await can_beat([])
