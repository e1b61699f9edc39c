"""The one ASGI app of the daemon: it sends each connection to its handler, by path.

    /sse, /messages, /mcp         ──▶ the MCP app, with what browsers need around it
    streams of the console, JSON  ──▶ the console's own app, see `relay.console.stream`
    what clients ask of OAuth     ──▶ told that there is none
    WS /webhooks/{agent}/voice-ws ──▶ the voice socket
    WS /console/phone             ──▶ the phone in the browser
    every other socket            ──▶ refused before the upgrade
    everything else               ──▶ the Quart-Trio app

A slash at the end of a path makes no difference: people paste addresses, and a redirect would lose a POST's body. The
carrier signs the address as it was configured, slash included, so only what is signed with it is taken with it.

A good answer where a token or signature is needed shows that the peer is the carrier or a client; the listener is told,
so that the connection is the last to give way when places are short.

What is long-lived or frequent stays outside Quart, which cuts streams by its response timeout and hides a hang-up from
its handlers; the listener serves it in the task of its connection, see `Gateway.runs_in_place`. This is also the
firewall of a request: an exception that comes this far is logged and answered, and touches no other connection. Paths
are logged, queries are not: clients' tokens may be in them; nor are the names of audio.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable

import attrs

from relay.agent import AGENT_ID
from relay.errors import SERVER_ERROR, error_document
from relay.http.asgi import AsgiApp, Header, Message, Receive, Scope, Send, refuse, refuse_upgrade
from relay.http.connection import KNOWN_PEER
from relay.http.cors import Cors
from relay.logs import report

_VOICE_SOCKET = re.compile(rf"/webhooks/({AGENT_ID})/voice-ws/?")
_STREAM = re.compile(r"/console/stream|/console/api/live|/console/api/calls/[^/]*")
_PHONE = "/console/phone"
_CLIENT_PATHS = frozenset({"/sse", "/messages", "/mcp"})
# What the proxy in front closes, by its path as it is spelt. Quart would also take `//metrics`, and `/%6detrics` is the
# same for who decodes it: in another spelling they are not found.
_OF_OPERATORS = re.compile(r"/+(metrics|console)(/.*)?", re.DOTALL)
_AS_IT_IS_SPELT = re.compile(rb"/(metrics|console)(/.*)?", re.DOTALL)
_NOT_SPELT_SO = "There is nothing at this path."
_NO_SOCKET = error_document("not_found", "No socket is served at this path.")

# A client whose token is missing or wrong gets 401, and then most of them look for an authorization server: first its
# metadata below `/.well-known/`, then, because many servers have none, `/register` and the like at the root. What they
# show to their user is what the last of these says. So the metadata is "not found", which every SDK takes for "go on":
# any other status ends the search with a sentence of the SDK's own. And registration is refused in OAuth's own form
# (RFC 7591, 3.2.2), whose `error_description` they show; under a status and a code that none of them tries again.
_OAUTH_METADATA = re.compile(
    r"(/[^?]*)?/\.well-known/(oauth-protected-resource|oauth-authorization-server|openid-configuration)(/.*)?"
)
_OAUTH_ENDPOINTS = frozenset({"/register", "/authorize", "/token"})
_NO_OAUTH = (
    "This relay does not use OAuth, it knows agents' tokens only, and the one that was sent (if any) is not known. "
    "Check that the client sends 'Authorization: Bearer TOKEN' to /mcp, or opens /sse?token=TOKEN, with the whole "
    "token as 'relay agents add' printed it; 'relay agents rotate ID' gives an agent a new one."
)


@attrs.frozen(kw_only=True)
class Gateway:
    """Dispatch by path. Without an `mcp` app its paths are not found; without `streams` the pages answer for them.

    Without a `phone` the console has no socket.
    `voice` gets an agent's id beside what ASGI hands over. `loggable` returns a path without what must not be logged.
    `note_refusal` gets the status of each answer to a client whose token is refused, 401 or 403.
    """

    pages: AsgiApp
    voice: Callable[[str, Scope, Receive, Send], Awaitable[None]]
    mcp: AsgiApp | None = None
    streams: AsgiApp | None = None
    phone: AsgiApp | None = None
    cors: Cors = attrs.field(factory=lambda: Cors(lambda _origin: False))
    loggable: Callable[[str], str] = str
    note_refusal: Callable[[int], None] = lambda _status: None

    def runs_in_place(self, path: str) -> bool:
        """Whether requests to a path, with or without a slash at its end, go to an app of our own, and not to Quart."""
        path = _without_slash(path)
        return self._is_clients(path) or self._is_stream(path)

    # Of a path without its slash, as `_route` has it: stripped of two, it would be another one there.

    def _is_clients(self, path: str) -> bool:
        return self.mcp is not None and path in _CLIENT_PATHS

    def _is_stream(self, path: str) -> bool:
        return self.streams is not None and _STREAM.fullmatch(path) is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, or the server's lifespan. Lets nothing out but a cancellation, or a broken `send`."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        path = scope["path"]
        headers: list[Header] = []
        is_clients = False
        if scope["type"] == "http":
            path = _without_slash(path)
            is_clients = self._is_clients(path)
            if is_clients or _status_of_oauth(path) is not None:
                headers = self.cors.headers_for(scope)
        answer = _Answer(scope, send, headers, is_clients, self.note_refusal)
        try:
            await self._route(path, scope, receive, answer)
        except* Exception as group:  # noqa: BLE001 - the firewall: whatever it was, it stays this connection's
            report("request_failed", group, type=scope["type"], path=self.loggable(scope["path"]))
            # What was begun cannot be taken back, and a socket that was given no answer is closed by the server.
            if scope["type"] == "http" and not answer.begun:
                await _fail(answer)

    async def _route(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            if voice := _VOICE_SOCKET.fullmatch(path):
                await self.voice(voice[1], scope, receive, send)
            elif self.phone is not None and path == _PHONE and not _is_disguised(scope):
                await self.phone(scope, receive, send)
            else:
                await refuse_upgrade(scope, send, 404, _NO_SOCKET)
        elif self.mcp is not None and path in _CLIENT_PATHS:
            if not await self._grant(scope, send):
                await self.mcp(scope if scope["path"] == path else {**scope, "path": path}, receive, send)
        elif _is_disguised(scope):
            await refuse(send, 404, "not_found", _NOT_SPELT_SO)
        elif self.streams is not None and self._is_stream(path):
            await self.streams(scope, receive, send)
        elif (status := _status_of_oauth(path)) is not None:
            if not await self._grant(scope, send):
                await _refuse_oauth(send, status)
        else:
            await self.pages(scope, receive, send)

    async def _grant(self, scope: Scope, send: Send) -> bool:
        """Answer the request if it is a preflight; return whether it was."""
        leave = self.cors.preflight(scope)
        if leave is None:
            return False
        await send({"type": "http.response.start", "status": 204, "headers": leave})
        await send({"type": "http.response.body", "body": b""})
        return True


@attrs.define(eq=False)
class _Answer:
    """The send side of one connection: what browsers need is added, and whether anything was sent is known.

    A good answer to the carrier, or to a client, shows the listener that the peer has shown who it is. `_is_clients` is
    whether the path is one of the MCP app's.
    """

    _scope: Scope
    _send: Send
    _headers: list[Header]
    _is_clients: bool
    _note_refusal: Callable[[int], None]
    begun: bool = False

    async def __call__(self, message: Message) -> None:
        self.begun = True
        if message["type"] == "http.response.start":
            status = message["status"]
            if 200 <= status < 300 and self._is_guarded():
                self._scope.get("extensions", {}).get(KNOWN_PEER, _ignore)()
            elif self._is_clients and status in {401, 403}:
                self._note_refusal(status)
            if self._headers:
                message = {**message, "headers": [*message.get("headers", ()), *self._headers]}
        await self._send(message)

    def _is_guarded(self) -> bool:
        is_guarded: bool = self._is_clients or self._scope["path"].startswith("/webhooks/")
        return is_guarded and self._scope["method"] != "OPTIONS"


def _without_slash(path: str) -> str:
    return path.removesuffix("/") or "/"


def _is_disguised(scope: Scope) -> bool:
    """Return whether it is for operators, under a path that a proxy which closes theirs would not know."""
    return _OF_OPERATORS.fullmatch(scope["path"]) is not None and not _AS_IT_IS_SPELT.fullmatch(scope["raw_path"])


def _ignore() -> None:
    """Do nothing: other servers than ours have no such extension."""


async def _fail(send: Send) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(SERVER_ERROR)).encode())]
    await send({"type": "http.response.start", "status": 500, "headers": headers})
    await send({"type": "http.response.body", "body": SERVER_ERROR})


async def _live(receive: Receive, send: Send) -> None:
    """Accept startup and shutdown: what lives as long as the daemon is in the daemon's own nursery."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def _status_of_oauth(path: str) -> int | None:
    """Return with which status a look for OAuth at this path is answered; None for a path that is no such thing."""
    if "/.well-known/" in path and _OAUTH_METADATA.fullmatch(path):
        return 404
    return 400 if path in _OAUTH_ENDPOINTS else None


async def _refuse_oauth(send: Send, status: int) -> None:
    """Answer with the advice, as an error of OAuth."""
    error = "not_found" if status == 404 else "access_denied"
    body = json.dumps({"error": error, "error_description": _NO_OAUTH}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
