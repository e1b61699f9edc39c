"""A waiting message as JSON."""

from __future__ import annotations

from datetime import timedelta

from actors.call_values import Direction, Line, Reason, Speaker
from relay.store.waiting_messages import WaitingMessages
from tests.contracts.message_store import AT, draft


async def test_a_message_is_written_as_the_contract_says(waiting: WaitingMessages) -> None:
    """Each field is there, under its name, and none besides."""
    message_id = await waiting.leave(
        draft(
            direction=Direction.OUTBOUND,
            reason=Reason.CLIENT_TIMEOUT,
            transcript=(
                Line(Speaker.AGENT, "Hello?", AT),
                Line(Speaker.CALLER, "Please call me back.", AT + timedelta(seconds=2.5)),
            ),
        )
    )
    (message,) = (await waiting.fetch("my-client")).messages
    assert message.as_json() == {
        "id": message_id,
        "agentId": "my-client",
        "channel": "voice",
        "direction": "outbound",
        "reason": "client_timeout",
        "callSid": "CA1",
        "from": "+15551230001",
        "to": "+15551230002",
        "body": "Please call me back.",
        "preferences": "after 8",
        "transcript": [
            {"speaker": "agent", "text": "Hello?", "at": "2026-11-22T09:00:30.000Z"},
            {"speaker": "caller", "text": "Please call me back.", "at": "2026-11-22T09:00:32.500Z"},
        ],
        "createdAt": "2026-11-22T09:00:00.000Z",
        "deliveries": 1,
    }
