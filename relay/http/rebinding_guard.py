"""Protection against DNS rebinding: the allowed `Host` and `Origin` headers of `/mcp` and of the console.

A page of an attacker can have its own name resolve to this machine, and its scripts then talk to us as if they were of
the same origin. The name gives them away: it is in the Host header, and the page's origin in the Origin header (MCP
2025-11-25, basic/transports, "Security Warning"). Programs send no Origin, and are not asked for one.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import SplitResult, urlsplit

import attrs

from relay.http.asgi import Head


@attrs.frozen
class Refusal:
    """Why a request is refused: an HTTP status, a code for programs, and what to do."""

    status: int
    code: str
    message: str


_WRONG_HOST = Refusal(
    421, "wrong_host", "This host name is not the relay's. Connect to its public URL, or have the name allowed."
)
_WRONG_ORIGIN = Refusal(
    403, "wrong_origin", "Web pages of this origin may not use the relay. Have the origin allowed if it is yours."
)


# Else `evil.example@localhost` would be taken apart as a URL is, and be loopback.
_NOT_IN_A_HOST = re.compile(r"[@/?#\\\s]")


class RebindingGuard:
    """Allows requests for the relay's own names, from programs and from pages of its own origin."""

    def __init__(
        self, public_url: str | None, *, allowed_hosts: Iterable[str] = (), allowed_origins: Iterable[str] = ()
    ) -> None:
        """Allow loopback at any port, the host of `public_url` and its origin, and these more.

        `allowed_hosts` are names or addresses without a port; a request may name any port, because proxies rewrite
        those. `allowed_origins` are origins as browsers word them, such as `https://inspector.example`.
        """
        public = _split(public_url or "")
        self._hosts = {each.lower().strip("[]") for each in allowed_hosts} | {public.hostname or ""} - {""}
        # Nearly every request names the same host, and to take one apart costs 3 % of a turn.
        self._last_allowed: str | None = None
        self._origins = {_origin(_split(each)) for each in (public_url or "", *allowed_origins)} - {None}

    def refusal(self, head: Head) -> Refusal | None:
        """Return why a request is refused, or None if it is allowed."""
        host = head.headers.get("host", "")
        if host != self._last_allowed:
            if not self._is_ours(host):
                return _WRONG_HOST
            self._last_allowed = host
        if "origin" not in head.headers or self.allows(head.headers["origin"]):
            return None
        return _WRONG_ORIGIN

    def _is_ours(self, host: str) -> bool:
        name = None if _NOT_IN_A_HOST.search(host) else _split(f"//{host}").hostname
        return name is not None and (_is_loopback(name) or name in self._hosts)

    def allows(self, origin: str) -> bool:
        """Whether pages of an origin, as their browser words it, may use the relay."""
        parts = _split(origin)
        return _origin(parts) in self._origins or (parts.scheme in {"http", "https"} and _is_loopback_url(parts))


def _split(url: str) -> SplitResult:
    """Parse a URL; an invalid one has no host, which is never allowed."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - reading it raises for a port that is no number
    except ValueError:
        return SplitResult("", "", "", "", "")
    return parts


def _origin(url: SplitResult) -> tuple[str, str, int] | None:
    default = {"http": 80, "https": 443}.get(url.scheme)
    return (url.scheme, url.hostname, url.port or default) if url.hostname and default else None


def _is_loopback_url(url: SplitResult) -> bool:
    return url.hostname is not None and _is_loopback(url.hostname)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
