from __future__ import annotations

from typing import cast

import pytest

from actors.call_values import Direction
from actors.calls import Calls
from actors.errors import StoreFailed, UnknownCall
from relay.dialling.dial_check import DiallingGate
from relay.dialling.opt_out import HeardOptOuts, OptOutRequests
from relay.errors import OutboundRefused
from relay.store.call_journal import CallJournal
from tests.fakes import call_info
from tests.relay.dialling.parties import OURS, THEIRS, FakeRecord, Parties, agent


def opt_out_requests(parties: Parties) -> OptOutRequests:
    """Put them together."""
    return OptOutRequests(
        gate=cast("DiallingGate", parties.gate),
        calls=cast("Calls", parties.calls),
        journal=cast("CallJournal", parties.records),
    )


def heard(parties: Parties) -> HeardOptOuts:
    """Put together what callers say."""
    return HeardOptOuts(cast("DiallingGate", parties.gate))


async def test_a_number_is_listed_for_the_agent() -> None:
    """However the number is written, it is listed in one form, for this agent alone, with the client's reason."""
    parties = Parties()
    result = await opt_out_requests(parties).stop_calling(
        agent(), number="+1 555 987-6543", call_sid="", reason="by letter"
    )
    assert result == {"to": THEIRS, "added": True}
    assert parties.gate.listed == [(THEIRS, "my-client", "by letter", "client")]


async def test_listing_twice_does_no_harm() -> None:
    """The second wish is told that the number was there already."""
    parties = Parties()
    for added in (True, False):
        result = await opt_out_requests(parties).stop_calling(agent(), number=THEIRS, call_sid="", reason="")
        assert result["added"] is added


@pytest.mark.parametrize(
    ("direction", "caller", "called"), [(Direction.INBOUND, THEIRS, OURS), (Direction.OUTBOUND, OURS, THEIRS)]
)
@pytest.mark.parametrize("is_live", [True, False])
async def test_the_other_party_of_a_call_is_listed(
    direction: Direction, caller: str, called: str, *, is_live: bool
) -> None:
    """Whoever the agent talks to, or talked to, is meant; never the agent's own number."""
    parties = Parties()
    if is_live:
        parties.calls.connect(call_sid="CA1", direction=direction, caller=caller, called=called)
    else:
        parties.records.rows["CA1"] = FakeRecord(direction=direction, caller=caller, called=called)
    assert (await opt_out_requests(parties).stop_calling(agent(), number="", call_sid="CA1", reason=""))["to"] == THEIRS


async def test_nothing_is_learnt_of_other_agents_calls() -> None:
    """A call of another agent looks like one that never was, live or on record."""
    parties = Parties()
    parties.calls.connect(call_sid="CA1", agent_id="another")
    parties.records.rows["CA1"] = FakeRecord(agent_id="another")
    for call_sid in ("CA1", "CA2"):
        with pytest.raises(UnknownCall):
            await opt_out_requests(parties).stop_calling(agent(), number="", call_sid=call_sid, reason="")
    assert parties.gate.listed == []


@pytest.mark.parametrize("number", ["the landlord", "911", "+", "sip:ada@example.com"])
async def test_what_is_no_number_is_refused(number: str) -> None:
    """The refusal says how numbers are written, and does not repeat what was given."""
    with pytest.raises(OutboundRefused) as caught:
        await opt_out_requests(Parties()).stop_calling(agent(), number=number, call_sid="", reason="")
    assert (caught.value.code, "+14155552671" in str(caught.value)) == ("number_invalid", True)
    assert repr(number) not in str(caught.value)


@pytest.mark.parametrize("caller", ["", "anonymous", "sip:ada@example.com"])
async def test_who_withholds_the_number_cannot_be_listed(caller: str) -> None:
    """A call whose other party has no number is refused with that reason."""
    parties = Parties()
    parties.calls.connect(call_sid="CA1", caller=caller)
    with pytest.raises(OutboundRefused, match="withholds") as caught:
        await opt_out_requests(parties).stop_calling(agent(), number="", call_sid="CA1", reason="")
    assert caught.value.code == "number_invalid"


@pytest.mark.parametrize(("number", "call_sid"), [("", ""), (THEIRS, "CA1")])
async def test_one_of_the_two_is_enough(number: str, call_sid: str) -> None:
    """Neither or both of number and call is an error that says so."""
    with pytest.raises(OutboundRefused, match="not both"):
        await opt_out_requests(Parties()).stop_calling(agent(), number=number, call_sid=call_sid, reason="")


@pytest.mark.parametrize("direction", list(Direction))
async def test_who_says_so_on_a_call_is_listed(direction: Direction) -> None:
    """The other party is listed for the agent, and the entry tells on which call it was said."""
    parties = Parties()
    caller, called = (THEIRS, OURS) if direction is Direction.INBOUND else (OURS, THEIRS)
    info = call_info(call_sid="CA1", direction=direction, caller=caller, called=called)
    await heard(parties).stop_calling(info)
    by = "unverified caller" if direction is Direction.INBOUND else "caller"
    assert parties.gate.listed == [(THEIRS, "my-client", "said so on call CA1", by)]


async def test_a_caller_whose_carrier_vouches_for_the_number_is_believed() -> None:
    """Only what may be forged is marked."""
    parties = Parties()
    await heard(parties).stop_calling(call_info(caller=THEIRS, verified=True, attestation="A"))
    assert [by for *_, by in parties.gate.listed] == ["caller"]


@pytest.mark.parametrize("address", [f"sip:{THEIRS}@pbx.example", f"whatsapp:{THEIRS}", f"client:{THEIRS}"])
async def test_a_number_inside_an_address_is_listed(address: str) -> None:
    """Whoever calls from it is the one who could be called."""
    parties = Parties()
    await heard(parties).stop_calling(call_info(caller=address))
    assert [number for number, *_ in parties.gate.listed] == [THEIRS]


@pytest.mark.parametrize("address", ["sip:ada@example.com", "client:ada", "whatsapp:ada", "", "+266696687"])
async def test_an_address_without_a_number_lists_nobody(address: str) -> None:
    """There is nobody to be called."""
    parties = Parties()
    await heard(parties).stop_calling(call_info(caller=address))
    assert parties.gate.listed == []


async def test_who_says_so_and_withholds_the_number_is_no_error() -> None:
    """There is nobody to be listed, and the call goes on."""
    parties = Parties()
    await heard(parties).stop_calling(call_info(caller="anonymous"))
    assert parties.gate.listed == []


async def test_an_opt_out_that_was_not_kept_is_reported() -> None:
    """When the database cannot be used the call learns it, and can try again."""
    parties = Parties()
    parties.gate.failing = True
    with pytest.raises(StoreFailed):
        await heard(parties).stop_calling(call_info(caller=THEIRS))
