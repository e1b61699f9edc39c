"""Nodes whose addresses begin with `https` are spoken to with TLS, and only if their certificate is good."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import structlog.testing
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from relay.cluster.forwarding import Forwarder, Outcome
from relay.cluster.node_connections import NodeConnections
from tests.hostile_inputs import Upgrade, upgrade_request
from tests.http1_peer import Cut, peer
from tests.relay.cluster.hop import hop_to

_YEAR = timedelta(days=365)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Make a certificate for `localhost`, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)  # the kernel's clock is what TLS looks at
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _YEAR)
        .not_valid_after(now + _YEAR)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "node.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return path


@asynccontextmanager
async def tls_node(certificate: Path) -> AsyncIterator[str]:
    """Serve `ok` to each request, and an echo of bytes behind an upgrade, with TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)

    async def handle(stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            while request := bytes(await stream.receive_some()):
                if b"sec-websocket" not in request:
                    await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                    continue
                await stream.send_all(b"HTTP/1.1 101 \r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n")
                while data := await stream.receive_some():
                    await stream.send_all(data)
                return
        except trio.BrokenResourceError:
            pass  # who does not trust us hangs up

    async with trio.open_nursery() as nursery:
        run = partial(trio.serve_ssl_over_tcp, handle, 0, context, host="127.0.0.1", https_compatible=True)
        listeners = await nursery.start(run)
        yield f"https://localhost:{listeners[0].transport_listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel("the test is over")


async def test_a_node_with_tls(certificate: Path) -> None:
    """Requests go over one kept connection; a socket goes through as well, both ways, and ends with its peer."""
    connections = NodeConnections(tls=ssl.create_default_context(cafile=certificate))
    async with tls_node(certificate) as url, hop_to(url, forwarder=Forwarder("entry", connections)) as hop:
        async with peer(hop.host, hop.port) as asker:
            for _ in range(3):
                assert (await asker.get()).body == b"ok"
                assert len(connections) == 1
        async with peer(hop.host, hop.port) as asker:
            await asker.send(upgrade_request(b"/", Upgrade(), {}))
            assert (await asker.stream.receive_some()).startswith(b"HTTP/1.1 101")
            for size in (1, 100_000):
                await asker.send(bytes(size))
                got = 0
                while got < size:
                    got += len(await asker.stream.receive_some())
        await hop.entry.has_become(Outcome.ANSWERED)


async def test_a_certificate_that_nobody_trusts(certificate: Path) -> None:
    """A node whose certificate is not trusted is not reached, and the log says why, once."""
    with structlog.testing.capture_logs() as logs:
        async with tls_node(certificate) as url, hop_to(url) as hop:
            for _ in range(2):
                async with peer(hop.host, hop.port) as asker:
                    with pytest.raises(Cut):
                        await asker.get()
            assert hop.entry.outcomes == [Outcome.UNREACHABLE] * 2
    assert ["certificate verify failed" in each["why"] for each in logs if each["event"] == "node_without_tls"] == [
        True
    ]
