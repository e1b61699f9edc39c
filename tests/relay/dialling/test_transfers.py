from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.call_values import Direction
from actors.errors import StoreFailed, UnknownCall
from actors.transfer import TransferOutcome
from relay.calls import TransferResult
from relay.dialling.handoff import read
from relay.dialling.requests import TransferRequest
from relay.dialling.transfers import Transfers
from relay.dialling.verdict import DialKind
from relay.errors import DatabaseError, OutboundRefused
from relay.twilio.ports import EndedSession
from tests.relay.dialling.parties import DO_NOT_CALL, OURS, PERSON, PUBLIC_URL, THEIRS, FakeRecord, Parties, agent

INBOUND = {"call_sid": "CA1", "caller": THEIRS, "called": OURS}


def wish(**changes: Any) -> TransferRequest:
    """Wish for an ordinary transfer."""
    return TransferRequest(**({"call_sid": "CA1", "to": PERSON, "announcement": "One moment."} | changes))


def ended(handoff: str, **changes: Any) -> EndedSession:
    """Say that a session was ended by us."""
    given: dict[str, Any] = {"agent": agent(), "handoff": handoff, **INBOUND}
    return EndedSession(**(given | changes))


def result(status: str, **changes: Any) -> TransferResult:
    """Say how a `<Dial>` ended."""
    given: dict[str, Any] = {"agent": agent(), "call_sid": "CA1", "status": status}
    return TransferResult(**(given | changes))


@asynccontextmanager
async def transferring(parties: Parties, **parts: Any) -> AsyncIterator[Transfers]:
    """Have transfers seen through for the length of the block."""
    async with trio.open_nursery() as nursery:
        transfers = parties.transfers(**parts)
        await nursery.start(transfers.run)
        yield transfers
        nursery.cancel_scope.cancel()


# ── the wish ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_live_call_is_passed_on(autojump_clock: MockClock) -> None:
    """The client hears at once that it is under way; the call is asked to end its session, and the record says so."""
    parties = Parties()
    parties.calls.connect(**INBOUND)
    async with transferring(parties) as transfers:
        answer = await transfers.transfer_call(agent(), wish(to="+1 555 123 4567"))
        assert answer == {"callSid": "CA1", "status": "transferring", "to": PERSON}
        handoff = read(await parties.calls.lose(), call_sid="CA1")
    assert handoff is not None
    assert (handoff.to, handoff.announcement, handoff.confirm, handoff.ring) == (PERSON, "One moment.", False, 25)
    assert parties.records.rows["CA1"].transfer_to == PERSON
    assert parties.records.rows["CA1"].transfer_outcome is TransferOutcome.DIALLING
    assert parties.gate.counted == [("my-client", PERSON, DialKind.TRANSFER)]


async def test_a_dry_run_changes_nothing(autojump_clock: MockClock) -> None:
    """The verdict comes back, and the call stays where it is."""
    parties = Parties()
    parties.calls.connect(**INBOUND)
    async with transferring(parties) as transfers:
        answer = await transfers.transfer_call(agent(), wish(dry_run=True))
        await trio.sleep(60)
    assert (answer["dryRun"], answer["allowed"]) == (True, True)
    assert (parties.calls.handoffs, parties.gate.counted, parties.records.rows) == ([], [], {})


@pytest.mark.parametrize("dry_run", [False, True])
async def test_nothing_is_learnt_of_other_agents_calls(autojump_clock: MockClock, *, dry_run: bool) -> None:
    """A call of another agent looks like one that never was, and the gate is not even asked."""
    parties = Parties()
    parties.calls.connect(**INBOUND, agent_id="another")
    parties.desk.known = {("another", "CA1")}
    async with transferring(parties) as transfers:
        for call_sid in ("CA1", "CA2"):
            with pytest.raises(UnknownCall):
                await transfers.transfer_call(agent(), wish(call_sid=call_sid, dry_run=dry_run))
    assert parties.log == []


async def test_the_gate_refuses_the_number(autojump_clock: MockClock) -> None:
    """The target of a transfer passes the same gate as any number, and a refusal leaves the call as it is."""
    parties = Parties()
    parties.calls.connect(**INBOUND)
    parties.gate.refusals = (DO_NOT_CALL,)
    async with transferring(parties) as transfers:
        with pytest.raises(OutboundRefused) as caught:
            await transfers.transfer_call(agent(), wish())
        await trio.sleep(60)
    assert caught.value.code == "do_not_call"
    assert (parties.calls.handoffs, parties.records.rows) == ([], {})


async def test_the_gate_may_change_its_mind_about_a_transfer(autojump_clock: MockClock) -> None:
    """Of two that ask for the last place at once, one is refused, and its call stays where it is."""
    parties = Parties()
    parties.calls.connect(**INBOUND)
    parties.gate.refusals_when_counting = (DO_NOT_CALL,)
    async with transferring(parties) as transfers:
        with pytest.raises(OutboundRefused):
            await transfers.transfer_call(agent(), wish())
        await trio.sleep(60)
    assert (parties.calls.handoffs, parties.records.rows) == ([], {})


async def test_a_call_is_transferred_once_at_a_time(autojump_clock: MockClock) -> None:
    """A second wish is refused while the first is under way, and allowed when that has come to nothing."""
    parties = Parties()
    parties.calls.connect(**INBOUND)
    async with transferring(parties) as transfers:
        await transfers.transfer_call(agent(), wish())
        with pytest.raises(OutboundRefused) as caught:
            await transfers.transfer_call(agent(), wish())
        assert caught.value.code == "already_transferring"
        await transfers.hand_off(ended(await parties.calls.lose()))
        parties.desk.known = {("my-client", "CA1")}
        with pytest.raises(OutboundRefused):
            await transfers.transfer_call(agent(), wish())
        await transfers.dialled(result("busy"))
        await wait_all_tasks_blocked()
        parties.calls.connect(**INBOUND, connection=2)
        await transfers.transfer_call(agent(), wish())


async def test_of_two_wishes_at_once_one_is_refused(autojump_clock: MockClock) -> None:
    """Also while the first is still being looked at."""
    parties = Parties()
    parties.calls.connect(**INBOUND)
    refused = []

    async def ask(transfers: Transfers) -> None:
        try:
            await transfers.transfer_call(agent(), wish())
        except OutboundRefused as refusal:
            refused.append(refusal.code)

    async with transferring(parties) as transfers, trio.open_nursery() as nursery:
        nursery.start_soon(ask, transfers)
        nursery.start_soon(ask, transfers)
    assert refused == ["already_transferring"]


@pytest.mark.parametrize("failing", ["gate", "records"])
async def test_without_a_database_the_call_stays_where_it_is(autojump_clock: MockClock, failing: str) -> None:
    """The error comes out as it is, and the next wish is free to try."""
    parties = Parties()
    parties.calls.connect(**INBOUND)
    part = getattr(parties, failing)
    part.failing = True
    async with transferring(parties) as transfers:
        with pytest.raises((StoreFailed, DatabaseError)):
            await transfers.transfer_call(agent(), wish())
        await trio.sleep(60)
        assert parties.calls.handoffs == []
        part.failing = False
        await transfers.transfer_call(agent(), wish())


async def test_a_cancelled_wish_leaves_the_call_where_it_is(autojump_clock: MockClock) -> None:
    """Nobody is connected to anybody, and the next wish is free to try."""
    parties = Parties()
    parties.calls.connect(**INBOUND)
    async with transferring(parties) as transfers:
        with trio.CancelScope() as scope:
            scope.cancel()
            await transfers.transfer_call(agent(), wish())
        await trio.sleep(60)
        assert parties.calls.handoffs == []
        await transfers.transfer_call(agent(), wish())


async def test_an_announcement_that_does_not_fit_is_named(autojump_clock: MockClock) -> None:
    """It is refused before anything is counted."""
    parties = Parties()
    parties.calls.connect(**INBOUND)
    async with transferring(parties) as transfers:
        with pytest.raises(OutboundRefused, match="announcementText") as caught:
            await transfers.transfer_call(agent(), wish(announcement="Hold on. " * 500))
    assert (caught.value.code, parties.gate.counted) == ("too_long", [])


async def test_a_relay_that_is_stopped_transfers_nothing(autojump_clock: MockClock) -> None:
    """Where nobody would see it through, a transfer is refused."""
    parties = Parties()
    parties.calls.connect(**INBOUND)
    with pytest.raises(OutboundRefused) as caught:
        await parties.transfers().transfer_call(agent(), wish())
    assert caught.value.code == "draining"


# ── the carrier's orders ────────────────────────────────────────────────────────────────────────────────────────────


async def handed_off(wished: TransferRequest, **session: Any) -> tuple[ET.Element, Parties]:
    """Go through a transfer up to the carrier's orders, and return them."""
    parties = Parties()
    parties.calls.connect(**INBOUND, language="de-DE", voice="Polly.Vicki")
    async with transferring(parties) as transfers:
        await transfers.transfer_call(agent(), wished)
        document = await transfers.hand_off(ended(await parties.calls.lose(), **session))
    assert document is not None
    return ET.fromstring(document), parties


async def test_the_caller_hears_an_announcement_and_then_it_rings(autojump_clock: MockClock) -> None:
    """In the language of the call, and with a number of ours for the callee to see."""
    orders, _ = await handed_off(wish(ring_seconds=40))
    say, dial = orders
    assert (say.tag, say.text) == ("Say", "One moment.")
    assert (dial.tag, dial.get("timeout"), dial.get("callerId")) == ("Dial", "40", OURS)
    assert [each.text for each in dial] == [PERSON]


async def test_a_caller_whom_we_called_is_shown_our_number_too(autojump_clock: MockClock) -> None:
    """In a call that we made, ours is the number that it came from."""
    orders, _ = await handed_off(wish(), direction=Direction.OUTBOUND, caller=OURS, called=THEIRS)
    assert orders[1].get("callerId") == OURS


@pytest.mark.parametrize(
    ("confirm", "query", "whisper"),
    [
        (False, "attempt=2&lost=0", None),
        (True, "attempt=2&lost=0&confirm=1", f"{PUBLIC_URL}/webhooks/my-client/whisper"),
    ],
)
async def test_the_callee_may_be_asked_first(
    autojump_clock: MockClock, *, confirm: bool, query: str, whisper: str | None
) -> None:
    """With `confirm` whoever picks up hears a whisper; the address that hears how it went carries what it must know."""
    orders, _ = await handed_off(wish(confirm=confirm), attempt=2)
    dial = orders[1]
    assert dial.get("action") == f"{PUBLIC_URL}/webhooks/my-client/transfer-ended?{query}"
    assert dial[0].get("url") == whisper


async def test_a_hostile_announcement_stays_text(autojump_clock: MockClock) -> None:
    """Markup in it is neither an order nor read aloud."""
    orders, _ = await handed_off(wish(announcement="</Say><Dial>+15550000000</Dial><Say>\x00 **Bye**"))
    assert [each.tag for each in orders] == ["Say", "Dial"]
    assert "Bye" in (orders[0].text or "")
    assert "*" not in (orders[0].text or "")


async def test_what_was_said_is_kept_for_a_caller_who_comes_back(autojump_clock: MockClock) -> None:
    """The front desk keeps the call for longer than it can ring."""
    _, parties = await handed_off(wish(ring_seconds=40))
    assert parties.desk.stays["CA1"] > 40 + 60


async def test_a_repeated_webhook_gets_the_same_orders(autojump_clock: MockClock) -> None:
    """Also when the daemon was started between the two."""
    parties = Parties()
    parties.calls.connect(**INBOUND)
    async with transferring(parties) as transfers:
        await transfers.transfer_call(agent(), wish())
        session = ended(await parties.calls.lose())
        first = await transfers.hand_off(session)
        assert await transfers.hand_off(session) == first
    async with transferring(Parties()) as others:
        assert await others.hand_off(session) == first


@pytest.mark.parametrize("handoff", ["", "{}", "null", '{"transfer": {"to": "+15551', '{"transfer": {"to": "911"}}'])
async def test_a_session_that_ended_for_another_reason_ends_its_call(autojump_clock: MockClock, handoff: str) -> None:
    """No handoff, or one that cannot be understood, is no transfer."""
    async with transferring(Parties()) as transfers:
        assert await transfers.hand_off(ended(handoff)) is None


# ── how it went ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("ended_as", "outcome", "says"),
    [
        ({"status": "completed", "bridged": True}, TransferOutcome.ANSWERED, None),
        ({"status": "busy"}, TransferOutcome.BUSY, "busy"),
        ({"status": "no-answer"}, TransferOutcome.NO_ANSWER, "not answered"),
        ({"status": "failed", "error": "13224"}, TransferOutcome.FAILED, "could not be reached"),
        ({"status": "completed", "confirm": True}, TransferOutcome.DECLINED, "did not press"),
        ({"status": "canceled", "caller_is_there": False}, TransferOutcome.CALLER_GONE, None),
    ],
)
async def test_the_outcome_is_recorded_and_told(
    autojump_clock: MockClock, ended_as: dict[str, Any], outcome: TransferOutcome, says: str | None
) -> None:
    """The record has the outcome, once counted; a caller who is still there comes back with a note."""
    parties = Parties()
    parties.calls.connect(**INBOUND)
    async with transferring(parties) as transfers:
        await transfers.transfer_call(agent(), wish())
        await transfers.hand_off(ended(await parties.calls.lose()))
        notes = [await transfers.dialled(result(**ended_as)) for _ in range(2)]
        await trio.sleep(600)
    assert notes[0] == notes[1]
    assert (notes[0] is None) == (says is None)
    assert (says or "") in (notes[0] or "")
    assert (PERSON in (notes[0] or "")) == (says is not None)
    row = parties.records.rows["CA1"]
    assert (row.transfer_to, row.transfer_outcome, row.failure) == (PERSON, outcome, ended_as.get("error", ""))
    assert parties.observer.transfers == [outcome.value]


async def test_an_outcome_that_comes_after_a_restart_is_understood(autojump_clock: MockClock) -> None:
    """The number is known from the record, and the outcome is counted once."""
    parties = Parties()
    parties.records.rows["CA1"] = FakeRecord(transfer_to=PERSON, transfer_outcome=TransferOutcome.DIALLING)
    async with transferring(parties) as transfers:
        for _ in range(2):
            assert PERSON in (await transfers.dialled(result("no-answer")) or "")
    assert parties.records.rows["CA1"].transfer_outcome is TransferOutcome.NO_ANSWER
    assert parties.observer.transfers == ["no_answer"]


async def test_without_a_database_the_caller_comes_back_all_the_same(autojump_clock: MockClock) -> None:
    """Nobody is left in silence because the outcome cannot be written down, or the number read."""
    parties = Parties()
    parties.records.failing = True
    async with transferring(parties) as transfers:
        note = await transfers.dialled(result("no-answer"))
    assert note == "The transfer was not answered. The caller is back on the line."


async def test_another_agents_webhook_does_not_move_a_transfer(autojump_clock: MockClock) -> None:
    """A handoff that comes to another agent's address leaves this one to be asked for."""
    parties = Parties()
    parties.calls.connect(**INBOUND)
    async with transferring(parties) as transfers:
        await transfers.transfer_call(agent(), wish())
        handoff = await parties.calls.lose()
        await transfers.hand_off(ended(handoff, agent=agent(agent_id="another")))
        await trio.sleep(3)
    assert len(parties.carrier.redirected) == 1


async def test_another_agents_transfer_is_not_told(autojump_clock: MockClock) -> None:
    """A webhook of one agent learns no number of another's call."""
    parties = Parties()
    parties.calls.connect(**INBOUND)
    async with transferring(parties) as transfers:
        await transfers.transfer_call(agent(), wish())
        note = await transfers.dialled(result("no-answer", agent=agent(agent_id="another")))
    assert note == "The transfer was not answered. The caller is back on the line."
    assert parties.observer.transfers == []
