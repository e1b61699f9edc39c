"""Whether other nodes have the database, asked of their readiness by one that has not."""

from __future__ import annotations

import json

import pytest
import trio

from relay.cluster.peers import _trust, can_beat
from relay.store.members import Node
from tests.relay.cli.checks.small_server import Reply, small_server

NOBODY = "http://127.0.0.1:9"


def node(url: str) -> Node:
    return Node(name="a", url=url, boot="boot", version="1")


def not_ready(*failing: str) -> tuple[int, object]:
    return 503, {"error": {"code": "not_ready"}, "failing": dict.fromkeys(failing, "why")}


@pytest.mark.parametrize(
    ("answered", "has_it"),
    [
        ((200, {"status": "ready"}), True),
        (not_ready("draining"), True),
        (not_ready("database"), False),
        (not_ready("database", "draining"), False),
        (not_ready("checks"), False),
        ((200, {"status": "fine"}), False),
        ((503, {"failing": []}), False),
        ((200, {"status": "ready", "failing": None}), False),
        ((200, []), False),
    ],
)
async def test_a_node_says_whether_it_has_the_database(answered: tuple[int, object], has_it: bool) -> None:
    """One that is ready has it, and one that is not only for another reason; what is no relay has nothing."""
    status, document = answered
    async with small_server({"/health/ready": Reply(status, json.dumps(document).encode())}) as server:
        assert await can_beat([node(server.url)]) is has_it


async def test_one_node_that_has_it_is_enough() -> None:
    """The others may be gone, or not answer."""
    ready = {"/health/ready": Reply(200, b'{"status": "ready"}')}
    async with small_server(ready) as well, small_server({"/health/ready": Reply(0)}) as silent:
        assert await can_beat([node(NOBODY), node(silent.url), node(well.url)])


async def test_nodes_are_not_asked_by_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the environment is for what is outside; else a node that is alone without its database never lets go."""
    monkeypatch.setenv("HTTP_PROXY", NOBODY)
    async with small_server({"/health/ready": Reply(200, b'{"status": "ready"}')}) as well:
        assert await can_beat([node(well.url)])


async def test_certificates_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are no reason for a node to end while its database is away: the others just do not answer."""
    _trust.cache_clear()
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
    async with small_server({"/health/ready": Reply(200, b'{"status": "ready"}')}) as well:
        assert not await can_beat([node(well.url)])


async def test_no_node_answers() -> None:
    """Then none is known to have it, and the answer does not keep the asker waiting."""
    async with small_server({"/health/ready": Reply(0)}) as silent, small_server({}) as other:
        with trio.fail_after(5):
            assert not await can_beat([node(NOBODY), node(silent.url), node(other.url)])
    assert not await can_beat([])
