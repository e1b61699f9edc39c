"""The 2026-07-28 revision of MCP: each POST is complete in itself, and the server can ask its client nothing.

The SDK serves it; this module decides which clients use it. A client that can sample answers faster when it is asked
over a standing stream than when it has to call a tool, and only the revisions with a handshake have one. So its
`server/discover`, the first thing such a client sends, is answered as by a server that does not speak 2026-07-28 yet:
the client falls back to the handshake by itself (seen of the Python SDK 2.3 and the TypeScript SDK 2.4). A client that
cannot sample, or that is fixed to this revision and never asks, is served.
"""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import trio
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.inbound import MCP_METHOD_HEADER, MCP_PROTOCOL_VERSION_HEADER
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    UNSUPPORTED_PROTOCOL_VERSION,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCRequest,
)
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

from relay.agent import Agent
from relay.http.asgi import Head, Receive, Scope, Send
from relay.http.streaming import FAREWELL
from relay.mcp.pieces import text_of
from relay.mcp.server import AGENT
from relay.mcp.transports.refusals import jsonrpc_error


class StatelessRevision:
    """Serve requests of the 2026-07-28 revision. Needs `running` around it."""

    def __init__(self, server: Server[Any], longest_message: int) -> None:
        """Serve them with this server, refusing bodies of more bytes than that."""
        self._manager = StreamableHTTPSessionManager(server, stateless=True, max_request_body_size=longest_message)
        self._scopes: set[trio.CancelScope] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the server for as long as the block lasts."""
        async with self._manager.run():
            yield

    async def serve(self, agent: Agent, body: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request for an agent; its body was read already. A hang-up of the client cancels the handler."""
        responding = trio.CancelScope()
        self._scopes.add(responding)
        try:
            with responding:
                await self._manager.handle_request(
                    {**scope, AGENT: agent}, _replay_body(_with_text_only(body), receive), _unbroken(send)
                )
        finally:
            self._scopes.discard(responding)

    def close(self) -> None:
        """End the requests under way. Never waits."""
        for each in self._scopes:
            each.cancel("shutdown")


def steering(head: Head, message: JSONRPCMessage) -> JSONRPCError | None:
    """Return the refusal of the `server/discover` of a client that can sample; None for any other message."""
    if head.headers.get(MCP_METHOD_HEADER) != "server/discover":
        return None
    match message:
        case JSONRPCRequest(id=request_id, params={"_meta": {**meta}}):
            capabilities = meta.get(CLIENT_CAPABILITIES_META_KEY)
        case _:
            return None
    if not isinstance(capabilities, dict) or capabilities.get("sampling") is None:
        return None
    said = "Unsupported protocol version: this client can sample, and is asked to over a session with a handshake"
    data = {"supported": list(HANDSHAKE_PROTOCOL_VERSIONS), "requested": "2026-07-28"}
    return jsonrpc_error(UNSUPPORTED_PROTOCOL_VERSION, said, request_id, data)


def _with_text_only(body: bytes) -> bytes:
    """Return a body in which a sampled answer is its text alone.

    The SDK refuses a request whole that holds a block of a kind it does not know, and the caller would wait in vain for
    the text beside it.
    """
    if b'"inputResponses"' not in body:
        return body
    try:
        message = json.loads(body)
        match message:
            case {"params": {"inputResponses": {**responses}}}:
                pass
            case _:
                return body
    except (ValueError, RecursionError):
        return body
    for response in responses.values():
        if isinstance(response, dict) and "role" in response and "content" in response:
            response["content"] = {"type": "text", "text": text_of(response) or ""}
    return json.dumps(message).encode()


def _replay_body(body: bytes, receive: Receive) -> Receive:
    """Receive a body that was read already once more, and then what else comes."""
    unread = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Any:
        if unread:
            await trio.lowlevel.checkpoint()
            return unread.pop()
        return await receive()

    return receive_again


def _unbroken(send: Send) -> Send:
    """Shield what ends a response from the SDK's watch for a hang-up, which the server wakes when it is sent."""

    async def send_unbroken(message: MutableMapping[str, Any]) -> None:
        is_last = message["type"] == "http.response.body" and not message.get("more_body", False)
        with trio.move_on_after(FAREWELL if is_last else math.inf, shield=is_last):
            await send(message)

    return send_unbroken


def is_stateless(head: Head) -> bool:
    """Return whether a request names a revision without handshake, or an unknown one (which the SDK then answers)."""
    version = head.headers.get(MCP_PROTOCOL_VERSION_HEADER)
    return version is not None and version not in HANDSHAKE_PROTOCOL_VERSIONS
