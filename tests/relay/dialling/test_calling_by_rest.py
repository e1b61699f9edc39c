"""The parts that dial, against the simulated carrier's REST API and the product's own client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import attrs
import pytest
import trio

from actors.transfer import TransferOutcome
from relay.dialling import orphaned_calls as reconciling
from relay.dialling.outbound_calls import Conversations
from relay.dialling.requests import CallRequest, TransferRequest
from relay.errors import OutboundRefused
from relay.reception import Reception
from relay.simulator.carrier.callee import Answers, Refused, Unanswered
from relay.simulator.carrier.rest_service import FaultPlan
from relay.twilio.rest import CarrierOptions, open_carrier_calls
from relay.twilio.urls import RETRIES, CarrierUrls
from tests.relay.dialling.parties import DEFAULTS, PERSON, THEIRS, FakeClaims, Parties, agent
from tests.relay.dialling.test_transfers import Exchange as TransferExchange
from tests.relay.dialling.test_transfers import transferring as transfers_on
from tests.relay.simulator.ordering import QUICK, Bench, ordering
from tests.relay.simulator.scripted_relay import ACCOUNT, TOKEN

STATUS = "/webhooks/my-client/call-status"


@attrs.frozen
class Exchange:
    """The simulated carrier, and the parts that call by it."""

    bench: Bench
    parties: Parties

    def conversations(self) -> Conversations:
        """Put the calls together."""
        return Conversations(
            dialler=self.parties.dialler(),
            reception=cast("Reception", self.parties.reception),
            urls=self.parties.urls,
            # The carrier takes names of ElevenLabs voices only.
            defaults=attrs.evolve(DEFAULTS, voice="EXAVITQu4vr4xnSDxMaL"),
        )


@asynccontextmanager
async def exchange(options: CarrierOptions = QUICK) -> AsyncIterator[Exchange]:
    """Have calls placed with the simulated carrier, and those that nobody wants ended, all within 10 seconds."""
    async with ordering() as bench:
        parties = Parties(urls=CarrierUrls(bench.relay.origin))
        unclaimed = parties.reconciliation.on_unclaimed
        async with (
            open_carrier_calls(
                ACCOUNT, TOKEN, base_url=bench.rest.url, on_unclaimed=unclaimed, options=options
            ) as carrier,
            trio.open_nursery() as nursery,
        ):
            parties.real_carrier = carrier
            nursery.start_soon(parties.reconciliation.run, carrier)
            yield Exchange(bench, parties)
            nursery.cancel_scope.cancel()


async def test_a_call_rings_and_comes_to_the_socket() -> None:
    """The callee hears who is calling and the greeting; the socket is opened with the ticket."""
    async with exchange() as here:
        result = await here.conversations().make_call(agent(), CallRequest(to=THEIRS, greeting="It is about Tuesday."))
        call = await here.bench.rest.call(result["callSid"])
        await call.connected()
        await call.hang_up()
        await call.wait_ended()
    assert "AI assistant" in call.heard[0]
    assert call.greeting == "It is about Tuesday."
    assert here.bench.relay.setups[0]["customParameters"] == {"ticket": "the-ticket"}


async def test_every_step_is_reported_under_the_order() -> None:
    """The status callbacks name the order, so that the first is understood before the order's answer is there."""
    async with exchange() as here:
        here.bench.rest.callee(THEIRS, Unanswered("busy"))
        result = await here.conversations().make_call(agent(), CallRequest(to=THEIRS))
        await (await here.bench.rest.call(result["callSid"])).wait_ended()
        ((order, _),) = here.parties.reception.expected.items()
        fields = dict(here.bench.rest.requests[0].fields)
    assert fields["StatusCallback"].endswith(f"{STATUS}?order={order}{RETRIES}")
    assert [each["CallStatus"] for each in here.bench.relay.fields_of(STATUS)] == ["initiated", "ringing", "busy"]


async def test_the_carriers_own_refusal_is_worded_for_the_client() -> None:
    """An error of the carrier's comes back as a refusal without the number, and the call is expected no more."""
    async with exchange() as here:
        here.bench.rest.callee(THEIRS, Refused(21215))
        with pytest.raises(OutboundRefused) as caught:
            await here.conversations().make_call(agent(), CallRequest(to=THEIRS))
    assert caught.value.code == "country_not_permitted"
    assert THEIRS not in str(caught.value)
    assert here.parties.reception.expected == {}


@pytest.mark.parametrize("how", ["cut", "garbage", "error"])
async def test_an_answer_that_is_lost_is_not_asked_for_again(how: str) -> None:
    """One call rings, the client is told that it may, and it would be known if it came."""
    async with exchange() as here:
        here.bench.rest.fault_plan = FaultPlan(lost=1, how=how)
        with pytest.raises(OutboundRefused) as caught:
            await here.conversations().make_call(agent(), CallRequest(to=THEIRS))
        assert caught.value.code == "outcome_unknown"
        assert len(here.bench.rest.calls) == 1
        assert len(here.parties.reception.expected) == 1


async def cancelled(here: Exchange) -> None:
    """Begin a call, and have nobody want it while the carrier is being asked."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(here.conversations().make_call, agent(), CallRequest(to=THEIRS))
        await here.bench.rest.requested(len(here.bench.rest.requests) + 1)
        nursery.cancel_scope.cancel()
        if here.bench.rest.fault_plan.held is not None:
            here.bench.rest.fault_plan.held.set()


async def test_a_call_that_nobody_wants_any_more_is_hung_up() -> None:
    """Its place is free at once, and the telephone stops ringing."""
    async with exchange() as here:
        here.bench.rest.callee(THEIRS, Answers(after=9))
        here.bench.rest.fault_plan = FaultPlan(held=trio.Event())
        await cancelled(here)
        assert here.parties.reception.expected == {}
        call = await here.bench.rest.next_call()
        await call.wait_ended()
    assert call.status == "canceled"


async def test_a_call_that_nobody_wants_is_found_without_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the carrier did not answer either, the call is looked for and hung up; one that is wanted goes on."""
    monkeypatch.setattr(reconciling, "_LOOKS", (0.05, 0.05))
    async with exchange(attrs.evolve(QUICK, timeout=0.3)) as here:
        here.bench.rest.callee(THEIRS, Answers(after=9))
        wanted = await here.conversations().make_call(agent(), CallRequest(to=THEIRS))
        here.bench.rest.fault_plan = FaultPlan(lost=1)
        await cancelled(here)
        first, second = await here.bench.rest.next_call(), await here.bench.rest.next_call()
        await second.wait_ended()
    assert (first.call_sid, second.status) == (wanted["callSid"], "canceled")


@asynccontextmanager
async def transferring(path: Path) -> AsyncIterator[tuple[Bench, TransferExchange]]:
    """Have calls passed on by the simulated carrier."""
    async with (
        ordering() as bench,
        transfers_on(path, carrier=None) as here,
        open_carrier_calls(
            ACCOUNT,
            TOKEN,
            base_url=bench.rest.url,
            on_unclaimed=FakeClaims().reconciliation().on_unclaimed,
            options=QUICK,
        ) as carrier,
    ):
        here.transfers.carrier, here.transfers.urls = carrier, CarrierUrls(bench.relay.origin)
        yield bench, here


@pytest.mark.usefixtures("quick")
async def test_a_call_whose_line_is_lost_is_transferred_by_the_carrier(tmp_path: Path) -> None:
    """The caller hears the announcement, the other telephone rings, and the outcome is asked about."""
    async with transferring(tmp_path) as (bench, here):
        bench.rest.callee(PERSON, Unanswered("busy"))
        async with bench.carrier.call("my-client", document=bench.relay.connect(action=None)) as call:
            await call.connected()
            await here.lose(await here.connect(call_sid=call.call_sid), call.call_sid)
            wish = TransferRequest(call_sid=call.call_sid, to=PERSON, announcement="Connecting you now.")
            await here.transfers.transfer_call(agent(), wish)
            await call.wait_ended()
    assert "Connecting you now." in call.heard
    assert call.dialled == [PERSON]
    (told,) = bench.relay.fields_of("/webhooks/my-client/transfer-ended")
    assert told["DialCallStatus"] == "busy"


@pytest.mark.usefixtures("quick")
async def test_a_call_that_is_over_cannot_be_transferred(tmp_path: Path) -> None:
    """The carrier says so, and the caller counts as gone."""
    async with transferring(tmp_path) as (bench, here):
        async with bench.carrier.call("my-client", document="<Response/>") as call:
            await call.wait_ended()
        await here.lose(await here.connect(call_sid=call.call_sid), call.call_sid)
        await here.transfers.transfer_call(agent(), TransferRequest(call_sid=call.call_sid, to=PERSON))
        await here.observer.counted.wait()
    assert here.observer.transfers == [TransferOutcome.CALLER_GONE.value]
