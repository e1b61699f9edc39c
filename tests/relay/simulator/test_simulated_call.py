"""The simulated carrier calls as Twilio does: signed webhooks, sessions that end in every way, TwiML followed."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from relay.simulator.carrier.fault_plan import CallOver, EndlessCall, ScriptError, TwimlRefused, WebhookFailed
from tests.relay.simulator.scripted_relay import ACCOUNT, Socket, echo, scripted

EVENTS = {"events": "speaker-events tokens-played"}


async def test_a_conversation() -> None:
    """The caller speaks, the relay's answer is heard, and the transcript holds both."""
    async with scripted() as (_relay, carrier), carrier.call("a") as call:
        await call.say("good morning")
        assert (await call.hear()).text == "You said: good morning"
        await call.quiet()
    assert [(line.speaker, line.text) for line in call.transcript] == [
        ("caller", "good morning"),
        ("agent", "You said: good morning"),
    ]


async def test_every_request_is_signed() -> None:
    """The carrier's library accepts the signatures of all webhooks and of the upgrade."""
    async with scripted() as (relay, carrier), carrier.call("a"):
        pass
    assert [(each.path, each.signed) for each in relay.posted] == [
        ("/webhooks/a/voice", True),
        ("/ended", True),
        ("/webhooks/a/call-status", True),
    ]
    assert relay.upgrades_signed == [True]


async def test_the_voice_webhook_says_who_calls() -> None:
    """The voice webhook carries the usual fields, the attestation and an idempotency token."""
    async with scripted() as (relay, carrier), carrier.call("a", caller="+15550100009", called="+15550100008") as call:
        pass
    first = relay.posted[0]
    assert first.fields["From"] == first.fields["Caller"] == "+15550100009"
    assert first.fields["To"] == first.fields["Called"] == "+15550100008"
    assert first.fields["CallSid"] == call.call_sid
    assert first.fields["CallStatus"] == "ringing"
    assert first.fields["Direction"] == "inbound"
    assert first.fields["AccountSid"] == ACCOUNT
    assert first.fields["StirVerstat"] == "TN-Validation-Passed-A"
    assert first.headers["i-twilio-idempotency-token"]


async def test_setup_names_the_call() -> None:
    """The first frame is `setup` with the call's ids, numbers and the TwiML's parameters."""
    async with scripted() as (relay, carrier), carrier.call("a") as call:
        await call.say("x")
        await call.hear()
    (setup,) = relay.setups
    assert setup["type"] == "setup"
    assert setup["callSid"] == call.call_sid
    assert setup["accountSid"] == ACCOUNT
    assert setup["sessionId"].startswith("VX")
    assert (setup["from"], setup["to"]) == ("+15550100001", "+15550100002")
    assert setup["customParameters"] == {"ticket": "one"}


async def test_the_greeting_is_heard() -> None:
    """The greeting of the TwiML is spoken by the carrier and is part of what the caller has heard."""
    async with scripted(twiml={"welcomeGreeting": "Hello & welcome"}) as (_relay, carrier), carrier.call("a") as call:
        assert call.greeting == "Hello & welcome"
        await call.quiet()
        assert call.heard == ("Hello & welcome",)


async def test_a_call_created_with_twiml_asks_no_webhook() -> None:
    """An outbound call that brings its TwiML goes straight to the session."""
    async with scripted() as (relay, carrier):
        async with carrier.call("a", direction="outbound-api", document=relay.connect(ticket="two")) as call:
            await call.say("x")
            await call.hear()
        assert relay.setups[0]["customParameters"] == {"ticket": "two"}
        assert relay.setups[0]["direction"] == "outbound-api"
        assert not relay.fields_of("/webhooks/a/voice")


# ── ends ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_caller_who_hangs_up() -> None:
    """When the caller hangs up the socket closes with 1000 and the action is told `completed`."""
    codes: list[int] = []

    async def talk(socket: Socket) -> None:
        codes.extend(frame["code"] for frame in await socket.receive_until("closed"))

    async with scripted(talk) as (relay, carrier), carrier.call("a") as call:
        await call.hang_up()
        await call.wait_ended()
    (ended,) = relay.fields_of("/ended")
    assert (ended["SessionStatus"], ended["CallStatus"]) == ("completed", "completed")
    assert ended["SessionId"].startswith("VX")
    assert len(codes) == 1
    assert call.close_code == 1000


async def test_the_relay_ends_the_session() -> None:
    """After `end` the action is told `ended` with the handoff data as it was, and the call is still up."""

    async def talk(socket: Socket) -> None:
        await socket.say("Goodbye.")
        await socket.send(type="end", handoffData='{"to": "sales"}')
        await socket.receive_until("closed")

    async with scripted(talk) as (relay, carrier), carrier.call("a") as call:
        await call.wait_ended()
        assert call.ended == '{"to": "sales"}'
    (ended,) = relay.fields_of("/ended")
    assert (ended["SessionStatus"], ended["CallStatus"]) == ("ended", "in-progress")
    assert ended["HandoffData"] == '{"to": "sales"}'
    assert "ErrorCode" not in ended


async def test_the_relay_closes_without_end() -> None:
    """A relay that closes the socket without `end` makes the session fail with 64105."""

    async def talk(socket: Socket) -> None:
        await socket.close(1011)

    async with scripted(talk) as (relay, carrier), carrier.call("a") as call:
        await call.wait_ended()
        assert call.close_code == 1011
    (ended,) = relay.fields_of("/ended")
    assert (ended["SessionStatus"], ended["ErrorCode"], ended["CallStatus"]) == ("failed", "64105", "in-progress")


async def test_a_broken_line_is_connected_anew() -> None:
    """After a lost connection the returned TwiML is followed: same call, new session, and the script goes on."""
    async with scripted() as (relay, carrier):
        relay.documents["/ended"] = [relay.connect(ticket="again"), "<Response/>"]
        async with carrier.call("a") as call:
            await call.say("it is me")
            await call.hear()
            await call.break_line()
            await call.say("still me")
            assert (await call.hear()).text == "You said: still me"
    first, second = relay.setups
    assert first["callSid"] == second["callSid"]
    assert first["sessionId"] != second["sessionId"]
    assert second["customParameters"] == {"ticket": "again"}
    assert [each["SessionStatus"] for each in relay.fields_of("/ended")] == ["failed", "completed"]


async def test_a_refused_upgrade() -> None:
    """An upgrade that is refused makes the session fail with 64102; the call is over."""
    async with scripted() as (relay, carrier):
        relay.statuses["/socket"] = 403
        async with carrier.call("a") as call:
            assert call.over
            with pytest.raises(CallOver, match="Unable to connect"):
                await call.hear()
    assert relay.fields_of("/ended")[0]["ErrorCode"] == "64102"


async def test_the_status_callback_comes_last() -> None:
    """The last request is the status callback `completed`, with a duration and a sequence number."""
    async with scripted() as (relay, carrier), carrier.call("a"):
        pass
    last = relay.posted[-1]
    assert last.path == "/webhooks/a/call-status"
    assert (last.fields["CallStatus"], last.fields["SequenceNumber"]) == ("completed", "0")
    assert last.fields["CallDuration"].isdigit()


async def test_a_script_that_fails_breaks_the_call_off() -> None:
    """An error in the script comes out as it is, and the relay sees the line break."""
    seen = trio.Event()

    async def talk(socket: Socket) -> None:
        await socket.receive_until("closed")
        seen.set()

    async with scripted(talk) as (_relay, carrier):
        with pytest.raises(ZeroDivisionError):
            async with carrier.call("a"):
                raise ZeroDivisionError
        await seen.wait()


async def test_cancelling_a_script_ends_its_call() -> None:
    """A cancelled script leaves no call behind."""
    seen = trio.Event()

    async def talk(socket: Socket) -> None:
        await socket.receive_until("closed")
        seen.set()

    async with scripted(talk) as (_relay, carrier):
        with trio.move_on_after(0.2):
            async with carrier.call("a") as call:
                await call.hear()
        await seen.wait()


# ── TwiML ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_spoken_twiml_without_a_session() -> None:
    """TwiML that only speaks and hangs up is heard, and the call is over."""
    async with scripted() as (relay, carrier):
        relay.documents["/webhooks/a/voice"] = ["<Response><Say>We are full.</Say><Hangup/><Say>never</Say></Response>"]
        async with carrier.call("a") as call:
            assert call.heard == ("We are full.",)
            with pytest.raises(CallOver):
                await call.say("hello?")
    assert relay.setups == []


async def test_played_audio_is_noted() -> None:
    """`<Play>` in TwiML and `play` on the socket are noted with their URLs."""

    async def talk(socket: Socket) -> None:
        await socket.send(type="play", source="https://example.com/b.wav")
        await socket.send(type="end")
        await socket.receive_until("closed")

    async with scripted(talk) as (relay, carrier):
        connect = relay.documents["/webhooks/a/voice"][0]
        play = "<Response><Play>https://example.com/a.wav</Play>"
        relay.documents["/webhooks/a/voice"] = [connect.partition("?>")[2].replace("<Response>", play)]
        async with carrier.call("a") as call:
            await call.wait_ended()
    assert call.played == ["https://example.com/a.wav", "https://example.com/b.wav"]


@pytest.mark.parametrize("status", ["completed", "no-answer"])
async def test_a_transfer_is_dialled(status: str) -> None:
    """`<Dial>` is noted with its number, and its action is told how the dialled call ended."""

    async def talk(socket: Socket) -> None:
        await socket.send(type="end", handoffData="{}")
        await socket.receive_until("closed")

    async with scripted(talk, dial_status=status) as (relay, carrier):
        relay.documents["/ended"] = [
            '<Response><Dial action="/dialled" timeout="20"><Number>+15550100099</Number></Dial></Response>'
        ]
        relay.documents["/dialled"] = ["<Response><Say>Nobody is free.</Say></Response>"]
        async with carrier.call("a") as call:
            await call.wait_ended()
    assert call.dialled == ["+15550100099"]
    assert relay.fields_of("/dialled")[0]["DialCallStatus"] == status
    assert call.heard == ("Nobody is free.",)


async def test_twiml_that_no_carrier_takes() -> None:
    """TwiML with an attribute that does not exist fails the script that placed the call."""
    async with scripted(twiml={"interuptible": "any"}) as (_relay, carrier):
        with pytest.raises(TwimlRefused, match="no attribute interuptible"):
            async with carrier.call("a"):
                pass


async def test_an_action_that_answers_with_bad_twiml_fails_the_script() -> None:
    """TwiML that is refused later in the call comes out at the end of the script."""
    async with scripted() as (relay, carrier):
        relay.documents["/ended"] = ["<Response><Sing/></Response>"]
        with pytest.raises(TwimlRefused, match="Sing"):
            async with carrier.call("a") as call:
                await call.break_line()


async def test_reconnecting_for_ever_is_an_error() -> None:
    """A relay that connects the call anew after every failure is stopped, as an endless call would cost money."""

    async def talk(socket: Socket) -> None:
        await socket.close(1011)

    async with scripted(talk) as (relay, carrier):
        relay.documents["/ended"] = [relay.connect()]
        with pytest.raises(EndlessCall):
            async with carrier.call("a") as call:
                await call.wait_ended()


@pytest.mark.parametrize(("status", "content_type"), [(403, "text/xml"), (500, "text/xml"), (200, "application/json")])
async def test_a_webhook_that_is_not_answered_with_twiml(status: int, content_type: str) -> None:
    """An error status or another content type fails the script that placed the call, with the status."""
    async with scripted() as (relay, carrier):
        relay.statuses["/webhooks/a/voice"] = status
        relay.content_type = content_type
        with pytest.raises(WebhookFailed) as failed:
            async with carrier.call("a"):
                pass
        assert failed.value.status == status


async def test_nobody_at_the_other_end() -> None:
    """A relay that is not there fails the script with the status 0."""
    async with scripted() as (_relay, carrier):
        with pytest.raises(WebhookFailed) as failed:
            await carrier.post("http://127.0.0.1:1/webhooks/a/voice", {})
        assert failed.value.status == 0


# ── frames ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_keys() -> None:
    """Each key is a frame of its own, where the TwiML asks for keys."""
    frames: list[dict[str, Any]] = []

    async def talk(socket: Socket) -> None:
        frames.extend(await socket.receive_until("dtmf", digit="#"))

    async with scripted(talk, twiml={"dtmfDetection": "true"}) as (_relay, carrier), carrier.call("a") as call:
        await call.press("12#")
        await call.wait_ended()
    assert [frame["digit"] for frame in frames] == ["1", "2", "#"]


@pytest.mark.parametrize(
    ("twiml", "act"),
    [
        ({}, lambda call: call.press("1")),
        ({"dtmfDetection": "true"}, lambda call: call.press("x")),
        ({}, lambda call: call.say("half a", last=False)),
        ({"interruptible": "none"}, lambda call: call.interrupt()),
        ({"interruptible": "dtmf"}, lambda call: call.interrupt()),
    ],
)
async def test_a_script_cannot_do_what_the_twiml_does_not_allow(twiml: dict[str, str], act: Any) -> None:
    """Keys, guesses and interruptions need their attribute in the TwiML, as with the real carrier."""
    async with scripted(twiml=twiml) as (_relay, carrier), carrier.call("a") as call:
        with pytest.raises(ScriptError):
            await act(call)


async def test_a_malformed_frame_is_answered_with_an_error() -> None:
    """A frame that the carrier cannot use is counted and answered with an `error` frame; the session goes on."""
    errors: list[dict[str, Any]] = []

    async def talk(socket: Socket) -> None:
        await socket.send(type="text", token=None, last=True)
        errors.append(await socket.receive())
        await socket.say("sorry")

    async with scripted(talk) as (_relay, carrier), carrier.call("a") as call:
        assert (await call.hear()).text == "sorry"
        assert call.malformed == 1
    assert errors[0]["type"] == "error"
    assert errors[0]["description"].startswith('Invalid message received: {"type": "text"')


async def test_ten_malformed_frames_end_the_session() -> None:
    """Ten malformed frames in a row close the socket with 1007 and fail the session with 64105."""

    async def talk(socket: Socket) -> None:
        for _ in range(10):
            await socket.send_raw("null")
        await socket.receive_until("closed")

    async with scripted(talk) as (relay, carrier), carrier.call("a") as call:
        await call.wait_ended()
        assert call.malformed == 10
    assert relay.fields_of("/ended")[0]["ErrorCode"] == "64105"
    assert "malformed" in relay.fields_of("/ended")[0]["ErrorMessage"]


async def test_a_good_frame_ends_a_row_of_bad_ones() -> None:
    """Nine malformed frames, a good one and nine more do not end the session."""

    async def talk(socket: Socket) -> None:
        for _ in range(2):
            for _ in range(9):
                await socket.send_raw("[]")
            await socket.say("sorry")
        await echo(socket)

    async with scripted(talk) as (_relay, carrier), carrier.call("a") as call:
        await call.hear()
        await call.hear()
        assert call.malformed == 18
        assert not call.over


async def test_raw_messages() -> None:
    """A script can send what no carrier would."""
    frames: list[dict[str, Any]] = []

    async def talk(socket: Socket) -> None:
        frames.append(await socket.receive())

    async with scripted(talk) as (_relay, carrier), carrier.call("a") as call:
        await call.send_raw(b'{"type": "strange"}')
        await call.wait_ended()
    assert frames == [{"type": "strange"}]


# ── what is heard ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_tokens_come_one_by_one() -> None:
    """A script can follow an answer as it comes, with the time of each piece."""
    async with scripted() as (_relay, carrier), carrier.call("a") as call:
        await call.say("hi")
        tokens = [await call.next_token() for _ in range(3)]
    assert [(token.text, token.last) for token in tokens] == [("You said: ", False), ("hi", False), ("", True)]
    assert tokens[0].at <= tokens[1].at <= tokens[2].at


async def test_speech_that_is_never_closed_is_reported() -> None:
    """When the call ends in the middle of a talk cycle, what had come of it is told."""

    async def talk(socket: Socket) -> None:
        await socket.send(type="text", token="I was going to")
        await socket.close(1011)

    async with scripted(talk) as (_relay, carrier), carrier.call("a") as call:
        with pytest.raises(CallOver) as over:
            await call.hear()
        assert over.value.unfinished == "I was going to"


async def test_speech_events_are_sent_where_they_are_asked_for() -> None:
    """With `events` in the TwiML the relay is told of speech that begins, is played and ends, on both sides."""
    frames: list[dict[str, Any]] = []

    async def talk(socket: Socket) -> None:
        frames.extend(await socket.receive_until("info", name="clientSpeaking", value="off"))
        await socket.say("one ", "two")
        frames.extend(await socket.receive_until("info", name="agentSpeaking", value="off"))

    async with scripted(talk, twiml=EVENTS) as (_relay, carrier), carrier.call("a") as call:
        await call.say("hello")
        await call.wait_ended()
    infos = [(frame["name"], frame["value"]) for frame in frames if frame["type"] == "info"]
    assert infos == [
        ("clientSpeaking", "on"),
        ("clientSpeaking", "off"),
        ("agentSpeaking", "on"),
        ("tokensPlayed", "one "),
        ("tokensPlayed", "two"),
        ("agentSpeaking", "off"),
    ]


async def test_an_interruption_says_what_was_heard() -> None:
    """Talking over slow speech stops it, and the relay is told the words that had come out by then."""
    interrupts: list[dict[str, Any]] = []
    first_piece_played = trio.Event()

    async def talk(socket: Socket) -> None:
        await socket.say("Thank you for calling. ", "x" * 10_000)
        await socket.receive_until("info", name="tokensPlayed")
        first_piece_played.set()
        interrupts.append((await socket.receive_until("interrupt"))[-1])
        interrupts.append(await socket.receive())

    async with scripted(talk, twiml=EVENTS, speech_rate=1000.0) as (_relay, carrier), carrier.call("a") as call:
        await first_piece_played.wait()
        await call.interrupt()
        await call.wait_ended()
    assert interrupts[0]["utteranceUntilInterrupt"] == "Thank you for calling."
    assert interrupts[0]["durationUntilInterruptMs"] >= 23
    assert interrupts[1] == {"type": "info", "name": "agentSpeaking", "value": "off"}
    assert call.heard == ("Thank you for calling.",)


async def test_a_caller_hangs_up_on_spoken_twiml() -> None:
    """The block begins only when `<Say>` is over; one that is left before hears no more, and no session begins."""
    async with scripted(speech_rate=1.0) as (relay, carrier):
        said = f"<Response><Say>{'x' * 1000}</Say>"
        relay.documents["/webhooks/a/voice"] = [relay.connect().partition("?>")[2].replace("<Response>", said)]
        with trio.move_on_after(0.2):
            async with carrier.call("a"):
                pass
    assert relay.setups == []


async def test_a_redirect_is_followed() -> None:
    """`<Redirect>` asks the named URL for the TwiML that goes on."""
    async with scripted() as (relay, carrier):
        relay.documents["/webhooks/a/voice"] = ["<Response><Redirect>/elsewhere</Redirect></Response>"]
        relay.documents["/elsewhere"] = ["<Response><Say>Here.</Say></Response>"]
        async with carrier.call("a") as call:
            assert call.heard == ("Here.",)


async def test_a_script_that_does_not_listen_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Text frames that nobody takes do not pile up: the call ends and the script is told."""
    monkeypatch.setattr("relay.simulator.carrier.simulated_call.UNHEARD_TOKENS", 10)

    async def talk(socket: Socket) -> None:
        await socket.say(*["word "] * 20)
        await socket.receive_until("closed")

    async with scripted(talk) as (_relay, carrier):
        with pytest.raises(ScriptError, match="listened to none"):
            async with carrier.call("a") as call:
                await call.wait_ended()


async def test_a_redirection_is_asked_after_a_pause() -> None:
    """A caller who is held hears nothing for that long, even where speech takes no time; the form has no session."""
    pause = "<Pause length='1'/><Redirect method='POST'>/ended#rc=2&amp;rp=5xx</Redirect>"
    async with scripted() as (relay, carrier):
        relay.documents["/ended"] = [f"<Response>{pause}</Response>", "<Response/>"]
        async with carrier.call("a") as call:
            await call.break_line()
            broken = trio.current_time()
            await call.until(lambda: len(call.documents) == 3)
            assert trio.current_time() - broken > 0.9
    ended, redirected = relay.fields_of("/ended")
    assert ended["SessionStatus"] == "failed"
    assert redirected["CallStatus"] == "in-progress"
    assert not {"SessionStatus", "HandoffData"} & redirected.keys()


async def test_a_caller_who_hangs_up_while_held_is_not_asked_about() -> None:
    """The call is over at once, and the carrier says so."""
    pause = "<Pause length='60'/><Redirect>/ended</Redirect>"
    async with scripted() as (relay, carrier):
        relay.documents["/ended"] = [f"<Response>{pause}</Response>"]
        async with carrier.call("a") as call:
            await call.break_line()
            await call.until(lambda: len(call.documents) == 2)
    assert len(relay.fields_of("/ended")) == 1
    assert relay.fields_of("/webhooks/a/call-status")[0]["CallStatus"] == "completed"
