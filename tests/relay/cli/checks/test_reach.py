"""What the doctor says of the public address: over a real relay, and over servers that are none."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from relay import __version__
from relay.cli.checks.check import CheckFailed
from relay.cli.checks.reach import public_url, signature, upgrade
from relay.settings import Settings
from relay.store.call_journal import CallJournal
from relay.store.database import open_database
from tests.e2e.relay_here import RelayHere, run_relay_here
from tests.relay.cli.checks.small_server import Reply, small_server

pytestmark = pytest.mark.usefixtures("time_limit")

HEALTH = Reply(200, json.dumps({"status": "ok", "version": __version__, "uptime": 1}).encode())
STATUS, SOCKET = "/webhooks/doctor/call-status", "/webhooks/doctor/voice-ws"


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[RelayHere]:
    """Run a relay in this process."""
    async with run_relay_here(tmp_path) as here:
        yield here


def settings_for(url: str, token: str = "secret") -> Settings:
    return Settings(public_url=url, twilio_auth_token=token, twilio_account_sid="AC1")


async def test_a_relay_is_well_all_along(here: RelayHere) -> None:
    """The public address, the signature and the upgrade of a relay with these settings are fine."""
    settings = settings_for(here.url, here.token)
    assert f"version {__version__}." in await public_url(settings)
    assert "accepted" in await signature(settings)
    assert "accepted" in await upgrade(settings)


async def test_the_relay_is_left_as_it_was(here: RelayHere) -> None:
    """No call comes of it, neither a live one nor a record."""
    settings = settings_for(here.url, here.token)
    await signature(settings)
    await upgrade(settings)
    async with open_database(here.database_url) as database:
        assert await CallJournal(database).list_calls(None, None, 10) == ()
    assert here.relay.calls.occupied() == 0


async def test_another_token_is_a_failed_signature(here: RelayHere) -> None:
    """A relay with another token refuses, and the operator is told what must be alike; the token is not shown."""
    with pytest.raises(CheckFailed) as found:
        await signature(settings_for(here.url, "another-secret"))
    assert "PUBLIC_URL must be exactly the origin that the carrier uses" in found.value.fix
    assert "another-secret" not in found.value.detail + found.value.fix


async def test_another_origin_is_a_failed_signature(here: RelayHere) -> None:
    """A relay that believes in another origin refuses what is signed for this one."""
    with pytest.raises(CheckFailed, match="refuses what is signed for PUBLIC_URL"):
        await signature(settings_for(here.url.replace("127.0.0.1", "localhost"), here.token))


async def test_a_refused_upgrade_is_named(here: RelayHere) -> None:
    """403 to the upgrade alone means that something changes it on its way."""
    with pytest.raises(CheckFailed, match="403") as found:
        await upgrade(settings_for(here.url, "another-secret"))
    assert "X-Twilio-Signature" in found.value.fix


async def test_a_relay_of_another_version_is_well() -> None:
    """An older daemon still runs; that is told and is no failure."""
    body = json.dumps({"status": "ok", "version": "0.0.1"}).encode()
    async with small_server({"/health": Reply(200, body)}) as server:
        told = await public_url(settings_for(server.url))
    assert "version 0.0.1." in told
    assert f"This command is of version {__version__}" in told


@pytest.mark.parametrize(
    "reply",
    [Reply(200, b"<html>"), Reply(200, b"[]"), Reply(200, b'{"status": "ok"}'), Reply(502, HEALTH.body), Reply(404)],
    ids=["a page", "a list", "no version", "bad gateway", "nothing"],
)
async def test_something_else_at_the_public_url_is_reported(reply: Reply) -> None:
    """What does not answer as the relay does is not the relay."""
    async with small_server({"/health": reply}) as server:
        with pytest.raises(CheckFailed, match=f"Something else than the relay answers at .* {reply.status}"):
            await public_url(settings_for(server.url))


async def test_a_redirect_is_reported() -> None:
    """An origin that redirects would lose the carrier's forms."""
    async with small_server(
        {"/health": Reply(301, headers={"location": "https://voice.example.com/health"})}
    ) as server:
        with pytest.raises(CheckFailed, match="another address"):
            await public_url(settings_for(server.url))


async def test_no_answer_at_the_public_url_is_reported() -> None:
    """A closed port is named with the system's own words."""
    async with small_server({}) as server:
        pass
    with pytest.raises(CheckFailed, match="cannot be reached: Connection refused") as found:
        await public_url(settings_for(server.url))
    assert "Start the daemon" in found.value.fix


async def test_a_name_that_nobody_knows_is_reported() -> None:
    """A host that does not exist is a matter of PUBLIC_URL, not of the daemon: it may well be running."""
    with pytest.raises(CheckFailed, match="there is no such host") as found:
        await public_url(settings_for("https://voice.invalid"))
    assert "PUBLIC_URL" in found.value.fix
    assert "Start the daemon" not in found.value.fix


async def test_a_server_without_tls_is_reported() -> None:
    """An https origin behind which plain HTTP is spoken is a matter of certificates, not of the daemon."""
    async with small_server({"/health": HEALTH}) as server:
        with pytest.raises(CheckFailed, match="TLS") as found:
            await public_url(settings_for(server.url.replace("http", "https")))
    assert "certificate" in found.value.fix


async def test_plain_http_is_for_loopback() -> None:
    """An address that others reach must be encrypted; it is not even asked."""
    with pytest.raises(CheckFailed, match="not encrypted"):
        await public_url(settings_for("http://voice.example.com"))


@pytest.mark.parametrize("reply", [Reply(404), Reply(403, b"blocked"), Reply(200), Reply(502)], ids=str)
async def test_a_webhook_that_goes_elsewhere_is_reported(reply: Reply) -> None:
    """Any other answer than the relay's is somebody else's, a firewall's 403 among them."""
    async with small_server({STATUS: reply}) as server:
        with pytest.raises(CheckFailed, match=f"answered with {reply.status}, and not by the relay"):
            await signature(settings_for(server.url))


@pytest.mark.parametrize("status", [200, 400, 404, 426, 502])
async def test_an_upgrade_that_is_not_forwarded_is_reported(status: int) -> None:
    """A proxy that does not know WebSockets answers the upgrade as any request."""
    async with small_server({SOCKET: Reply(status, b"no")}) as server:
        with pytest.raises(CheckFailed, match=f"answered with {status}") as found:
            await upgrade(settings_for(server.url))
    assert "forward WebSocket upgrades" in found.value.fix


async def test_a_socket_of_another_program_is_reported() -> None:
    """A socket that is closed with another code than the relay's is not the relay's."""
    async with small_server({SOCKET: Reply(101, close_code=1000)}) as server:
        with pytest.raises(CheckFailed, match="not as the relay does"):
            await upgrade(settings_for(server.url))


async def test_an_upgrade_answered_with_nonsense_is_reported() -> None:
    """What does not speak HTTP is no relay."""

    async def babble(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 101 Sure\r\n\r\n")
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, babble, 0)
        port = listeners[0].socket.getsockname()[1]
        with pytest.raises(CheckFailed, match="not as the relay does"):
            await upgrade(settings_for(f"http://127.0.0.1:{port}"))
        nursery.cancel_scope.cancel()


async def test_cancelling_the_upgrade_leaves_nothing_open() -> None:
    """Cancelled while it waits for an answer, it closes its connection, which the server sees."""
    gone, asking = trio.Event(), trio.CancelScope()

    async def listen(stream: trio.SocketStream) -> None:
        while await stream.receive_some():
            asking.cancel()
        gone.set()

    async with trio.open_nursery() as serving:
        listeners = await serving.start(trio.serve_tcp, listen, 0)
        port = listeners[0].socket.getsockname()[1]
        with asking:
            await upgrade(settings_for(f"http://127.0.0.1:{port}"))
        await gone.wait()
        serving.cancel_scope.cancel()
