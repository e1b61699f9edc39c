from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
import trio
from trio.testing import MockClock

from actors.errors import UnknownCall
from actors.transfer import TransferOutcome
from relay.errors import OutboundRefused
from relay.twilio.rest_errors import CarrierRefused
from tests.relay.dialling.parties import OURS, PERSON, THEIRS, FakeRecord, Parties, agent
from tests.relay.dialling.test_transfers import INBOUND, ended, result, transferring, wish


def outcome(parties: Parties) -> TransferOutcome | None:
    """Return what the record says of the transfer."""
    return parties.records.rows["CA1"].transfer_outcome


# ── a line that is lost, or hangs ───────────────────────────────────────────────────────────────────────────────────


async def test_a_call_whose_line_is_gone_without_a_webhook_is_redirected(autojump_clock: MockClock) -> None:
    """Two seconds after the line was lost the carrier is told directly, and what it then reports counts as ever."""
    parties = Parties()
    parties.calls.connect(**INBOUND, connection=3)
    async with transferring(parties) as transfers:
        await transfers.transfer_call(agent(), wish())
        await parties.calls.lose()
        lost_at = trio.current_time()
        await parties.carrier.was_redirected.wait()
        assert 2 <= trio.current_time() - lost_at < 3
        ((call_sid, document),) = parties.carrier.redirected
        dial = ET.fromstring(document)[1]
        assert (call_sid, dial[0].text, dial.get("callerId")) == ("CA1", PERSON, OURS)
        assert "attempt=2&" in (dial.get("action") or "")
        assert parties.desk.stays["CA1"] > 60
        assert "busy" in (await transfers.dialled(result("busy")) or "")
    assert outcome(parties) is TransferOutcome.BUSY


async def test_a_session_that_does_not_end_is_cut_short(autojump_clock: MockClock) -> None:
    """A socket that hangs is left after 25 seconds."""
    parties = Parties()
    parties.calls.connect(**INBOUND)
    async with transferring(parties) as transfers:
        await transfers.transfer_call(agent(), wish())
        await trio.sleep(24)
        assert parties.carrier.redirected == []
        await trio.sleep(2)
        assert len(parties.carrier.redirected) == 1


async def test_a_session_that_ends_in_time_is_not_redirected(autojump_clock: MockClock) -> None:
    """The webhook is the ordinary way, and nothing else is done."""
    parties = Parties()
    parties.calls.connect(**INBOUND)
    async with transferring(parties) as transfers:
        await transfers.transfer_call(agent(), wish())
        handoff = await parties.calls.lose()
        await trio.sleep(1.5)
        await transfers.hand_off(ended(handoff))
        await trio.sleep(600)
    assert parties.carrier.redirected == []
    assert len(parties.calls.handoffs) == 1


async def test_the_successor_of_a_lost_line_is_asked_again(autojump_clock: MockClock) -> None:
    """A new line of the call knows nothing of what the old one was asked."""
    parties = Parties()
    parties.calls.connect(**INBOUND)
    async with transferring(parties) as transfers:
        await transfers.transfer_call(agent(), wish())
        first = await parties.calls.lose()
        await trio.sleep(1)
        parties.calls.connect(**INBOUND, connection=2)
        assert await parties.calls.lose() == first
    assert parties.carrier.redirected == []


async def test_a_call_whose_line_was_lost_before_the_wish_is_transferred(autojump_clock: MockClock) -> None:
    """The front desk knows that it is up; its numbers are on record, and a later session is newer than any before."""
    parties = Parties()
    parties.desk.known = {("my-client", "CA1")}
    parties.records.rows["CA1"] = FakeRecord(caller=THEIRS, called=OURS)
    async with transferring(parties) as transfers:
        await transfers.transfer_call(agent(language="fr-FR"), wish())
        await trio.sleep(3)
        ((_, document),) = parties.carrier.redirected
    say, dial = ET.fromstring(document)
    assert (say.get("language"), dial.get("callerId")) == ("fr-FR", OURS)
    assert "attempt=1000&" in (dial.get("action") or "")


async def test_a_call_that_nobody_has_on_record_is_unknown(autojump_clock: MockClock) -> None:
    """A lost line without a record, or with another agent's, has no numbers to go by."""
    parties = Parties()
    parties.desk.known = {("my-client", "CA1"), ("my-client", "CA2")}
    parties.records.rows["CA2"] = FakeRecord(agent_id="another")
    async with transferring(parties) as transfers:
        for call_sid in ("CA1", "CA2"):
            with pytest.raises(UnknownCall):
                await transfers.transfer_call(agent(), wish(call_sid=call_sid))


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("call_over", TransferOutcome.CALLER_GONE),
        ("unknown_call", TransferOutcome.CALLER_GONE),
        ("carrier_silent", TransferOutcome.LOST),
        ("carrier_unreachable", TransferOutcome.LOST),
    ],
)
async def test_a_call_that_cannot_be_redirected_is_lost(
    autojump_clock: MockClock, code: str, expected: TransferOutcome
) -> None:
    """Where the carrier says that the call is over the caller has gone; else the transfer is lost."""
    parties = Parties()
    parties.calls.connect(**INBOUND)
    parties.carrier.redirect_failure = CarrierRefused(code, None, "No.", False)
    async with transferring(parties) as transfers:
        await transfers.transfer_call(agent(), wish())
        await parties.calls.lose()
        await trio.sleep(20)
        assert outcome(parties) is expected
        parties.calls.connect(**INBOUND, connection=2)
        await transfers.transfer_call(agent(), wish())
    assert parties.observer.transfers == [expected.value]


async def test_without_access_to_the_api_a_lost_line_loses_the_transfer(autojump_clock: MockClock) -> None:
    """Nobody could tell the carrier."""
    parties = Parties()
    parties.calls.connect(**INBOUND)
    async with transferring(parties, has_carrier=False) as transfers:
        await transfers.transfer_call(agent(), wish())
        await parties.calls.lose()
        await trio.sleep(3)
    assert outcome(parties) is TransferOutcome.LOST


async def test_the_webhook_may_come_while_the_carrier_is_told(autojump_clock: MockClock) -> None:
    """The orders are the same both ways, so a refusal of the second way changes nothing."""
    parties = Parties()
    parties.calls.connect(**INBOUND)
    parties.carrier.held = trio.Event()
    parties.carrier.redirect_failure = CarrierRefused("carrier_silent", None, "No.", False)
    async with transferring(parties) as transfers:
        await transfers.transfer_call(agent(), wish())
        handoff = await parties.calls.lose()
        await trio.sleep(3)
        document = await transfers.hand_off(ended(handoff))
        parties.carrier.held.set()
        assert document == parties.carrier.redirected[0][1]
        await trio.sleep(30)
        assert outcome(parties) is TransferOutcome.DIALLING
        await transfers.dialled(result("completed", bridged=True))
    assert outcome(parties) is TransferOutcome.ANSWERED


# ── a caller who hangs up ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("is_handed", [False, True])
async def test_a_caller_who_hangs_up_has_gone(autojump_clock: MockClock, *, is_handed: bool) -> None:
    """When the carrier says that the call is over, and no more, the transfer is over too."""
    parties = Parties()
    parties.calls.connect(**INBOUND)
    async with transferring(parties) as transfers:
        await transfers.transfer_call(agent(), wish())
        handoff = await parties.calls.lose()
        if is_handed:
            await transfers.hand_off(ended(handoff))
        transfers.over("CA1")
        await trio.sleep(6)
        assert outcome(parties) is TransferOutcome.CALLER_GONE
    assert parties.observer.transfers == ["caller_gone"]
    assert parties.carrier.redirected == []


async def test_the_end_of_the_call_may_be_told_before_that_of_the_transfer(autojump_clock: MockClock) -> None:
    """Of two who have spoken the outcome is `answered`, whichever webhook comes first."""
    parties = Parties()
    parties.calls.connect(**INBOUND)
    async with transferring(parties) as transfers:
        await transfers.transfer_call(agent(), wish())
        await transfers.hand_off(ended(await parties.calls.lose()))
        transfers.over("CA1")
        await trio.sleep(4)
        await transfers.dialled(result("completed", bridged=True, caller_is_there=False))
        await trio.sleep(600)
    assert outcome(parties) is TransferOutcome.ANSWERED
    assert parties.observer.transfers == ["answered"]


async def test_the_end_of_any_other_call_is_nothing(autojump_clock: MockClock) -> None:
    """A call that was not being transferred ends without a word."""
    async with transferring(Parties()) as transfers:
        transfers.over("CA9")


async def test_nothing_is_kept_of_a_transfer_that_was_answered(autojump_clock: MockClock) -> None:
    """While two people talk for an hour no entry waits for them; the outcome is recorded when they have done."""
    parties = Parties()
    parties.calls.connect(**INBOUND)
    async with transferring(parties) as transfers:
        await transfers.transfer_call(agent(), wish())
        await transfers.hand_off(ended(await parties.calls.lose()))
        await trio.sleep(3600)
        assert transfers._watch._courses == {}
        await transfers.dialled(result("completed", bridged=True))
    assert parties.observer.transfers == ["answered"]


# ── what goes wrong here ────────────────────────────────────────────────────────────────────────────────────────────


async def test_one_transfer_that_goes_wrong_does_not_end_the_others(autojump_clock: MockClock) -> None:
    """A fault in one is logged and loses that one; the next is seen through."""
    parties = Parties()
    parties.calls.connect(**INBOUND)
    parties.calls.connect(call_sid="CA2", caller=THEIRS, called=OURS)
    parties.calls.transfer = None  # type: ignore[method-assign, assignment]
    async with transferring(parties) as transfers:
        await transfers.transfer_call(agent(), wish())
        await trio.sleep(1)
        assert outcome(parties) is TransferOutcome.LOST
        del parties.calls.transfer
        await transfers.transfer_call(agent(), wish(call_sid="CA2"))
        assert await parties.calls.lose()


async def test_when_the_daemon_stops_nothing_is_left(autojump_clock: MockClock) -> None:
    """What is under way is let go of at once, and nothing new is begun."""
    parties = Parties()
    parties.calls.connect(**INBOUND)
    async with transferring(parties) as transfers:
        await transfers.transfer_call(agent(), wish())
    assert transfers._watch._courses == {}
    with pytest.raises(OutboundRefused):
        await transfers.transfer_call(agent(), wish())
