"""The messages as an operator looks through them, on both engines."""

from __future__ import annotations

import pytest

from relay.store.database import Database
from relay.store.message_pages import MessageFilter, MessagePages
from relay.store.message_record import MessageStatus
from relay.store.waiting_messages import WaitingMessages
from tests.contracts.message_store import draft
from tests.fakes_store import WallClock


@pytest.fixture
def pages(database: Database, clock: WallClock) -> MessagePages:
    return MessagePages(database, clock)


async def test_newest_first_a_page_at_a_time(pages: MessagePages, waiting: WaitingMessages) -> None:
    """Pages follow each other without a gap, whatever comes meanwhile."""
    ids = [await waiting.leave(draft(call_sid=f"CA{number}")) for number in range(5)]
    first = await pages.page(MessageFilter(), rows=2)
    await waiting.leave(draft(call_sid="CA-new"))
    second = await pages.page(MessageFilter(), before=first.next_before, rows=2)
    third = await pages.page(MessageFilter(), before=second.next_before, rows=2)
    found = [each.id for page in (first, second, third) for each in page.messages]
    assert found == ids[::-1]
    assert third.next_before is None
    assert (await pages.page(MessageFilter(), before=0)).messages == ()


async def test_by_state(pages: MessagePages, waiting: WaitingMessages, clock: WallClock) -> None:
    """Each state has its own; what is not confirmed is waiting or held."""
    confirmed = await waiting.leave(draft(call_sid="CA1"))
    await waiting.acknowledge("my-client", [confirmed])
    held = await waiting.leave(draft(call_sid="CA2"))
    await waiting.fetch("my-client")
    fresh = await waiting.leave(draft(call_sid="CA3"))

    async def ids(wanted: MessageFilter) -> list[str]:
        return [each.id for each in (await pages.page(wanted)).messages]

    assert await ids(MessageFilter(status=MessageStatus.ACKNOWLEDGED)) == [confirmed]
    assert await ids(MessageFilter(status=MessageStatus.HELD)) == [held]
    assert await ids(MessageFilter(status=MessageStatus.WAITING)) == [fresh]
    assert await ids(MessageFilter(is_open=True)) == [fresh, held]
    clock.turn(seconds=61)
    assert await ids(MessageFilter(status=MessageStatus.WAITING)) == [fresh, held]
    clock.turn(seconds=-1000)
    assert await ids(MessageFilter(status=MessageStatus.HELD)) == []
    assert await ids(MessageFilter(status=MessageStatus.WAITING)) == [fresh, held]


@pytest.mark.parametrize(
    ("text", "finds"),
    [
        ("230001", True),
        ("CALL ME", True),
        ("after 8", True),
        ("%", False),
        ("_", False),
        ("\\", False),
        ("'; DROP TABLE messages; --", False),
        ("\x00\ud800", False),
    ],
)
async def test_by_text(pages: MessagePages, waiting: WaitingMessages, text: str, finds: bool) -> None:
    """A part of a number or of what was said, in any case; signs that SQL knows are themselves."""
    await waiting.leave(draft())
    assert bool((await pages.page(MessageFilter(text=text))).messages) is finds
    assert not (await pages.page(MessageFilter(text=text, agent_id="another"))).messages
