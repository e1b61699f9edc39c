"""Tokens as requests carry them: told apart by their digests, and refused in the same words everywhere."""

from __future__ import annotations

import hashlib
import hmac

from relay.http.asgi import Header, Send
from relay.http.responses import refuse

NEEDED = "A token is needed: Authorization: Bearer …"
UNKNOWN = "This token is not known. `relay agents rotate ID` gives an agent a new one."

CHALLENGE: Header = (b"www-authenticate", b"Bearer")


def digest(token: str) -> bytes:
    """Return a token's digest, as it is stored."""
    return hashlib.sha256(token.encode()).digest()


def is_same(token: str, known: bytes) -> bool:
    """Whether a token is the one of this digest, in a time that does not tell how much of it is right."""
    return hmac.compare_digest(digest(token), known)


async def unauthorized(send: Send, message: str) -> None:
    """Refuse a request without a token, or with an unknown one."""
    await refuse(send, 401, "unauthorized", message, CHALLENGE)
