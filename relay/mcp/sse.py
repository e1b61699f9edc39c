"""One SSE stream, from its GET to its end: what goes out, how a hang-up is noticed, who may stay.

    outbox ──▶ _write ──▶ the response         idle for a while: a comment line, so that dead paths show themselves
    receive ──▶ _watch ──▶ session.close       the client hung up
    _tend: no handshake in time, or no answer to a ping ──▶ session.close

All tasks of a session live in one nursery inside the handler of its GET. Whoever wants it gone calls `session.close`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import attrs
import structlog
import trio
from attrs.validators import gt
from mcp.server.lowlevel import Server
from mcp.server.models import InitializationOptions
from mcp.server.runner import serve_connection

from relay.mcp.asgi import Head, Receive, Scope, Send, answer
from relay.mcp.hello import HelloBook
from relay.mcp.outbox import event
from relay.mcp.ports import Messages
from relay.mcp.push import keep_informed
from relay.mcp.session import McpSession

log = structlog.get_logger(__name__)

_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would collect the events
)
# EventSources wait three seconds by default; a caller whose client was just lost is kept waiting for ten.
_RETRY_MS = 1000
_FAREWELL = 1.0


@attrs.frozen(kw_only=True)
class Timing:
    """How long a stream waits for what, in seconds.

    `comment_interval` of silence puts a comment on the wire. `ping_interval` after it was last heard a client is asked
    for a sign of life, and has `ping_timeout` to give one. A session must be ready `handshake_timeout` after it began.
    A client that looks like a known one is given `reconnect_patience` to shake hands before it is taken for that one.
    """

    comment_interval: float = attrs.field(default=10.0, validator=gt(0))
    ping_interval: float = attrs.field(default=20.0, validator=gt(0))
    ping_timeout: float = attrs.field(default=10.0, validator=gt(0))
    handshake_timeout: float = attrs.field(default=30.0, validator=gt(0))
    reconnect_patience: float = attrs.field(default=1.0, validator=gt(0))


@attrs.frozen(kw_only=True)
class SseStream:
    """The stream of one session."""

    session: McpSession
    head: Head
    server: Server[Any]
    options: InitializationOptions
    book: HelloBook
    messages: Messages
    timing: Timing

    async def run(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the session until either side ends it. Cancelling ends it too. Lets no error out."""
        session = self.session
        try:
            with session.scope:
                await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._watch, receive)
                    nursery.start_soon(self._write, send)
                    await nursery.start(self._serving())
                    await self._greet(scope)
                    nursery.start_soon(self._tend)
                    nursery.start_soon(self._inform)
        except* Exception:
            log.exception("session_crashed", session=session.name, agent_id=session.agent_id)
        finally:
            session.close("stream_ended")
        with trio.move_on_after(_FAREWELL, shield=True):
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _serving(self) -> Callable[..., Awaitable[None]]:
        return partial(
            serve_connection,
            self.server,
            self.session.dispatcher,
            connection=self.session.connection,
            lifespan_state={},
            init_options=self.options,
        )

    async def _greet(self, scope: Scope) -> None:
        """Name the address for POSTs; only after that is a client recognised, so that its answers find it."""
        session = self.session
        acquaintance = await self.book.recall(session.agent_id, self.head)
        if session.closed:
            return
        if acquaintance is not None:
            session.expect(acquaintance.params)
            if acquaintance.exact:
                session.client_key = self.head.headers["last-event-id"]
        endpoint = f"{scope.get('root_path', '')}/messages?session_id={session.session_id}"
        session.outbox.put(event("endpoint", endpoint, event_id=session.client_key, retry_ms=_RETRY_MS))
        if acquaintance is not None and acquaintance.exact:
            session.recognise()

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.session.close("client_left")

    async def _write(self, send: Send) -> None:
        while not self.session.closed:
            chunk = b": still here\n\n"
            with trio.move_on_after(self.timing.comment_interval):
                chunk = await self.session.outbox.take()
            if chunk:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def _tend(self) -> None:
        session, timing = self.session, self.timing
        began = trio.current_time()
        with trio.move_on_after(timing.reconnect_patience):
            await session.ready.wait()
        session.recognise()
        with trio.move_on_at(began + timing.handshake_timeout):
            await session.ready.wait()
        if not session.ready.is_set():
            session.close("no_handshake")
            return
        asked_at = session.heard_at
        while True:
            await trio.sleep_until(max(session.heard_at, asked_at) + timing.ping_interval)
            if session.heard_at + timing.ping_interval > trio.current_time():
                continue
            asked_at = trio.current_time()
            if not session.busy and not await session.answers_ping(timing.ping_timeout):
                session.close("mute")
                return

    async def _inform(self) -> None:
        await self.session.ready.wait()
        await self.book.remember(self.session, self.head)
        await keep_informed(self.session, self.messages)


async def come_back_later(send: Send) -> None:
    """Turn a client away for now, by an empty stream: at any status but 200 an EventSource gives up for good."""
    await answer(send, 200, f"retry: {_RETRY_MS}\n\n".encode(), *_HEADERS)
