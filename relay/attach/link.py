"""The connection to the relay: the SDK's transports, and a watch on the one stream that all depends on.

    GET /sse or /mcp ──▶ events ──▶ read stream          its headers: `answered`; 400 and above: `error_status`
                           └ ends, for whatever reason ──▶ `lost`
    POST /messages or /mcp ◀── write stream

The SDK does not report the end of its stream: over SSE it goes quiet, over Streamable HTTP it retries twice and then
goes quiet. Responses pass a hook of the HTTP library on their way to it, which sees all that has to be known.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from enum import Enum
from typing import Any

import anyio
import attrs
import httpx2
import trio
from anyio.streams.memory import MemoryObjectSendStream
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import SessionMessage

# The relay sends a comment after ten seconds of silence, so that half a minute without one is a dead path.
SILENCE = 30.0
_CONNECTING = 10.0

# What may have come while the session is being closed. A client is told of fifty messages at most.
_ARRIVED = 256


class Transport(Enum):
    """How the relay is reached."""

    SSE = "sse"
    HTTP = "http"

    @property
    def path(self) -> str:
        """The path at the relay."""
        return "/sse" if self is Transport.SSE else "/mcp"


@attrs.define(eq=False)
class Link:
    """One connection to the relay, as a transport of the SDK's `Client` (see `streams`), and what is known of it.

    `answered` is set once the relay has opened its stream, or has refused to; `lost` when there is none any more.
    `error_status` is the last status of 400 or above that the relay answered with.
    """

    url: str
    token: str = attrs.field(repr=False)
    transport: Transport
    answered: trio.Event = attrs.field(factory=trio.Event, init=False)
    lost: trio.Event = attrs.field(factory=trio.Event, init=False)
    error_status: int | None = attrs.field(default=None, init=False)

    @asynccontextmanager
    async def streams(self) -> AsyncIterator[Any]:
        """Open the transport for as long as the block lasts.

        What arrives goes through a stream of our own, because the SDK closes its session before its reader, which a
        message in between would crash.
        """
        async with self._sdk_transport() as (arriving, leaving), trio.open_nursery() as nursery:
            writer, reader = anyio.create_memory_object_stream[SessionMessage | Exception](_ARRIVED)
            nursery.start_soon(_forward, arriving, writer)
            with reader:
                yield reader, leaving
            nursery.cancel_scope.cancel("the session is closed")

    @asynccontextmanager
    async def _sdk_transport(self) -> AsyncIterator[Any]:
        address = f"{self.url}{self.transport.path}"
        if self.transport is Transport.SSE:
            async with sse_client(address, httpx_client_factory=self._http_client) as streams:
                yield streams
        else:
            async with self._http_client() as client, _streamable(address, client) as streams:
                yield streams

    def _http_client(self, *_given: object, **_named: object) -> httpx2.AsyncClient:
        # The token goes into a header: an address ends up in logs.
        return httpx2.AsyncClient(
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=httpx2.Timeout(_CONNECTING, read=SILENCE),
            event_hooks={"response": [self._note]},
        )

    async def _note(self, response: httpx2.Response) -> None:
        if response.is_error:
            self.error_status = response.status_code
        if response.request.method != "GET":
            return
        if response.is_success and isinstance(response.stream, httpx2.AsyncByteStream):
            response.stream = _Watched(response.stream, self.lost)
        else:
            self.lost.set()
        self.answered.set()


async def _forward(arriving: Any, writer: MemoryObjectSendStream[SessionMessage | Exception]) -> None:
    with writer:
        async for message in arriving:
            with suppress(anyio.BrokenResourceError):
                await writer.send(message)


def _streamable(address: str, client: httpx2.AsyncClient) -> AbstractAsyncContextManager[Any]:
    return streamable_http_client(address, http_client=client)


class _Watched(httpx2.AsyncByteStream):
    """A response's body that says when it is over, however that came."""

    def __init__(self, body: httpx2.AsyncByteStream, over: trio.Event) -> None:
        self._body = body
        self._over = over

    def __aiter__(self) -> AsyncIterator[bytes]:
        # Not an async generator: a cancelled one would be left to the garbage collector.
        return self._body.__aiter__()

    async def aclose(self) -> None:
        self._over.set()
        await self._body.aclose()
