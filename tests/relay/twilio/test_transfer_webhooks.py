"""The webhooks of a transfer: what the caller and the callee hear next."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
import structlog
from quart_trio import QuartTrio

from actors.call_values import Direction
from actors.errors import CallRefused, StoreFailed
from actors.transfer import TransferOutcome, outcome_of_dial
from relay.twilio.urls import RETRIES
from tests.relay.http.asgi_driver import ORIGIN, ask, post_form, signature
from tests.relay.twilio.fake_reception import ANNE, FakeReception, carrier_app, connection, spoken, verbs
from tests.sids import NO_SIDS, sid

ENDED = "/webhooks/anne/transfer-ended"
WHISPER = "/webhooks/anne/whisper"
WHISPER_ANSWER = "/webhooks/anne/whisper-answer"
NOTE = "[The transfer was not answered.]"
DIALLED = {
    "CallSid": sid(),
    "AccountSid": "AC1",
    "From": "+15550001111",
    "To": "+15550002222",
    "Direction": "inbound",
    "CallStatus": "in-progress",
    "DialCallStatus": "no-answer",
    "DialCallSid": sid(2),
    "DialCallDuration": "0",
    "DialBridged": "false",
}
PICKED_UP = {"CallSid": sid(2), "ParentCallSid": sid(), "CallStatus": "in-progress", "Direction": "outbound-dial"}


@pytest.fixture
def reception() -> FakeReception:
    """Return a reception that admits every call, and to which every caller comes back from a transfer."""
    return FakeReception(note=NOTE)


@pytest.fixture
def app(reception: FakeReception) -> QuartTrio:
    """Return the web app with the carrier's routes."""
    return carrier_app(reception)


# ── the end of a transfer ───────────────────────────────────────────────────────────────────────────────────────────


async def test_a_caller_who_comes_back_is_connected_again(app: QuartTrio, reception: FakeReception) -> None:
    """The next attempt has a ticket of its own, no greeting, and the note for whoever answers; nothing was lost."""
    answer = await post_form(app, f"{ENDED}?attempt=2&lost=1", DIALLED)
    connect, relay = connection(answer)
    assert connect.get("action") == "https://voice.example/webhooks/anne/voice-ended?attempt=3&lost=1" + RETRIES
    assert relay.get("welcomeGreeting") is None
    assert [parameter.get("value") for parameter in relay] == ["ticket-of-CA00000000000000000000000000000001-3"]
    (call,) = reception.registered
    assert (call.agent, call.call_sid, call.attempt, call.note, call.greeting) == (ANNE, sid(), 3, NOTE, "")
    assert (call.caller, call.called, call.direction) == ("+15550001111", "+15550002222", Direction.INBOUND)


@pytest.mark.parametrize("status", ["completed", "answered", "busy", "no-answer", "failed", "canceled"])
@pytest.mark.parametrize("bridged", [True, False])
@pytest.mark.parametrize("confirm", [True, False])
@pytest.mark.parametrize("is_over", [True, False])
async def test_how_it_went_is_reported_as_the_form_says_it(
    app: QuartTrio, reception: FakeReception, *, status: str, bridged: bool, confirm: bool, is_over: bool
) -> None:
    """Status, whether the two spoke, whether a key was asked for, and whether the caller is there, each on its own."""
    query = "?attempt=0&lost=0&confirm=1" if confirm else "?attempt=0&lost=0"
    form = {
        **DIALLED,
        "DialCallStatus": status,
        "DialBridged": "true" if bridged else "false",
        "CallStatus": "completed" if is_over else "in-progress",
        "ErrorCode": "13224",
    }
    await post_form(app, ENDED + query, form)
    outcome = outcome_of_dial(status, bridged=bridged, caller_is_there=not is_over, confirm=confirm)
    assert reception.results == [("anne", sid(), outcome, "13224")]


@pytest.mark.parametrize(
    ("duration", "status", "query", "bridged"),
    [
        ("41", "completed", "", True),
        ("1", "completed", "", True),
        ("0", "completed", "", False),
        ("", "completed", "", False),
        ("-3", "completed", "", False),
        ("long", "completed", "", False),
        ("41", "no-answer", "", False),
        ("41", "busy", "", False),
        ("41", "canceled", "", False),
        ("41", "failed", "", False),
        # The whisper lasts too, so that a duration does not tell whether the key was pressed.
        ("41", "completed", "?confirm=1", False),
    ],
)
async def test_a_completed_leg_with_a_duration_was_connected_where_the_carrier_does_not_say(
    app: QuartTrio, reception: FakeReception, *, duration: str, status: str, query: str, bridged: bool
) -> None:
    """A carrier that sends no `DialBridged` is understood by the length of the leg."""
    form = {**DIALLED, "DialCallStatus": status, "DialCallDuration": duration, "CallStatus": "in-progress"}
    form.pop("DialBridged", None)
    await post_form(app, ENDED + query, form)
    assert (reception.results[-1][2] is TransferOutcome.ANSWERED) is bridged


@pytest.mark.parametrize(
    ("fields", "query"),
    [
        ({"DialCallStatus": "unheard-of"}, ""),
        ({"DialCallStatus": ""}, ""),
        ({"DialBridged": "TRUE"}, ""),
        ({"DialBridged": "1"}, ""),
        ({"ErrorCode": "<b>"}, ""),
        ({"ErrorCode": "1" * 99}, ""),
        ({"CallStatus": "unheard-of"}, ""),
        ({}, "?attempt=x&lost=-1&confirm=yes"),
    ],
)
async def test_what_is_not_of_its_form_counts_as_absent(
    app: QuartTrio, reception: FakeReception, fields: dict[str, str], query: str
) -> None:
    """The transfer failed then, nobody spoke, and the caller is there, to be asked."""
    connection(await post_form(app, ENDED + query, {**DIALLED, "DialCallStatus": "failed", **fields}))
    assert reception.results == [("anne", sid(), TransferOutcome.FAILED, "")]
    assert [call.attempt for call in reception.registered] == [1]


async def test_when_the_two_have_spoken_the_call_ends(app: QuartTrio, reception: FakeReception) -> None:
    """Without a note there is nothing to come back for; the call is over when the carrier says so."""
    reception.note = None
    answer = await post_form(app, ENDED, {**DIALLED, "DialCallStatus": "completed", "DialBridged": "true"})
    assert (answer.status, verbs(answer)) == (200, [])
    assert (reception.registered, reception.progress) == ([], [])


async def test_a_caller_who_is_gone_is_not_connected_again(app: QuartTrio, reception: FakeReception) -> None:
    """A call that is over gets no orders, even with a note, and its end is noted."""
    answer = await post_form(app, ENDED, {**DIALLED, "CallStatus": "completed"})
    assert (answer.status, verbs(answer)) == (200, [])
    assert (reception.registered, reception.over) == ([], [sid()])


async def test_a_caller_who_cannot_be_let_back_in_hears_an_apology(app: QuartTrio, reception: FakeReception) -> None:
    """With 200, so that it is played."""
    reception.refusal = CallRefused("draining", "the relay is stopping")
    answer = await post_form(app, ENDED, DIALLED)
    assert (answer.status, spoken(answer)) == (200, [("Say", "busy in de-DE"), ("Hangup", None)])


async def test_an_end_that_cannot_be_noted_is_a_503(app: QuartTrio, reception: FakeReception) -> None:
    """The carrier is told; how the transfer went was noted before."""
    reception.loss = StoreFailed("disk full")
    answer = await post_form(app, ENDED, {**DIALLED, "CallStatus": "completed"})
    assert (answer.status, answer.body, len(reception.results)) == (503, b"", 1)


async def test_the_transfer_of_a_removed_agent_is_not_found(app: QuartTrio, reception: FakeReception) -> None:
    """An agent that is gone by now has nobody to whom a caller could come back."""
    answer = await post_form(app, "/webhooks/removed/transfer-ended", DIALLED)
    assert (answer.status, answer.body, reception.registered) == (404, b"", [])


async def test_the_end_of_a_removed_agents_transferred_call_is_noted(app: QuartTrio, reception: FakeReception) -> None:
    """That the call is over counts still."""
    answer = await post_form(app, "/webhooks/removed/transfer-ended", {**DIALLED, "CallStatus": "completed"})
    assert (answer.status, verbs(answer)) == (200, [])
    assert [(agent_id, each.call_sid) for agent_id, each in reception.progress] == [("removed", sid())]
    assert reception.results == []


async def test_a_repeated_webhook_is_answered_identically(app: QuartTrio, reception: FakeReception) -> None:
    """The carrier's retry gets the same bytes, and how it went is told again: that is for the record to decide."""
    answers = [await post_form(app, ENDED, DIALLED, I_Twilio_Idempotency_Token="once") for _ in range(3)]
    assert {answer.body for answer in answers} == {answers[0].body}
    assert reception.results == [reception.results[0]] * 3


# ── the whisper ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_callee_hears_of_the_caller(app: QuartTrio) -> None:
    """In the agent's language, with a key to press; without one the carrier hangs up."""
    gather, hang_up = verbs(await post_form(app, WHISPER, PICKED_UP))
    assert (gather.tag, hang_up.tag) == ("Gather", "Hangup")
    assert gather.get("action") == "https://voice.example/webhooks/anne/whisper-answer" + RETRIES
    assert [(say.tag, say.text, say.get("language")) for say in gather] == [("Say", "press 1 in de-DE", "de-DE")]


async def test_the_whisper_of_a_removed_agent_is_not_found(app: QuartTrio) -> None:
    """There is nothing to say in the name of an agent that is gone."""
    answer = await post_form(app, "/webhooks/removed/whisper", PICKED_UP)
    assert (answer.status, answer.body) == (404, b"")


async def test_the_right_key_takes_the_call(app: QuartTrio) -> None:
    """No more orders: the carrier connects the two."""
    answer = await post_form(app, WHISPER_ANSWER, {**PICKED_UP, "Digits": "1"})
    assert (answer.status, verbs(answer)) == (200, [])


@pytest.mark.parametrize("form", [{"Digits": "2"}, {"Digits": "11"}, {"Digits": ""}, {"Digits": "１"}, {}])
async def test_any_other_key_declines_it(app: QuartTrio, form: dict[str, str]) -> None:
    """The carrier hangs up on whoever pressed something else, or nothing."""
    assert spoken(await post_form(app, WHISPER_ANSWER, {**PICKED_UP, **form})) == [("Hangup", None)]


@pytest.mark.parametrize("path", [WHISPER, WHISPER_ANSWER])
async def test_a_whisper_changes_nothing(app: QuartTrio, reception: FakeReception, path: str) -> None:
    """It is about the called side's own call, even when that is over, and can be repeated."""
    for _ in range(2):
        await post_form(app, path, {**PICKED_UP, "CallStatus": "completed", "Digits": "1"})
    assert (reception.registered, reception.progress, reception.results) == ([], [], [])


# ── who may ask ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", [ENDED, WHISPER, WHISPER_ANSWER, "/webhooks/nobody/transfer-ended"])
@pytest.mark.parametrize("token", [None, "another-token"])
async def test_without_the_carriers_signature_nothing_is_said(
    app: QuartTrio, reception: FakeReception, path: str, token: str | None
) -> None:
    """An unsigned or wrongly signed webhook gets an empty 403, whether the agent exists or not."""
    answer = await post_form(app, path, {**DIALLED, "CallStatus": "completed", "Digits": "1"}, token=token)
    assert (answer.status, answer.body) == (403, b"")
    assert (reception.registered, reception.progress, reception.results) == ([], [], [])


async def test_the_signature_covers_what_was_confirmed(app: QuartTrio, reception: FakeReception) -> None:
    """The query cannot be changed under the carrier's signature."""
    body = urlencode(DIALLED).encode()
    headers = {"x-twilio-signature": signature(f"{ORIGIN}{ENDED}?attempt=0&lost=0&confirm=1", DIALLED)}
    answer = await ask(app, "POST", f"{ENDED}?attempt=0&lost=0", headers=headers, body=body)
    assert (answer.status, reception.results) == (403, [])


@pytest.mark.parametrize("path", [ENDED, WHISPER, WHISPER_ANSWER])
@pytest.mark.parametrize("call_sid", NO_SIDS)
async def test_a_call_needs_an_id(app: QuartTrio, reception: FakeReception, path: str, call_sid: str) -> None:
    """A form without a usable call id is an empty 400."""
    answer = await post_form(app, path, {**DIALLED, "CallSid": call_sid, "Digits": "1"})
    assert (answer.status, answer.body, reception.results) == (400, b"", [])


async def test_the_log_holds_no_numbers_and_no_note(app: QuartTrio) -> None:
    """What happens is logged by ids."""
    with structlog.testing.capture_logs() as logs:
        await post_form(app, f"{ENDED}?attempt=0&lost=0", DIALLED)
        await post_form(app, WHISPER_ANSWER, {**PICKED_UP, "From": "+15550003333", "Digits": "1"})
    assert [each["event"] for each in logs] == ["transfer_over", "call_admitted", "whisper_answered"]
    assert not any(secret in str(logs) for secret in ("+1555", "not answered", "ticket-of"))
