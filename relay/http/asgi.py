"""The types of ASGI 3, and how an upgrade is refused; for every handler in the house.

Frameworks disagree about the types of the three arguments of an application, so those of `AsgiApp` are open.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]
AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]

_POLICY_VIOLATION = 1008


async def refuse_upgrade(scope: Scope, send: Send, status: int, body: bytes = b"") -> None:
    """Answer an upgrade with an HTTP status instead of a socket.

    A server without the extension for it closes before accepting, which it shows to the peer as 403.
    """
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
        return
    headers = [(b"content-length", str(len(body)).encode())]
    if body:
        headers.append((b"content-type", b"application/json"))
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})
