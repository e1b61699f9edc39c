"""The carrier's webhooks: who may ask, what a call is answered with, and how it goes on after a lost session."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
import structlog
import trio
from quart_trio import QuartTrio

from actors.call_values import Callee, Direction
from actors.errors import CallRefused, StoreFailed
from actors.transfer import TransferOrder
from relay.http.pages import MAX_BODY_BYTES
from relay.twilio.handoff_data import Moving, encode_handoff_data
from relay.twilio.urls import RETRIES
from relay.twilio.webhooks import MAX_HOLDS
from tests.relay.http.asgi_driver import ORIGIN, ask, post_form, signature
from tests.relay.twilio.fake_reception import (
    ANNE,
    FakeReception,
    NoAgents,
    carrier_app,
    connection,
    spoken,
    verbs,
)
from tests.sids import NO_SIDS, sid

VOICE = "/webhooks/anne/voice"
ENDED = "/webhooks/anne/voice-ended"
STATUS = "/webhooks/anne/call-status"
ANSWERED_BY = "/webhooks/anne/answered-by"
CALL = {
    "CallSid": sid(),
    "AccountSid": "AC1",
    "From": "+15550001111",
    "To": "+15550002222",
    "Direction": "inbound",
    "CallStatus": "ringing",
    "StirVerstat": "TN-Validation-Passed-A",
    "CallerCity": "",
}
LOST = {
    "CallSid": sid(),
    "From": "+15550001111",
    "To": "+15550002222",
    "CallStatus": "in-progress",
    "SessionStatus": "failed",
    "ErrorCode": "64105",
}


@pytest.fixture
def reception() -> FakeReception:
    """Return a reception that admits every call."""
    return FakeReception()


@pytest.fixture
def app(reception: FakeReception) -> QuartTrio:
    """Return the web app with the carrier's routes."""
    return carrier_app(reception)


async def test_a_signed_call_is_connected_with_a_ticket(app: QuartTrio) -> None:
    """The carrier is sent to this agent's socket over the public origin, with ticket, greeting, voice and language."""
    answer = await post_form(app, VOICE, CALL)
    connect, relay = connection(answer)
    assert answer.status == 200
    assert connect.get("action") == "https://voice.example/webhooks/anne/voice-ended?attempt=0&lost=0" + RETRIES
    assert relay.get("url") == "wss://voice.example/webhooks/anne/voice-ws"
    assert [parameter.attrib for parameter in relay] == [
        {"name": "ticket", "value": "ticket-of-CA00000000000000000000000000000001-0"}
    ]
    assert (relay.get("welcomeGreeting"), relay.get("voice"), relay.get("language")) == (
        "Anne's line.",
        "a-voice",
        "de-DE",
    )


async def test_the_reception_learns_what_the_form_says(app: QuartTrio, reception: FakeReception) -> None:
    """Numbers, direction, attestation and the carrier's idempotency token reach the reception."""
    await post_form(app, VOICE, CALL, I_Twilio_Idempotency_Token="once")
    (call,) = reception.registered
    assert call.agent == ANNE
    assert (call.call_sid, call.caller, call.called) == (sid(), "+15550001111", "+15550002222")
    assert (call.direction, call.attestation, call.verified) == (Direction.INBOUND, "A", True)
    assert (call.idempotency_token, call.attempt, call.greeting) == ("once", 0, None)


@pytest.mark.parametrize(
    "sender",
    [
        *("anonymous", "Anonymous", "+266696687", "+86282452253", "+7378742833", "+2562533", "+8656696", "Restricted"),
        *("unavailable", "sip:anonymous@anonymous.invalid", "private", ""),
    ],
)
async def test_a_withheld_number_is_no_number(app: QuartTrio, reception: FakeReception, sender: str) -> None:
    """The carrier has many ways to say so, and all of them are an empty caller."""
    await post_form(app, VOICE, {**CALL, "From": sender})
    assert reception.registered[-1].caller == ""


@pytest.mark.parametrize(
    ("verstat", "attestation"),
    [
        ("TN-Validation-Passed-B", "B"),
        ("TN-Validation-Passed-C", "C"),
        ("TN-Validation-Failed-A", ""),
        ("TN-Validation-Passed-A-Diverted", "A"),
        ("TN-Validation-Passed-B-Diverted", "B"),
        ("TN-Validation-Passed-C-Diverted", "C"),
        ("TN-Validation-Passed-A-Passthrough", "A"),
        ("TN-Validation-Passed-B-Passthrough", "B"),
        ("TN-Validation-Passed-A-Diverted-Passthrough", "A"),
        (" TN-Validation-Passed-B ", "B"),
        ("TN-Validation-Passed-D", ""),
        ("TN-Validation-Passed-AB", ""),
        ("TN-Validation-Passed-A-", ""),
        ("TN-Validation-Passed-A-" + "x" * 65, ""),
        ("TN-Validation-Passed-a", ""),
        ("TN-Validation-Failed-A-Diverted", ""),
        ("Passed-A", ""),
        ("No-TN-Validation", ""),
        ("", ""),
    ],
)
async def test_only_a_full_attestation_verifies_a_number(
    app: QuartTrio, reception: FakeReception, verstat: str, attestation: str
) -> None:
    """A weaker or failed validation is kept as its letter or as nothing, and does not verify."""
    await post_form(app, VOICE, {**CALL, "StirVerstat": verstat})
    (call,) = reception.registered
    assert (call.attestation, call.verified) == (attestation, False)


async def test_an_outbound_call_keeps_its_direction(app: QuartTrio, reception: FakeReception) -> None:
    """A call that the API placed is outbound."""
    await post_form(app, VOICE, {**CALL, "Direction": "outbound-api"})
    assert reception.registered[0].direction is Direction.OUTBOUND


async def test_a_withheld_number_is_an_empty_one(app: QuartTrio, reception: FakeReception) -> None:
    """A form without the optional fields is a call like any other."""
    answer = await post_form(app, VOICE, {"CallSid": sid()})
    assert answer.status == 200
    assert (reception.registered[0].caller, reception.registered[0].called) == ("", "")


async def test_a_repeated_request_is_answered_identically(app: QuartTrio) -> None:
    """The carrier's retry gets the same bytes."""
    first = await post_form(app, VOICE, CALL, I_Twilio_Idempotency_Token="once")
    again = await post_form(app, VOICE, CALL, I_Twilio_Idempotency_Token="once")
    assert first.body == again.body


@pytest.mark.parametrize(
    "path", [VOICE, ENDED, STATUS, ANSWERED_BY, "/webhooks/nobody/voice", "/webhooks/nobody/call-status"]
)
@pytest.mark.parametrize("token", [None, "another-token"])
async def test_without_the_carriers_signature_nothing_is_said(
    app: QuartTrio, reception: FakeReception, path: str, token: str | None
) -> None:
    """An unsigned or wrongly signed webhook gets an empty 403, whether the agent exists or not."""
    answer = await post_form(app, path, {**CALL, "CallStatus": "completed", "AnsweredBy": "human"}, token=token)
    assert (answer.status, answer.body) == (403, b"")
    assert (reception.registered, reception.progress, reception.callees) == ([], [], [])


async def test_an_unknown_agent_is_not_found(app: QuartTrio) -> None:
    """The carrier, whose signature is right, learns with an empty body that nobody is there."""
    answer = await post_form(app, "/webhooks/nobody/voice", CALL)
    assert (answer.status, answer.body) == (404, b"")


@pytest.mark.parametrize("agent_id", ["-anne", ".anne", "a" * 65, "an%20ne", "an%00ne", "%F0%9F%98%80"])
async def test_a_path_that_holds_no_agent_id_is_not_found(app: QuartTrio, agent_id: str) -> None:
    """What has not the form of an id is no path of ours."""
    answer = await ask(app, "POST", f"/webhooks/{agent_id}/voice")
    assert (answer.status, answer.body) == (404, b"")


async def test_a_call_that_is_not_admitted_hears_an_apology(app: QuartTrio, reception: FakeReception) -> None:
    """Full or draining: 503 with a sentence in the agent's language, then the call ends."""
    reception.refusal = CallRefused("draining", "the relay is stopping")
    answer = await post_form(app, VOICE, CALL)
    assert answer.status == 503
    assert spoken(answer) == [("Say", "busy in de-DE"), ("Hangup", None)]


async def test_a_failure_of_ours_is_an_empty_500_that_gives_nothing_away(
    app: QuartTrio, reception: FakeReception
) -> None:
    """The log has the exception's type and place, and neither log nor answer its message."""
    reception.refusal = RuntimeError("parameters: +15550001111")
    with structlog.testing.capture_logs() as logs:
        answer = await post_form(app, VOICE, CALL)
    assert (answer.status, answer.body) == (500, b"")
    (entry,) = [each for each in logs if each["event"] == "request_failed"]
    assert "RuntimeError at " in entry["errors"][0]
    assert "+15550001111" not in str(logs)


@pytest.mark.parametrize("path", [VOICE, ENDED, STATUS, ANSWERED_BY])
@pytest.mark.parametrize("call_sid", NO_SIDS)
async def test_a_call_needs_an_id(app: QuartTrio, reception: FakeReception, path: str, call_sid: str) -> None:
    """A form without a usable call id is an empty 400."""
    answer = await post_form(app, path, {**CALL, "CallSid": call_sid})
    assert (answer.status, answer.body) == (400, b"")
    assert (reception.registered, reception.progress, reception.callees) == ([], [], [])


@pytest.mark.parametrize("body", [b"CallSid=\xff", b"CallSid=%ff", b"&".join(b"a=b" for _ in range(300))])
async def test_a_body_that_is_no_form_is_refused(app: QuartTrio, body: bytes) -> None:
    """Bytes that are not UTF-8, plain or encoded, and forms without end, are an empty 400."""
    answer = await ask(app, "POST", VOICE, headers={"x-twilio-signature": "x"}, body=body)
    assert (answer.status, answer.body) == (400, b"")


async def test_a_body_beyond_the_limit_is_refused(app: QuartTrio) -> None:
    """More than a form can be is an empty 413."""
    answer = await ask(app, "POST", VOICE, headers={"x-twilio-signature": "x"}, body=b"a" * (MAX_BODY_BYTES + 1))
    assert (answer.status, answer.body) == (413, b"")


async def test_only_posts_are_taken(app: QuartTrio) -> None:
    """Any other method is an empty 405 that names the right one."""
    answer = await ask(app, "GET", VOICE)
    assert (answer.status, answer.body) == (405, b"")
    assert "POST" in answer.headers["allow"]


async def test_the_signature_covers_the_query(app: QuartTrio) -> None:
    """The count of attempts cannot be changed under the carrier's signature."""
    body = urlencode(LOST).encode()
    headers = {"x-twilio-signature": signature(f"{ORIGIN}{ENDED}?attempt=3", LOST)}
    assert (await ask(app, "POST", f"{ENDED}?attempt=0", headers=headers, body=body)).status == 403
    assert (await ask(app, "POST", f"{ENDED}?attempt=3", headers=headers, body=body)).status == 200


@pytest.mark.parametrize("status", ["completed", "ended", "failed"])
async def test_nothing_is_ordered_for_a_call_that_is_over(
    app: QuartTrio, reception: FakeReception, status: str
) -> None:
    """When the caller has hung up, the answer is empty and the reception is told."""
    answer = await post_form(app, ENDED, {**LOST, "SessionStatus": status, "CallStatus": "completed"})
    assert verbs(answer) == []
    assert (reception.over, reception.registered) == ([sid()], [])


async def test_a_session_without_a_fault_is_not_resumed(app: QuartTrio, reception: FakeReception) -> None:
    """What is neither lost nor ended by us needs no orders, even if the call is still up for a moment."""
    answer = await post_form(app, ENDED, {**LOST, "SessionStatus": "completed"})
    assert verbs(answer) == []
    assert (reception.over, reception.registered) == ([], [])


async def test_the_session_of_a_removed_agent_is_not_resumed(app: QuartTrio, reception: FakeReception) -> None:
    """An agent that is gone by now has no call to go on with."""
    answer = await post_form(app, "/webhooks/removed/voice-ended?attempt=0", LOST)
    assert (answer.status, answer.body) == (404, b"")


async def test_a_session_that_we_ended_lets_the_call_end(app: QuartTrio, reception: FakeReception) -> None:
    """Without a hand-over there is nothing more to do; the call is not over until the carrier says so."""
    answer = await post_form(app, f"{ENDED}?attempt=0", {**LOST, "SessionStatus": "ended"})
    assert verbs(answer) == []
    assert reception.over == []


async def test_a_hand_over_goes_on_as_it_was_arranged(app: QuartTrio, reception: FakeReception) -> None:
    """What went out with the end of the session decides how the call goes on, and who is in the call is known."""
    order = TransferOrder(to="+15551234567", announcement="One moment.", ring_seconds=25)
    handoff_data = encode_handoff_data(order)
    form = {**LOST, "SessionStatus": "ended", "HandoffData": handoff_data, "Direction": "outbound-api"}
    say, dial = verbs(await post_form(app, f"{ENDED}?attempt=2&lost=1", form))
    assert (say.tag, say.text, dial.tag, [number.text for number in dial]) == ("Say", "One moment.", "Dial", [order.to])
    # We made the call, so our number is where it comes from.
    assert dial.get("callerId") == "+15550001111"
    assert dial.get("action") == "https://voice.example/webhooks/anne/transfer-ended?attempt=2&lost=0" + RETRIES
    assert reception.handed == [("anne", sid(), order)]


MOVED = {**LOST, "SessionStatus": "ended", "ErrorCode": "", "HandoffData": encode_handoff_data(Moving())}
REDIRECTED = {name: value for name, value in MOVED.items() if name not in {"SessionStatus", "HandoffData"}}


async def test_a_call_that_moves_is_connected_anew_in_silence(app: QuartTrio, reception: FakeReception) -> None:
    """No greeting, no word about a loss, and none is counted; the session is the call's next."""
    answer = await post_form(app, f"{ENDED}?attempt=1&lost=1", MOVED)
    connect, relay = connection(answer)
    assert connect.get("action") == "https://voice.example/webhooks/anne/voice-ended?attempt=2&lost=1" + RETRIES
    assert relay.get("welcomeGreeting") is None
    (call,) = reception.registered
    assert (call.attempt, call.greeting, call.note) == (2, "", "")


async def test_a_call_that_moves_keeps_the_carriers_own_voice(app: QuartTrio) -> None:
    """A voice that was refused is not tried again because the call moves."""
    connect, relay = connection(await post_form(app, f"{ENDED}?attempt=1&lost=1&voice=none", MOVED))
    assert (connect.get("action") or "").endswith("?attempt=2&lost=1&voice=none" + RETRIES)
    assert relay.get("voice") is None


async def test_a_process_that_leaves_holds_the_caller(app: QuartTrio, reception: FakeReception) -> None:
    """It lets go of the call, says nothing, and has the carrier ask again, how often already in the address."""
    reception.is_leaving = True
    pause, redirect = verbs(await post_form(app, f"{ENDED}?attempt=1&lost=0", MOVED))
    assert (pause.tag, pause.attrib) == ("Pause", {"length": "5"})
    address = "https://voice.example/webhooks/anne/voice-ended?attempt=1&lost=0&moving=1" + RETRIES
    assert (redirect.tag, redirect.attrib, redirect.text) == ("Redirect", {"method": "POST"}, address)
    assert (reception.registered, reception.passed_on) == ([], [("anne", sid())])


async def test_a_caller_who_was_held_goes_on_with_who_is_there(app: QuartTrio, reception: FakeReception) -> None:
    """The redirection says neither how the session ended nor why: the address does, and it is signed."""
    answer = await post_form(app, f"{ENDED}?attempt=1&lost=0&moving=2", REDIRECTED)
    connect, relay = connection(answer)
    assert connect.get("action") == "https://voice.example/webhooks/anne/voice-ended?attempt=2&lost=0" + RETRIES
    assert relay.get("welcomeGreeting") is None
    assert reception.registered[0].greeting == ""


async def test_a_caller_is_not_held_for_ever(app: QuartTrio, reception: FakeReception) -> None:
    """After some rounds nobody else is expected to come, and the caller hears an apology."""
    reception.is_leaving = True
    last = await post_form(app, f"{ENDED}?attempt=1&lost=0&moving={MAX_HOLDS - 1}", REDIRECTED)
    assert [each.tag for each in verbs(last)] == ["Pause", "Redirect"]
    over = await post_form(app, f"{ENDED}?attempt=1&lost=0&moving={MAX_HOLDS}", REDIRECTED)
    assert spoken(over) == [("Say", "busy in de-DE"), ("Hangup", None)]


async def test_a_held_caller_who_hangs_up_is_gone(app: QuartTrio, reception: FakeReception) -> None:
    """The carrier's own word for the end goes before everything."""
    reception.is_leaving = True
    answer = await post_form(app, f"{ENDED}?attempt=1&lost=0&moving=1", {**REDIRECTED, "CallStatus": "completed"})
    assert verbs(answer) == []
    assert (reception.over, reception.passed_on) == ([sid()], [])


async def test_a_line_that_breaks_in_a_process_that_leaves_is_held_too(
    app: QuartTrio, reception: FakeReception
) -> None:
    """It begins no session that it cannot keep; the loss is counted."""
    reception.is_leaving = True
    pause, redirect = verbs(await post_form(app, f"{ENDED}?attempt=0&lost=0", LOST))
    assert (pause.tag, redirect.tag) == ("Pause", "Redirect")
    assert redirect.text == "https://voice.example/webhooks/anne/voice-ended?attempt=0&lost=1&moving=1" + RETRIES


async def test_a_lost_session_is_resumed_with_a_new_ticket(app: QuartTrio, reception: FakeReception) -> None:
    """A call that is still up gets a new session, which opens with a word about the loss and counts one further."""
    answer = await post_form(app, f"{ENDED}?attempt=0&lost=0", LOST)
    connect, relay = connection(answer)
    assert connect.get("action") == "https://voice.example/webhooks/anne/voice-ended?attempt=1&lost=1" + RETRIES
    assert relay.get("welcomeGreeting") == "cut off in de-DE"
    assert [parameter.get("value") for parameter in relay] == ["ticket-of-CA00000000000000000000000000000001-1"]
    assert (reception.registered[0].attempt, reception.registered[0].caller) == (1, "+15550001111")


async def test_a_call_is_resumed_three_times_at_most(app: QuartTrio) -> None:
    """The third lost session is resumed, the fourth is an apology and the end."""
    third = await post_form(app, f"{ENDED}?attempt=2&lost=2", LOST)
    assert (
        connection(third)[0].get("action")
        == "https://voice.example/webhooks/anne/voice-ended?attempt=3&lost=3" + RETRIES
    )
    fourth = await post_form(app, f"{ENDED}?attempt=3&lost=3", LOST)
    assert spoken(fourth) == [("Say", "busy in de-DE"), ("Hangup", None)]


async def test_only_losses_count_towards_the_limit(app: QuartTrio, reception: FakeReception) -> None:
    """A call that came back from many transfers is resumed like any other."""
    answer = await post_form(app, f"{ENDED}?attempt=9&lost=1", LOST)
    assert (
        connection(answer)[0].get("action")
        == "https://voice.example/webhooks/anne/voice-ended?attempt=10&lost=2" + RETRIES
    )
    assert reception.registered[0].attempt == 10


async def test_the_fault_of_a_lost_session_is_noted(app: QuartTrio, reception: FakeReception) -> None:
    """The carrier's error code reaches the call's record, with the call still in progress."""
    await post_form(app, f"{ENDED}?attempt=0&lost=0", LOST)
    ((agent_id, progress),) = reception.progress
    assert (agent_id, progress.call_sid, progress.status, progress.error) == ("anne", sid(), "in-progress", "64105")


async def test_a_fault_that_cannot_be_noted_does_not_end_the_call(app: QuartTrio, reception: FakeReception) -> None:
    """When the database is away the session is resumed all the same."""
    reception.loss = StoreFailed("disk full")
    connection(await post_form(app, f"{ENDED}?attempt=0&lost=0", LOST))


@pytest.mark.parametrize("code", ["64101", "64104", "64106", "64109", "64110"])
async def test_what_would_fail_again_is_not_resumed(app: QuartTrio, reception: FakeReception, code: str) -> None:
    """An error that the same TwiML would meet again is an apology at once."""
    answer = await post_form(app, f"{ENDED}?attempt=0", {**LOST, "ErrorCode": code})
    assert [verb.tag for verb in verbs(answer)] == ["Say", "Hangup"]
    assert reception.registered == []


async def test_a_refused_voice_is_left_out_once(app: QuartTrio, reception: FakeReception) -> None:
    """The caller hears the carrier's own voice, from the greeting on; if that is refused as well, an apology."""
    answer = await post_form(app, f"{ENDED}?attempt=0&lost=0", {**LOST, "ErrorCode": "64111"})
    connect, relay = connection(answer)
    assert relay.get("voice") is None
    assert relay.get("language") == "de-DE"
    assert (
        connect.get("action") == "https://voice.example/webhooks/anne/voice-ended?attempt=1&lost=1&voice=none" + RETRIES
    )
    assert reception.registered[0].is_unheard
    again = await post_form(app, f"{ENDED}?attempt=1&lost=1&voice=none", {**LOST, "ErrorCode": "64111"})
    assert spoken(again) == [("Say", "busy in de-DE"), ("Hangup", None)]


async def test_a_voice_that_was_left_out_stays_out(app: QuartTrio, reception: FakeReception) -> None:
    """A line that is lost later is resumed without the voice too, and its caller is told of the cut, not greeted."""
    connect, relay = connection(await post_form(app, f"{ENDED}?attempt=1&lost=1&voice=none", LOST))
    assert (relay.get("voice"), relay.get("welcomeGreeting")) == (None, "cut off in de-DE")
    assert (connect.get("action") or "").endswith("?attempt=2&lost=2&voice=none" + RETRIES)
    assert not reception.registered[0].is_unheard


@pytest.mark.parametrize("query", ["attempt=3&lost=3", "attempt=9&lost=3", "attempt=4"])
async def test_a_refused_voice_makes_no_endless_call(app: QuartTrio, reception: FakeReception, query: str) -> None:
    """The number of lost sessions is bounded whatever they were lost for."""
    answer = await post_form(app, f"{ENDED}?{query}", {**LOST, "ErrorCode": "64111"})
    assert [verb.tag for verb in verbs(answer)] == ["Say", "Hangup"]
    assert reception.registered == []


@pytest.mark.parametrize("voice", ["", "None", "EXAVITQu4vr4xnSDxMaL", "0"])
async def test_another_word_about_the_voice_says_nothing(app: QuartTrio, voice: str) -> None:
    """Only our own word leaves the voice out."""
    _connect, relay = connection(await post_form(app, f"{ENDED}?attempt=0&lost=0&voice={voice}", LOST))
    assert relay.get("voice") == "a-voice"


@pytest.mark.parametrize("code", ["64105", "64102", "39001", "64103", ""])
async def test_a_lost_connection_is_resumed(app: QuartTrio, code: str) -> None:
    """Every other error, and one that the carrier does not name, is worth another session."""
    connection(await post_form(app, f"{ENDED}?attempt=0", {**LOST, "ErrorCode": code}))


async def test_a_resumption_that_is_refused_is_an_apology_that_is_played(
    app: QuartTrio, reception: FakeReception
) -> None:
    """While draining, the caller of a lost session hears a sentence and not the carrier's error."""
    reception.refusal = CallRefused("draining", "the relay is stopping")
    answer = await post_form(app, f"{ENDED}?attempt=0", LOST)
    assert answer.status == 200
    assert spoken(answer) == [("Say", "busy in de-DE"), ("Hangup", None)]


@pytest.mark.parametrize("status", ["completed", "busy", "failed", "no-answer", "canceled"])
async def test_the_end_of_a_call_is_noted_even_when_its_agent_is_gone(
    app: QuartTrio, reception: FakeReception, status: str
) -> None:
    """Each final status is passed on, with 204, for removed agents too."""
    answer = await post_form(app, "/webhooks/removed/call-status", {"CallSid": sid(), "CallStatus": status})
    assert (answer.status, answer.body) == (204, b"")
    assert [(agent_id, each.status) for agent_id, each in reception.progress] == [("removed", status)]
    assert reception.over == [sid()]


async def test_a_lost_session_of_a_removed_agent_whose_call_is_over_is_noted(
    app: QuartTrio, reception: FakeReception
) -> None:
    """The action of a session says that the call is over, whoever it was for."""
    answer = await post_form(app, "/webhooks/removed/voice-ended?attempt=0", {**LOST, "CallStatus": "completed"})
    assert (answer.status, verbs(answer), reception.over) == (200, [], [sid()])


@pytest.mark.parametrize("status", ["queued", "initiated", "ringing", "in-progress"])
async def test_a_call_that_goes_on_is_noted_and_not_over(app: QuartTrio, reception: FakeReception, status: str) -> None:
    """What is not an end is passed on with 204, and ends nothing."""
    answer = await post_form(app, STATUS, {"CallSid": sid(), "CallStatus": status})
    assert answer.status == 204
    assert ([each.status for _agent_id, each in reception.progress], reception.over) == ([status], [])


@pytest.mark.parametrize("status", ["unheard-of", "", "Completed", "in-progress "])
async def test_a_status_that_nobody_knows_is_left_at_that(
    app: QuartTrio, reception: FakeReception, status: str
) -> None:
    """It is taken with 204, so that the carrier does not repeat it."""
    answer = await post_form(app, STATUS, {"CallSid": sid(), "CallStatus": status})
    assert (answer.status, reception.progress) == (204, [])


async def test_a_repeated_status_is_passed_on_each_time(app: QuartTrio, reception: FakeReception) -> None:
    """What a repeat means is for the record to decide; the carrier gets the same answer."""
    form = {"CallSid": sid(), "CallStatus": "completed"}
    answers = [await post_form(app, STATUS, form) for _ in range(3)]
    assert [answer.status for answer in answers] == [204, 204, 204]
    assert reception.over == [sid()] * 3


@pytest.mark.parametrize("path", [STATUS, ANSWERED_BY, ENDED])
async def test_what_could_not_be_kept_is_a_503(app: QuartTrio, reception: FakeReception, path: str) -> None:
    """The carrier is told with an empty body, and the log without the reason's text."""
    reception.loss = StoreFailed("parameters: +15550001111")
    with structlog.testing.capture_logs() as logs:
        answer = await post_form(app, path, {**LOST, "CallStatus": "completed"})
    assert (answer.status, answer.body) == (503, b"")
    assert [each["event"] for each in logs if each["log_level"] == "warning"] == ["webhook_not_kept"]
    assert "+15550001111" not in str(logs)


@pytest.mark.parametrize(
    ("answered_by", "callee"),
    [
        ("human", Callee.HUMAN),
        ("machine_start", Callee.VOICEMAIL),
        ("machine_end_beep", Callee.VOICEMAIL),
        ("machine_end_silence", Callee.VOICEMAIL),
        ("machine_end_other", Callee.VOICEMAIL),
        ("fax", Callee.VOICEMAIL),
        ("unknown", Callee.UNKNOWN),
        ("HUMAN", Callee.UNKNOWN),
        ("", Callee.UNKNOWN),
    ],
)
async def test_who_picked_up_reaches_the_reception(
    app: QuartTrio, reception: FakeReception, answered_by: str, callee: Callee
) -> None:
    """Only the word for a person makes one; every word for a machine, and a fax, is a machine."""
    answer = await post_form(app, ANSWERED_BY, {"CallSid": sid(), "AnsweredBy": answered_by})
    assert (answer.status, answer.body) == (204, b"")
    assert reception.callees == [("anne", sid(), callee)]


async def test_who_picked_up_is_noted_even_when_the_agent_is_gone(app: QuartTrio, reception: FakeReception) -> None:
    """A verdict about a removed agent's call, or none at all, is taken like any other."""
    answer = await post_form(app, "/webhooks/removed/answered-by", {"CallSid": sid()})
    assert (answer.status, reception.callees) == (204, [("removed", sid(), Callee.UNKNOWN)])


async def test_an_unsigned_body_is_not_waited_for(app: QuartTrio, autojump_clock: trio.testing.MockClock) -> None:
    """A stranger who sends a head and no body is refused at once."""
    before = trio.current_time()
    answer = await ask(app, "POST", VOICE, body=None)
    assert (answer.status, trio.current_time()) == (403, before)


# ── without a database ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "status", "is_heard"),
    [
        ("voice", 503, True),
        ("voice-ended", 200, True),
        ("transfer-ended", 200, True),
        ("whisper", 200, True),
        ("call-status", 204, False),
        ("answered-by", 204, False),
    ],
)
async def test_who_cannot_be_looked_up_hears_an_apology(
    reception: FakeReception, name: str, status: int, is_heard: bool
) -> None:
    """A caller is never left with an empty answer, and what needs no look-up works as ever."""
    app = carrier_app(reception, agents=NoAgents())
    fields = {**CALL, "SessionStatus": "failed", "DialCallStatus": "busy"}
    answer = await post_form(app, f"/webhooks/anne/{name}", fields)
    assert answer.status == status
    if is_heard:
        assert [tag for tag, _text in spoken(answer)] == ["Say", "Hangup"]
    else:
        assert answer.body == b""


async def test_a_call_that_has_ended_is_not_connected_again(app: QuartTrio, reception: FakeReception) -> None:
    """A webhook that somebody sends again gets an order to do nothing."""
    reception.refusal = CallRefused("over", "the call has ended")
    answer = await post_form(app, VOICE, CALL)
    assert (answer.status, verbs(answer)) == (200, [])
