"""The one ASGI app of the daemon: it sends each connection to its handler, by path.

    /sse, /messages, /mcp        ──▶ the MCP app
    WS /webhooks/{agent}/voice-ws ──▶ the voice socket
    every other socket           ──▶ refused before the upgrade
    everything else              ──▶ the Quart-Trio app

The long-lived connections stay outside Quart, which cuts streams by its response timeout and hides a hang-up from its
handlers. This is also the firewall of a request: an exception that comes this far is logged and answered, and touches
no other connection. Paths are logged, queries are not: clients' tokens may be in them; nor are the names of audio.
"""

from __future__ import annotations

import re

import attrs

from relay.faults import report
from relay.twilio.phone_line import Message, Receive, Send
from relay.web.audio import loggable
from relay.web.faults import SERVER_ERROR, error_document
from relay.web.ports import AGENT_ID, AsgiApp, Scope
from relay.web.voice_socket import VoiceSocket, refuse

_VOICE_SOCKET = re.compile(rf"/webhooks/({AGENT_ID})/voice-ws")
_NO_SOCKET = error_document("not_found", "No socket is served at this path.")


@attrs.frozen(kw_only=True)
class Gateway:
    """Dispatch by path. Without an `mcp` app its paths are not found, as any other path that nobody serves."""

    pages: AsgiApp
    voice: VoiceSocket
    mcp: AsgiApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, or the server's lifespan. Lets nothing out but a cancellation, or a broken `send`."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        answer = _Answer(send)
        try:
            await self._route(scope, receive, answer)
        except* Exception as group:  # noqa: BLE001 - the firewall: whatever it was, it stays this connection's
            report("request_failed", group, type=scope["type"], path=loggable(scope["path"]))
            # What was begun cannot be taken back, and a socket that was given no answer is closed by the server.
            if scope["type"] == "http" and not answer.begun:
                await _fail(send)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if scope["type"] == "websocket":
            if voice := _VOICE_SOCKET.fullmatch(path):
                await self.voice(voice[1], scope, receive, send)
            else:
                await refuse(scope, send, 404, _NO_SOCKET)
        elif self.mcp is not None and (
            path == "/mcp" or (scope["method"], path) in {("GET", "/sse"), ("POST", "/messages")}
        ):
            await self.mcp(scope, receive, send)
        else:
            await self.pages(scope, receive, send)


@attrs.define(eq=False)
class _Answer:
    """The way out of one connection, which knows whether anything went out."""

    _send: Send
    begun: bool = False

    async def __call__(self, message: Message) -> None:
        self.begun = True
        await self._send(message)


async def _fail(send: Send) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(SERVER_ERROR)).encode())]
    await send({"type": "http.response.start", "status": 500, "headers": headers})
    await send({"type": "http.response.body", "body": SERVER_ERROR})


async def _live(receive: Receive, send: Send) -> None:
    """Agree to start and to stop: what lives as long as the daemon is in the daemon's own nursery."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
