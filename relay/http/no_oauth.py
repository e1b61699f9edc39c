"""What clients are told that look for OAuth: here are tokens only, and what to check.

A client whose token is missing or wrong gets 401, and then most of them look for an authorization server: first its
metadata below `/.well-known/`, then, because many servers have none, `/register` and the like at the root. What they
show to their user is what the last of these says. So the metadata is "not found", which every SDK takes for "go on":
any other status ends the search with a sentence of the SDK's own. And registration is refused in OAuth's own form (RFC
7591, 3.2.2), whose `error_description` they show; under a status and a code that none of them tries again.
"""

from __future__ import annotations

import json
import re

from relay.twilio.phone_line import Send

_METADATA = re.compile(
    r"(/[^?]*)?/\.well-known/(oauth-protected-resource|oauth-authorization-server|openid-configuration)(/.*)?"
)
_ENDPOINTS = frozenset({"/register", "/authorize", "/token"})

ADVICE = (
    "This relay does not use OAuth, it knows agents' tokens only, and the one that was sent (if any) is not known. "
    "Check that the client sends 'Authorization: Bearer TOKEN' to /mcp, or opens /sse?token=TOKEN, with the whole "
    "token as 'relay agents add' printed it; 'relay agents rotate ID' gives an agent a new one."
)


def status_for(path: str) -> int | None:
    """Return with which status a look for OAuth at this path is answered; None for a path that is no such thing."""
    if _METADATA.fullmatch(path):
        return 404
    return 400 if path.removesuffix("/") in _ENDPOINTS else None


async def refuse(send: Send, status: int) -> None:
    """Answer with the advice, as an error of OAuth."""
    error = "not_found" if status == 404 else "access_denied"
    body = json.dumps({"error": error, "error_description": ADVICE}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
