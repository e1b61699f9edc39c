"""Voice messages that reached nobody: a waiting message says so, and only then."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import pytest

from actors.messages import Direction
from relay.calls import CallKind, CallProgress
from relay.outbound.undelivered import Undelivered
from relay.store.call_journal import CallJournal
from relay.store.call_record import CallRecord
from relay.store.database import open_database
from relay.store.waiting_messages import WaitingMessages


@attrs.define
class Sent:
    """A voice message that was placed, and whom its end was told to."""

    journal: CallJournal
    messages: WaitingMessages
    told: list[str]

    async def record(self, kind: CallKind = CallKind.VOICE_MESSAGE) -> CallRecord:
        await self.journal.announce_call(
            "CA1", "my-client", Direction.OUTBOUND, "+15550001111", "+15559876543", kind=kind
        )
        record = await self.journal.get("CA1")
        assert record is not None
        return record

    async def ends(self, record: CallRecord, status: str) -> None:
        await Undelivered(self.messages, self.told.append).note(record, CallProgress(call_sid="CA1", status=status))


@pytest.fixture
async def sent(tmp_path: Path) -> AsyncIterator[Sent]:
    async with open_database(f"sqlite:///{tmp_path / 'relay.db'}") as database:
        yield Sent(CallJournal(database), WaitingMessages(database), [])


@pytest.mark.parametrize(
    ("status", "why"),
    [("busy", "busy"), ("no-answer", "nobody answered"), ("failed", "not be reached"), ("canceled", "was ended")],
)
async def test_a_message_that_was_not_heard_is_told_of(sent: Sent, status: str, why: str) -> None:
    """The client that sent it finds a message with the reason, and is told that one waits."""
    await sent.ends(await sent.record(), status)
    (left,) = await sent.messages.list_all("my-client")
    assert (left.reason, left.direction, left.called) == ("send_failed", "outbound", "+15559876543")
    assert why in left.body
    assert sent.told == ["my-client"]


async def test_a_message_that_was_heard_leaves_nothing(sent: Sent) -> None:
    """A call that was answered is no news."""
    await sent.ends(await sent.record(), "completed")
    assert await sent.messages.list_all("my-client") == ()


async def test_a_conversation_that_nobody_took_is_the_records_business(sent: Sent) -> None:
    """Only voice messages are told of: a call's client is there, and sees its record."""
    await sent.ends(await sent.record(CallKind.CALL), "busy")
    assert await sent.messages.list_all("my-client") == ()
    assert sent.told == []
