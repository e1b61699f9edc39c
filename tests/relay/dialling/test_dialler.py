from __future__ import annotations

import pytest

from relay.dialling.dialler import Dialler
from relay.dialling.requests import CallRequest
from relay.dialling.verdict import DialKind
from relay.errors import OutboundRefused
from relay.twilio.call_orders import PlaceCall
from tests.relay.dialling.parties import DO_NOT_CALL, OURS, PUBLIC_URL, THEIRS, Parties, agent

WISH = CallRequest(to=THEIRS)
REQUEST = PlaceCall(
    to=THEIRS, from_=OURS, twiml="<Response/>", status_callback=f"{PUBLIC_URL}/webhooks/a/call-status", time_limit=60
)


async def place(dialler: Dialler) -> str:
    """Place the one call."""
    return (await dialler.place(agent(), WISH, DialKind.CALL, REQUEST)).sid


async def test_a_placed_call_is_claimed() -> None:
    """A call that somebody waits for is not taken for one that nobody wants."""
    parties = Parties()
    assert await place(parties.dialler()) in parties.claims.claimed


async def test_what_the_gate_refuses_is_not_ordered() -> None:
    """The second verdict counts as much as the first."""
    parties = Parties()
    parties.gate.refusals = (DO_NOT_CALL,)
    with pytest.raises(OutboundRefused):
        await place(parties.dialler())
    assert parties.carrier.requests == []


@pytest.mark.parametrize("number", ["reception", "911", ""])
async def test_what_is_no_number_is_not_admitted(number: str) -> None:
    """What the gate cannot read comes back as its refusal, without what was asked for."""
    parties = Parties()
    parties.gate.refusals = (DO_NOT_CALL,)
    with pytest.raises(OutboundRefused) as caught:
        await parties.dialler().admitted(agent(), CallRequest(to=number), DialKind.CALL)
    assert not number or number not in str(caught.value)


async def test_without_a_carrier_nothing_is_counted() -> None:
    """Neither step asks the gate."""
    parties = Parties()
    dialler = parties.dialler(has_carrier=False)
    for ask in (dialler.admitted(agent(), WISH, DialKind.CALL), place(dialler)):
        with pytest.raises(OutboundRefused) as caught:
            await ask
        assert caught.value.code == "no_carrier"
    assert parties.log == []
