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

from relay.http.asgi import Message, Scope, Send

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

        They come beside those of `answering`.
        """
        asked = dict(scope["headers"])
        origin = asked.get(b"origin")
        if scope["method"] != "OPTIONS" or b"access-control-request-method" not in asked or not self._allows(origin):
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

    def answering(self, scope: Scope, send: Send) -> Send:
        """Return a `send` that lets pages of the request's origin see the answer, if they may."""
        origin = dict(scope["headers"]).get(b"origin")
        headers = self._allowing(origin) if self._allows(origin) else [_VARY]

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *headers]}
            await send(message)

        return send_with_headers

    def _allows(self, origin: bytes | None) -> bool:
        return origin is not None and self.allows(origin.decode("latin-1"))

    def _allowing(self, origin: bytes | None) -> list[tuple[bytes, bytes]]:
        return [
            (b"access-control-allow-origin", origin or b""),
            (b"access-control-expose-headers", b"Mcp-Session-Id"),
            _VARY,
        ]
