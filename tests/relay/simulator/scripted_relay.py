"""A stand-in for the relay: answers webhooks with the TwiML it is given and lets a test speak on the socket.

It shares nothing with the product but the listener, and checks every signature with the carrier's own library.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import quoteattr

import attrs
import trio
from twilio.request_validator import RequestValidator  # type: ignore[import-untyped]

from relay.http.listener import ListenerOptions, serve
from relay.simulator.carrier.exchange import Carrier, open_carrier

ACCOUNT = "AC" + "1" * 32
TOKEN = "the-token-of-a-test"


@attrs.define
class Socket:
    """The relay's end of a voice socket."""

    _receive: Callable[[], Awaitable[dict[str, Any]]]
    _send: Callable[[dict[str, Any]], Awaitable[None]]
    setup: dict[str, Any] = attrs.field(factory=dict)

    async def receive(self) -> dict[str, Any]:
        """Return the carrier's next frame; `{"type": "closed", "code": …}` at the end."""
        event = await self._receive()
        if event["type"] == "websocket.disconnect":
            return {"type": "closed", "code": event["code"]}
        frame: dict[str, Any] = json.loads(event["text"] if event["text"] is not None else event["bytes"])
        return frame

    async def receive_until(self, kind: str, **fields: object) -> list[dict[str, Any]]:
        """Collect frames up to one of a kind with these fields."""
        frames = [await self.receive()]
        while frames[-1]["type"] not in {kind, "closed"} or not fields.items() <= frames[-1].items():
            frames.append(await self.receive())
        return frames

    async def say(self, *tokens: str, **fields: object) -> None:
        """Speak one talk cycle, a token a frame."""
        for token in tokens:
            await self.send(type="text", token=token, last=False, **fields)
        await self.send(type="text", token="", last=True)

    async def send(self, **frame: object) -> None:
        """Send a frame."""
        await self.send_raw(json.dumps(frame))

    async def send_raw(self, text: str) -> None:
        """Send a text message."""
        await self._send({"type": "websocket.send", "text": text})

    async def close(self, code: int) -> None:
        """Close the socket."""
        await self._send({"type": "websocket.close", "code": code})


@attrs.frozen
class Posted:
    """A webhook as it came in."""

    path: str
    fields: dict[str, str]
    headers: dict[str, str]
    signed: bool


Handler = Callable[[Socket], Awaitable[None]]


@attrs.define
class ScriptedRelay:
    """A raw ASGI app whose answers a test sets: `documents` by path, `talk` for the socket."""

    talk: Handler
    documents: dict[str, list[str]] = attrs.field(factory=dict)
    statuses: dict[str, int] = attrs.field(factory=dict)
    content_type: str = "text/xml; charset=utf-8"
    posted: list[Posted] = attrs.field(factory=list)
    setups: list[dict[str, Any]] = attrs.field(factory=list)
    upgrades_signed: list[bool] = attrs.field(factory=list)
    origin: str = ""

    def connect(self, action: str | None = "/ended", ticket: str = "one", **attributes: str) -> str:
        """Write TwiML that connects the call to this relay."""
        url = self.origin.replace("http", "ws") + "/socket"
        more = "".join(f" {name}={quoteattr(value)}" for name, value in attributes.items())
        where = f" action={quoteattr(action)}" if action else ""
        return (
            f'<?xml version="1.0" encoding="UTF-8"?><Response><Connect{where}>'
            f"<ConversationRelay url={quoteattr(url)}{more}>"
            f'<Parameter name="ticket" value={quoteattr(ticket)}/></ConversationRelay></Connect></Response>'
        )

    def fields_of(self, path: str) -> list[dict[str, str]]:
        """Return the forms that were posted to a path."""
        return [each.fields for each in self.posted if each.path == path]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        if scope["type"] == "websocket":
            await self._hold(headers, receive, send)
            return
        body = b""
        more = True
        while more:
            event = await receive()
            body += event["body"]
            more = event["more_body"]
        fields = dict(parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True))
        path = scope["path"]
        signature = headers["x-twilio-signature"]
        signed = RequestValidator(TOKEN).validate(self.origin + path, fields, signature)
        self.posted.append(Posted(path, fields, headers, signed))
        waiting = self.documents.get(path, [])
        answer = (waiting.pop(0) if len(waiting) > 1 else waiting[0] if waiting else "<Response/>").encode()
        start = [(b"content-type", self.content_type.encode()), (b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": self.statuses.get(path, 200), "headers": start})
        await send({"type": "http.response.body", "body": answer})

    async def _hold(self, headers: dict[str, str], receive: Any, send: Any) -> None:
        await receive()
        url = self.origin.replace("http", "ws") + "/socket"
        self.upgrades_signed.append(RequestValidator(TOKEN).validate(url, {}, headers["x-twilio-signature"]))
        if self.statuses.get("/socket"):
            await send({"type": "websocket.close"})
            return
        await send({"type": "websocket.accept"})
        socket = Socket(receive, send)
        socket.setup = await socket.receive()
        self.setups.append(socket.setup)
        await self.talk(socket)


async def echo(socket: Socket) -> None:
    """Answer every prompt with its own words, and nothing else."""
    while (frame := await socket.receive())["type"] != "closed":
        if frame["type"] == "prompt" and frame["last"]:
            await socket.say("You said: ", frame["voicePrompt"])


@asynccontextmanager
async def scripted(
    talk: Handler = echo,
    *,
    twiml: dict[str, str] | None = None,
    action: str | None = "/ended",
    within: float = 10,
    **account: Any,
) -> AsyncIterator[tuple[ScriptedRelay, Carrier]]:
    """Serve a scripted relay whose agent `a` connects calls, and open a carrier at it; all `within` these seconds."""
    relay, stop = ScriptedRelay(talk), trio.Event()
    with trio.fail_after(within):
        async with trio.open_nursery() as nursery:
            options = ListenerOptions(grace=0.1, ping_interval=2 * within)
            run = partial(serve, relay, options, host="127.0.0.1", port=0, stop=stop)
            _host, port = await nursery.start(run)
            relay.origin = f"http://127.0.0.1:{port}"
            relay.documents["/webhooks/a/voice"] = [relay.connect(action, **(twiml or {}))]
            async with open_carrier(ACCOUNT, TOKEN, relay.origin, **account) as carrier:
                yield relay, carrier
            stop.set()
