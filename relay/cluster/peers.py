"""Whether the other nodes beat, asked by one that cannot."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from functools import cache

import httpx2
import trio

from relay.store.members import Node

# A node that answers does so at once; and who asks is about to be taken for dead.
_ANSWER_SECONDS = 1.5


async def can_beat(nodes: Sequence[Node]) -> bool:
    """Return whether any of the nodes can reach the database, as it says at `/health`; within a second or two.

    That is whether it beats, and so sees who does not. Its readiness says less: its writes may stand still meanwhile. A
    node that does not answer, or that is no relay, cannot. Cancelling gives it up at once.
    """
    found = False
    with trio.move_on_after(_ANSWER_SECONDS):
        async with trio.open_nursery() as nursery:

            async def ask(node: Node) -> None:
                nonlocal found
                if await _is_seen(node):
                    found = True
                    nursery.cancel_scope.cancel()

            for node in nodes:
                nursery.start_soon(ask, node)
    return found


@cache
def _trust() -> ssl.SSLContext:
    """Return whose certificates are trusted. To read them takes longer than to ask, and calls wait meanwhile."""
    return httpx2.create_ssl_context()


async def _is_seen(node: Node) -> bool:
    try:
        # Not by the proxy of the environment: that leads out of the network in which nodes reach each other.
        async with httpx2.AsyncClient(timeout=_ANSWER_SECONDS, verify=_trust(), trust_env=False) as http:
            answer = (await http.get(f"{node.url}/health")).json()
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError):
        return False
    return isinstance(answer, dict) and answer.get("seen") is True
