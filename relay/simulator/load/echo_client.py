"""An MCP client that repeats what the caller said, at once: the lean other end for load runs. Not for tests of MCP.

    the relay's messages ──▶ EchoClient ─┬▶ sampling/createMessage ──▶ "You said: …"
        (echo_links: /sse or /mcp)       └▶ results of the tools that it was told to call

A published SDK spends several milliseconds of a core on each turn, so a load run through one measures the SDK. This
one speaks just enough of the protocol (initialize, sampling, progress, tools, ping; revision 2025-11-25). It can be
set to answer otherwise, or not to sample at all: then its owner answers calls with its tools.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import attrs
import trio

from relay.simulator.load.echo_links import EchoFailed, HttpLink, Link, Message, SseLink

__all__ = ["AnswerTurn", "EchoClient", "EchoFailed", "Question", "open_echo_client", "repeat"]

_INITIALIZE = {"protocolVersion": "2025-11-25", "clientInfo": {"name": "relay-echo", "version": "1"}}


@attrs.frozen
class Question:
    """A turn: the caller's newest words, and the way to send pieces of the answer before it is complete."""

    words: str
    _progress: Callable[[int, str], Awaitable[None]]

    async def say(self, number: int, piece: str) -> None:
        """Send a piece of the answer, numbered from 1. The answer itself must begin with all of them."""
        await self._progress(number, piece)


AnswerTurn = Callable[[Question], Awaitable[str]]
"""Answer a turn. What else the relay has to say waits meanwhile."""


async def repeat(question: Question) -> str:
    """Answer with what the caller said."""
    await trio.lowlevel.checkpoint()
    return f"You said: {question.words}"


@asynccontextmanager
async def open_echo_client(
    url: str, *, token: str = "", answer: AnswerTurn | None = repeat, stands: bool = True
) -> AsyncIterator[EchoClient]:
    """Connect to `/sse` or `/mcp`, and answer every turn inside the block; with no `answer` it gets none.

    The token may be in the URL of `/sse` instead. Without `stands` it has no standing stream at `/mcp`, as clients of
    later revisions have none, and can only use tools.

    Raises `OSError` or `EchoFailed` when it cannot connect, and what the block raised as it is, not wrapped in a group.
    """
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname is None:
        raise EchoFailed(f"the echo client speaks plain http on this machine only, not {parts.scheme or 'no scheme'}")
    failure: Exception | None = None
    connecting: AbstractAsyncContextManager[Link] = (HttpLink if parts.path == "/mcp" else SseLink).connect(url, token)
    async with connecting as link, trio.open_nursery() as nursery:
        client = EchoClient(link, answer)
        try:
            await client.open(nursery, stands=stands)
            yield client
        except Exception as error:  # noqa: BLE001 - raised again outside, where no nursery wraps it
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


@attrs.define(eq=False)
class EchoClient:
    """A connected client; `answered` counts its turns, `over` is set when nothing more will come."""

    _link: Link
    _answer: AnswerTurn | None
    answered: int = 0
    over: trio.Event = attrs.field(factory=trio.Event)
    _ids: Iterator[int] = attrs.field(factory=itertools.count)
    _results: dict[int, trio.MemorySendChannel[Message]] = attrs.field(factory=dict)

    async def call_tool(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Call a tool and return its structured content, which holds `error` with its `code` where it failed.

        Raises `EchoFailed` when the stream ends first; cancelling forgets the result.
        """
        return _content(await self._ask("tools/call", {"name": name, "arguments": dict(arguments)}))

    async def open(self, nursery: trio.Nursery, *, stands: bool) -> None:
        """Begin the session, with a task of this nursery that serves it. Raises `EchoFailed`."""
        await self._link.open(nursery, self, stands=stands)

    async def greet(self) -> None:
        """Shake hands. Raises `EchoFailed` when the relay does not take the client."""
        capabilities: dict[str, Any] = {} if self._answer is None else {"sampling": {}}
        await self._ask("initialize", {**_INITIALIZE, "capabilities": capabilities})
        await self._link.post({"jsonrpc": "2.0", "method": "notifications/initialized"}, self)

    async def take(self, message: Message) -> None:
        """Do what the relay asks, or pass on what it answers."""
        match message.get("method"):
            case "sampling/createMessage" if self._answer is not None:
                text = await self._answer(self._question(message))
                content = {"type": "text", "text": text}
                self.answered += 1
                await self._reply(message, {"role": "assistant", "content": content, "model": "echo"})
            case "ping":
                await self._reply(message, {})
            case None if message.get("id") in self._results:
                self._results[message["id"]].send_nowait(message)
            case _:
                pass

    def end(self) -> None:
        """Note that nothing more will come."""
        self.over.set()
        for waiting in self._results.values():
            waiting.close()

    def _question(self, message: Message) -> Question:
        params = message["params"]
        token = params.get("_meta", {}).get("progressToken")

        async def progress(number: int, piece: str) -> None:
            params = {"progressToken": token, "progress": number, "message": piece}
            await self._link.post({"jsonrpc": "2.0", "method": "notifications/progress", "params": params}, self)

        return Question(params["messages"][-1]["content"]["text"], progress)

    async def _ask(self, method: str, params: Mapping[str, Any]) -> Message:
        if self.over.is_set():
            raise EchoFailed("the relay has ended the stream")
        number = next(self._ids)
        self._results[number], result = trio.open_memory_channel[Message](1)
        try:
            await self._link.post({"jsonrpc": "2.0", "id": number, "method": method, "params": params}, self)
            return await result.receive()
        except trio.EndOfChannel:
            why = "at once; is it being stopped?" if method == "initialize" else "before the tool's result came"
            raise EchoFailed(f"the relay ended the stream {why}") from None
        finally:
            self._results.pop(number, None)

    async def _reply(self, message: Message, result: Mapping[str, Any]) -> None:
        await self._link.post({"jsonrpc": "2.0", "id": message["id"], "result": result}, self)


def _content(message: Message) -> dict[str, Any]:
    """Return a tool's structured content; what the protocol itself refused is an error as well."""
    if "result" not in message:
        error = message.get("error", {})
        return {"error": {"code": str(error.get("code", "")), "message": str(error.get("message", ""))}}
    return dict(message["result"].get("structuredContent", {}))
