"""Voice messages that reached nobody: their client is told, by a message that waits for it like any other.

    carrier ──busy, no answer, failed──▶ reception ──▶ journal: record, and in the same transaction send_failed

The tool has long returned when the telephone stops ringing, and a client that has gone meanwhile would never know.
"""

from __future__ import annotations

from actors.call_values import MessageDraft, Reason
from relay.calls import CallKind, CallProgress
from relay.store.call_record import CallRecord

_WHY = {
    "busy": "the line was busy",
    "no-answer": "nobody answered",
    "failed": "the number could not be reached",
    "canceled": "the call was ended before anybody answered",
}


def message_for(record: CallRecord, progress: CallProgress) -> MessageDraft | None:
    """Return the message that a call leaves which is over now, None for all but a voice message that was not heard.

    `record` is as it was before.
    """
    why = _WHY.get(progress.status)
    if why is None or record.kind is not CallKind.VOICE_MESSAGE:
        return None
    return MessageDraft(
        call_sid=record.call_sid,
        part=1,
        agent_id=record.agent_id,
        direction=record.direction,
        reason=Reason.SEND_FAILED,
        caller=record.caller,
        called=record.called,
        body=f"The voice message was not delivered: {why}.",
    )
