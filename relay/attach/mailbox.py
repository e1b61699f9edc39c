"""The waiting messages: fetched when a session begins and whenever the relay says so, confirmed once handed over.

resource updated, log message ─▶ note ─┐
a session has begun ──────────────────▶ empty: fetch ─▶ report, Brain.take_message ─▶ confirm
"""

from __future__ import annotations

import math
from typing import Any

import attrs
import trio
from mcp import Client
from mcp.client.session import IncomingMessage
from mcp_types import CallToolResult, LoggingMessageNotification, ResourceUpdatedNotification

from relay.attach.report import Report
from relay.attach.turn import Brain

AT_ONCE = 20

HELD = 61.0
"""Seconds after which the relay offers again what was fetched and not confirmed: 60, and one for the way."""

_RESOURCE = "comms://waiting-messages"
_LOGGER = "waiting-message"


@attrs.define(eq=False)
class Mailbox:
    """The waiting messages of the agent, for one session."""

    _brain: Brain
    _report: Report
    _news: trio.Event = attrs.field(factory=trio.Event, init=False)

    def note(self, message: IncomingMessage) -> None:
        """Record that messages wait, if the notification says so."""
        match message:
            case ResourceUpdatedNotification() if str(message.params.uri) == _RESOURCE:
                self._news.set()
            case LoggingMessageNotification() if message.params.logger == _LOGGER:
                self._news.set()
            case _:
                pass

    async def empty(self, client: Client) -> None:
        """Fetch and hand over what waits, now and whenever there is news. Runs until cancelled.

        Each message is confirmed by itself once the brain has taken it, so that after an interruption it is offered
        again.
        """
        while True:
            self._news = trio.Event()
            try:
                left = await self._hand_over(client)
            except _ToolFailed as failure:
                self._report.tell("unfetched", why=str(failure))
                left = True
            # The relay still holds the rest, for a session that was lost before it confirmed them.
            with trio.move_on_after(HELD if left else math.inf):
                await self._news.wait()

    async def _hand_over(self, client: Client) -> bool:
        """Hand over all that can be fetched; return whether more is left."""
        while True:
            batch = await _call(client, "comms_get_waiting_messages", limit=AT_ONCE)
            if not batch["messages"]:
                return bool(batch["remaining"])
            for record in batch["messages"]:
                self._report.tell("message", **record)
                await self._brain.take_message(record)
                await _call(client, "comms_acknowledge_messages", ids=[record["id"]])
                self._report.tell("confirmed", id=record["id"])


class _ToolFailed(Exception):
    pass


async def _call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    result: CallToolResult = await client.call_tool(tool, arguments)
    content: dict[str, Any] = result.structured_content or {"error": {"message": f"{tool} gave no result"}}
    if "error" in content:
        raise _ToolFailed(content["error"]["message"])
    return content
