"""The page of messages: each with its reason, state and call; a filter; and marking one as dealt with."""

from __future__ import annotations

import pytest

from actors.call_values import Direction, Reason
from actors.errors import StoreFailed
from relay.console.answers import Redirect
from relay.console.audit import Audit
from relay.console.messages import REASONS, MessagesPage
from relay.console.refused import Refused
from relay.store.agent_registry import AgentRegistry
from relay.store.database import Database, open_database
from relay.store.message_pages import PAGE_ROWS, MessagePages
from relay.store.message_record import MessageStatus
from relay.store.operator_actions import OperatorActions
from relay.store.waiting_messages import WaitingMessages
from tests.contracts.message_store import draft
from tests.fakes_store import WallClock
from tests.relay.console.rendered import EVE, HOSTILE, asked, shown


def page_of(database: Database, clock: WallClock) -> MessagesPage:
    return MessagesPage(
        pages=MessagePages(database, clock),
        messages=WaitingMessages(database, clock),
        agents=AgentRegistry(database, clock),
        audit=Audit(OperatorActions(database, clock)),
    )


@pytest.fixture
def page(database: Database, clock: WallClock) -> MessagesPage:
    return page_of(database, clock)


def test_every_reason_has_its_words() -> None:
    """No reason is shown as a word of the program's."""
    assert REASONS.keys() == set(Reason)


async def test_nothing_waits(page: MessagesPage) -> None:
    """Without messages the page says so."""
    assert "Nothing waits." in (await shown(page.show)).text


async def test_a_message_is_shown_whole(page: MessagesPage) -> None:
    """When, who, for whom, why, what was said and asked for, its state; its call is one link away."""
    await page.messages.leave(draft(reason=Reason.CLIENT_TIMEOUT))
    document = await shown(page.show)
    for words in ("+15551230001", "my-client", "Please call me back.", "after 8", REASONS[Reason.CLIENT_TIMEOUT]):
        assert words in document.text
    assert "22 Nov 2026 09:00:00" in document.text
    assert "/console/calls/CA1" in document.links()


async def test_its_state_says_who(page: MessagesPage, clock: WallClock) -> None:
    """Held until when and by whom, waiting again after that, confirmed when and by whom."""
    message_id = await page.messages.leave(draft())
    await page.messages.fetch("my-client", by="goose")
    assert "held until 09:01:00 by goose" in (await shown(page.show)).text.replace("\xa0", " ")
    clock.turn(seconds=61)
    assert "last to goose" in (await shown(page.show)).text
    await page.messages.acknowledge("my-client", [message_id], by="goose")
    assert "Nothing waits." in (await shown(page.show)).text
    document = await shown(page.show, query={"state": "acknowledged"})
    assert "confirmed 22 Nov 2026 09:01:01 by goose" in document.text.replace("\xa0", " ")
    assert not document.all("dialog", id=f"deal-{message_id}")


async def test_marking_as_dealt_with(page: MessagesPage) -> None:
    """It is confirmed with the operator's name, once, on record, and the page says so; twice is as good as once."""
    message_id = await page.messages.leave(draft())
    (dialog,) = (await shown(page.show)).all("dialog", id=f"deal-{message_id}")
    assert dialog["aria-labelledby"] == f"deal-{message_id}-title"
    form = {"back": "/console/messages?agent=my-client"}
    for _ in range(2):
        answer = await page.deal_with(asked(arguments={"message_id": message_id}, form=form))
        assert answer == Redirect(f"/console/messages?agent=my-client&done={message_id}")
    found = await page.messages.get(message_id)
    assert found is not None
    assert (found.status, found.acknowledged_by) == (MessageStatus.ACKNOWLEDGED, "ada (operator)")
    (action,) = await page.audit.actions.list()
    assert (action.action.name, action.action.detail, action.outcome) == ("deal_with_message", message_id, "done")
    assert "Marked as dealt with" in (await shown(page.show, query={"done": message_id})).text


@pytest.mark.parametrize("back", ["https://evil.example/", "//evil.example", "/console/sign-out", "\r\nX: y", ""])
async def test_the_way_back_is_our_own(page: MessagesPage, back: str) -> None:
    """Whatever a form names, the browser comes back to the messages."""
    message_id = await page.messages.leave(draft())
    answer = await page.deal_with(asked(arguments={"message_id": message_id}, form={"back": back}))
    assert answer == Redirect(f"/console/messages?done={message_id}")


async def test_a_message_of_nobody(page: MessagesPage) -> None:
    """An id that names none is not here."""
    with pytest.raises(Refused, match="not here"):
        await page.deal_with(asked(arguments={"message_id": "msg_\x00../"}))


async def test_what_cannot_be_recorded_is_refused(database_url: str, clock: WallClock) -> None:
    """With a database that does not write, the message stays as it is."""

    class NotWritten(OperatorActions):
        async def begin(self, _action: object) -> int:
            raise StoreFailed("full")

    async with open_database(database_url) as database:
        page = page_of(database, clock)
        page = MessagesPage(
            pages=page.pages, messages=page.messages, agents=page.agents, audit=Audit(NotWritten(database, clock))
        )
        message_id = await page.messages.leave(draft())
        with pytest.raises(StoreFailed):
            await page.deal_with(asked(arguments={"message_id": message_id}))
        found = await page.messages.get(message_id)
    assert found is not None
    assert found.status is MessageStatus.WAITING


async def test_who_only_reads_is_offered_nothing(page: MessagesPage) -> None:
    """The role read sees the message, and no button."""
    await page.messages.leave(draft())
    document = await shown(page.show, EVE)
    assert "Please call me back." in document.text
    assert not [each for each in document.all("form") if each.get("method") == "post" and "deal" in str(each)]


async def test_pages_keep_the_filter(page: MessagesPage) -> None:
    """More than a page is paged, by addresses that keep what was asked for; the end has no next page."""
    for number in range(PAGE_ROWS + 1):
        await page.messages.leave(draft(call_sid=f"CA{number}"))
    first = await shown(page.show, query={"q": "call me"})
    (older,) = [each for each in first.links() if "before=" in each]
    assert "q=call+me" in older
    last = await shown(page.show, query={"q": "call me", "before": older.rpartition("=")[2]})
    assert len(last.all("li")) == 1
    assert "/console/messages?q=call+me" in last.links()
    assert not [each for each in last.links() if "before=" in each]


@pytest.mark.parametrize("before", ["", "x", "-1", "1e9", "9" * 500, "²"])
async def test_a_place_that_is_none(page: MessagesPage, before: str) -> None:
    """Rubbish for a place begins at the newest."""
    await page.messages.leave(draft())
    assert "Please call me back." in (await shown(page.show, query={"before": before})).text


async def test_planted_markup_is_text(page: MessagesPage) -> None:
    """Whatever callers, clients and addresses hold, it is text on the page."""
    await page.messages.leave(draft(caller=HOSTILE, called=HOSTILE, body=HOSTILE, preferences=HOSTILE))
    await page.messages.fetch("my-client", by=HOSTILE)
    await page.messages.leave(draft(call_sid=HOSTILE, direction=Direction.OUTBOUND, caller=HOSTILE, called=HOSTILE))
    for query in ({"state": "all"}, {"q": HOSTILE, "state": "all", "agent": HOSTILE}, {"q": "';--", "before": HOSTILE}):
        document = await shown(page.show, query=query)
        assert document.planted() == []
    assert "No message matches “';--”" in document.text
    document = await shown(page.show, query={"state": "all"})
    assert HOSTILE in document.text
