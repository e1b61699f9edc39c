"""A request to the web framework: Hypercorn's HTTPStream between its app, in a task of its own, and the exchange.

    HttpExchange ◀──Response, Body, EndBody── HTTPStream ◀──messages── app
         └──────────────────receive────────────────────────────────────▶

Pages and webhooks go this way; nothing in them is so frequent that the task would count, and a framework may still be
at work when the answer is out, while the connection serves its next request.

The stream is Hypercorn's internal: the version is pinned, and the tests which throw hostile inputs at the listener are
the alarm.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import attrs
import trio
from hypercorn.config import Config
from hypercorn.protocol.events import Body, EndBody, Event, Request, Response, StreamClosed
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from relay.http.asgi import AsgiApp
from relay.http.exchange import HttpExchange
from relay.http.http1 import RequestHead

_STREAM = 1


def hypercorn_config() -> Config:
    """Return what Hypercorn's stream reads."""
    config = Config()
    config.accesslog = None
    config.errorlog = None  # standard error carries our JSON lines only
    config.include_server_header = False
    return config


@attrs.frozen(eq=False)
class Framework:
    """An ASGI app, each of whose requests goes through Hypercorn's stream."""

    _app: AsgiApp
    _config: Config = attrs.field(factory=hypercorn_config)
    _context: WorkerContext = attrs.field(factory=lambda: WorkerContext(None))

    async def serve(
        self,
        head: RequestHead,
        exchange: HttpExchange,
        addresses: tuple[Any, Any],
        extensions: dict[str, Any],
    ) -> None:
        """Run the app for one request. Raises what the app raises."""
        app: Any = self._app  # which Hypercorn only passes on to the task
        task = _Task()
        tasks: Any = task
        client, server = addresses
        stream = HTTPStream(
            app,
            self._config,
            self._context,
            tasks,
            ssl=False,
            client=client,
            server=server,
            send=partial(_perform, exchange),
            stream_id=_STREAM,
        )
        await stream.handle(
            Request(
                stream_id=_STREAM,
                headers=head.headers,
                http_version=head.version,
                method=head.method,
                raw_path=head.target,
                state=ConnectionState({}),
            )
        )
        scope, send = task.take()
        scope["extensions"].update(extensions)
        await app(scope, exchange.receive, send)


class _Task:
    """What Hypercorn's stream calls a task group. The app's task is there already, and asks for its events itself."""

    _call: tuple[dict[str, Any], Callable[[Any], Awaitable[None]]] | None = None

    async def spawn_app(self, _app: object, _config: object, scope: Any, send: Any) -> Callable[[Any], Awaitable[None]]:
        """Note what the app is to be called with."""
        self._call = scope, send
        await trio.lowlevel.checkpoint()
        return _ignore

    def take(self) -> tuple[dict[str, Any], Callable[[Any], Awaitable[None]]]:
        """Return what the app is to be called with, and keep none of it."""
        assert self._call is not None
        # A method of the stream, which holds this: kept, all of a request would wait for the collector.
        call, self._call = self._call, None
        return call


async def _ignore(_event: object) -> None:
    """Take an event that the app asks the exchange for."""


async def _perform(exchange: HttpExchange, event: Event) -> None:
    """Perform what the stream wants."""
    match event:
        case Response():
            await exchange.begin(event.status_code, event.headers)
        case Body():
            await exchange.write(event.data, is_last=False)
        case EndBody():
            await exchange.write(b"", is_last=True)
        case StreamClosed():
            exchange.end()
        case _:
            raise RuntimeError(f"{type(event).__name__} is no part of an HTTP/1.1 answer")
