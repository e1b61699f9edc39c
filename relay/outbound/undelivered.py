"""Voice messages that reached nobody: their client is told, by a message that waits for it like any other.

    carrier ──busy, no answer, failed──▶ reception ──VoiceMessage's record──▶ note ──send_failed──▶ waiting messages

The tool has long returned when the telephone stops ringing, and a client that has gone meanwhile would never know.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from actors.messages import MessageDraft, Reason
from actors.ports import MessageStore
from relay.calls import CallKind, CallProgress
from relay.store.call_record import CallRecord

_WHY = {
    "busy": "the line was busy",
    "no-answer": "nobody answered",
    "failed": "the number could not be reached",
    "canceled": "the call was ended before anybody answered",
}


@attrs.frozen
class Undelivered:
    """Leave a message for each voice message that was not heard. `on_left` is told of whose; it must not wait."""

    messages: MessageStore
    on_left: Callable[[str], None]

    async def note(self, record: CallRecord, progress: CallProgress) -> None:
        """Take note that a call is over, once; `record` is as it was before. Raises `StoreFailed`."""
        why = _WHY.get(progress.status)
        if why is None or record.kind is not CallKind.VOICE_MESSAGE:
            return
        draft = MessageDraft(
            call_sid=record.call_sid,
            part=1,
            agent_id=record.agent_id,
            direction=record.direction,
            reason=Reason.SEND_FAILED,
            caller=record.caller,
            called=record.called,
            body=f"The voice message was not delivered: {why}.",
        )
        await self.messages.leave(draft)
        self.on_left(record.agent_id)
