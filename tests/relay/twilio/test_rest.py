"""Calls are placed, changed and asked for over the REST API, and none is ever placed twice or lost sight of."""

from __future__ import annotations

import traceback
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
import trio

from relay.simulator.carrier.callee import Answers, Refused, Unanswered
from relay.simulator.carrier.rest_service import FaultPlan
from relay.twilio.call_orders import PlaceCall, UnclaimedCall
from relay.twilio.rest import CarrierCalls, open_carrier_calls
from relay.twilio.rest_errors import CallOutcomeUnknown, CarrierRefused
from tests.relay.simulator.ordering import OURS, QUICK, THEIRS, Bench, ordering
from tests.relay.simulator.scripted_relay import ACCOUNT, TOKEN

NO_CALL = "CA" + "0" * 32
SAY = "<Response><Say>Hello.</Say></Response>"


# ── placing ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_call_is_placed() -> None:
    """The carrier's id comes back, and the call is carried out as ordered."""
    async with ordering() as bench:
        placed = await bench.client.create(bench.order(SAY))
        call = await bench.rest.call(placed.sid)
        await call.wait_ended()
    assert placed.status == "queued"
    assert (call.facts.called, call.facts.caller) == (THEIRS, OURS)
    assert call.heard == ("Hello.",)


async def test_every_order_has_its_limits_and_callbacks() -> None:
    """Ring time, time limit and all four events are in each request, and no machine detection that nobody asked for."""
    async with ordering() as bench:
        await bench.client.create(bench.order(SAY, ring_seconds=20, time_limit=300))
    fields = bench.rest.requests[0].fields
    assert ("Timeout", "20") in fields
    assert ("TimeLimit", "300") in fields
    events = [value for name, value in fields if name == "StatusCallbackEvent"]
    assert events == ["initiated", "ringing", "answered", "completed"]
    assert "MachineDetection" not in dict(fields)


async def test_machine_detection_runs_beside_the_call() -> None:
    """Where it is asked for, detection is asynchronous and its verdict goes to the URL that the order names."""
    async with ordering() as bench:
        bench.rest.callee(THEIRS, Answers(answered_by="machine_start"))
        verdict_at = bench.relay.origin + "/verdict"
        placed = await bench.client.create(bench.order(detect_machine=verdict_at))
        call = await bench.rest.call(placed.sid)
        await call.connected()
        await call.hang_up()
        await call.wait_ended()
    (verdict,) = bench.relay.fields_of("/verdict")
    assert (verdict["AnsweredBy"], verdict["CallSid"]) == ("machine_start", placed.sid)


async def test_calls_are_placed_no_faster_than_the_account_may() -> None:
    """A call that comes too soon after another waits in our queue, and says for how long."""
    async with ordering(options=attrs.evolve(QUICK, calls_per_second=5.0)) as bench:
        first = await bench.client.create(bench.order(SAY))
        second = await bench.client.create(bench.order(SAY))
    assert first.waited < second.waited


@pytest.mark.parametrize(
    ("wrong", "value"),
    [
        ("to", "5550100"),
        ("to", "+1555010000<Say>"),
        ("from_", ""),
        ("twiml", ""),
        ("twiml", "x" * 4001),
        ("status_callback", "/status"),
        ("ring_seconds", 0),
        ("ring_seconds", 601),
        ("time_limit", 0),
        ("detect_machine", "verdict"),
    ],
)
def test_an_order_that_can_only_be_refused_cannot_be_built(wrong: str, value: object) -> None:
    """Numbers that are not E.164, TwiML that is too long and limits out of bounds are found before anything is sent."""
    fields: dict[str, Any] = {
        "to": THEIRS,
        "from_": OURS,
        "twiml": SAY,
        "status_callback": "https://voice.example.com/status",
        "time_limit": 600,
    }
    PlaceCall(**fields)
    with pytest.raises(ValueError, match=wrong):
        PlaceCall(**{**fields, wrong: value})


# ── refusals ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("twilio_code", "code"),
    [
        (21211, "number_invalid"),
        (21215, "country_not_permitted"),
        (21216, "number_blocked"),
        (21219, "number_not_verified"),
        (29999, "refused_by_carrier"),
    ],
)
async def test_a_refusal_has_a_name(twilio_code: int, code: str) -> None:
    """What the carrier refuses is an error with our name for it and its code, and no call exists."""
    async with ordering() as bench:
        bench.rest.callee(THEIRS, Refused(twilio_code))
        with pytest.raises(CarrierRefused) as refused:
            await bench.client.create(bench.order(SAY))
        assert not bench.rest.calls
    assert (refused.value.code, refused.value.twilio_code) == (code, twilio_code)
    assert not refused.value.retryable


async def test_wrong_credentials() -> None:
    """A token that the carrier does not know is named as the fault, with the settings to check."""
    async with ordering(auth_token="another") as bench:
        with pytest.raises(CarrierRefused, match="TWILIO_AUTH_TOKEN") as refused:
            await bench.client.create(bench.order(SAY))
    assert refused.value.code == "carrier_credentials"


async def test_a_carrier_that_is_not_there() -> None:
    """Where nothing could be sent, nothing was placed, and it may be tried again."""
    unclaimed: list[UnclaimedCall] = []
    nowhere = "http://127.0.0.1:1"
    async with open_carrier_calls(
        ACCOUNT, TOKEN, base_url=nowhere, on_unclaimed=unclaimed.append, options=QUICK
    ) as client:
        with pytest.raises(CarrierRefused) as refused:
            await client.create(
                PlaceCall(to=THEIRS, from_=OURS, twiml=SAY, status_callback="https://a.example/s", time_limit=60)
            )
    assert refused.value.code == "carrier_unreachable"
    assert refused.value.retryable


@pytest.mark.parametrize(
    ("fault_plan", "callee"),
    [
        (FaultPlan(), Refused(21211)),
        (FaultPlan(lost=1, how="error"), Answers()),
        (FaultPlan(lost=1, how="garbage"), Answers()),
    ],
)
async def test_no_number_is_reported_in_an_error(fault_plan: FaultPlan, callee: Refused | Answers) -> None:
    """Neither the message of an error nor its traceback holds a telephone number."""
    async with ordering() as bench:
        bench.rest.fault_plan = fault_plan
        bench.rest.callee(THEIRS, callee)
        with pytest.raises((CarrierRefused, CallOutcomeUnknown)) as failed:
            await bench.client.create(bench.order(SAY))
    told = "".join(traceback.format_exception(failed.value)) + repr(failed.value)
    assert THEIRS[1:] not in told
    assert OURS[1:] not in told


# ── nothing is placed twice ─────────────────────────────────────────────────────────────────────────────────────────


async def test_a_request_that_was_turned_away_is_repeated() -> None:
    """A 429 was never processed, so the request is made again, and one call exists."""
    async with ordering() as bench:
        bench.rest.fault_plan = FaultPlan(busy=2)
        await bench.client.create(bench.order(SAY))
        assert len(bench.rest.calls) == 1
        assert len(bench.rest.requests) == 3


async def test_repeating_has_an_end() -> None:
    """A carrier that turns everything away is given up after the attempts that are allowed."""
    async with ordering() as bench:
        bench.rest.fault_plan = FaultPlan(busy=100)
        with pytest.raises(CarrierRefused) as refused:
            await bench.client.create(bench.order(SAY))
        assert len(bench.rest.requests) == QUICK.attempts
    assert refused.value.code == "carrier_busy"
    assert refused.value.retryable


@pytest.mark.parametrize("how", ["silence", "cut", "garbage", "empty", "misnamed", "error"])
async def test_a_lost_answer_is_not_asked_for_again(how: str) -> None:
    """Where the answer is lost, the outcome is unknown: one request, one call, and what to look for."""
    async with ordering(options=attrs.evolve(QUICK, timeout=0.5)) as bench:
        bench.rest.fault_plan = FaultPlan(lost=1, how=how)
        with pytest.raises(CallOutcomeUnknown) as unknown:
            await bench.client.create(bench.order(SAY))
        assert len(bench.rest.requests) == 1
        (placed,) = bench.rest.calls
        lost = unknown.value
        (found,) = await bench.client.find_recent(lost.called, lost.caller, lost.since)
    assert found.sid == placed.call_sid


async def test_a_call_that_was_never_placed_is_not_found() -> None:
    """Looking for a call leaves out earlier ones, those of other numbers, and those that came in."""
    async with ordering() as bench:
        await bench.client.create(bench.order(SAY))
        await bench.client.create(bench.order(SAY, to="+15550100077"))
        async with bench.carrier.call("a", caller=OURS, called=THEIRS, document=SAY):
            pass
        for call in bench.rest.calls:
            await call.wait_ended()
        soon = datetime.now(UTC) + timedelta(seconds=10)
        assert await bench.client.find_recent(THEIRS, OURS, soon) == []
        assert len(await bench.client.find_recent(THEIRS, OURS, soon - timedelta(minutes=1))) == 1


# ── cancellation ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_cancelled_before_its_turn_nothing_is_placed() -> None:
    """Whoever gives up in the queue has placed nothing, and nobody need hear of it."""
    async with ordering(options=attrs.evolve(QUICK, calls_per_second=0.1)) as bench:
        await bench.client.create(bench.order(SAY))
        with trio.move_on_after(0.05) as scope:
            await bench.client.create(bench.order(SAY))
        assert scope.cancelled_caught
        assert len(bench.rest.requests) == 1
        assert bench.unclaimed == []


async def cancelled_half_way(bench: Bench, order: PlaceCall) -> str:
    """Cancel an order once its request has come, then have it answered; say what became of whoever ordered."""
    ends: list[str] = []

    async def place(scope: trio.CancelScope) -> None:
        with scope:
            try:
                ends.append((await bench.client.create(order)).sid)
            except CarrierRefused as refusal:
                ends.append(refusal.code)
        ends.append("cancelled")

    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()
        nursery.start_soon(place, scope)
        await bench.rest.requested(1)
        scope.cancel()
        if bench.rest.fault_plan.held is not None:
            bench.rest.fault_plan.held.set()
    return ends[0]


async def test_cancelled_half_way_the_call_is_reported() -> None:
    """A request under way is carried to its end, and the call goes to whoever takes the unclaimed ones."""
    async with ordering() as bench:
        bench.rest.fault_plan = FaultPlan(held=trio.Event())
        order = bench.order(SAY)
        assert await cancelled_half_way(bench, order) == "cancelled"
        (unclaimed,) = bench.unclaimed
        (call,) = bench.rest.calls
        assert unclaimed.placed is not None
        assert unclaimed.placed.sid == call.call_sid
        assert unclaimed.request == order


async def test_cancelled_and_without_an_answer_the_order_is_reported() -> None:
    """Where a cancelled request gets no answer either, what to look for is reported, within the time-out."""
    async with ordering(options=attrs.evolve(QUICK, timeout=0.3)) as bench:
        bench.rest.fault_plan = FaultPlan(lost=1)
        assert await cancelled_half_way(bench, bench.order(SAY)) == "cancelled"
        (unclaimed,) = bench.unclaimed
        assert unclaimed.placed is None
        assert len(await bench.client.find_recent(THEIRS, OURS, unclaimed.since)) == 1


async def test_cancelled_and_refused_there_is_nothing_to_report() -> None:
    """A refusal that comes after the cancellation placed nothing, so nobody need hear of it."""
    async with ordering() as bench:
        bench.rest.fault_plan = FaultPlan(held=trio.Event())
        bench.rest.callee(THEIRS, Refused(21211))
        assert await cancelled_half_way(bench, bench.order(SAY)) == "number_invalid"
        assert bench.unclaimed == []


# ── changing ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_live_call_is_redirected() -> None:
    """The session ends, its action URL is not asked, and what the new TwiML says is heard."""
    async with ordering() as bench:
        placed = await bench.client.create(bench.order())
        call = await bench.rest.call(placed.sid)
        await call.connected()
        await bench.client.redirect(placed.sid, "<Response><Say>One moment.</Say></Response>")
        await call.wait_ended()
    assert call.heard == ("One moment.",)
    assert call.close_code == 1000
    assert bench.relay.fields_of("/ended") == []


async def test_a_call_that_is_over_cannot_be_redirected() -> None:
    """Redirecting a call whose caller has gone is refused by name."""
    async with ordering() as bench:
        placed = await bench.client.create(bench.order(SAY))
        await (await bench.rest.call(placed.sid)).wait_ended()
        with pytest.raises(CarrierRefused) as refused:
            await bench.client.redirect(placed.sid, SAY)
    assert (refused.value.code, refused.value.twilio_code) == ("call_over", 21220)


@pytest.mark.parametrize("twiml", ["", "x" * 4001])
async def test_twiml_that_does_not_fit_is_not_sent(twiml: str) -> None:
    """An update with nothing to do, or too much, is an error of the program's."""
    async with ordering() as bench:
        with pytest.raises(ValueError, match="TwiML"):
            await bench.client.redirect(NO_CALL, twiml)
        assert not bench.rest.requests


async def test_a_live_call_is_hung_up() -> None:
    """Hanging up ends the session and the call; doing it again changes nothing and is no error."""
    async with ordering() as bench:
        placed = await bench.client.create(bench.order())
        call = await bench.rest.call(placed.sid)
        await call.connected()
        await bench.client.hang_up(placed.sid)
        await call.wait_ended()
        await bench.client.hang_up(placed.sid)
    assert call.status == "completed"
    assert bench.statuses()[-1] == "completed"


async def test_a_ringing_call_is_hung_up() -> None:
    """A call that nobody has answered yet is cancelled."""
    async with ordering() as bench:
        bench.rest.callee(THEIRS, Unanswered("no-answer", after=60))
        placed = await bench.client.create(bench.order(SAY))
        call = await bench.rest.call(placed.sid)
        await bench.client.hang_up(placed.sid)
        await call.wait_ended()
    assert call.status == "canceled"


@pytest.mark.parametrize("sid", [NO_CALL, "", "CA../../Messages", "VX" + "0" * 32])
async def test_there_is_no_such_call(sid: str) -> None:
    """Nothing can be done to a call that the carrier does not know, and what is no id is not even asked about."""
    async with ordering() as bench:
        for work in (bench.client.fetch(sid), bench.client.hang_up(sid), bench.client.redirect(sid, SAY)):
            with pytest.raises(CarrierRefused) as refused:
                await work
            assert refused.value.code == "unknown_call"
        assert len(bench.rest.requests) == (3 if sid == NO_CALL else 0)


@pytest.mark.parametrize("how", ["silence", "cut", "garbage", "error"])
async def test_a_change_without_an_answer(how: str) -> None:
    """Where a change is not answered it may have happened: that is what the error says."""
    async with ordering(options=attrs.evolve(QUICK, timeout=0.3)) as bench:
        placed = await bench.client.create(bench.order())
        await (await bench.rest.call(placed.sid)).connected()
        bench.rest.fault_plan = FaultPlan(lost=1, how=how)
        with pytest.raises(CarrierRefused) as refused:
            await bench.client.hang_up(placed.sid)
    assert refused.value.code == "carrier_silent"
    assert refused.value.retryable


# ── asking ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_state_of_a_call() -> None:
    """A call's state has its status, its times and its length once it is over."""
    async with ordering() as bench:
        placed = await bench.client.create(bench.order())
        call = await bench.rest.call(placed.sid)
        await call.connected()
        live = await bench.client.fetch(placed.sid)
        await call.hang_up()
        await call.wait_ended()
        over = await bench.client.fetch(placed.sid)
    assert (live.sid, live.status, live.duration, live.ended_at) == (placed.sid, "in-progress", None, None)
    assert (over.status, over.answered_by) == ("completed", None)
    assert over.duration in range(10)  # whole seconds, on a machine that may be slow
    assert over.ended_at is not None
    assert over.started_at is not None
    assert over.started_at.utcoffset() == timedelta(0)
    assert over.created_at is not None


async def test_one_client_serves_many_calls_at_once() -> None:
    """Orders of several tasks at once are all placed, each with an id of its own."""
    sids: set[str] = set()

    async def order(client: CarrierCalls, request: PlaceCall) -> None:
        sids.add((await client.create(request)).sid)

    async with ordering() as bench:
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(order, bench.client, bench.order(SAY))
        assert sids == {call.call_sid for call in bench.rest.calls}
    assert len(sids) == 20
