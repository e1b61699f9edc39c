"""CORS: which web pages may use the MCP paths from a browser: the CORS headers of their answers (WHATWG Fetch, 3.2).

A browser sends a preflight first, with OPTIONS and without a token, and shows a page only answers that allow its
origin. So does every answer to an allowed origin, the errors included; a page could not tell what is wrong otherwise.
Another origin gets no such header, which is enough to keep its pages out. Programs send no Origin, and see no
difference.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import attrs

from relay.http.asgi import Header, Scope

# Six hundred seconds is what browsers keep without a limit of their own being lower.
_PREFLIGHT_SECONDS = b"600"
_METHODS = b"GET, POST, DELETE"
_NAMES = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+(\s*,\s*[A-Za-z0-9!#$%&'*+.^_`|~-]+)*")
_VARY = (b"vary", b"Origin")


@attrs.frozen
class Cors:
    """Answer preflights. `allows` says whether pages of an origin may use the relay."""

    allows: Callable[[str], bool]

    def preflight(self, scope: Scope) -> list[tuple[bytes, bytes]] | None:
        """Return the headers that answer a preflight of an allowed origin; None for any other request.

        They come beside those of `headers_for`.
        """
        if scope["method"] != "OPTIONS":
            return None
        asked = dict(scope["headers"])
        if b"access-control-request-method" not in asked or not self._allows(asked.get(b"origin")):
            return None
        headers = [
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-max-age", _PREFLIGHT_SECONDS),
        ]
        # Those that are asked for: revisions of MCP add some, and a wildcard would not cover Authorization.
        names = asked.get(b"access-control-request-headers", b"").strip()
        if _NAMES.fullmatch(names):
            headers.append((b"access-control-allow-headers", names))
        # A page of the public web that asks for a loopback or private address.
        if asked.get(b"access-control-request-private-network") == b"true":
            headers.append((b"access-control-allow-private-network", b"true"))
        return headers

    def headers_for(self, scope: Scope) -> list[Header]:
        """Return the headers that let pages of the request's origin see the answer, if they may."""
        for name, value in scope["headers"]:
            if name == b"origin":
                return self._allowing(value) if self._allows(value) else [_VARY]
        return [_VARY]

    def _allows(self, origin: bytes | None) -> bool:
        return origin is not None and self.allows(origin.decode("latin-1"))

    def _allowing(self, origin: bytes) -> list[Header]:
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", b"Mcp-Session-Id"),
            _VARY,
        ]
