"""Notifications of what waits for a client: callers, and messages, when it becomes ready and whenever one is left.

Notified, not delivered: neither the log messages nor the announcement of the resource marks anything as read, because
no host is known to show them to its model. They only prompt the client to fetch. Each session has one task here; a new
message or a waiting caller only sets an event (see `app.McpApp.announce` and `wake`), so a client that reads slowly
delays no other.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog
import trio
from mcp_types import LoggingLevel

from relay.errors import STORE_FAILURES
from relay.mcp.session import McpSession
from relay.mcp.tools.messages import AgentMessages, Message

log = structlog.get_logger(__name__)

RESOURCE_URI = "comms://waiting-messages"
LIVE_CALLS = "comms://live-calls"
AT_ONCE = 50
LOGGER = "waiting-message"
LEVEL: LoggingLevel = "notice"

# Shown to the model in its conversation, if its client supports channels.
_PROMPT = "A caller waits on the telephone (call {call_sid}). Call comms_converse at once to hear and answer them."

# From the least to the most severe: RFC 5424, section 6.2.1, as MCP's logging takes it.
_SEVERITY: tuple[LoggingLevel, ...] = (
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
)


async def notify_client(session: McpSession, messages: AgentMessages) -> None:
    """Notify a session, once it is ready, of waiting callers and waiting messages. Runs until cancelled."""
    await session.ready.wait()
    known: frozenset[str] = frozenset()
    while True:
        await session.news.wait()
        session.news = trio.Event()
        if session.unheard:
            await _notify_of_callers(session)
        if session.has_new_messages:
            session.has_new_messages = False
            known = await _notify_of_messages(session, messages, known)
            session.is_notified.set()


async def _notify_of_callers(session: McpSession) -> None:
    """Notify of calls with an utterance that the client must fetch by a tool call."""
    await session.connection.send_resource_updated(LIVE_CALLS)
    while session.unheard:
        call = session.unheard.popleft()
        if session.takes_channel:
            params = {"content": _PROMPT.format(call_sid=call.call_sid), "meta": {"callSid": call.call_sid}}
            await session.connection.notify("notifications/claude/channel", params)


async def _notify_of_messages(session: McpSession, messages: AgentMessages, known: frozenset[str]) -> frozenset[str]:
    """Notify of the oldest waiting messages that are new, and return the ids of all notified so far."""
    try:
        waiting = await messages.peek(session.agent_id, AT_ONCE)
    except STORE_FAILURES:
        log.warning("waiting_messages_not_announced", session=session.name, agent_id=session.agent_id)
        return known
    if not waiting:
        return known
    await session.connection.send_resource_updated(RESOURCE_URI)
    if _takes_notices(session):
        await _log_each(session, [each for each in waiting if each.id not in known])
    return frozenset(each.id for each in waiting)


def _takes_notices(session: McpSession) -> bool:
    return session.level is None or _SEVERITY.index(session.level) <= _SEVERITY.index(LEVEL)


async def _log_each(session: McpSession, messages: Sequence[Message]) -> None:
    for message in messages:
        # Fifty long transcripts may be more than the outbox holds, and overflowing it would cost the session.
        await session.outbox.room()
        data = {"level": LEVEL, "logger": LOGGER, "data": message.as_json()}
        await session.connection.notify("notifications/message", data)
