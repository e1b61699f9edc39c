"""One stream of the HTTP+SSE transport, which is its session: from its GET to its end.

    outbox ──▶ write_events ──▶ the response   see `event_stream`
    receive ──▶ _watch ──▶ session.close       the client hung up
    _tend: no handshake in time, or no answer to a ping ──▶ session.close

All tasks of a session live in one nursery inside the handler of its GET. To end it, call `session.close`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import attrs
import trio
from mcp.server.lowlevel import Server
from mcp.server.models import InitializationOptions
from mcp.server.runner import serve_connection

from relay.http.asgi import Head, Receive, Scope, Send, answer
from relay.http.streaming import HEADERS, end_response, hang_up
from relay.logs import report
from relay.mcp.handshakes import HandshakeCache
from relay.mcp.notifications import notify_client
from relay.mcp.session import McpSession
from relay.mcp.tools.messages import AgentMessages
from relay.mcp.transports.event_stream import Timing, ping_while_quiet, write_events
from relay.mcp.transports.outbox import event

# EventSources wait three seconds by default; a caller whose client was just lost waits ten.
_RETRY_MS = 1000


@attrs.frozen(kw_only=True)
class SseStream:
    """The stream of one session."""

    session: McpSession
    head: Head
    server: Server[Any]
    options: InitializationOptions
    book: HandshakeCache
    messages: AgentMessages
    timing: Timing

    async def run(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the session until either side ends it. Cancelling ends it too. Lets no error out."""
        session = self.session
        try:
            with session.scope:
                await send({"type": "http.response.start", "status": 200, "headers": list(HEADERS)})
                async with trio.open_nursery() as nursery:
                    session.tasks = nursery
                    nursery.start_soon(self._watch, receive)
                    nursery.start_soon(write_events, session.outbox, send, self.timing.comment_interval)
                    await nursery.start(self._serving())
                    await self._greet(scope)
                    nursery.start_soon(self._tend)
                    nursery.start_soon(self._inform)
        except* Exception as errors:  # noqa: BLE001 - a fault in one session must not end the others
            report("session_crashed", errors, session=session.name, agent_id=session.agent_id)
        finally:
            session.close("stream_ended")
        await end_response(send)

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
        known = await self.book.recall(session.agent_id, self.head)
        if session.closed:
            return
        if known is not None:
            session.expect(known.params)
            if known.exact:
                session.client_key = self.head.headers["last-event-id"]
        endpoint = f"{scope.get('root_path', '')}/messages?session_id={session.session_id}"
        session.outbox.put(event("endpoint", endpoint, event_id=session.client_key, retry_ms=_RETRY_MS))
        if known is not None and known.exact:
            session.recognise()

    async def _watch(self, receive: Receive) -> None:
        has_left = await hang_up(receive)
        self.session.close("client_left" if has_left else "way_broken", is_expected=not has_left)

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
        await ping_while_quiet(session, timing)
        session.close("mute")

    async def _inform(self) -> None:
        await self.session.ready.wait()
        await self.book.remember(self.session, self.head)
        await notify_client(self.session, self.messages)


async def come_back_later(send: Send) -> None:
    """Refuse a client for now with an empty stream: at any status but 200 an EventSource stops reconnecting."""
    await answer(send, 200, f"retry: {_RETRY_MS}\n\n".encode(), *HEADERS)
