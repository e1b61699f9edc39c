"""A Streamable HTTP client by hand, for what no SDK would send.

async with http_client(relay) as client:
    await client.shake_hands()
    async with client.listening() as stream:
        request = await stream.next_message("sampling/createMessage")
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import httpx2
import trio

from relay.http.listener import ListenerOptions, serve
from tests.relay.mcp.mcp_relay import EventReader, RunningRelay

BOTH = "application/json, text/event-stream"
ANSWERED = 200
STATELESS_VERSION = "2026-07-28"
_PREFIX = "io.modelcontextprotocol/"


@attrs.define(eq=False)
class HttpClient:
    """One client: its connection pool, and the headers that it sends with each request."""

    relay: RunningRelay
    http: httpx2.AsyncClient
    headers: dict[str, str]

    @property
    def url(self) -> str:
        return f"{self.relay.origin}/mcp"

    async def send(self, method: str, **headers: str | None) -> httpx2.Response:
        """Send a request without a body; a header given as None is left out."""
        return await self.http.request(method, self.url, headers=self._with(headers))

    async def post(self, message: Any, **headers: str | None) -> httpx2.Response:
        """Post a message, or bytes as they are."""
        content = message if isinstance(message, bytes) else json.dumps(message).encode()
        return await self.http.post(self.url, content=content, headers=self._with(headers))

    async def notify(self, method: str, **params: Any) -> None:
        """Send a notification."""
        assert (await self.post({"jsonrpc": "2.0", "method": method, "params": params})).status_code == 202

    async def request(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a request and return the message that answers it."""
        response = await self.post({"jsonrpc": "2.0", "id": method, "method": method, "params": params})
        assert response.status_code == ANSWERED, response.text
        return messages_in(response)[-1]

    async def reply(self, request: dict[str, Any], result: Any) -> None:
        """Answer a request of the relay."""
        assert (await self.post({"jsonrpc": "2.0", "id": request["id"], "result": result})).status_code == 202

    async def say(self, request: dict[str, Any], text: str) -> None:
        """Answer a sampling request with a text."""
        content = {"type": "text", "text": text}
        await self.reply(request, {"role": "assistant", "model": "by hand", "content": content})

    async def shake_hands(self, *, sampling: bool = True, version: str = "2025-11-25") -> dict[str, Any]:
        """Do what a client does first, up to the point where it would open its stream."""
        response = await self.post(initialize(sampling=sampling, version=version))
        assert response.status_code == ANSWERED, response.text
        self.headers["mcp-session-id"] = response.headers["mcp-session-id"]
        hello = messages_in(response)[-1]  # a slow machine's is a stream, where a test wants those early
        self.headers["mcp-protocol-version"] = hello["result"]["protocolVersion"]
        await self.notify("notifications/initialized")
        return hello

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[EventReader]:
        """Open the standing stream for the length of the block."""
        async with (
            self.http.stream("GET", self.url, headers=self._with({})) as response,
            trio.open_nursery() as nursery,
        ):
            assert response.status_code == ANSWERED
            assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
            reader = EventReader()
            nursery.start_soon(reader.read, response)
            assert await reader.next_event() == {"comment": "open"}
            yield reader
            nursery.cancel_scope.cancel()

    def _with(self, headers: dict[str, str | None]) -> dict[str, str]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return {name: value for name, value in {**self.headers, **named}.items() if value is not None}


def initialize(*, sampling: bool = True, version: str = "2025-11-25") -> dict[str, Any]:
    """Word the request that begins a session."""
    params = {
        "protocolVersion": version,
        "capabilities": {"sampling": {}} if sampling else {},
        "clientInfo": {"name": "by hand", "version": "1"},
    }
    return {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}


def messages_in(response: httpx2.Response) -> list[dict[str, Any]]:
    """Take the JSON-RPC messages out of a response, whichever form it has."""
    if response.headers["content-type"] == "application/json":
        return [response.json()]
    lines = (line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: "))
    return [json.loads(line) for line in lines]


@asynccontextmanager
async def http_client(relay: RunningRelay, agent_id: str = "anna") -> AsyncIterator[HttpClient]:
    """Make a client of an agent; it has no session yet."""
    headers = {
        "authorization": f"Bearer token-{agent_id}",
        "accept": BOTH,
        "content-type": "application/json",
    }
    async with httpx2.AsyncClient(timeout=20) as http:
        yield HttpClient(relay, http, headers)


@asynccontextmanager
async def client_of_patient_listener(relay: RunningRelay) -> AsyncIterator[HttpClient]:
    """Make a client that comes in by another port, and fail when that waits for its idle connections at the end."""
    stop = trio.Event()
    listen = partial(serve, relay.app, ListenerOptions(grace=60), host="127.0.0.1", port=0, stop=stop)
    async with http_client(relay) as client, trio.open_nursery() as nursery:
        host, port = await nursery.start(listen)
        relay.origin = f"http://{host}:{port}"
        yield client
        stop.set()
        nursery.cancel_scope.deadline = trio.current_time() + 10
    assert not nursery.cancel_scope.cancelled_caught


@asynccontextmanager
async def standing_client(
    relay: RunningRelay, agent_id: str = "anna", *, sampling: bool = True
) -> AsyncIterator[tuple[HttpClient, EventReader]]:
    """Make a client with a session and an open stream."""
    async with http_client(relay, agent_id) as client:
        await client.shake_hands(sampling=sampling)
        async with client.listening() as stream:
            yield client, stream


async def ask_stateless(client: HttpClient, method: str, *, capabilities: Any = None, **params: Any) -> Any:
    """Send one request of the 2026-07-28 revision and return its HTTP response."""
    meta = {
        f"{_PREFIX}protocolVersion": STATELESS_VERSION,
        f"{_PREFIX}clientCapabilities": capabilities or {},
        f"{_PREFIX}clientInfo": {"name": "by hand", "version": "1"},
    }
    message = {"jsonrpc": "2.0", "id": "q", "method": method, "params": {**params, "_meta": meta}}
    named: str | None = params.get("name") or params.get("uri")
    return await client.post(message, mcp_protocol_version=STATELESS_VERSION, mcp_method=method, mcp_name=named)
