"""Voice messages that reached nobody: a waiting message says so, and only then."""

from __future__ import annotations

import attrs
import pytest

from actors.call_record import CallKind, CallProgress
from actors.call_values import Direction
from relay.store.call_journal import CallJournal
from relay.store.database import Database
from relay.store.waiting_messages import WaitingMessages

SID = "CA" + "1" * 32


@attrs.define
class Sent:
    """A voice message that was placed, and whom its end was told to."""

    journal: CallJournal
    messages: WaitingMessages
    told: list[str]

    async def rings(self, kind: CallKind = CallKind.VOICE_MESSAGE) -> None:
        await self.journal.announce_call(
            SID, "my-client", Direction.OUTBOUND, "+15550001111", "+15559876543", kind=kind
        )

    async def restart(self) -> None:
        self.journal = CallJournal(self.journal.database)
        await self.journal.recover()

    async def ends(self, status: str) -> None:
        progress = CallProgress(call_sid=SID, status=status)
        await self.journal.note_progress("my-client", progress, on_message_left=self.told.append)


@pytest.fixture
def sent(database: Database) -> Sent:
    return Sent(CallJournal(database), WaitingMessages(database), [])


@pytest.mark.parametrize(
    ("status", "why"),
    [("busy", "busy"), ("no-answer", "nobody answered"), ("failed", "not be reached"), ("canceled", "was ended")],
)
async def test_a_message_that_was_not_heard_is_notified_of(sent: Sent, status: str, why: str) -> None:
    """The client that sent it finds a message with the reason, and is told that one waits."""
    await sent.rings()
    await sent.ends(status)
    (left,) = await sent.messages.list_all("my-client")
    assert (left.reason, left.direction, left.called) == ("send_failed", "outbound", "+15559876543")
    assert why in left.body
    assert sent.told == ["my-client"]


async def test_a_message_that_was_heard_leaves_nothing(sent: Sent) -> None:
    """A call that was answered is no news."""
    await sent.rings()
    await sent.ends("completed")
    assert await sent.messages.list_all("my-client") == ()


async def test_a_conversation_that_nobody_took_is_the_records_business(sent: Sent) -> None:
    """Only voice messages are told of: a call's client is there, and sees its record."""
    await sent.rings(CallKind.CALL)
    await sent.ends("busy")
    assert await sent.messages.list_all("my-client") == ()
    assert sent.told == []


@pytest.mark.parametrize("status", ["busy", "no-answer", "failed", "canceled"])
@pytest.mark.parametrize("restarts", [1, 2])
async def test_a_restart_in_between_changes_nothing(sent: Sent, status: str, restarts: int) -> None:
    """A telephone that rang while the daemon was started again is told of once, and so is one that is told of twice."""
    await sent.rings()
    for _ in range(restarts):
        await sent.restart()
    await sent.ends("ringing")
    await sent.ends(status)
    await sent.ends(status)
    await sent.restart()
    await sent.ends(status)
    (left,) = await sent.messages.list_all("my-client")
    assert (left.reason, sent.told) == ("send_failed", ["my-client"])
    record = await sent.journal.get(SID)
    assert record is not None
    assert record.outcome == status.replace("-", "_")


async def test_a_message_that_was_heard_during_a_restart_leaves_nothing(sent: Sent) -> None:
    """Its record says that it was played."""
    await sent.rings()
    await sent.restart()
    await sent.ends("completed")
    assert await sent.messages.list_all("my-client") == ()
    record = await sent.journal.get(SID)
    assert record is not None
    assert record.outcome == "completed"
