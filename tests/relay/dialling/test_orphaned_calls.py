from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest
import trio
from trio.testing import MockClock

from relay.dialling import orphaned_calls
from relay.dialling.orphaned_calls import Reconciliation
from relay.store.claimed_calls import ClaimedCalls
from relay.store.database import Database, open_database
from relay.twilio.call_orders import CallState, PlaceCall, PlacedCall, UnclaimedCall
from relay.twilio.rest import CarrierCalls
from relay.twilio.rest_errors import CarrierRefused
from tests.fakes import STARTED
from tests.limits import HANGING
from tests.relay.dialling.parties import OURS, PUBLIC_URL, THEIRS, FakeCarrier, FakeClaims

REQUEST = PlaceCall(
    to=THEIRS, from_=OURS, twiml="<Response/>", status_callback=f"{PUBLIC_URL}/webhooks/a/call-status", time_limit=60
)
NO = CarrierRefused("carrier_unreachable", None, "No.", True)


def unclaimed(call_sid: str | None) -> UnclaimedCall:
    """Say that nobody wants a call any more, which has this name or none yet."""
    placed = None if call_sid is None else PlacedCall(call_sid, "queued")
    return UnclaimedCall(request=REQUEST, placed=placed, since=STARTED)


def state(call_sid: str) -> CallState:
    """Describe a call as the carrier lists it."""
    return CallState(
        sid=call_sid,
        status="ringing",
        created_at=STARTED,
        started_at=None,
        ended_at=None,
        duration=None,
        answered_by=None,
    )


@asynccontextmanager
async def reconciling(carrier: FakeCarrier) -> AsyncIterator[Reconciliation]:
    """End unclaimed calls for the length of the block."""
    reconciliation = FakeClaims().reconciliation()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reconciliation.run, cast("CarrierCalls", carrier))
        yield reconciliation
        nursery.cancel_scope.cancel()


async def test_a_call_that_nobody_wants_is_ended(autojump_clock: MockClock) -> None:
    """Where the carrier has named it, it is ended at once."""
    carrier = FakeCarrier([])
    async with reconciling(carrier) as reconciliation:
        reconciliation.on_unclaimed(unclaimed("CA1"))
        await trio.sleep(1)
    assert carrier.hung_up == ["CA1"]


async def test_a_call_without_a_name_is_looked_for(autojump_clock: MockClock) -> None:
    """The carrier's list is asked after five seconds, and once more fifteen seconds later."""
    carrier = FakeCarrier([], recent=[[], [state("CA1")]])
    async with reconciling(carrier) as reconciliation:
        reconciliation.on_unclaimed(unclaimed(None))
        await trio.sleep(19)
        assert carrier.hung_up == []
        await trio.sleep(2)
    assert carrier.hung_up == ["CA1"]


async def test_a_call_that_was_never_placed_is_left_at_that(autojump_clock: MockClock) -> None:
    """When the list does not show it, there is none."""
    carrier = FakeCarrier([])
    async with reconciling(carrier) as reconciliation:
        reconciliation.on_unclaimed(unclaimed(None))
        await trio.sleep(60)
    assert carrier.hung_up == []


async def test_calls_that_somebody_wants_are_left_alone(autojump_clock: MockClock) -> None:
    """Of the calls between the two numbers only the one that nobody was told of is ended."""
    carrier = FakeCarrier([], recent=[[state("CA3"), state("CA2"), state("CA1")]])
    async with reconciling(carrier) as reconciliation:
        await reconciliation.claim("CA1")
        await reconciliation.claim("CA3")
        reconciliation.on_unclaimed(unclaimed(None))
        await trio.sleep(60)
    assert carrier.hung_up == ["CA2"]


async def test_two_calls_without_a_name_are_two(autojump_clock: MockClock) -> None:
    """Each of two that nobody wants is ended, though the carrier lists both for both."""
    both = [state("CA2"), state("CA1")]
    carrier = FakeCarrier([], recent=[both, both])
    async with reconciling(carrier) as reconciliation:
        reconciliation.on_unclaimed(unclaimed(None))
        reconciliation.on_unclaimed(unclaimed(None))
        await trio.sleep(60)
    assert sorted(carrier.hung_up) == ["CA1", "CA2"]


async def test_a_list_that_cannot_be_had_is_asked_for_again(autojump_clock: MockClock) -> None:
    """One answer that does not come is no reason to let a telephone ring."""
    carrier = FakeCarrier([], recent=[NO, [state("CA1")]])
    async with reconciling(carrier) as reconciliation:
        reconciliation.on_unclaimed(unclaimed(None))
        await trio.sleep(60)
    assert carrier.hung_up == ["CA1"]


async def test_a_carrier_that_refuses_does_not_end_the_work(autojump_clock: MockClock) -> None:
    """What cannot be ended or found is logged, and the next one is ended."""
    carrier = FakeCarrier([], hang_up_failure=NO, recent=[NO, NO])
    async with reconciling(carrier) as reconciliation:
        reconciliation.on_unclaimed(unclaimed("CA1"))
        reconciliation.on_unclaimed(unclaimed(None))
        await trio.sleep(60)
        carrier.hang_up_failure = None
        reconciliation.on_unclaimed(unclaimed("CA2"))
        await trio.sleep(1)
    assert carrier.hung_up == ["CA2"]


async def test_reporting_it_never_waits(autojump_clock: MockClock) -> None:
    """It is called in a task that is being cancelled: when there are too many, the rest are left, without an error."""
    carrier = FakeCarrier([])
    reconciliation = FakeClaims().reconciliation()
    for number in range(150):
        reconciliation.on_unclaimed(unclaimed(f"CA{number}"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reconciliation.run, cast("CarrierCalls", carrier))
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert sorted(carrier.hung_up) == sorted(f"CA{number}" for number in range(100))


async def test_a_call_of_another_node_is_left_alone(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two nodes that call the same number each ends only what is nobody's, and no two the same call."""
    monkeypatch.setattr(orphaned_calls, "_LOOKS", (0.1, 0.1))
    recent = [state("CA3"), state("CA2"), state("CA1")]
    carrier = FakeCarrier([], recent=[recent, recent])
    async with open_database(database_url) as other, trio.open_nursery() as nursery:
        ours, theirs = Reconciliation(ClaimedCalls(database)), Reconciliation(ClaimedCalls(other))
        for each in (ours, theirs):
            nursery.start_soon(each.run, cast("CarrierCalls", carrier))
        await theirs.claim("CA1")
        ours.on_unclaimed(unclaimed(None))
        theirs.on_unclaimed(unclaimed(None))
        with trio.fail_after(HANGING):
            while len(carrier.hung_up) < 2:  # noqa: ASYNC110
                await trio.sleep(0.02)
        nursery.cancel_scope.cancel()
    assert sorted(carrier.hung_up) == ["CA2", "CA3"]


async def test_a_call_that_is_placed_is_its_owners_also_when_the_task_is_cancelled(database: Database) -> None:
    """It rings: whoever looks for a lost one must not take it."""
    claims = ClaimedCalls(database)
    with trio.CancelScope() as scope:
        scope.cancel()
        await Reconciliation(claims).claim("CA1")
    assert await claims.take(["CA1"]) is None
