"""What no browser sends to the console: it is refused, and the daemon is there after it."""

from __future__ import annotations

import http.client
from contextlib import suppress
from urllib.parse import urlsplit

import httpx2
import pytest

from relay.simulator.load.local_daemon import LocalDaemon
from tests.e2e.browser import OperatorAccess
from tests.e2e.parties import own_url

REFUSALS = {b"200", b"400", b"401", b"404", b"414", b"421", b"429", b"431"}


@pytest.mark.parametrize(
    "head",
    [
        b"Authorization: Bearer " + b"x" * 4000,
        b"Authorization: Bearer \xff\xfe\x01op_",
        b"Cookie: relay-console-1=\xff; \x01; =; ;;;",
        b"Cookie: " + b"a=b; " * 1000,
        b"Host: evil.example",
        b"Content-Length: -1",
    ],
)
async def test_hostile_heads(daemon: LocalDaemon, operator: OperatorAccess, head: bytes) -> None:
    """Whatever stands in a head, the answer is a refusal, and the daemon is there after it."""
    address = urlsplit(own_url(daemon))
    for path in (
        b"/console",
        b"/console/sign-in",
        b"/console/calls/%00/..%2f..%2fetc",
        b"/console/calls/" + b"A" * 6000,
    ):
        connection = http.client.HTTPConnection(address.hostname or "", address.port or 0, timeout=10)
        connection.connect()
        host = b"" if head.startswith(b"Host") else b"Host: " + address.netloc.encode() + b"\r\n"
        connection.sock.sendall(b"GET " + path + b" HTTP/1.1\r\n" + host + head + b"\r\nConnection: close\r\n\r\n")
        with suppress(ConnectionError):
            answer = connection.sock.recv(65536)
            assert answer == b"" or answer.split(b" ")[1] in REFUSALS
        connection.close()
    async with httpx2.AsyncClient(base_url=own_url(daemon)) as http_client:
        allowed = await http_client.get("/console", headers={"Authorization": f"Bearer {operator.token}"})
        assert allowed.status_code == 200
        assert (
            await http_client.get("/metrics", headers={"Authorization": f"Bearer {operator.token}"})
        ).status_code == 200
