"""The page of waiting messages: what callers left, which client has it in hand, and what was confirmed.

An operator who has seen to a message marks it as dealt with: it is confirmed in the client's place, and not offered to
the client any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from actors.call_values import Direction, Reason
from relay.console.answers import Answer, Asked, Page, Redirect, Route, Section
from relay.console.audit import Audit
from relay.console.listing import address, moment, position
from relay.console.refused import Refused
from relay.console.responses import onward_path
from relay.store.agent_registry import AgentRegistry
from relay.store.message_pages import MessageFilter, MessagePages
from relay.store.message_record import MessageStatus, WaitingMessage
from relay.store.waiting_messages import WaitingMessages

PATH = "/console/messages"
_LONGEST_TEXT = 200
_OPEN, _ALL = "open", "all"
_STATES = (
    (_OPEN, "not confirmed"),
    (MessageStatus.WAITING.value, "waiting"),
    (MessageStatus.HELD.value, "in a client's hands"),
    (MessageStatus.ACKNOWLEDGED.value, "confirmed"),
    (_ALL, "all"),
)

REASONS = {
    Reason.CLIENT_ABSENT: "no client was connected",
    Reason.CLIENT_TIMEOUT: "the client did not answer in time",
    Reason.CLIENT_FAILED: "the client answered with an error",
    Reason.CLIENT_LEFT: "the client went away during the call",
    Reason.UNANSWERED: "the caller hung up before there was an answer",
    Reason.RELAY_RESTARTED: "the relay was restarted during the call",
    Reason.SEND_FAILED: "a voice message was not delivered",
}
"""Why a message waits, in words."""


@attrs.frozen(kw_only=True)
class MessagesPage:
    """`/console/messages`."""

    pages: MessagePages
    messages: WaitingMessages
    agents: AgentRegistry
    audit: Audit

    def routes(self) -> Sequence[Route]:
        """Return its routes."""
        return [
            Route(rule="/messages", function=self.show),
            Route(rule="/messages/<message_id>/deal-with", function=self.deal_with, method="POST"),
        ]

    async def show(self, asked: Asked) -> Answer:
        """Show the messages that the query asks for, newest first."""
        text, agent_id = asked.query.get("q", "")[:_LONGEST_TEXT].strip(), asked.query.get("agent", "")
        state = asked.query.get("state", _OPEN)
        state = state if state in dict(_STATES) else _OPEN
        before = position(asked.query.get("before", ""))
        wanted = MessageFilter(
            agent_id=agent_id,
            status=None if state in {_OPEN, _ALL} else MessageStatus(state),
            is_open=state == _OPEN,
            text=text,
        )
        page = await self.pages.page(wanted, before=before)
        registered = [each.agent_id for each in await self.agents.list()]
        query = {"q": text, "agent": agent_id, "state": "" if state == _OPEN else state}
        done = await self._find_done(asked.query.get("done", ""))
        values = {
            "messages": [_shown(each) for each in page.messages],
            "text": text,
            "agent_id": agent_id,
            "state": state,
            "states": _STATES,
            "agents": [("", "all"), *((each, each) for each in _with(registered, agent_id))],
            "is_filtered": bool(text or agent_id or state != _OPEN or before is not None),
            "done": done,
            "here": address(PATH, query | {"before": None if before is None else str(before)}),
            "first": address(PATH, query) if before is not None else None,
            "next": None if page.next_before is None else address(PATH, query | {"before": str(page.next_before)}),
        }
        return Page(template="messages.html", title="Messages", section=Section.MESSAGES, values=values)

    async def _find_done(self, message_id: str) -> dict[str, Any] | None:
        """Return the message that was just marked, for the note that says so."""
        found = await self.messages.get(message_id) if message_id else None
        is_done = found is not None and found.status is MessageStatus.ACKNOWLEDGED
        return _shown(found) if found is not None and is_done else None

    async def deal_with(self, asked: Asked) -> Answer:
        """Confirm a message in the client's place. One that was confirmed before stays as it is."""
        found = await self.messages.get(asked.arguments["message_id"])
        if found is None:
            raise Refused(404, "unknown_message", "That message is not here: it may be too old, and was deleted.")
        if found.status is not MessageStatus.ACKNOWLEDGED:
            async with self.audit.recorded(
                asked.by, "deal_with_message", agent_id=found.agent_id, call_sid=found.call_sid, detail=found.id
            ):
                await self.messages.acknowledge(found.agent_id, [found.id], by=f"{asked.by.operator} (operator)")
        back = onward_path(asked.form.get("back", ""))
        back = back if back.startswith(PATH) else PATH
        return Redirect(f"{back}{'&' if '?' in back else '?'}done={found.id}")


def _with(registered: Sequence[str], agent_id: str) -> Sequence[str]:
    """Return the agents to choose from, with one that was removed if its messages are being looked at."""
    return registered if not agent_id or agent_id in registered else [*registered, agent_id]


def _shown(message: WaitingMessage) -> dict[str, Any]:
    is_outbound = message.direction is Direction.OUTBOUND
    return {
        "id": message.id,
        "at": moment(message.created_at),
        "who": (message.called if is_outbound else message.caller) or "withheld",
        "is_outbound": is_outbound,
        "number": message.caller if is_outbound else message.called,
        "agent_id": message.agent_id,
        "call_sid": message.call_sid,
        "reason": REASONS[message.reason],
        "body": message.body,
        "preferences": message.preferences,
        "status": message.status.value,
        "held_until": moment(message.held_until),
        "held_by": message.held_by or "a client",
        "confirmed_at": moment(message.acknowledged_at),
        "confirmed_by": message.acknowledged_by or "its client",
        "deliveries": message.deliveries,
    }
