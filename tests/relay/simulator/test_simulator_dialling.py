"""Transfers as the carrier performs them: how a `<Dial>` can go, what the relay is told, what the caller hears next.

The calls came in, as most that are transferred do; what is the same for calls that were ordered is in test_rest.py.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import trio
import trio.testing

from relay.simulator.carrier.callee import Answers, Callee, Refused, Unanswered
from relay.simulator.carrier.fault_plan import CallOver, TwimlRefused
from tests.relay.simulator.carrier.test_outbound_legs import dialled
from tests.relay.simulator.ordering import Bench, ordering
from tests.relay.simulator.scripted_relay import Socket

COLLEAGUE = "+15550100099"
HAND_OVER = (
    "<Response><Say>One moment.</Say>"
    '<Dial action="/dialled" timeout="20" answerOnBridge="true" callerId="+15550100002">'
    f"<Number>{COLLEAGUE}</Number></Dial></Response>"
)
CONFIRMED = HAND_OVER.replace("<Number>", '<Number url="/whisper">')
BACK = "<Response><Say>Nobody was free.</Say></Response>"


async def transfer(socket: Socket) -> None:
    """Hand the call over as soon as the caller speaks."""
    await socket.receive_until("prompt")
    await socket.send(type="end", handoffData="{}")
    await socket.receive_until("closed")


async def transferred(bench: Bench, callee: Callee, hand_over: str = HAND_OVER) -> Mapping[str, str]:
    """Call, be transferred to this callee, and stay to the end; return what the action was told."""
    bench.rest.callee(COLLEAGUE, callee)
    bench.relay.documents |= {"/ended": [hand_over], "/dialled": [BACK]}
    async with bench.carrier.call("a", document=bench.relay.connect()) as call:
        await call.say("A person, please.")
        await call.wait_ended()
    assert call.heard == ("One moment.", "Nobody was free.")
    assert call.dialled == [COLLEAGUE]
    (told,) = bench.relay.fields_of("/dialled")
    assert (told["CallSid"], told["DialCallSid"]) == (call.call_sid, call.legs[0].sid)
    return told


# ── how it can go ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("callee", "status", "bridged"),
    [
        (Answers(talks=0.01), "completed", "true"),
        (Unanswered("busy"), "busy", "false"),
        (Unanswered("no-answer"), "no-answer", "false"),
        (Refused(13224), "failed", "false"),
    ],
)
async def test_the_action_learns_how_it_went(callee: Callee, status: str, bridged: str) -> None:
    """The caller, who is still there, hears the announcement, and at last what the action answered."""
    async with ordering(transfer) as bench:
        told = await transferred(bench, callee)
    assert (told["DialCallStatus"], told["DialBridged"], told["CallStatus"]) == (status, bridged, "in-progress")
    assert told["DialCallDuration"] == ("1" if bridged == "true" else "0")
    assert told["Direction"] == "inbound"


@pytest.mark.parametrize(("callee", "bridged"), [(Answers(after=10), "false"), (Answers(talks=10), "true")])
async def test_the_caller_hangs_up_meanwhile(callee: Callee, bridged: str) -> None:
    """Before or after somebody answered, the action is told that the call is over, and its TwiML is not performed."""
    async with ordering(transfer) as bench:
        bench.rest.callee(COLLEAGUE, callee)
        bench.relay.documents |= {"/ended": [HAND_OVER], "/dialled": [BACK]}
        async with bench.carrier.call("a", document=bench.relay.connect()) as call:
            await call.say("A person, please.")
            await call.until(lambda: call.legs and call.legs[0].bridged is (bridged == "true"))
            await call.hang_up()
            await call.wait_ended()
    (told,) = bench.relay.fields_of("/dialled")
    status = "completed" if bridged == "true" else "canceled"
    assert (told["DialCallStatus"], told["DialBridged"], told["CallStatus"]) == (status, bridged, "completed")
    assert call.heard == ("One moment.",)
    assert bench.relay.fields_of("/webhooks/a/call-status")[-1]["CallStatus"] == "completed"


@pytest.mark.parametrize(
    ("callee", "pressed", "bridged"),
    [
        (Answers(presses="1"), ["1"], "true"),
        (Answers(presses="2"), ["2"], "false"),
        (Answers(), [], "false"),
        (Answers(answered_by="machine_start"), [], "false"),
        (Answers(hangs_up_after=0), [], "false"),
    ],
)
async def test_a_callee_that_does_not_accept_is_not_connected(callee: Callee, pressed: list[str], bridged: str) -> None:
    """Another key, no key, a machine or hanging up: the leg was answered, but the two were never connected."""
    async with ordering(transfer) as bench:
        gather = '<Gather action="/pressed" numDigits="1"><Say>Press 1 to accept.</Say></Gather>'
        hang_up = "<Response><Hangup/></Response>"
        bench.relay.documents["/whisper"] = [f"<Response>{gather}<Hangup/></Response>"]
        bench.relay.documents["/pressed"] = ["<Response/>" if bridged == "true" else hang_up]
        told = await transferred(bench, callee, CONFIRMED)
    assert (told["DialCallStatus"], told["DialBridged"]) == ("completed", bridged)
    assert [fields["Digits"] for fields in bench.relay.fields_of("/pressed")] == pressed
    assert bench.relay.fields_of("/whisper")[0]["From"] == "+15550100002"


# ── the line is lost, or hangs ──────────────────────────────────────────────────────────────────────────────────────


async def test_a_dropped_line_is_asked_nothing_and_can_be_redirected() -> None:
    """The relay sees the socket break and is asked nothing; an update over the API still transfers the call."""
    lost = trio.Event()

    async def talk(socket: Socket) -> None:
        await socket.receive_until("closed")
        lost.set()

    async with ordering(talk) as bench:
        bench.relay.documents["/dialled"] = [BACK]
        async with bench.carrier.call("a", document=bench.relay.connect()) as call:
            await call.drop_line()
            await lost.wait()
            await bench.client.redirect(call.call_sid, HAND_OVER)
            await call.wait_ended()
    assert bench.relay.fields_of("/ended") == []
    assert call.dialled == [COLLEAGUE]
    assert call.heard == ("One moment.", "Nobody was free.")


async def test_a_caller_on_a_dropped_line_may_hang_up() -> None:
    """The call is over then, and its status callback is posted; the session's action is not."""
    async with ordering() as bench, bench.carrier.call("a", document=bench.relay.connect()) as call:
        await call.drop_line()
        assert not call.over
        await call.hang_up()
        await call.wait_ended()
        assert bench.relay.fields_of("/ended") == []
        assert bench.relay.fields_of("/webhooks/a/call-status")[0]["CallStatus"] == "completed"


async def test_a_frozen_line_can_be_redirected() -> None:
    """Speech, `end` and a Close frame of the relay's do nothing; an update over the API ends the session."""
    closed = trio.Event()

    async def talk(socket: Socket) -> None:
        await socket.receive_until("prompt")
        await socket.say("Are you there?")
        await socket.send(type="end", handoffData="{}")
        await socket.close(1011)
        closed.set()

    async with ordering(talk) as bench:
        bench.relay.documents["/dialled"] = [BACK]
        async with bench.carrier.call("a", document=bench.relay.connect()) as call:
            await call.freeze_line()
            await call.say("Hello?")
            await closed.wait()
            assert not call.outcomes
            await bench.client.redirect(call.call_sid, HAND_OVER)
            await call.wait_ended()
    assert bench.relay.fields_of("/ended") == []
    assert call.ended is None
    assert call.heard == ("One moment.", "Nobody was free.")


async def test_a_redirected_frozen_line_is_closed() -> None:
    """A relay that still holds the socket of a frozen line sees it closed normally when it changes the call."""
    codes: list[int] = []

    async def talk(socket: Socket) -> None:
        codes.extend(frame["code"] for frame in await socket.receive_until("closed"))

    async with ordering(talk) as bench, bench.carrier.call("a", document=bench.relay.connect()) as call:
        await call.freeze_line()
        await bench.client.redirect(call.call_sid, BACK)
        await call.wait_ended()
    assert call.heard == ("Nobody was free.",)
    assert len(codes) == 1


async def test_a_caller_on_a_frozen_line_may_hang_up_or_be_cut_off() -> None:
    """Both end the session as ever, and the action is asked."""
    async with ordering() as bench:
        bench.relay.documents["/ended"] = [bench.relay.connect(ticket="again"), "<Response/>"]
        async with bench.carrier.call("a", document=bench.relay.connect()) as call:
            await call.freeze_line()
            await call.break_line()
            await call.say("Hello?")
            assert (await call.hear()).text == "You said: Hello?"
            await call.freeze_line()
            await call.hang_up()
            await call.wait_ended()
    assert [fields["SessionStatus"] for fields in bench.relay.fields_of("/ended")] == ["failed", "completed"]


async def test_a_line_that_is_gone_cannot_be_frozen() -> None:
    """After the end of the call there is no line."""
    async with ordering() as bench, bench.carrier.call("a", document=bench.relay.connect()) as call:
        await call.hang_up()
        await call.wait_ended()
        with pytest.raises(CallOver):
            await call.freeze_line()
        with pytest.raises(CallOver):
            await call.drop_line()


# ── what is dialled, and for how long ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("dial", "code"),
    [
        (f'<Dial callerId="anonymous">{COLLEAGUE}</Dial>', 13214),
        ("<Dial>extension 5</Dial>", 13224),
        ("<Dial><Number>911</Number></Dial>", 13224),
    ],
)
async def test_what_is_no_number_is_refused(dial: str, code: int) -> None:
    """A caller ID or a number that is none is a fault of the relay's."""
    with pytest.raises(TwimlRefused) as refused:
        await dialled(f"<Response>{dial}</Response>", {COLLEAGUE: Answers()})
    assert refused.value.code == code


async def test_a_connected_pair_is_cut_off_at_the_limit(autojump_clock: trio.testing.MockClock) -> None:
    """`timeLimit` counts from the answer, and so does the duration that is told."""
    legs, took = await dialled(
        f'<Response><Dial timeLimit="60">{COLLEAGUE}</Dial></Response>', {COLLEAGUE: Answers(after=7, talks=600)}
    )
    assert took == 67
    assert legs[0].fields()["DialCallDuration"] == "60"
