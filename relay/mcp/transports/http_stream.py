"""The standing stream of a session over Streamable HTTP: the client's GET, over which it is asked and told things."""

from __future__ import annotations

import structlog
import trio

from relay.http.asgi import Receive, Send
from relay.logs import report
from relay.mcp.notifications import notify_client
from relay.mcp.tools.messages import AgentMessages
from relay.mcp.transports.event_stream import HEADERS, Timing, end_response, hang_up, ping_while_quiet, write_events
from relay.mcp.transports.http_session import HttpSession
from relay.mcp.transports.outbox import Outbox

log = structlog.get_logger(__name__)

# A comment, because some proxies and clients take a stream for open only when its first bytes are there.
_OPENED = b": open\n\n"


async def serve_event_stream(
    session: HttpSession, messages: AgentMessages, timing: Timing, receive: Receive, send: Send
) -> None:
    """Serve a GET until either side ends it, another one takes its place, or its session ends. Lets no error out.

    What waits is announced on each new stream again: what was announced on the former one may not have arrived.
    """
    await send({"type": "http.response.start", "status": 200, "headers": list(HEADERS)})
    await send({"type": "http.response.body", "body": _OPENED, "more_body": True})
    outbox = session.attach()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_watch, session, outbox, receive)
            nursery.start_soon(_ping, session, timing)
            nursery.start_soon(notify_client, session, messages)
            await write_events(outbox, send, timing.comment_interval)
            nursery.cancel_scope.cancel("the stream is over")
    except* Exception as errors:  # noqa: BLE001 - a fault in one stream must not end others
        report("stream_crashed", errors, session=session.name, agent_id=session.agent_id)
    finally:
        session.detach(outbox)
        log.info("stream_ended", session=session.name, agent_id=session.agent_id)
    await end_response(send)


async def _watch(session: HttpSession, outbox: Outbox, receive: Receive) -> None:
    await hang_up(receive)
    session.detach(outbox)


async def _ping(session: HttpSession, timing: Timing) -> None:
    await session.ready.wait()
    await ping_while_quiet(session, timing)
    session.close("mute")
