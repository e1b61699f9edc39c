"""The public URL as the carrier sees it: the daemon, its check of signatures, its voice socket."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import h11
import httpx2
import trio
import wsproto.utilities
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream
from twilio.request_validator import RequestValidator  # type: ignore[import-untyped]

from relay import __version__
from relay.cli.checks.check import CheckFailed
from relay.cli.checks.network import NETWORK_ERRORS, chain, failed_in_tls, is_unknown_host, json_object, reason
from relay.daemon.credentials import require_loopback
from relay.errors import SettingsError
from relay.settings import Settings

# Has the form of an agent's id. What is asked under it is answered alike whether there is such an agent or not.
_WEBHOOKS = "/webhooks/doctor"
_NO_CALL = "CA" + "0" * 32
_POLICY_VIOLATION = 1008
# After an invalid answer the library raises what the two libraries below it raise.
_NONSENSE = (wsproto.utilities.ProtocolError, h11.ProtocolError)

FORWARD_UPGRADES = (
    "Have the proxy or tunnel forward WebSocket upgrades under /webhooks/ (HTTP/1.1, with the headers Upgrade, "
    "Connection and X-Twilio-Signature)."
)
_SAME_SETTINGS = (
    "PUBLIC_URL must be exactly the origin that the carrier uses (scheme, host and port), and the running daemon must "
    "have the PUBLIC_URL and the TWILIO_AUTH_TOKEN of these settings. Fix them, then start the daemon again, without "
    "--local."
)


async def public_url(settings: Settings) -> str:
    """Fetch `/health`, and look whether it is this relay that answers. Raises `CheckFailed`.

    Plain HTTP will do on loopback, for the simulated carrier; the real one refuses `ws` addresses (its error 64101).
    """
    origin = settings.public_url or ""
    on_loopback = _is_loopback(urlsplit(origin).hostname or "")
    if origin.startswith("http:") and not on_loopback:
        raise CheckFailed(
            f"{origin} is not encrypted; the carrier connects by TLS only.", "Make PUBLIC_URL an https origin."
        )
    response = await _ask(settings, "GET", "/health")
    if response.is_redirect:
        raise CheckFailed(
            f"{origin} sends the carrier on to another address, and its requests arrive there without their fields.",
            "Set PUBLIC_URL to the origin at which nothing is redirected.",
        )
    answer = json_object(response)
    version = answer.get("version")
    if not response.is_success or answer.get("status") != "ok" or not isinstance(version, str):
        raise CheckFailed(
            f"Something else than the relay answers at {origin} (status {response.status_code}).",
            f"Start the daemon, and have the proxy or tunnel forward all paths to its port, {settings.relay_port}.",
        )
    notes = "" if version == __version__ else f" This command is of version {__version__}: start the daemon again."
    notes += " Only this machine reaches it, which is enough for the simulated carrier." if on_loopback else ""
    return f"The relay answers at {origin}, version {version[:40]}.{notes}"


async def signature(settings: Settings) -> str:
    """Post a signed status report, which is answered with 204 for any agent id. Raises `CheckFailed`.

    The status is none of the carrier's, so the daemon takes no note of it.
    """
    fields = {"CallSid": _NO_CALL, "CallStatus": "examined", "AccountSid": settings.twilio_account_sid or ""}
    path = f"{_WEBHOOKS}/call-status"
    signed = {"X-Twilio-Signature": _sign(settings, f"{settings.public_url}{path}", fields)}
    response = await _ask(settings, "POST", path, fields, signed)
    # The relay's own refusal has no body; that of a proxy or a firewall has.
    if response.status_code == 403 and not response.content:
        raise CheckFailed("The daemon refuses what is signed for PUBLIC_URL with TWILIO_AUTH_TOKEN.", _SAME_SETTINGS)
    if response.status_code != 204:
        raise CheckFailed(
            f"A signed webhook is answered with {response.status_code}, and not by the relay.",
            "Have the proxy or tunnel forward POST requests under /webhooks/ as they are.",
        )
    return "A webhook signed with these settings is accepted."


async def upgrade(settings: Settings) -> str:
    """Open the voice socket with a signed upgrade, and have it closed for want of a ticket. Raises `CheckFailed`.

    An answer that breaks off before it is complete is not told from none: the library waits on, until the time is over.
    """
    address = urlsplit(f"ws{(settings.public_url or '').removeprefix('http')}{_WEBHOOKS}/voice-ws")
    headers = [(b"x-twilio-signature", _sign(settings, address.geturl(), {}).encode())]
    refused, broken, closed_with = 0, False, None
    try:
        stream = await _connect(address.hostname or "", address.port, secure=address.scheme == "wss")
        # The library leaves its stream open when the other side hung up first; so it is closed here.
        async with stream, trio.open_nursery() as nursery:
            line = await wrap_client_stream(nursery, stream, address.netloc, address.path, extra_headers=headers)
            closed_with = await _expect_refusal(line)
            nursery.cancel_scope.cancel("told")
    except* ConnectionRejected as group:
        refused = next(each.status_code for each in chain(group) if isinstance(each, ConnectionRejected))
    except* (*_NONSENSE, OSError, trio.BrokenResourceError):
        broken = True
    if refused == 403:
        raise CheckFailed(
            "The upgrade is refused (403), although the signature of a webhook is accepted.",
            "Have the proxy or tunnel leave the path and the header X-Twilio-Signature of upgrades as they are.",
        )
    if refused:
        raise CheckFailed(
            f"The upgrade is answered with {refused}: it does not reach the daemon as one.", FORWARD_UPGRADES
        )
    if broken or closed_with != _POLICY_VIOLATION:
        raise CheckFailed("The upgrade is answered, but not as the relay does.", FORWARD_UPGRADES)
    return "A signed upgrade is accepted, and closed for want of a ticket, as it should be."


async def _expect_refusal(line: WebSocketConnection) -> int | None:
    """Return the code with which the socket is closed; None when something else is said.

    Any frame but `setup` has the daemon close at once; for the first one it waits ten seconds.
    """
    try:
        await line.send_message("{}")
        await line.get_message()
    except ConnectionClosed as closed:
        return closed.reason.code if closed.reason else None
    return None


async def _connect(host: str, port: int | None, *, secure: bool) -> trio.SocketStream | trio.SSLStream[Any]:
    if secure:
        return await trio.open_ssl_over_tcp_stream(host, port or 443, https_compatible=True)
    return await trio.open_tcp_stream(host, port or 80)


async def _ask(
    settings: Settings,
    method: str,
    path: str,
    fields: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> httpx2.Response:
    try:
        async with httpx2.AsyncClient(timeout=None) as http:  # the time is kept by `Check.run`
            return await http.request(method, f"{settings.public_url}{path}", data=fields, headers=headers)
    except NETWORK_ERRORS as error:
        if failed_in_tls(error):
            fix = "Give the proxy or tunnel a certificate for that name, one that the public trusts."
        elif is_unknown_host(error):
            fix = "Look for a typing mistake in PUBLIC_URL, and whether that name is in the DNS."
        else:
            fix = f"Start the daemon, and have the proxy or tunnel forward to its port, {settings.relay_port}."
        raise CheckFailed(f"{settings.public_url} cannot be reached: {reason(error)}.", fix) from error


def _sign(settings: Settings, url: str, fields: Mapping[str, str]) -> str:
    return str(RequestValidator(settings.twilio_auth_token).compute_signature(url, fields))


def _is_loopback(host: str) -> bool:
    try:
        require_loopback(host)
    except SettingsError:
        return False
    return True
