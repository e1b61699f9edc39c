"""Which host names the relay answers to, and which web pages may use it."""

from __future__ import annotations

import pytest

from relay.http.asgi import Head
from relay.http.rebinding_guard import RebindingGuard

GUARD = RebindingGuard(
    "https://relay.example:8443/base",
    allowed_hosts=["relay", "Relay.LAN", "[fd00::1]", "10.0.0.7"],
    allowed_origins=["https://inspector.example", "not an origin"],
)


def status(host: str | None, origin: str | None = None, guard: RebindingGuard = GUARD) -> int | None:
    headers = [(name, value.encode()) for name, value in ((b"host", host), (b"origin", origin)) if value is not None]
    refusal = guard.refusal(Head({"method": "POST", "path": "/mcp", "headers": headers}))
    return None if refusal is None else refusal.status


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8080",
        "127.0.0.1",
        "127.8.9.1:1",
        "[::1]",
        "[::1]:8080",
        "relay.example",
        "relay.example:8443",
        "RELAY.example:1",
        "relay:8080",
        "relay.lan",
        "[fd00::1]:80",
        "10.0.0.7",
    ],
)
def test_own_names_are_let_in(host: str) -> None:
    """Loopback, the public host and the allowed ones are, at any port and in any case."""
    assert status(host) is None


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        ":8080",
        "evil.example",
        "relay.example.evil.example",
        "evil.example@localhost",
        "localhost.evil.example",
        "localhost/evil.example",
        "localhost:port",
        "[::1",
        "[::2]",
        "10.0.0.8",
        "2130706433",
        "relay.example ",
        "ｌocalhost",
    ],
)
def test_other_names_are_refused(host: str | None) -> None:
    """A name that is not ours, or is no name, is misdirected, whatever else the request says."""
    assert status(host) == 421
    assert status(host, "http://localhost") == 421


def test_name_that_was_let_in_is_let_in_again_and_opens_for_no_other() -> None:
    """What a request before had for a host, or for an origin, says nothing of the next."""
    guard = RebindingGuard(None)
    assert [status(host, guard=guard) for host in ("localhost", "localhost", "evil.example", "localhost")] == [
        None,
        None,
        421,
        None,
    ]
    assert status("localhost", "https://evil.example", guard) == 403


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "http://localhost:6274",
        "https://localhost",
        "http://127.0.0.1:1",
        "http://[::1]:80",
        "https://relay.example:8443",
        "https://inspector.example",
        "https://inspector.example:443",
    ],
)
def test_own_pages_and_programs_are_let_in(origin: str | None) -> None:
    """Programs send no origin; pages of this machine, of the public URL and of the allowed origins may come in."""
    assert status("localhost", origin) is None


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "null",
        "http://evil.example",
        "https://relay.example",
        "http://relay.example:8443",
        "http://inspector.example",
        "https://inspector.example.evil.example",
        "file://localhost",
        "http://localhost:port",
        "localhost",
        "http://[",
    ],
)
def test_other_pages_are_refused(origin: str) -> None:
    """A page of another origin is refused, and an origin is scheme, host and port."""
    assert status("localhost", origin) == 403


def test_without_a_public_url_only_loopback_is_let_in() -> None:
    """A local relay is for this machine."""
    guard = RebindingGuard(None)
    assert status("127.0.0.1:8080", "http://127.0.0.1:8080", guard) is None
    assert status("relay.example", None, guard) == 421
