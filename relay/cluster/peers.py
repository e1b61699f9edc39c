"""What the other nodes say of the database, for one that cannot reach it."""

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
    """Return whether any of the nodes can reach the database, as its readiness says; within a second or two.

    A node that does not answer, or that is no relay, cannot. Cancelling gives it up at once.
    """
    found = False
    with trio.move_on_after(_ANSWER_SECONDS):
        async with trio.open_nursery() as nursery:

            async def ask(node: Node) -> None:
                nonlocal found
                if await _reaches_database(node):
                    found = True
                    nursery.cancel_scope.cancel()

            for node in nodes:
                nursery.start_soon(ask, node)
    return found


@cache
def _trust() -> ssl.SSLContext:
    """Return whose certificates are trusted. To read them takes longer than to ask, and calls wait meanwhile."""
    return httpx2.create_ssl_context()


async def _reaches_database(node: Node) -> bool:
    try:
        # Not by the proxy of the environment: that leads out of the network in which nodes reach each other.
        async with httpx2.AsyncClient(timeout=_ANSWER_SECONDS, verify=_trust(), trust_env=False) as http:
            answer = (await http.get(f"{node.url}/health/ready")).json()
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError):
        return False
    if not isinstance(answer, dict) or not isinstance(failing := answer.get("failing", {}), dict):
        return False
    is_relay = answer.get("status") == "ready" or bool(failing)
    # Its own check may have had no time to say.
    return is_relay and not {"database", "checks"} & failing.keys()
