"""A server for one test: it answers every request as the test says, and remembers who asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

import attrs
import trio

from relay.http.listener import ListenerOptions, serve


@attrs.frozen
class Reply:
    """What is answered at one path. `status` 0 is no answer at all; to an upgrade 101 accepts it."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = attrs.field(factory=dict)
    close_code: int = 1000


@attrs.define
class SmallServer:
    """An ASGI app with a reply for each path, 404 for all others. `asked` are the (path, headers) of the requests.

    `forms` are the fields of those with a form, with their paths.
    """

    replies: Mapping[str, Reply]
    url: str = ""
    asked: list[tuple[str, dict[str, str]]] = attrs.field(factory=list)
    forms: list[tuple[str, dict[str, str]]] = attrs.field(factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        self.asked.append((scope["path"], headers))
        if scope.get("method") == "POST" and headers.get("content-type") == "application/x-www-form-urlencoded":
            self.forms.append((scope["path"], dict(parse_qsl((await receive())["body"].decode()))))
        reply = self.replies.get(scope["path"], Reply(404, b"nothing here"))
        if not reply.status:
            await trio.sleep_forever()
        kind = "websocket.http.response" if scope["type"] == "websocket" else "http.response"
        if reply.status == 101:
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": reply.close_code})
            return
        lines = [(b"content-length", str(len(reply.body)).encode())]
        lines += [(name.encode(), value.encode()) for name, value in reply.headers.items()]
        await send({"type": f"{kind}.start", "status": reply.status, "headers": lines})
        await send({"type": f"{kind}.body", "body": reply.body})


@asynccontextmanager
async def small_server(replies: Mapping[str, Reply]) -> AsyncIterator[SmallServer]:
    """Serve these replies on loopback for the length of the block."""
    app, stop = SmallServer(replies), trio.Event()
    async with trio.open_nursery() as nursery:
        run = partial(serve, app, ListenerOptions(grace=0), host="127.0.0.1", port=0, stop=stop)
        host, port = await nursery.start(run)
        app.url = f"http://{host}:{port}"
        yield app
        stop.set()
