"""A web server's side of ASGI, in memory: ask an app something, or dial one of its sockets."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote, unquote, urlencode

import attrs
import trio

from relay.http.asgi import AsgiApp

TOKEN = "carriers-token"
ORIGIN = "https://voice.example"


def signature(url: str, form: Mapping[str, str] | None = None, token: str = TOKEN) -> str:
    """Sign as the carrier does, without its library."""
    text = url + "".join(name + value for name, value in sorted((form or {}).items()))
    return base64.b64encode(hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()).decode()


@attrs.frozen
class Answer:
    """What came back: `headers` in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


async def ask(
    app: AsgiApp, method: str, target: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = b""
) -> Answer:
    """Make one request and return the whole answer; the connection stays open behind it, as keep-alive does.

    A `body` of None is announced by nothing and never comes.
    """
    sent: list[dict[str, Any]] = []
    asked = False

    async def receive() -> dict[str, Any]:
        nonlocal asked
        await trio.lowlevel.checkpoint()
        if asked or body is None:
            await trio.sleep_forever()
        asked = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        sent.append(message)

    scope = _scope("http", target, headers) | {"method": method, "scheme": "http"}
    await app(scope, receive, send)
    start, *rest = sent
    assert start["type"] == "http.response.start"
    return Answer(
        start["status"],
        {name.decode().lower(): value.decode() for name, value in start["headers"]},
        b"".join(message.get("body", b"") for message in rest),
    )


async def post_form(
    app: AsgiApp, target: str, form: Mapping[str, str], *, token: str | None = TOKEN, **headers: str
) -> Answer:
    """Post a form as the carrier does, signed unless `token` is None; underscores in header names become dashes."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    given["content-type"] = "application/x-www-form-urlencoded; charset=UTF-8"
    if token is not None:
        given["x-twilio-signature"] = signature(ORIGIN + target, form, token)
    return await ask(app, "POST", target, headers=given, body=urlencode(form).encode())


@attrs.define(eq=False)
class DialledSocket:
    """The peer's end of a socket. `answers` has every ASGI message that the app sent."""

    _arrivals: trio.MemorySendChannel[dict[str, Any]]
    answers: list[dict[str, Any]] = attrs.field(factory=list)
    done: trio.Event = attrs.field(factory=trio.Event)

    async def say(self, frame: str) -> None:
        """Send a text frame."""
        await self._arrivals.send({"type": "websocket.receive", "text": frame, "bytes": None})

    async def hang_up(self, code: int = 1006) -> None:
        """Be gone."""
        await self._arrivals.send({"type": "websocket.disconnect", "code": code})

    @property
    def outcome(self) -> list[object]:
        """What the app did, in short: `accept`, the status of a refusal, texts, and the code it closed with."""
        telling = {"websocket.http.response.start": "status", "websocket.send": "text", "websocket.close": "code"}
        return [
            each[telling[each["type"]]] if each["type"] in telling else "accept"
            for each in self.answers
            if each["type"] in {*telling, "websocket.accept"}
        ]


@asynccontextmanager
async def dial(
    app: AsgiApp, target: str, *, headers: Mapping[str, str] | None = None, extension: bool = True
) -> AsyncIterator[DialledSocket]:
    """Ask for a socket; at the end of the block the app is waited for, under whatever time limit the test has."""
    # Two: a test says at most a frame and hangs up before the app gets to read.
    arrivals, arriving = trio.open_memory_channel[dict[str, Any]](2)
    socket = DialledSocket(arrivals)

    async def receive() -> dict[str, Any]:
        return await arriving.receive()

    async def send(message: dict[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        socket.answers.append(message)

    async def serve(scope: dict[str, Any], *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await app(scope, receive, send)
        socket.done.set()

    extensions: dict[str, Any] = {"websocket.http.response": {}} if extension else {}
    scope = _scope("websocket", target, headers) | {"scheme": "ws", "subprotocols": [], "extensions": extensions}
    await arrivals.send({"type": "websocket.connect"})
    async with trio.open_nursery() as nursery:
        await nursery.start(serve, scope)
        yield socket


def _scope(kind: str, target: str, headers: Mapping[str, str] | None) -> dict[str, Any]:
    path, _, query = target.partition("?")
    return {
        "type": kind,
        "asgi": {"spec_version": "2.3", "version": "3.0"},
        "http_version": "1.1",
        "path": unquote(path),
        "raw_path": quote(path, safe="/%").encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
        "client": ("192.0.2.1", 4711),
        "server": ("127.0.0.1", 8080),
        "state": {},
    }
