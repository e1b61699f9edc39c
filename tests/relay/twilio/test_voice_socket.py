"""The voice socket: only a signed upgrade with this call's ticket becomes a call."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

import pytest
import structlog
import trio

from actors.call_values import CallInfo
from actors.calls import Calls
from actors.errors import CallRefused
from actors.events import CallerGone, UtteranceHeard
from actors.ports import PhoneLine
from relay.reception import IncomingCall
from relay.twilio.signatures import SignatureChecker
from relay.twilio.voice_socket import VoiceSocket
from tests.relay.http.asgi_driver import ORIGIN, TOKEN, DialledSocket, dial, signature
from tests.relay.twilio.fake_reception import ANNE, FakeReception
from tests.sids import sid

PATH = "/webhooks/anne/voice-ws"
SIGNED = {"x-twilio-signature": signature("wss://voice.example" + PATH)}


def setup(**changes: object) -> str:
    """Return the carrier's first frame for the call CA1 with the right ticket, or with changes."""
    frame = {
        "accountSid": "AC1",
        "callSid": sid(),
        "customParameters": {"ticket": "ticket-of-CA00000000000000000000000000000001-0"},
    }
    return json.dumps({"type": "setup", **frame, **changes})


@asynccontextmanager
async def dialled(
    reception: FakeReception, *, headers: dict[str, str] = SIGNED, **how: Any
) -> AsyncIterator[DialledSocket]:
    """Register the call CA1 and dial its socket; the account is AC1."""
    await reception.register(IncomingCall(agent=ANNE, call_sid=sid()))
    voice = VoiceSocket(checker=SignatureChecker(TOKEN, ORIGIN), calls=cast("Calls", reception), account_sid="AC1")
    with trio.fail_after(60):
        async with dial(partial(voice, "anne"), PATH, headers=headers, **how) as socket:
            yield socket


async def test_a_ticketed_setup_becomes_a_call(autojump_clock: trio.testing.MockClock) -> None:
    """The reception runs the call on the line, and the socket is closed as normal after it."""
    heard: list[object] = []

    async def talk(info: CallInfo, line: PhoneLine) -> None:
        await line.speak(f"Hello {info.call_sid}", last=True)
        heard.append(await line.receive())

    reception = FakeReception(on_connect=talk)
    async with dialled(reception) as socket:
        await socket.say(setup())
        await socket.say('{"type":"prompt","voicePrompt":"Hi."}')
    assert heard == [UtteranceHeard("Hi.")]
    assert [json.loads(each)["token"] for each in socket.outcome if isinstance(each, str) and each != "accept"] == [
        "Hello CA00000000000000000000000000000001"
    ]
    assert (socket.outcome[0], socket.outcome[-1]) == ("accept", 1000)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-twilio-signature": ""},
        {"x-twilio-signature": "bm9uc2Vuc2U="},
        {"x-twilio-signature": signature(ORIGIN + PATH)},
        {"x-twilio-signature": signature("wss://voice.example" + PATH, token="another-token")},
        {"x-twilio-signature": signature("wss://evil.example" + PATH), "host": "evil.example"},
    ],
)
async def test_an_unsigned_upgrade_is_refused_before_it_is_made(
    headers: dict[str, str], autojump_clock: trio.testing.MockClock
) -> None:
    """Without the carrier's signature over the socket's address there is a 403 and no socket."""
    async with dialled(FakeReception(), headers=headers) as socket:
        await socket.done.wait()
    assert socket.outcome == [403]


async def test_a_server_without_refusals_closes_instead(autojump_clock: trio.testing.MockClock) -> None:
    """Where ASGI has no HTTP answer for an upgrade, the socket is closed without being accepted."""
    async with dialled(FakeReception(), headers={}, extension=False) as socket:
        await socket.done.wait()
    assert socket.outcome == [1008]


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (setup(callSid=sid(2)), "ticket"),
        (setup(customParameters={"ticket": "wrong"}), "ticket"),
        (setup(customParameters={}), "ticket"),
        (setup(customParameters=None), "ticket"),
        (setup(accountSid="AC2"), "account"),
        (setup(accountSid=None), "account"),
        ('{"type":"prompt","voicePrompt":"Hi."}', "setup_missing"),
        ("null", "setup_missing"),
        ("", "setup_missing"),
        ("[" * 10_000, "setup_missing"),
        (setup(customParameters={"ticket": {"a": "b"}}), "ticket"),
    ],
)
async def test_anything_but_this_calls_setup_is_closed(
    frame: str, why: str, autojump_clock: trio.testing.MockClock
) -> None:
    """A wrong ticket, call or account, or another first frame, is a policy violation; the log says which."""
    reception = FakeReception()
    with structlog.testing.capture_logs() as logs:
        async with dialled(reception) as socket:
            await socket.say(frame)
    assert socket.outcome == ["accept", 1008]
    assert reception.connected == []
    assert [each["why"] for each in logs] == [why]


async def test_a_ticket_is_good_once(autojump_clock: trio.testing.MockClock) -> None:
    """A replayed upgrade and setup, signature and all, finds its ticket used."""
    reception = FakeReception()
    voice = VoiceSocket(checker=SignatureChecker(TOKEN, ORIGIN), calls=cast("Calls", reception), account_sid="AC1")
    async with dialled(reception) as first:
        await first.say(setup())
    async with dial(partial(voice, "anne"), PATH, headers=SIGNED) as replay:
        await replay.say(setup())
    assert (first.outcome, replay.outcome) == (["accept", 1000], ["accept", 1008])


async def test_a_ticket_is_good_for_its_agent_only(autojump_clock: trio.testing.MockClock) -> None:
    """The ticket of one agent's call does not open another agent's socket."""
    reception = FakeReception()
    await reception.register(IncomingCall(agent=ANNE, call_sid=sid()))
    voice = VoiceSocket(checker=SignatureChecker(TOKEN, ORIGIN), calls=cast("Calls", reception))
    other = "/webhooks/bert/voice-ws"
    headers = {"x-twilio-signature": signature("wss://voice.example" + other)}
    async with dial(partial(voice, "bert"), other, headers=headers) as socket:
        await socket.say(setup())
    assert socket.outcome == ["accept", 1008]


async def test_without_an_account_any_account_will_do(autojump_clock: trio.testing.MockClock) -> None:
    """A local daemon, which has no account, takes the carrier's word."""
    reception = FakeReception()
    await reception.register(IncomingCall(agent=ANNE, call_sid=sid()))
    voice = VoiceSocket(checker=SignatureChecker(TOKEN, ORIGIN), calls=cast("Calls", reception))
    async with dial(partial(voice, "anne"), PATH, headers=SIGNED) as socket:
        await socket.say(setup(accountSid="whatever"))
    assert socket.outcome == ["accept", 1000]


async def test_a_socket_that_stays_silent_is_closed(autojump_clock: trio.testing.MockClock) -> None:
    """Ten seconds without a setup, and the socket is gone."""
    before = trio.current_time()
    async with dialled(FakeReception()) as socket:
        await socket.done.wait()
    assert socket.outcome == ["accept", 1008]
    assert trio.current_time() - before == pytest.approx(10)


async def test_a_carrier_that_leaves_before_its_setup_is_let_go(autojump_clock: trio.testing.MockClock) -> None:
    """Nothing is sent to a socket that is gone, and nothing breaks."""
    reception = FakeReception()
    async with dialled(reception) as socket:
        await socket.hang_up()
    assert socket.outcome == ["accept"]
    assert reception.connected == []


async def test_a_hang_up_reaches_the_call(autojump_clock: trio.testing.MockClock) -> None:
    """The call learns of it by an event, and is not cancelled."""
    heard: list[object] = []

    async def listen(_info: CallInfo, line: PhoneLine) -> None:
        heard.append(await line.receive())
        await trio.lowlevel.checkpoint()

    async with dialled(FakeReception(on_connect=listen)) as socket:
        await socket.say(setup())
        await socket.hang_up(1000)
    assert heard == [CallerGone(1000)]


async def test_a_call_that_fails_is_closed_as_our_fault(autojump_clock: trio.testing.MockClock) -> None:
    """No exception gets out; the carrier sees 1011, and the log no message."""

    async def fail(_info: CallInfo, _line: PhoneLine) -> None:
        async with trio.open_nursery():
            raise RuntimeError("said by the caller")

    with structlog.testing.capture_logs() as logs:
        async with dialled(FakeReception(on_connect=fail)) as socket:
            await socket.say(setup())
    assert socket.outcome == ["accept", 1011]
    assert [each["event"] for each in logs] == ["voice_socket_failed"]
    assert "said by the caller" not in str(logs)


async def test_a_session_that_is_refused_is_closed(autojump_clock: trio.testing.MockClock) -> None:
    """A second socket of a session that has one is against the rules, and no fault of ours."""

    async def refuse(_info: CallInfo, _line: PhoneLine) -> None:
        raise CallRefused("already_here", "this call has an open line already")

    with structlog.testing.capture_logs() as logs:
        async with dialled(FakeReception(on_connect=refuse)) as socket:
            await socket.say(setup())
    assert socket.outcome == ["accept", 1008]
    assert [(each["event"], each["code"], each["call_sid"]) for each in logs] == [
        ("call_refused", "already_here", sid())
    ]


async def test_a_cancelled_socket_stops_at_once(autojump_clock: trio.testing.MockClock) -> None:
    """When the server takes the connection down, the call is cancelled and nothing is held up."""
    cancelled = trio.Event()

    async def linger(_info: CallInfo, _line: PhoneLine) -> None:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    with trio.move_on_after(5):
        async with dialled(FakeReception(on_connect=linger)) as socket:
            await socket.say(setup())
    assert cancelled.is_set()
    assert socket.outcome == ["accept"]
