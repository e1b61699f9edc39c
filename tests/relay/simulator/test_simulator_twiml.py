"""TwiML is read as the carrier reads it, and what it would refuse is refused."""

from __future__ import annotations

import pytest

from relay.simulator.carrier.fault_plan import TwimlRefused
from relay.simulator.carrier.twiml_reader import read

URL = 'url="wss://example.com/socket"'


def connect(attributes: str, inside: str = "") -> str:
    """Write TwiML with a session that has these attributes."""
    return f"<Response><Connect><ConversationRelay {attributes}>{inside}</ConversationRelay></Connect></Response>"


def test_verbs_come_in_order() -> None:
    """Verbs are returned in order, with attributes, text and children."""
    say, dial = read(
        '<Response><Say voice="Polly.Joanna-Neural"> Hello &amp; goodbye </Say>'
        '<Dial timeout="20"><Number>+15550100001</Number></Dial></Response>'
    )
    assert (say.name, say.text, say.attributes) == ("Say", "Hello & goodbye", {"voice": "Polly.Joanna-Neural"})
    assert [(child.name, child.text) for child in dial.children] == [("Number", "+15550100001")]


def test_everything_the_relay_uses_is_known() -> None:
    """A session with all settings of a usual call is taken."""
    (verb,) = read(
        connect(
            f'{URL} welcomeGreeting="Hi" welcomeGreetingInterruptible="any" language="en-US" ttsProvider="ElevenLabs" '
            'voice="EXAVITQu4vr4xnSDxMaL-flash_v2_5-1.0_0.5_0.75" transcriptionProvider="Deepgram" '
            'speechModel="nova-3-general" interruptible="speech" interruptSensitivity="medium" dtmfDetection="true" '
            'reportInputDuringAgentSpeech="any" partialPrompts="true" hints="Twilio, relay" speechTimeout="auto" '
            'events="speaker-events tokens-played" ignoreBackchannel="true"',
            '<Language code="de-DE" voice="x"/><Parameter name="ticket" value=""/>',
        )
    )
    (session,) = verb.children
    assert [child.name for child in session.children] == ["Language", "Parameter"]


@pytest.mark.parametrize(
    ("attributes", "why"),
    [
        ("", "needs url"),
        ('url="https://example.com/x"', "must be a wss URL"),
        ('url="ws://example.com/x"', "must begin with wss"),
        ('url="wss://example.com/x?a=b"', "has a query"),
        (f'{URL} interuptible="any"', "no attribute interuptible"),
        (f'{URL} interruptByDtmf="true"', "no attribute interruptByDtmf"),
        (f'{URL} interruptible="yes"', "must be one of"),
        (f'{URL} dtmfDetection="1"', "must be one of true, false"),
        (f'{URL} language="english please"', "language tag"),
        (f'{URL} events="speaker-events,tokens-played"', "does not know"),
        (f'{URL} speechTimeout="500"', "from 600 to 5000"),
        (f'{URL} voice="Google.en-US-Journey-O"', "ElevenLabs voice"),
        (f'{URL} ttsProvider="Google" voice="Google.en-US-Journey-O"', "Google voice"),
        (f'{URL} ttsProvider="Amazon" voice="Polly.Joanna"', "Amazon voice"),
        (f'{URL} ttsProvider="Deepgram"', "must be one of"),
        (f'{URL} ttsProvider="Google" language="multi"', "only ElevenLabs"),
        (f'{URL} transcriptionProvider="Google" transcriptionLanguage="multi"', "only Deepgram"),
        (f'{URL} transcriptionProvider="Google" speechModel="nova-3-general"', "is Deepgram's"),
        (f'{URL} eotThreshold="0.7"', "need the speechModel flux"),
        (f'{URL} speechModel="flux" eotThreshold="0.5" eagerEotThreshold="0.6"', "must be below"),
        (f'{URL} speechModel="flux" eotThreshold="0.99"', "from 0.5 to 0.9"),
    ],
)
def test_settings_that_the_carrier_would_refuse(attributes: str, why: str) -> None:
    """A session with a wrong, unknown or contradictory setting is refused, and the reason names it."""
    with pytest.raises(TwimlRefused, match=why):
        read(connect(attributes))


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ("", "not well-formed"),
        ("<Response>", "not well-formed"),
        ("<Response><Say>\0</Say></Response>", "not well-formed"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><Response>&b;</Response>', "a document type"),
        ("<VoiceResponse/>", "the root"),
        ("<Response>hello</Response>", "stray text"),
        ("<Response><Sing/></Response>", "cannot hold <Sing>"),
        ("<Response><Hangup/>now</Response>", "stray text"),
        ('<Response><Say loud="yes">Hi</Say></Response>', "no attribute loud"),
        ("<Response><Connect/></Response>", "exactly one"),
        ("<Response><Say><Number/></Say></Response>", "cannot hold <Number>"),
        (connect(URL, "words"), "stray text"),
        (connect(URL, '<Parameter name="x"/>'), "needs value"),
        (connect(URL, "<Language/>"), "needs code"),
        ("<Response>" + " " * 64_000 + "</Response>", "64000 are allowed"),
    ],
)
def test_documents_that_the_carrier_would_refuse(document: str, why: str) -> None:
    """What is not well-formed, too long, or no TwiML is refused, and the reason says so."""
    with pytest.raises(TwimlRefused, match=why):
        read(document)


def test_a_daemon_on_this_machine_may_use_ws() -> None:
    """Without TLS at the public origin, the socket's URL may be `ws`."""
    (verb,) = read(connect('url="ws://127.0.0.1:8080/x"'), secure=False)
    assert verb.children[0].attributes["url"] == "ws://127.0.0.1:8080/x"


def test_the_error_is_the_carriers() -> None:
    """The refusal carries the code that the carrier would report."""
    with pytest.raises(TwimlRefused) as refused:
        read(connect(f'{URL} interuptible="any"'))
    assert refused.value.code == 64101
