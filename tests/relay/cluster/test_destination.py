"""Where each request belongs, as a table."""

from __future__ import annotations

from typing import Any

import pytest

from relay.cluster.destination import AtNode, Here, HomeOf, HomeOfToken, find_destination

HERE = Here()

TABLE: dict[str, Any] = {
    # the carrier
    "POST /webhooks/shop/voice": HomeOf("shop"),
    "POST /webhooks/shop/voice-ended?attempt=1&lost=1": HomeOf("shop"),
    "POST /webhooks/shop.2_b-c/call-status/": HomeOf("shop.2_b-c"),
    "GET /webhooks/shop/voice": HERE,
    "POST /webhooks/-shop/voice": HERE,
    "POST /webhooks/shop": HERE,
    "POST /webhooks/shop/voice/more": HERE,
    "WS /webhooks/shop/voice-ws": HomeOf("shop"),
    "WS /n/relay-1/webhooks/shop/voice-ws": AtNode("relay-1", "/webhooks/shop/voice-ws"),
    "POST /n/b/webhooks/shop/voice": AtNode("b", "/webhooks/shop/voice"),
    "GET /audio/abc.wav": HERE,
    "GET /n/b/audio/abc.wav": HERE,
    "GET /n/b/metrics": HERE,
    "WS /n/b/": HERE,
    "WS /n/B/webhooks/shop/voice-ws": HERE,
    "WS /n/b~c/webhooks/shop/voice-ws": HERE,
    "WS /mcp": HERE,
    # clients over SSE
    "GET /sse?token=secret": HomeOfToken("secret"),
    "GET /sse/ bearer": HomeOfToken("secret"),
    "GET /sse": HERE,
    "POST /sse bearer": HERE,
    "POST /messages?session_id=b~xyz": AtNode("b", "/messages", is_session=True),
    "POST /messages/?session_id=b%7Exyz": AtNode("b", "/messages/", is_session=True),
    "POST /messages?session_id=xyz": HERE,
    "POST /messages": HERE,
    "GET /messages?session_id=b~xyz": HERE,
    # clients over Streamable HTTP
    "POST /mcp bearer": HomeOfToken("secret"),
    "POST /mcp bearer 2025-11-25": HomeOfToken("secret"),
    "POST /mcp bearer 2026-07-28": HomeOfToken("secret"),
    "GET /mcp bearer 2026-07-28": HERE,
    "POST /mcp bearer 2026-07-28 session=b~xyz": HomeOfToken("secret"),
    "POST /mcp session=b~xyz": AtNode("b", "/mcp", is_session=True),
    "GET /mcp bearer session=b~xyz": AtNode("b", "/mcp", is_session=True),
    "DELETE /mcp bearer session=b~xyz": AtNode("b", "/mcp", is_session=True),
    "POST /mcp bearer session=xyz": HERE,
    "OPTIONS /mcp session=b~xyz": HERE,
    "POST /mcp": HERE,
    "GET /mcp bearer": HERE,
    "POST /mcp?token=secret": HERE,
    # any node
    "GET /health/live": HERE,
    "GET /metrics": HERE,
    "GET /console": HERE,
    "GET /console/sign-in?token=secret": HERE,
    "POST /console/calls/CA1/hang-up bearer": HERE,
    "WS /console/phone?token=secret": HERE,
    "GET /.well-known/oauth-protected-resource": HERE,
    "POST /register": HERE,
    "GET /nowhere": HERE,
}


@pytest.mark.parametrize(("asked", "destination"), TABLE.items(), ids=TABLE.keys())
def test_where_a_request_belongs(asked: str, destination: object) -> None:
    """By its path, its session or its token; what is refused anyway is refused here."""
    assert find_destination(scope_of(asked)) == destination


def scope_of(asked: str) -> dict[str, Any]:
    """Spell a scope: a method or WS, a target, and in any order `bearer`, a revision, and `session=…`."""
    method, target, *more = asked.split()
    path, _, query = target.partition("?")
    headers = [(b"host", b"relay")]
    for each in more:
        if each == "bearer":
            headers.append((b"authorization", b"Bearer secret"))
        elif each.startswith("session="):
            headers.append((b"mcp-session-id", each.removeprefix("session=").encode()))
        else:
            headers.append((b"mcp-protocol-version", each.encode()))
    kind = {"type": "websocket"} if method == "WS" else {"type": "http", "method": method}
    return {**kind, "path": path, "query_string": query.encode(), "headers": headers}
