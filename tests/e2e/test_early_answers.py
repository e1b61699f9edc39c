"""An answer that is out before its request is complete leaves the connection in order, on every route there is.

The worst of it is behind a proxy that pools its connections: a stranger's request would take the next caller's along.
"""

from __future__ import annotations

import itertools

import pytest
import trio

from relay.simulator.load.local_daemon import LocalDaemon
from tests.e2e.parties import Access
from tests.http1_peer import CHUNKED, Peer, chunk, head, peer

ROUTES = [
    *(
        ("POST", f"/webhooks/{{agent}}/{name}")
        for name in (
            *("voice", "voice/", "voice-ended", "call-status", "answered-by", "transfer-ended", "whisper"),
            *("whisper-answer", "voice-ws", "no-such"),
        )
    ),
    *(("PUT", f"/webhooks/{{agent}}/{name}") for name in ("voice", "call-status", "voice-ws")),
    ("DELETE", "/webhooks/{agent}/voice"),
    ("POST", "/webhooks/nobody/voice"),
    ("POST", "/webhooks/%00/voice"),
    *((method, path) for path in ("/mcp", "/mcp/") for method in ("POST", "GET", "DELETE", "PUT", "OPTIONS")),
    *((method, path) for path in ("/sse", "/sse/", "/sse?token=wrong") for method in ("POST", "GET")),
    *((method, path) for path in ("/messages", "/messages?session_id=wrong") for method in ("POST", "GET", "PATCH")),
    *(("POST", path) for path in ("/health", "/health/ready", "/metrics", "/audio/none.wav", "/", "/register")),
    ("GET", "/audio/none.wav"),
    ("POST", "/.well-known/oauth-protected-resource"),
    ("GET", "/health"),
    ("HEAD", "/health"),
]

LATE, PARTIAL = "late", "partial"
BODIES = {
    f"{what}, {when}": (field, pieces[0] if when == PARTIAL else b"", pieces[1:] if when == PARTIAL else pieces)
    for what, (field, pieces) in {
        "form": ("Content-Length: 9", [b"CallSid=", b"C"]),
        "chunks": (CHUNKED, [chunk(b"CallSid=") + b"1\r", b"\nC\r\n" + chunk(b"")]),
        "100 kB": ("Content-Length: 100000", [bytes(50_000), bytes(50_000)]),
    }.items()
    for when in (LATE, PARTIAL)
}


async def try_one(client: Peer, method: str, path: str, body: str) -> str:
    """Send a request whose rest comes after the answer, then another; return what is wrong, or nothing."""
    field, early, late = BODIES[body]
    await client.send(head(method, path, field, "Content-Type: application/x-www-form-urlencoded") + early)
    first = None
    with trio.move_on_after(0.1):  # what waits for the body gets it then
        first = await client.answer(method)
    for piece in late:
        await client.send(piece)
    first = first or await client.answer(method)
    if first.closes:
        return "" if await client.is_closed() else "announced that it closes, and goes on"
    second = await client.get("/health")
    return "" if second.status == 200 and b'"ok"' in second.body else f"the next request got {second.status}"


@pytest.mark.parametrize("body", BODIES)
async def test_next_request_is_served_on_every_route(daemon: LocalDaemon, agent: Access, body: str) -> None:
    """Whatever is asked of whichever route, the next request on the connection is answered, or the connection ended."""
    host, _, port = daemon.url.removeprefix("http://").partition(":")
    wrong: dict[str, str] = {}
    at_once = trio.CapacityLimiter(10)

    async def attempt(method: str, path: str) -> None:
        async with at_once:
            fault = "no answer"
            with trio.move_on_after(20):
                async with peer(host, int(port)) as client:
                    fault = await try_one(client, method, path.replace("{agent}", agent.agent_id), body)
            if fault:
                wrong[f"{method} {path}"] = fault

    assert len(set(ROUTES)) >= 40
    async with trio.open_nursery() as nursery:
        for method, path in ROUTES:
            nursery.start_soon(attempt, method, path)
    assert wrong == {}


async def test_many_on_one_connection(daemon: LocalDaemon, agent: Access) -> None:
    """All routes and bodies one after the other on as few connections as the daemon lets them have."""
    host, _, port = daemon.url.removeprefix("http://").partition(":")
    connections = 0
    left = list(zip(ROUTES, itertools.cycle(BODIES), strict=False))
    while left:
        connections += 1
        async with peer(host, int(port)) as client:
            while left:
                (method, path), body = left.pop()
                assert await try_one(client, method, path.replace("{agent}", agent.agent_id), body) == ""
                if await client.has_ended():
                    break
    assert connections < 10
