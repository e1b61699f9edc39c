"""An MCP client that repeats what the caller said, at once: the lean other end for load runs. Not for tests of MCP.

    GET /sse ──▶ events ─┬▶ sampling/createMessage ──▶ "You said: …" ──▶ POST /messages
                         └▶ results of the tools that it was told to call

A published SDK spends several milliseconds of a core on each turn, so a load run through one measures the SDK. This
one speaks just enough of the protocol (initialize, sampling, tools, ping; revision 2025-11-25 over HTTP+SSE), and posts
down one connection without waiting for the 202 of the post before.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import attrs
import h11
import trio

_INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {"sampling": {}},
    "clientInfo": {"name": "relay-echo", "version": "1"},
}


@asynccontextmanager
async def open_echo_client(sse_url: str) -> AsyncIterator[EchoClient]:
    """Connect, and answer every turn inside the block.

    Raises `OSError` or `EchoFailed` when it cannot connect, and what the block raised as it is, not wrapped in a group.
    """
    parts = urlsplit(sse_url)
    if parts.scheme != "http" or parts.hostname is None:
        raise EchoFailed(f"the echo client speaks plain http on this machine only, not {parts.scheme or 'no scheme'}")
    port = parts.port or 80
    failure: Exception | None = None
    async with (
        await trio.open_tcp_stream(parts.hostname, port) as listening,
        await trio.open_tcp_stream(parts.hostname, port) as posting,
        trio.open_nursery() as nursery,
    ):
        client = EchoClient(parts.netloc, listening, posting)
        nursery.start_soon(client.drain)
        try:
            await nursery.start(client.run, f"{parts.path}?{parts.query}")
            yield client
        except Exception as error:  # noqa: BLE001 - raised again outside, where no nursery wraps it
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


class EchoFailed(Exception):
    """Say why the echo client could not connect."""


@attrs.define(eq=False)
class EchoClient:
    """A connected client; `answered` counts its turns."""

    _host: str
    _listening: trio.SocketStream
    _posting: trio.SocketStream
    answered: int = 0
    _address: str = ""
    _ids: Iterator[int] = attrs.field(factory=lambda: itertools.count(1))
    _results: dict[int, trio.MemorySendChannel[dict[str, Any]]] = attrs.field(factory=dict)
    _is_over: bool = False
    _turn_to_post: trio.Lock = attrs.field(factory=trio.Lock)
    _http: h11.Connection = attrs.field(factory=lambda: h11.Connection(h11.CLIENT))

    async def call_tool(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Call a tool and return its structured content, which holds `error` with its `code` where it failed.

        Raises `EchoFailed` when the stream ends first; cancelling forgets the result.
        """
        if self._is_over:
            raise EchoFailed("the relay has ended the stream")
        number = next(self._ids)
        self._results[number], result = trio.open_memory_channel[dict[str, Any]](1)
        params = {"name": name, "arguments": dict(arguments)}
        try:
            await self._post({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params})
            return await result.receive()
        except trio.EndOfChannel:
            raise EchoFailed("the relay ended the stream before the tool's result came") from None
        finally:
            self._results.pop(number, None)

    async def run(self, path: str, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen and answer until the stream ends; started once the server knows the client.

        Raises `EchoFailed` when the server does not take the client, or does not speak HTTP.
        """
        is_ready = False
        request = h11.Request(
            method="GET", target=path, headers=[("Host", self._host), ("Accept", "text/event-stream")]
        )
        await self._listening.send_all(self._http.send(request) or b"")
        await self._listening.send_all(self._http.send(h11.EndOfMessage()) or b"")
        async for name, data in self._events():
            if name == "endpoint":
                self._address = data
                await self._post({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": _INITIALIZE})
                continue
            message = json.loads(data)
            if message.get("id") == 0 and "result" in message:
                await self._post({"jsonrpc": "2.0", "method": "notifications/initialized"})
                is_ready = True
                task_status.started()
            elif message.get("method") == "sampling/createMessage":
                said = message["params"]["messages"][-1]["content"]["text"]
                content = {"type": "text", "text": f"You said: {said}"}
                self.answered += 1
                await self._answer(message["id"], {"role": "assistant", "content": content, "model": "echo"})
            elif message.get("method") == "ping":
                await self._answer(message["id"], {})
            elif "method" not in message and message.get("id") in self._results:
                self._results[message["id"]].send_nowait(_content(message))
        self._is_over = True
        for waiting in self._results.values():
            waiting.close()
        if not is_ready:
            raise EchoFailed("the relay ended the stream at once; is it being stopped?")

    async def drain(self) -> None:
        """Read what the posts are answered with, and forget it."""
        async for _answers in self._posting:
            pass

    async def _answer(self, request_id: Any, result: dict[str, Any]) -> None:
        await self._post({"jsonrpc": "2.0", "id": request_id, "result": result})

    async def _post(self, message: dict[str, Any]) -> None:
        body = json.dumps(message).encode()
        head = (
            f"POST {self._address} HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        async with self._turn_to_post:
            await self._posting.send_all(head.encode() + body)

    async def _events(self) -> AsyncIterator[tuple[str, str]]:
        """Give each server-sent event as (name, data); comments and ids are passed over."""
        text = ""
        async for piece in self._body():
            text += piece.decode().replace("\r\n", "\n")
            *events, text = text.split("\n\n")
            for event in events:
                fields = dict(line.split(": ", 1) for line in event.split("\n") if ": " in line and line[0] != ":")
                if "data" in fields:
                    yield fields.get("event", "message"), fields["data"]

    async def _body(self) -> AsyncIterator[bytes]:
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                raise EchoFailed(f"what answers there does not speak HTTP: {error}") from error
            match event:
                case h11.NEED_DATA:
                    self._http.receive_data(await self._listening.receive_some())
                case h11.Response(status_code=status) if status != 200:
                    raise EchoFailed(f"the relay answered {status}; is the client's token right?")
                case h11.Data(data=data):
                    yield bytes(data)
                case h11.EndOfMessage() | h11.ConnectionClosed():
                    return
                case _:
                    continue


def _content(message: Mapping[str, Any]) -> dict[str, Any]:
    """Give a tool's structured content; what the protocol itself refused is an error as well."""
    if "result" not in message:
        error = message.get("error", {})
        return {"error": {"code": str(error.get("code", "")), "message": str(error.get("message", ""))}}
    return dict(message["result"].get("structuredContent", {}))
