"""The carrier's webhooks: who may ask, what a call is answered with, and how it goes on after a lost session."""

from __future__ import annotations

from urllib.parse import urlencode
from xml.etree import ElementTree as ET

import pytest
import structlog
import trio
from quart_trio import QuartTrio

from actors.errors import CallRefused
from actors.messages import Direction
from relay.twilio.signatures import SignatureChecker
from relay.web.app import MAX_BODY_BYTES, build_app
from relay.web.carrier_webhooks import CarrierWebhooks
from relay.web.ports import EndedSession
from tests.relay.web.asgi_driver import ORIGIN, TOKEN, Answer, ask, post_form, signature
from tests.relay.web.front_desk import ANNE, Agents, FakeDesk, Phrases

VOICE = "/webhooks/anne/voice"
ENDED = "/webhooks/anne/voice-ended"
STATUS = "/webhooks/anne/call-status"
CALL = {
    "CallSid": "CA1",
    "AccountSid": "AC1",
    "From": "+15550001111",
    "To": "+15550002222",
    "Direction": "inbound",
    "CallStatus": "ringing",
    "StirVerstat": "TN-Validation-Passed-A",
    "CallerCity": "",
}
LOST = {
    "CallSid": "CA1",
    "From": "+15550001111",
    "To": "+15550002222",
    "CallStatus": "in-progress",
    "SessionStatus": "failed",
    "ErrorCode": "64105",
}


@pytest.fixture
def desk() -> FakeDesk:
    """Return a front desk that admits every call."""
    return FakeDesk()


async def hand_over(session: EndedSession) -> str | None:
    """Transfer whoever was handed over with a word, and let the others go."""
    await trio.lowlevel.checkpoint()
    return f"<Response><Say>{session.handoff} for {session.call_sid}</Say></Response>" if session.handoff else None


@pytest.fixture
def app(desk: FakeDesk) -> QuartTrio:
    """Return the web app with the carrier's routes."""
    webhooks = CarrierWebhooks(
        checker=SignatureChecker(TOKEN, ORIGIN),
        agents=Agents(),
        desk=desk,
        phrases=Phrases,
        public_url=ORIGIN,
        hand_off=hand_over,
    )
    return build_app([webhooks.blueprint()])


def verbs(answer: Answer) -> list[ET.Element]:
    """Return what the carrier is ordered to do."""
    assert answer.headers["content-type"] == "text/xml; charset=utf-8"
    return list(ET.fromstring(answer.body))


def connection(answer: Answer) -> tuple[ET.Element, ET.Element]:
    """Return the `<Connect>` that is the only order, and its `<ConversationRelay>`."""
    (connect,) = verbs(answer)
    (relay,) = connect
    assert (connect.tag, relay.tag) == ("Connect", "ConversationRelay")
    return connect, relay


async def test_a_signed_call_is_connected_with_a_ticket(app: QuartTrio) -> None:
    """The carrier is sent to this agent's socket over the public origin, with ticket, greeting, voice and language."""
    answer = await post_form(app, VOICE, CALL)
    connect, relay = connection(answer)
    assert answer.status == 200
    assert connect.get("action") == "https://voice.example/webhooks/anne/voice-ended?attempt=0"
    assert relay.get("url") == "wss://voice.example/webhooks/anne/voice-ws"
    assert [parameter.attrib for parameter in relay] == [{"name": "ticket", "value": "ticket-of-CA1-0"}]
    assert (relay.get("welcomeGreeting"), relay.get("voice"), relay.get("language")) == (
        "Anne's line.",
        "a-voice",
        "de-DE",
    )


async def test_the_front_desk_learns_what_the_form_says(app: QuartTrio, desk: FakeDesk) -> None:
    """Numbers, direction, attestation and the carrier's idempotency token reach the front desk."""
    await post_form(app, VOICE, CALL, I_Twilio_Idempotency_Token="once")
    (call,) = desk.registered
    assert call.agent == ANNE
    assert (call.call_sid, call.caller, call.called) == ("CA1", "+15550001111", "+15550002222")
    assert (call.direction, call.attestation, call.verified) == (Direction.INBOUND, "A", True)
    assert (call.idempotency_token, call.attempt, call.greeting) == ("once", 0, None)


@pytest.mark.parametrize(
    ("verstat", "attestation"),
    [
        ("TN-Validation-Passed-B", "B"),
        ("TN-Validation-Passed-C", "C"),
        ("TN-Validation-Failed-A", ""),
        ("TN-Validation-Passed-A-Diverted", ""),
        ("No-TN-Validation", ""),
        ("", ""),
    ],
)
async def test_only_a_full_attestation_verifies_a_number(
    app: QuartTrio, desk: FakeDesk, verstat: str, attestation: str
) -> None:
    """A weaker or failed validation is kept as its letter or as nothing, and does not verify."""
    await post_form(app, VOICE, {**CALL, "StirVerstat": verstat})
    (call,) = desk.registered
    assert (call.attestation, call.verified) == (attestation, False)


async def test_an_outbound_call_keeps_its_direction(app: QuartTrio, desk: FakeDesk) -> None:
    """A call that the API placed is outbound."""
    await post_form(app, VOICE, {**CALL, "Direction": "outbound-api"})
    assert desk.registered[0].direction is Direction.OUTBOUND


async def test_a_withheld_number_is_an_empty_one(app: QuartTrio, desk: FakeDesk) -> None:
    """A form without the optional fields is a call like any other."""
    answer = await post_form(app, VOICE, {"CallSid": "CA1"})
    assert answer.status == 200
    assert (desk.registered[0].caller, desk.registered[0].called) == ("", "")


async def test_a_repeated_request_is_answered_identically(app: QuartTrio) -> None:
    """The carrier's retry gets the same bytes."""
    first = await post_form(app, VOICE, CALL, I_Twilio_Idempotency_Token="once")
    again = await post_form(app, VOICE, CALL, I_Twilio_Idempotency_Token="once")
    assert first.body == again.body


@pytest.mark.parametrize("path", [VOICE, ENDED, STATUS, "/webhooks/nobody/voice", "/webhooks/nobody/call-status"])
@pytest.mark.parametrize("token", [None, "another-token"])
async def test_without_the_carriers_signature_nothing_is_said(
    app: QuartTrio, desk: FakeDesk, path: str, token: str | None
) -> None:
    """An unsigned or wrongly signed webhook gets an empty 403, whether the agent exists or not."""
    answer = await post_form(app, path, {**CALL, "CallStatus": "completed"}, token=token)
    assert (answer.status, answer.body) == (403, b"")
    assert (desk.registered, desk.over) == ([], [])


async def test_an_unknown_agent_is_not_found(app: QuartTrio) -> None:
    """The carrier, whose signature is right, learns with an empty body that nobody is there."""
    answer = await post_form(app, "/webhooks/nobody/voice", CALL)
    assert (answer.status, answer.body) == (404, b"")


@pytest.mark.parametrize("agent_id", ["-anne", ".anne", "a" * 65, "an%20ne", "an%00ne", "%F0%9F%98%80"])
async def test_a_path_that_holds_no_agent_id_is_not_found(app: QuartTrio, agent_id: str) -> None:
    """What has not the form of an id is no path of ours."""
    answer = await ask(app, "POST", f"/webhooks/{agent_id}/voice")
    assert (answer.status, answer.body) == (404, b"")


async def test_a_call_that_is_not_admitted_hears_an_apology(app: QuartTrio, desk: FakeDesk) -> None:
    """Full or draining: 503 with a sentence in the agent's language, then the call ends."""
    desk.refusal = CallRefused("draining", "the relay is stopping")
    answer = await post_form(app, VOICE, CALL)
    assert answer.status == 503
    assert [(verb.tag, verb.text) for verb in verbs(answer)] == [("Say", "busy in de-DE"), ("Hangup", None)]


async def test_a_failure_of_ours_is_an_empty_500_that_gives_nothing_away(app: QuartTrio, desk: FakeDesk) -> None:
    """The log has the exception's type and place, and neither log nor answer its message."""
    desk.refusal = RuntimeError("parameters: +15550001111")
    with structlog.testing.capture_logs() as logs:
        answer = await post_form(app, VOICE, CALL)
    assert (answer.status, answer.body) == (500, b"")
    (entry,) = [each for each in logs if each["event"] == "request_failed"]
    assert "RuntimeError at " in entry["errors"][0]
    assert "+15550001111" not in str(logs)


@pytest.mark.parametrize("call_sid", ["", "CA 1", "CA1\n", "C" * 65, "<CA>"])
async def test_a_call_needs_an_id(app: QuartTrio, desk: FakeDesk, call_sid: str) -> None:
    """A form without a usable call id is an empty 400."""
    answer = await post_form(app, VOICE, {**CALL, "CallSid": call_sid})
    assert (answer.status, answer.body) == (400, b"")
    assert desk.registered == []


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
async def test_nothing_is_ordered_for_a_call_that_is_over(app: QuartTrio, desk: FakeDesk, status: str) -> None:
    """When the caller has hung up, the answer is empty and the front desk is told."""
    answer = await post_form(app, ENDED, {**LOST, "SessionStatus": status, "CallStatus": "completed"})
    assert verbs(answer) == []
    assert (desk.over, desk.registered) == (["CA1"], [])


async def test_a_session_without_a_fault_is_not_resumed(app: QuartTrio, desk: FakeDesk) -> None:
    """What is neither lost nor ended by us needs no orders, even if the call is still up for a moment."""
    answer = await post_form(app, ENDED, {**LOST, "SessionStatus": "completed"})
    assert verbs(answer) == []
    assert (desk.over, desk.registered) == ([], [])


async def test_the_session_of_a_removed_agent_is_not_resumed(app: QuartTrio, desk: FakeDesk) -> None:
    """An agent that is gone by now has no call to go on with."""
    answer = await post_form(app, "/webhooks/removed/voice-ended?attempt=0", LOST)
    assert (answer.status, answer.body) == (404, b"")


async def test_a_session_that_we_ended_lets_the_call_end(app: QuartTrio, desk: FakeDesk) -> None:
    """Without a hand-over there is nothing more to do; the call is not over until the carrier says so."""
    answer = await post_form(app, f"{ENDED}?attempt=0", {**LOST, "SessionStatus": "ended"})
    assert verbs(answer) == []
    assert desk.over == []


async def test_a_hand_over_goes_on_as_it_was_arranged(app: QuartTrio) -> None:
    """What went out with the end of the session decides how the call goes on."""
    form = {**LOST, "SessionStatus": "ended", "HandoffData": "transfer"}
    answer = await post_form(app, ENDED, form)
    assert [(verb.tag, verb.text) for verb in verbs(answer)] == [("Say", "transfer for CA1")]


async def test_a_lost_session_is_resumed_with_a_new_ticket(app: QuartTrio, desk: FakeDesk) -> None:
    """A call that is still up gets a new session, which opens with a word about the loss and counts one further."""
    answer = await post_form(app, f"{ENDED}?attempt=0", LOST)
    connect, relay = connection(answer)
    assert connect.get("action") == "https://voice.example/webhooks/anne/voice-ended?attempt=1"
    assert relay.get("welcomeGreeting") == "cut off in de-DE"
    assert [parameter.get("value") for parameter in relay] == ["ticket-of-CA1-1"]
    assert (desk.registered[0].attempt, desk.registered[0].caller) == (1, "+15550001111")


async def test_a_call_is_resumed_three_times_at_most(app: QuartTrio) -> None:
    """The third lost session is resumed, the fourth is an apology and the end."""
    third = await post_form(app, f"{ENDED}?attempt=2", LOST)
    assert connection(third)[0].get("action") == "https://voice.example/webhooks/anne/voice-ended?attempt=3"
    fourth = await post_form(app, f"{ENDED}?attempt=3", LOST)
    assert [(verb.tag, verb.text) for verb in verbs(fourth)] == [("Say", "busy in de-DE"), ("Hangup", None)]


@pytest.mark.parametrize("code", ["64101", "64104", "64106", "64109", "64110", "64111"])
async def test_what_would_fail_again_is_not_resumed(app: QuartTrio, desk: FakeDesk, code: str) -> None:
    """An error that the same TwiML would meet again is an apology at once."""
    answer = await post_form(app, f"{ENDED}?attempt=0", {**LOST, "ErrorCode": code})
    assert [verb.tag for verb in verbs(answer)] == ["Say", "Hangup"]
    assert desk.registered == []


@pytest.mark.parametrize("code", ["64105", "64102", "39001", "64103", ""])
async def test_a_lost_connection_is_resumed(app: QuartTrio, code: str) -> None:
    """Every other error, and one that the carrier does not name, is worth another session."""
    connection(await post_form(app, f"{ENDED}?attempt=0", {**LOST, "ErrorCode": code}))


async def test_a_resumption_that_is_refused_is_an_apology_that_is_played(app: QuartTrio, desk: FakeDesk) -> None:
    """While draining, the caller of a lost session hears a sentence and not the carrier's error."""
    desk.refusal = CallRefused("draining", "the relay is stopping")
    answer = await post_form(app, f"{ENDED}?attempt=0", LOST)
    assert answer.status == 200
    assert [(verb.tag, verb.text) for verb in verbs(answer)] == [("Say", "busy in de-DE"), ("Hangup", None)]


@pytest.mark.parametrize("status", ["completed", "busy", "failed", "no-answer", "canceled"])
async def test_the_end_of_a_call_is_noted_even_when_its_agent_is_gone(
    app: QuartTrio, desk: FakeDesk, status: str
) -> None:
    """Each final status is passed on, with 204, for removed agents too."""
    answer = await post_form(app, "/webhooks/removed/call-status", {"CallSid": "CA1", "CallStatus": status})
    assert (answer.status, answer.body) == (204, b"")
    assert desk.over == ["CA1"]


@pytest.mark.parametrize("status", ["queued", "initiated", "ringing", "in-progress", "unheard-of", ""])
async def test_other_statuses_change_nothing(app: QuartTrio, desk: FakeDesk, status: str) -> None:
    """What is not an end is taken with 204 and left at that."""
    answer = await post_form(app, STATUS, {"CallSid": "CA1", "CallStatus": status})
    assert answer.status == 204
    assert desk.over == []


async def test_an_unsigned_body_is_not_waited_for(app: QuartTrio, autojump_clock: trio.testing.MockClock) -> None:
    """A stranger who sends a head and no body is refused at once."""
    before = trio.current_time()
    answer = await ask(app, "POST", VOICE, body=None)
    assert (answer.status, trio.current_time()) == (403, before)
