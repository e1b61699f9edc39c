"""A stand-in for the service on loopback: the one endpoint, with its header, query, body and errors."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import trio

from relay.http.listener import ListenerOptions, serve

KEY = "sk_test"
VOICE = "EXAVITQu4vr4xnSDxMaL"
_PATH = re.compile(r"/v1/text-to-speech/([A-Za-z0-9]+)")


@attrs.frozen
class Reply:
    """What the service answers, in place of audio where it is an error."""

    status: int = 200
    body: bytes = b"\1\2" * 8000
    content_type: str = "audio/pcm"

    @classmethod
    def error(cls, status: int, detail: object) -> Reply:
        """Make an error as the service words it."""
        return cls(status, json.dumps({"detail": detail}).encode(), "application/json")


@attrs.define(eq=False)
class ElevenLabsService:
    """The service. It answers `reply` to what it understands; None is no answer at all. `asked` has path and body."""

    reply: Reply | None = attrs.field(factory=Reply)
    url: str = ""
    asked: list[tuple[str, dict[str, Any]]] = attrs.field(factory=list)
    voices: Reply = attrs.field(factory=lambda: Reply(200, b'{"voices": [{"voice_id": "EXAVITQu4vr4xnSDxMaL"}]}'))
    waiting: trio.Event = attrs.field(factory=trio.Event)
    left: trio.Event = attrs.field(factory=trio.Event)

    async def __call__(self, scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        reply = self._refusal(scope)
        if reply is None:
            self.asked.append((scope["path"], json.loads(body)))
            reply = self.reply
        if reply is None:
            self.waiting.set()
            while (await receive())["type"] != "http.disconnect":
                pass
            self.left.set()
            return
        headers = [(b"content-type", reply.content_type.encode()), (b"content-length", b"%d" % len(reply.body))]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})

    def _refusal(self, scope: Mapping[str, Any]) -> Reply | None:
        headers = dict(scope["headers"])
        if headers.get(b"xi-api-key") != KEY.encode():
            return Reply.error(401, {"status": "invalid_api_key", "message": "Invalid API key"})
        if scope["path"] == "/v2/voices" and scope["query_string"] == b"page_size=1":
            return self.voices
        if scope["method"] != "POST" or scope["query_string"] != b"output_format=pcm_8000":
            return Reply.error(422, [{"loc": ["query", "output_format"], "msg": "not a format", "type": "enum"}])
        path = _PATH.fullmatch(scope["path"])
        if path is None or path[1] != VOICE:
            return Reply.error(404, {"status": "voice_not_found", "message": "A voice with that id does not exist."})
        return None


@asynccontextmanager
async def elevenlabs_service() -> AsyncIterator[ElevenLabsService]:
    """Run the service for as long as the block lasts."""
    service = ElevenLabsService()
    async with trio.open_nursery() as nursery:
        start = partial(serve, service, ListenerOptions(grace=0), host="127.0.0.1", port=0, stop=trio.Event())
        host, port = await nursery.start(start)
        service.url = f"http://{host}:{port}"
        yield service
        nursery.cancel_scope.cancel()
