"""The simulated REST API: calls are ordered, ring, are answered or not, are changed, and every step is reported."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from relay.simulator.carrier.callee import Answers, Refused, Unanswered
from relay.simulator.carrier.fault_plan import CallOver, EndlessCall, TwimlRefused, WebhookFailed
from relay.simulator.carrier.rest_service import FaultPlan
from tests.relay.simulator.ordering import OURS, THEIRS, Bench, ordering, tone
from tests.relay.simulator.scripted_relay import ACCOUNT, TOKEN, Socket

CALLS = f"/2010-04-01/Accounts/{ACCOUNT}/Calls"
SAY = "<Response><Say>Hello.</Say></Response>"
ORDER = {"To": THEIRS, "From": OURS, "Twiml": SAY}
COLLEAGUE = "+15550100099"


async def ask(bench: Bench, method: str, path: str, *, token: str = TOKEN, **fields: Any) -> tuple[int, Any]:
    """Make a request of the API by hand; return status and JSON."""
    form, query = (fields, None) if method == "POST" else (None, fields)
    async with httpx2.AsyncClient(base_url=bench.rest.url, auth=(ACCOUNT, token)) as http:
        response = await http.request(method, path, data=form, params=query)
    return response.status_code, response.json()


# ── who may ask, and for what ───────────────────────────────────────────────────────────────────────────────────────


async def test_the_account_must_identify_itself() -> None:
    """A wrong token is answered with 401 and Twilio's error 20003, and nothing is done."""
    async with ordering() as bench:
        status, answer = await ask(bench, "POST", f"{CALLS}.json", token="wrong", **ORDER)
        assert not bench.rest.calls
    assert (status, answer["code"], answer["status"]) == (401, 20003, 401)
    assert answer["more_info"] == "https://www.twilio.com/docs/errors/20003"


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", f"{CALLS}/CA{'0' * 32}.json", 20404),
        ("POST", f"{CALLS}/CA{'0' * 32}.json", 20404),
        ("GET", f"/2010-04-01/Accounts/AC{'9' * 32}/Calls.json", 20404),
        ("GET", "/2010-04-01/Messages.json", 20404),
        ("DELETE", f"{CALLS}.json", 20004),
    ],
)
async def test_there_is_no_such_thing(method: str, path: str, code: int) -> None:
    """Unknown calls, accounts, paths and methods have their errors."""
    async with ordering() as bench:
        assert (await ask(bench, method, path, Status="completed"))[1]["code"] == code


async def test_the_account_can_be_asked_for() -> None:
    """The account itself is there, for a check of the credentials."""
    async with ordering() as bench:
        status, answer = await ask(bench, "GET", f"/2010-04-01/Accounts/{ACCOUNT}.json")
    assert (status, answer["sid"], answer["status"]) == (200, ACCOUNT, "active")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"To": ""}, 21201),
        ({"To": "911"}, 21211),
        ({"From": ""}, 21213),
        ({"From": "anonymous"}, 21212),
        ({"From": "+15550100003"}, 21210),
        ({"Twiml": ""}, 21205),
        ({"Url": "/voice"}, 21205),
        ({"Twiml": "x" * 4001}, 20001),
        ({"Timeout": "0"}, 21208),
        ({"Timeout": "soon"}, 21208),
        ({"TimeLimit": "0"}, 20001),
        ({"StatusCallback": "https://a_b.example/status"}, 21609),
        ({"StatusCallbackEvent": "ended"}, 20001),
        ({"StatusCallbackMethod": "GET"}, 21209),
        ({"To": "+15550100013"}, 21215),
    ],
)
async def test_an_order_is_checked(changes: dict[str, str], code: int) -> None:
    """Each thing that can be wrong with an order is refused with Twilio's error for it, and no call exists."""
    async with ordering(numbers=[OURS]) as bench:
        bench.rest.callee("+15550100013", Refused(21215))
        status, answer = await ask(bench, "POST", f"{CALLS}.json", **{**ORDER, **changes})
        assert not bench.rest.calls
    assert (status, answer["code"]) == (400, code)


async def test_too_many_requests() -> None:
    """Turned away, a request is answered with 429 and not carried out; the next one is."""
    async with ordering() as bench:
        bench.rest.fault_plan = FaultPlan(busy=1)
        status, answer = await ask(bench, "POST", f"{CALLS}.json", **ORDER)
        assert (status, answer["code"]) == (429, 20429)
        assert (await ask(bench, "POST", f"{CALLS}.json", **ORDER))[0] == 201
        assert len(bench.rest.calls) == 1


# ── ringing ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_every_step_is_reported() -> None:
    """The callbacks come in order, signed and numbered, each with its status, and the last with the duration."""
    async with ordering() as bench:
        placed = await bench.client.create(bench.order(SAY))
        await (await bench.rest.call(placed.sid)).wait_ended()
    told = bench.relay.fields_of("/status")
    assert bench.statuses() == ["initiated", "ringing", "in-progress", "completed"]
    assert [fields["SequenceNumber"] for fields in told] == ["0", "1", "2", "3"]
    assert all(each.signed for each in bench.relay.posted)
    assert {fields["CallSid"] for fields in told} == {placed.sid}
    assert {fields["Direction"] for fields in told} == {"outbound-api"}
    assert (told[0]["From"], told[0]["To"]) == (OURS, THEIRS)
    assert (told[-1]["CallDuration"], told[-1]["SipResponseCode"]) == ("0", "200")
    assert told[-1]["Timestamp"].endswith("+0000")


async def test_only_what_was_asked_for_is_reported() -> None:
    """Without events in the order only the end is told, as the service has it."""
    async with ordering() as bench:
        await ask(bench, "POST", f"{CALLS}.json", **ORDER, StatusCallback=bench.relay.origin + "/status")
        await (await bench.rest.next_call()).wait_ended()
    assert bench.statuses() == ["completed"]


@pytest.mark.parametrize("status", ["busy", "no-answer", "failed"])
async def test_nobody_answers(status: str) -> None:
    """A call that is not answered follows no TwiML and ends with its status."""
    async with ordering() as bench:
        bench.rest.callee(THEIRS, Unanswered(status))
        placed = await bench.client.create(bench.order(SAY))
        call = await bench.rest.call(placed.sid)
        await call.wait_ended()
        state = await bench.client.fetch(placed.sid)
    assert bench.statuses() == ["initiated", "ringing", status]
    assert (state.status, state.duration, state.started_at) == (status, None, None)
    assert call.documents == []


async def test_a_call_that_is_answered_after_a_while() -> None:
    """Until somebody picks up the call rings, and follows no TwiML."""
    async with ordering() as bench:
        bench.rest.callee(THEIRS, Answers(after=0.1))
        placed = await bench.client.create(bench.order(SAY))
        call = await bench.rest.call(placed.sid)
        before = await bench.client.fetch(placed.sid)
        await call.wait_ended()
    assert before.status == "ringing"
    assert call.status == "completed"


async def test_the_carrier_queues_what_comes_too_fast() -> None:
    """With a limit on starts the second call waits its turn, and says how long in its queue time."""
    async with ordering(calls_per_second=0.1) as bench:
        await ask(bench, "POST", f"{CALLS}.json", **ORDER)
        _status, answer = await ask(bench, "POST", f"{CALLS}.json", **ORDER)
    assert 0 < int(answer["queue_time"]) <= 10_000
    assert answer["status"] == "queued"


async def test_callbacks_that_the_relay_refuses_are_a_fault() -> None:
    """A status callback that is answered with an error fails the script, after the call is over."""
    async with ordering() as bench:
        bench.relay.statuses["/status"] = 500
        await bench.client.create(bench.order(SAY))
        call = await bench.rest.next_call()
        with pytest.raises(WebhookFailed, match="15003"):
            await call.wait_ended()
    assert len(bench.statuses()) == 4


# ── answered ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_conversation_with_whoever_was_called() -> None:
    """Connected to a session, the call is like any other: words go to and fro, and the numbers are the order's."""
    async with ordering() as bench:
        await bench.client.create(bench.order(bench.relay.connect(welcomeGreeting="This is your assistant.")))
        call = await bench.rest.next_call()
        await call.connected()
        await call.quiet()
        await call.say("Who is calling?")
        assert (await call.hear()).text == "You said: Who is calling?"
        await call.hang_up()
        await call.wait_ended()
    (setup,) = bench.relay.setups
    assert (setup["from"], setup["to"], setup["direction"]) == (OURS, THEIRS, "outbound-api")
    assert call.heard == ("This is your assistant.", "You said: Who is calling?")
    assert bench.relay.fields_of("/ended")[0]["SessionStatus"] == "completed"


async def test_a_scripted_callee_speaks_by_itself() -> None:
    """Whoever is called says his words one after the other, each when the one before was answered, and hangs up."""
    async with ordering() as bench:
        bench.rest.callee(THEIRS, Answers(says=("Hello?", "Good bye."), hangs_up_after=0))
        await bench.client.create(bench.order())
        call = await bench.rest.next_call()
        await call.wait_ended()
    said = [(line.speaker, line.text) for line in call.transcript]
    assert said == [
        ("caller", "Hello?"),
        ("agent", "You said: Hello?"),
        ("caller", "Good bye."),
        ("agent", "You said: Good bye."),
    ]


async def test_a_machine_speaks_at_once() -> None:
    """A voicemail does not wait for the greeting to end; the verdict on it comes when the script says."""
    async with ordering(speech_rate=1.0) as bench:
        voicemail = Answers(answered_by="machine_start", verdict_after=0.05, says=("Leave a message.",))
        bench.rest.callee(THEIRS, voicemail)
        order = bench.order(
            bench.relay.connect(welcomeGreeting="x" * 100), detect_machine=bench.relay.origin + "/verdict"
        )
        placed = await bench.client.create(order)
        call = await bench.rest.call(placed.sid)
        await call.until(lambda: call.answered_by and call.transcript)
        state = await bench.client.fetch(placed.sid)
        await call.hang_up()
        await call.wait_ended()
    assert call.transcript[0].text == "Leave a message."
    assert state.answered_by == "machine_start"


async def test_the_url_of_an_order_is_asked_for_twiml() -> None:
    """An order with a URL asks it once the call is answered; TwiML beside it is ignored."""
    async with ordering() as bench:
        bench.relay.documents["/orders"] = ["<Response><Say>From the URL.</Say></Response>"]
        await ask(bench, "POST", f"{CALLS}.json", **ORDER, Url=bench.relay.origin + "/orders")
        call = await bench.rest.next_call()
        await call.wait_ended()
    assert call.heard == ("From the URL.",)
    assert bench.relay.fields_of("/orders")[0]["CallStatus"] == "in-progress"


async def test_a_url_that_does_not_answer_is_a_fault() -> None:
    """An order whose URL fails ends the call, and the script is told."""
    async with ordering() as bench:
        bench.relay.statuses["/orders"] = 500
        await ask(bench, "POST", f"{CALLS}.json", **ORDER, Url=bench.relay.origin + "/orders")
        call = await bench.rest.next_call()
        with pytest.raises(WebhookFailed, match="11200"):
            await call.wait_ended()


async def test_an_order_with_bad_twiml_is_a_fault() -> None:
    """The API does not look into the TwiML of an order: the call is placed, answered, and fails."""
    async with ordering() as bench:
        await bench.client.create(bench.order("<Response><Sing/></Response>"))
        call = await bench.rest.next_call()
        with pytest.raises(TwimlRefused, match="Sing"):
            await call.wait_ended()
    assert bench.statuses()[-1] == "completed"


# ── audio ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_audio_is_fetched_and_measured() -> None:
    """What `<Play>` names is decoded: how long it is, how it was sampled, and that it is not silence."""
    async with ordering() as bench:
        bench.relay.sounds["/audio/a.wav"] = ("audio/wav", tone(1.5))
        url = bench.relay.origin + "/audio/a.wav"
        await bench.client.create(bench.order(f"<Response><Play>{url}</Play></Response>"))
        call = await bench.rest.next_call()
        await call.wait_ended()
    (audio,) = call.audio
    assert call.played == [url]
    assert (audio.url, audio.seconds, audio.rate, audio.channels, audio.bits) == (url, 1.5, 8000, 1, 16)
    assert audio.loudness == pytest.approx(0.5 / 2**0.5, rel=0.01)


async def test_audio_takes_its_time() -> None:
    """At a rate of speech audio is played as long as it lasts, so a redirection can come in the middle of it."""
    async with ordering(speech_rate=1000.0) as bench:
        bench.relay.sounds["/a.wav"] = ("audio/wav", tone(60))
        play = f"<Response><Play>{bench.relay.origin}/a.wav</Play></Response>"
        placed = await bench.client.create(bench.order(play))
        call = await bench.rest.call(placed.sid)
        await call.until(lambda: call.audio)
        await bench.client.redirect(placed.sid, SAY)
        await call.wait_ended()
    assert (call.played, call.heard) == ([], ("Hello.",))


@pytest.mark.parametrize(
    ("kind", "body", "why"),
    [
        ("audio/wav", b"", "answered 404"),
        ("audio/mpeg", tone(0.1), "content type"),
        ("audio/wav", b"RIFF and no more", "cannot be decoded"),
        ("audio/wav", tone(0.1)[:-100], "shorter than its header"),
    ],
)
async def test_audio_that_cannot_be_played_is_a_fault(kind: str, body: bytes, why: str) -> None:
    """Audio that is missing, of another type, or broken fails the script."""
    async with ordering() as bench:
        bench.relay.sounds["/a.wav"] = (kind, body)
        await bench.client.create(bench.order(f"<Response><Play>{bench.relay.origin}/a.wav</Play></Response>"))
        call = await bench.rest.next_call()
        with pytest.raises(WebhookFailed, match=why):
            await call.wait_ended()


# ── dialling on ─────────────────────────────────────────────────────────────────────────────────────────────────────


def dialling(noun: str = f"<Number>{COLLEAGUE}</Number>") -> str:
    """Write TwiML that dials, and asks /dialled what then."""
    return f'<Response><Dial action="/dialled" timeout="20">{noun}</Dial></Response>'


@pytest.mark.parametrize(
    ("callee", "status", "bridged"),
    [
        (Answers(talks=0.01), "completed", "true"),
        (Unanswered("busy"), "busy", "false"),
        (Unanswered("no-answer"), "no-answer", "false"),
        (Unanswered("failed"), "failed", "false"),
        (Refused(21215), "failed", "false"),
    ],
)
async def test_a_dialled_number_has_its_script(callee: Answers | Unanswered, status: str, bridged: str) -> None:
    """Whoever is dialled answers or not as scripted for the number, and the action is told so."""
    async with ordering() as bench:
        bench.rest.callee(COLLEAGUE, callee)
        bench.relay.documents["/dialled"] = ["<Response><Say>Good bye.</Say></Response>"]
        await bench.client.create(bench.order(dialling()))
        call = await bench.rest.next_call()
        await call.wait_ended()
    (told,) = bench.relay.fields_of("/dialled")
    assert (told["DialCallStatus"], told["DialBridged"], told["CallStatus"]) == (status, bridged, "in-progress")
    assert call.dialled == [COLLEAGUE]
    assert call.heard == ("Good bye.",)


@pytest.mark.parametrize(("presses", "bridged"), [("1", "true"), ("", "false"), ("2", "false")])
async def test_a_whisper_asks_the_callee(presses: str, bridged: str) -> None:
    """The dialled side hears the whisper and is connected only if it presses the key that is asked for."""
    async with ordering() as bench:
        bench.rest.callee(COLLEAGUE, Answers(presses=presses))
        gather = '<Gather action="/pressed" numDigits="1"><Say>Press 1 to accept.</Say></Gather>'
        bench.relay.documents["/whisper"] = [f"<Response>{gather}<Hangup/></Response>"]
        hang_up = "<Response><Hangup/></Response>"
        bench.relay.documents["/pressed"] = ["<Response/>" if presses == "1" else hang_up]
        noun = f'<Number url="/whisper">{COLLEAGUE}</Number>'
        await bench.client.create(bench.order(dialling(noun)))
        call = await bench.rest.next_call()
        await call.wait_ended()
    (leg,) = call.legs
    assert leg.heard == ["Press 1 to accept."]
    (told,) = bench.relay.fields_of("/dialled")
    assert (told["DialBridged"], told["DialCallSid"]) == (bridged, leg.sid)
    whisper = bench.relay.fields_of("/whisper")[0]
    assert (whisper["CallSid"], whisper["ParentCallSid"], whisper["To"]) == (leg.sid, call.call_sid, COLLEAGUE)
    assert [fields["Digits"] for fields in bench.relay.fields_of("/pressed")] == ([presses] if presses else [])


async def test_a_whisper_may_be_several_documents() -> None:
    """A whisper that redirects is followed, up to a limit."""
    async with ordering() as bench:
        bench.relay.documents["/whisper"] = ["<Response><Redirect>/whisper</Redirect></Response>"]
        await bench.client.create(bench.order(dialling(f'<Number url="/whisper">{COLLEAGUE}</Number>')))
        call = await bench.rest.next_call()
        with pytest.raises(EndlessCall, match="whisper"):
            await call.wait_ended()


async def test_somebody_must_be_dialled() -> None:
    """A `<Dial>` that names nobody is refused."""
    async with ordering() as bench:
        await bench.client.create(bench.order("<Response><Dial/></Response>"))
        call = await bench.rest.next_call()
        with pytest.raises(TwimlRefused, match="nobody"):
            await call.wait_ended()


async def test_a_caller_who_does_not_wait() -> None:
    """When the caller hangs up while somebody is being dialled, the leg is cancelled and the action told of both."""
    async with ordering() as bench:
        bench.rest.callee(COLLEAGUE, Answers(after=10))
        await bench.client.create(bench.order(dialling()))
        call = await bench.rest.next_call()
        await call.until(lambda: call.legs)
        await call.hang_up()
        await call.wait_ended()
    (told,) = bench.relay.fields_of("/dialled")
    assert (told["DialCallStatus"], told["CallStatus"]) == ("canceled", "completed")


async def test_gather_is_not_performed_for_the_caller() -> None:
    """`<Gather>` in the call itself is refused, not ignored."""
    async with ordering() as bench:
        await bench.client.create(bench.order("<Response><Gather/></Response>"))
        call = await bench.rest.next_call()
        with pytest.raises(TwimlRefused, match="dialled legs only"):
            await call.wait_ended()


# ── changed ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_redirected_session_is_closed_normally() -> None:
    """New TwiML in the middle of a session closes the socket with 1000; the script goes on in the next session."""
    codes: list[int] = []

    async def talk(socket: Socket) -> None:
        codes.extend(frame["code"] for frame in await socket.receive_until("closed"))

    async with ordering(talk) as bench:
        placed = await bench.client.create(bench.order())
        call = await bench.rest.call(placed.sid)
        await call.connected()
        await bench.client.redirect(placed.sid, bench.relay.connect(action=None, ticket="two"))
        await call.until(lambda: len(call.sessions) == 2)
        await call.connected()
        await call.hang_up()
        await call.wait_ended()
    assert len(codes) == 2
    assert [outcome.status for outcome in call.outcomes] == ["completed", "completed"]
    assert bench.relay.setups[1]["customParameters"] == {"ticket": "two"}
    assert bench.relay.fields_of("/ended") == []


async def test_a_call_that_came_in_is_redirected_too() -> None:
    """The API knows inbound calls, which is how a call is transferred whose socket hangs."""
    async with ordering() as bench:
        document = bench.relay.connect()
        async with bench.carrier.call("a", document=document) as call:
            assert (await bench.client.fetch(call.call_sid)).status == "in-progress"
            await bench.client.redirect(call.call_sid, dialling())
            await call.wait_ended()
    assert call.dialled == [COLLEAGUE]


async def test_a_redirection_interrupts_dialling() -> None:
    """New TwiML ends a `<Dial>` whose other side still rings, and its action is not asked."""
    async with ordering() as bench:
        bench.rest.callee(COLLEAGUE, Answers(after=10))
        placed = await bench.client.create(bench.order(dialling()))
        call = await bench.rest.call(placed.sid)
        await call.until(lambda: call.legs)
        await ask(bench, "POST", f"{CALLS}/{placed.sid}.json", Url=bench.relay.origin + "/new?a=1&b=2")
        await call.wait_ended()
    assert bench.relay.fields_of("/dialled") == []
    assert len(bench.relay.fields_of("/new")) == 1


@pytest.mark.parametrize(
    ("callee", "fields", "code"),
    [
        (Answers(after=10), {"Twiml": SAY}, 21220),
        (Answers(), {"Status": "canceled"}, 21220),
        (Answers(), {"Status": "ringing"}, 20001),
        (Answers(), {}, 20001),
        (Answers(), {"Twiml": SAY, "Url": "https://a.example/"}, 20001),
        (Answers(), {"Twiml": "x" * 4001}, 20001),
        (Answers(), {"Url": "voice"}, 21205),
    ],
)
async def test_a_change_is_checked(callee: Answers, fields: dict[str, str], code: int) -> None:
    """A call that rings follows no TwiML, one that is live is not cancelled, and contradictions are refused."""
    async with ordering() as bench:
        bench.rest.callee(THEIRS, callee)
        placed = await bench.client.create(bench.order())
        call = await bench.rest.call(placed.sid)
        if not callee.after:
            await call.connected()
        assert (await ask(bench, "POST", f"{CALLS}/{placed.sid}.json", **fields))[1]["code"] == code


async def test_a_queued_call_is_cancelled() -> None:
    """`canceled` ends a call that has not been dialled yet; only its end is reported."""
    async with ordering(calls_per_second=0.1) as bench:
        await bench.client.create(bench.order(SAY))
        await (await bench.rest.next_call()).wait_ended()
        bench.relay.posted.clear()
        placed = await bench.client.create(bench.order(SAY))
        await ask(bench, "POST", f"{CALLS}/{placed.sid}.json", Status="canceled")
        await (await bench.rest.call(placed.sid)).wait_ended()
    assert bench.statuses() == ["canceled"]


# ── listed ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_calls_are_listed_by_what_is_asked() -> None:
    """The list filters by numbers, status and day, newest first."""
    async with ordering() as bench:
        sids = []
        for to in (THEIRS, COLLEAGUE, THEIRS):
            placed = await bench.client.create(bench.order(SAY, to=to))
            await (await bench.rest.call(placed.sid)).wait_ended()
            sids.append(placed.sid)

        async def listed(**query: str) -> list[str]:
            return [each["sid"] for each in (await ask(bench, "GET", f"{CALLS}.json", **query))[1]["calls"]]

        assert await listed() == sids[::-1]
        assert await listed(To=THEIRS) == [sids[2], sids[0]]
        assert await listed(From=THEIRS) == []
        assert await listed(Status="completed") == sids[::-1]
        assert await listed(Status="busy") == []
        assert await listed(**{"StartTime>": "2020-01-01", "EndTime<": "2999-01-01"}) == sids[::-1]
        assert await listed(**{"StartTime<": "2020-01-01T00:00:00Z"}) == []
        assert await listed(StartTime="2020-01-01") == []


async def test_a_list_has_pages() -> None:
    """A page has as many calls as are asked for, and says where the next one is; the vendor's library follows it."""
    async with ordering() as bench:
        for _ in range(25):
            await bench.client.create(bench.order(SAY))
        for call in bench.rest.calls:
            await call.wait_ended()
        _status, page = await ask(bench, "GET", f"{CALLS}.json", PageSize="10", Page="2")
        assert len(page["calls"]) == 5
        assert page["next_page_uri"] is None
        assert "Page=1" in page["previous_page_uri"]
        assert (await ask(bench, "GET", f"{CALLS}.json", PageSize="many"))[1]["code"] == 20001
        assert (await ask(bench, "GET", f"{CALLS}.json", Page="-1"))[1]["code"] == 20001


async def test_calls_of_long_ago_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only so many calls are remembered after their end; those that are still on are never forgotten."""
    monkeypatch.setattr("relay.simulator.carrier.exchange.CALLS_KEPT", 3)
    async with ordering() as bench:
        live = await bench.client.create(bench.order())
        await (await bench.rest.call(live.sid)).connected()
        for _ in range(5):
            placed = await bench.client.create(bench.order(SAY))
            await (await bench.rest.call(placed.sid)).wait_ended()
        assert bench.rest.calls[0].call_sid == live.sid
        assert len(bench.rest.calls) == 3


async def test_calls_do_not_outlive_the_api() -> None:
    """At the end of the block calls that are still on are cut, and their scripts are told."""
    async with ordering() as bench:
        await bench.client.create(bench.order())
        call = await bench.rest.next_call()
        await call.connected()
    assert call.over
    with pytest.raises(CallOver):
        await call.say("Hello?")
