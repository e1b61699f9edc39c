"""Clients of a load run: each repeats what it is told, when it is asked, or by calling the turn tool.

initialize ─▶ sampling/createMessage ─▶ "You said: …"
           └▶ comms_converse ─▶ words ─▶ comms_converse with "You said: …" ─▶ words …
"""

from __future__ import annotations

import itertools
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, Protocol
from urllib.parse import urlsplit

from scripts.bench_http import EventReader, HttpReader, Pool, request
from scripts.bench_target import PeerFailed, Relay
from scripts.bench_wire import Connection

_SESSION = re.compile(rb"\r\nmcp-session-id:\s*(\S+)", re.IGNORECASE)
_CONVERSE = "comms_converse"


class Answered(Protocol):
    """Who is told that a client sends an answer to these words."""

    def __call__(self, words: str) -> None:
        """Note it, right before it is sent."""
        ...


class Client(ABC):
    """An MCP client that repeats what it is told: when it is asked, or with `converses` by calling the tool.

    `connect` opens it; `on_ready` is called once it may be asked. What follows it does by itself.
    """

    def __init__(self, relay: Relay, on_answer: Answered, *, converses: bool) -> None:
        self.relay = relay
        self._on_answer, self._converses = on_answer, converses
        self._ids: Iterator[int] = itertools.count()
        self._on_result: dict[int, Callable[[dict[str, Any]], None]] = {}
        self._pool = Pool(relay.wheel, relay.address)
        self._headers = {
            "Host": urlsplit(relay.url).netloc,
            "Authorization": f"Bearer {relay.client_token}",
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
        }
        self._events = EventReader(self._take_event)
        self._stream: Connection | None = None
        self._on_ready: Callable[[], None] = lambda: None

    @abstractmethod
    def connect(self, on_ready: Callable[[], None]) -> None:
        """Connect, shake hands, and begin to answer."""

    def close(self) -> None:
        """End the session."""
        if self._stream is not None:
            self._stream.close()

    @abstractmethod
    def _post(self, message: dict[str, Any]) -> None:
        """Post a message of the session."""

    @abstractmethod
    def _take_event(self, name: bytes, data: bytes) -> None:
        """Take an event of the stream."""

    def _open_stream(self, path: str, headers: dict[str, str]) -> None:
        def on_head(status: int, _head: bytes) -> None:
            if status != 200:
                raise PeerFailed(f"the stream at {path} was answered {status}")

        reader = HttpReader(on_head, self._events.feed, lambda: None)
        self._stream = Connection(
            self.relay.wheel, self.relay.address, lambda data: reader.feed(data) if data else None
        )
        self._stream.send(request("GET", path, headers))

    def _ask(self, method: str, params: dict[str, Any], on_result: Callable[[dict[str, Any]], None]) -> None:
        number = next(self._ids)
        self._on_result[number] = on_result
        self._post({"jsonrpc": "2.0", "id": number, "method": method, "params": params})

    def _greet(self, on_done: Callable[[], None]) -> None:
        hello = {
            "protocolVersion": "2025-11-25",
            "clientInfo": {"name": "relay-bench", "version": "1"},
            "capabilities": {} if self._converses else {"sampling": {}},
        }

        def greeted(_message: dict[str, Any]) -> None:
            self._post({"jsonrpc": "2.0", "method": "notifications/initialized"})
            on_done()

        self._ask("initialize", hello, greeted)

    def _begin(self) -> None:
        """Call the tool for the first time, where that is the way, and ask for something that is answered behind it."""
        if self._converses:
            self._listen({})
        ask = {"name": "comms_list_calls", "arguments": {"limit": 1}}
        self._ask("tools/call", ask, lambda _message: self._on_ready())

    def _listen(self, arguments: dict[str, Any]) -> None:
        if "say" in arguments:
            self._on_answer(arguments["say"])
        self._ask("tools/call", {"name": _CONVERSE, "arguments": arguments}, self._heard)

    def _heard(self, message: dict[str, Any]) -> None:
        result = message.get("result", {}).get("structuredContent", {})
        if "caller" not in result:
            self._listen({})
            return
        said = f"You said: {result['caller']}"
        self._listen({"callSid": result["callSid"], "turn": result["turn"], "say": said})

    def _take(self, data: bytes) -> None:
        message = json.loads(data)
        match message.get("method"):
            case "sampling/createMessage":
                words = message["params"]["messages"][-1]["content"]["text"]
                content = {"type": "text", "text": f"You said: {words}"}
                self._on_answer(words)
                self._reply(message, {"role": "assistant", "content": content, "model": "echo"})
            case "ping":
                self._reply(message, {})
            case None if message.get("id") in self._on_result:
                self._on_result.pop(message["id"])(message)
            case _:
                pass

    def _reply(self, message: dict[str, Any], result: dict[str, Any]) -> None:
        self._post({"jsonrpc": "2.0", "id": message["id"], "result": result})


class SseClient(Client):
    """A client over HTTP+SSE: all that comes, comes down the one stream."""

    _path = ""

    def connect(self, on_ready: Callable[[], None]) -> None:
        """Listen, learn where to post, shake hands."""
        self._on_ready = on_ready
        self._open_stream("/sse", self._headers | {"Accept": "text/event-stream"})

    def _take_event(self, name: bytes, data: bytes) -> None:
        if name == b"endpoint":
            self._path = data.decode()
            self._greet(self._begin)
        else:
            self._take(data)

    def _post(self, message: dict[str, Any]) -> None:
        data = request("POST", self._path, self._headers, json.dumps(message).encode())
        self._pool.request(data, lambda status, _head, _body: _accept(status))


class HttpClient(Client):
    """A client over Streamable HTTP: each request is answered in its own response, the relay's come down a stream."""

    def connect(self, on_ready: Callable[[], None]) -> None:
        """Shake hands, then listen, as the published clients do."""
        self._on_ready = on_ready
        self._greet(self._stand)

    def _stand(self) -> None:
        headers = self._headers | {"Accept": "text/event-stream"}
        self._open_stream("/mcp", headers)
        self._begin()

    def _take_event(self, _name: bytes, data: bytes) -> None:
        self._take(data)

    def _post(self, message: dict[str, Any]) -> None:
        data = request("POST", "/mcp", self._headers, json.dumps(message).encode())
        self._pool.request(data, self._take_answer)

    def _take_answer(self, status: int, head: bytes, body: bytes) -> None:
        _accept(status)
        if session := _SESSION.search(head):
            self._headers["Mcp-Session-Id"] = session[1].decode()
        if b"text/event-stream" in head.lower():
            EventReader(self._take_event).feed(body)
        elif body:
            self._take(body)


def _accept(status: int) -> None:
    if not 200 <= status < 300:
        raise PeerFailed(f"the relay answered {status} to a client")
