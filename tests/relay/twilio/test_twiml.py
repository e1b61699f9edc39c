"""TwiML: only what the carrier knows, with whatever text a greeting, an announcement or a number may hold."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.transfer import TransferOrder
from relay.simulator.carrier.twiml_reader import read
from relay.twilio import twiml
from relay.twilio.urls import RETRIES, CarrierUrls

# The carrier's table of attributes: what is not in it is ignored at best, and drops the call at worst.
ATTRIBUTES = {
    "asrSmartFormat", "backgroundNoiseReduction", "conversationConfiguration", "conversationId", "customerName",
    "debug", "deepgramSmartFormat", "dtmfDetection", "eagerEotThreshold", "echoPromptFiltering",
    "elevenlabsTextNormalization", "eotThreshold", "events", "hints", "ignoreBackchannel", "includeInPrompt",
    "intelligenceService", "interruptSensitivity", "interruptible", "language", "partialPromptOnHangup",
    "partialPrompts", "preemptible", "profanityFilter", "reportInputDuringAgentSpeech", "speechModel", "speechTimeout",
    "transcriptionLanguage", "transcriptionProvider", "ttsLanguage", "ttsLanguageTextNormalization", "ttsProvider",
    "ttsTextNormalization", "turnDetection", "url", "voice", "welcomeGreeting", "welcomeGreetingInterruptible",
}  # fmt: skip
HOSTILE = st.text(st.characters() | st.sampled_from("\r\n\t<>&\"'\x00\x0b\ufffe\ud800"))
MARKUP = ["</Say><Dial>+19005550000</Dial><Say>", "]]><Hangup/>", "&lt;Dial&gt;", '" callerId="+1', "a<break/>b&amp;c"]


def said(response: ET.Element) -> list[tuple[str | None, dict[str, str]]]:
    """Return every text that is said, with the attributes of its `<Say>`."""
    return [(say.text, say.attrib) for say in response.iter("Say")]


def transfer(announcement: str = "One moment.", caller_id: str = "+15550001111", **changes: Any) -> ET.Element:
    """Return the parsed `<Response>` that transfers a call."""
    given: dict[str, Any] = {
        "to": "+15551234567",
        "announcement": announcement,
        "language": "en-US",
        "ring_seconds": 20,
    }
    urls = CarrierUrls("https://voice.example")
    order = TransferOrder(**(given | changes))
    return ET.fromstring(twiml.transfer(order, caller_id=caller_id, urls=urls, agent_id="anne", attempt=0))


def connect(greeting: str = "Hello.", *, voice: str = "EXAVITQu4vr4xnSDxMaL", interruptible: bool = True) -> ET.Element:
    """Return the parsed `<Response>` that connects a call with this greeting."""
    document = twiml.conversation_relay(
        socket_url="wss://voice.example/webhooks/anne/voice-ws",
        action_url="https://voice.example/webhooks/anne/voice-ended?attempt=0",
        ticket="a-ticket",
        language="en-US",
        voice=voice,
        greeting=greeting,
        greeting_interruptible=interruptible,
    )
    return ET.fromstring(document)


def relay_of(response: ET.Element) -> ET.Element:
    """Return the `<ConversationRelay>` inside."""
    relay = response.find("./Connect/ConversationRelay")
    assert relay is not None
    return relay


def test_only_attributes_of_the_carriers_table_are_emitted() -> None:
    """Nothing is emitted that the carrier does not know, and what its accounts default differently is said."""
    emitted = relay_of(connect()).attrib
    assert set(emitted) <= ATTRIBUTES
    assert {
        "ttsProvider": "ElevenLabs",
        "transcriptionProvider": "Deepgram",
        "interruptible": "any",
        "reportInputDuringAgentSpeech": "any",
        "preemptible": "false",
        "partialPromptOnHangup": "true",
        "echoPromptFiltering": "true",
        "dtmfDetection": "true",
        "events": "speaker-events tokens-played",
    }.items() <= emitted.items()


def test_the_call_is_connected_to_the_socket_with_its_ticket() -> None:
    """Socket, action, greeting, voice and language are where the carrier looks for them, the ticket is a parameter."""
    response = connect()
    action = response.find("./Connect")
    assert action is not None
    assert action.attrib == {
        "action": "https://voice.example/webhooks/anne/voice-ended?attempt=0",
        "method": "POST",
    }
    relay = relay_of(response)
    assert relay.get("url") == "wss://voice.example/webhooks/anne/voice-ws"
    assert relay.get("welcomeGreeting") == "Hello."
    assert relay.get("voice") == "EXAVITQu4vr4xnSDxMaL"
    assert relay.get("language") == "en-US"
    assert [parameter.attrib for parameter in relay] == [{"name": "ticket", "value": "a-ticket"}]


def test_what_is_empty_is_left_to_the_carrier() -> None:
    """Without a greeting nothing is spoken first, and without a voice the language's own is used."""
    relay = relay_of(connect("", voice=""))
    assert "welcomeGreeting" not in relay.attrib
    assert "voice" not in relay.attrib


def test_a_greeting_can_be_made_uninterruptible() -> None:
    """A notice that the law wants heard can be protected from being talked over."""
    assert relay_of(connect(interruptible=True)).get("welcomeGreetingInterruptible") == "any"
    assert relay_of(connect(interruptible=False)).get("welcomeGreetingInterruptible") == "none"


@given(HOSTILE)
def test_any_greeting_stays_text(greeting: str) -> None:
    """A hostile greeting adds no element and no attribute; only what XML cannot carry is missing from it."""
    response = connect(f"a{greeting}")
    assert [element.tag for element in response.iter()] == ["Response", "Connect", "ConversationRelay", "Parameter"]
    assert set(relay_of(response).attrib) == set(relay_of(connect()).attrib)
    heard = relay_of(response).get("welcomeGreeting", "")
    assert heard == "a" + "".join(each for each in greeting if _legal(each))


def _legal(character: str) -> bool:
    """Say whether XML 1.0 can carry a character, by its own production: section 2.2, `Char`."""
    code = ord(character)
    return character in "\t\n\r" or 0x20 <= code <= 0xD7FF or 0xE000 <= code <= 0xFFFD or 0x10000 <= code <= 0x10FFFF


def test_an_apology_is_said_and_ends_the_call() -> None:
    """Whoever is not connected hears why, in their language, and the call ends."""
    response = ET.fromstring(twiml.apology("All lines <are> busy.\x00", "de-DE"))
    assert [(element.tag, element.text, element.attrib) for element in response] == [
        ("Say", "All lines <are> busy.", {"language": "de-DE"}),
        ("Hangup", None, {}),
    ]


def test_the_opening_is_said_before_the_session() -> None:
    """What must be heard to its end is the carrier's own speech, which nobody can interrupt."""
    document = twiml.conversation_relay(
        socket_url="wss://voice.example/webhooks/anne/voice-ws",
        action_url="https://voice.example/webhooks/anne/voice-ended?attempt=0&lost=0",
        ticket="a-ticket",
        language="de-CH",
        voice="EXAVITQu4vr4xnSDxMaL",
        opening="Guten Tag, hier spricht ein KI-Assistent.",
    )
    response = ET.fromstring(document)
    assert [verb.tag for verb in response] == ["Say", "Connect"]
    assert said(response) == [("Guten Tag, hier spricht ein KI-Assistent.", {"language": "de-DE"})]


def test_a_voice_message_plays_its_audio_after_the_opening() -> None:
    """First who is calling, then what they have to say."""
    response = ET.fromstring(
        twiml.voice_message(audio_url="https://voice.example/audio/n.wav?a=1&b=2", opening="Hello.", language="en-GB")
    )
    assert [(verb.tag, verb.text, verb.attrib) for verb in response] == [
        ("Say", "Hello.", {"language": "en-GB"}),
        ("Play", "https://voice.example/audio/n.wav?a=1&b=2", {}),
    ]


def test_a_voice_message_without_audio_is_said() -> None:
    """Where nothing was made of the text the carrier speaks it, without an opening if there is none."""
    response = ET.fromstring(twiml.voice_message(text="Your appointment is at 3.", language="en-US"))
    assert said(response) == [("Your appointment is at 3.", {"language": "en-US"})]
    assert len(response) == 1


@pytest.mark.parametrize("given", [{}, {"audio_url": "https://voice.example/a.wav", "text": "words"}])
def test_a_voice_message_is_one_thing(given: dict[str, str]) -> None:
    """Neither audio nor text, or both, is a mistake of ours."""
    with pytest.raises(ValueError, match="either audio or text"):
        twiml.voice_message(language="en-US", **given)


def test_a_transfer_announces_and_dials() -> None:
    """The number is rung so long, seen as this number, and the action is asked what comes next."""
    response = transfer()
    say, dial = response
    (number,) = dial
    assert (say.tag, say.text, dial.tag, number.tag) == ("Say", "One moment.", "Dial", "Number")
    assert dial.attrib == {
        "action": "https://voice.example/webhooks/anne/transfer-ended?attempt=0&lost=0" + RETRIES,
        "method": "POST",
        "timeout": "20",
        "callerId": "+15550001111",
        "answerOnBridge": "true",
        "timeLimit": "14400",
    }
    assert (number.text, number.attrib) == ("+15551234567", {})


def test_a_transfer_asks_for_the_whisper() -> None:
    """Whoever picks up hears first what that address answers."""
    number = transfer(confirm=True).find("./Dial/Number")
    assert number is not None
    assert number.attrib == {"url": "https://voice.example/webhooks/anne/whisper" + RETRIES, "method": "POST"}


@pytest.mark.parametrize("announcement", ["", " ", "\n", "\x00"])
def test_a_transfer_without_a_word_only_dials(announcement: str) -> None:
    """An announcement in which nothing can be heard is left out, because the carrier refuses an empty one."""
    assert [verb.tag for verb in transfer(announcement)] == ["Dial"]


def test_an_unknown_number_of_ours_is_left_to_the_carrier() -> None:
    """Without a caller id the carrier shows the caller's own."""
    dial = transfer(caller_id="").find("./Dial")
    assert dial is not None
    assert "callerId" not in dial.attrib


@pytest.mark.parametrize("text", MARKUP)
def test_markup_stays_text_wherever_it_stands(text: str) -> None:
    """An announcement and a caller id that look like TwiML are said and shown as they are."""
    response = transfer(text, caller_id=text)
    assert [element.tag for element in response.iter()] == ["Response", "Say", "Dial", "Number"]
    dial = response[1]
    assert [said(response)[0][0], dial.get("callerId")] == [text] * 2


@given(HOSTILE, HOSTILE)
def test_no_text_adds_an_order_to_a_transfer(announcement: str, caller_id: str) -> None:
    """Whatever it holds, the document has one number to dial; only what XML cannot carry is missing from it."""
    response = transfer(f"a{announcement}", caller_id=f"+{caller_id}")
    assert [element.tag for element in response.iter()] == ["Response", "Say", "Dial", "Number"]
    assert set(response[1].attrib) == {"action", "method", "timeout", "callerId", "answerOnBridge", "timeLimit"}
    # A parser reads "\r" as the end of a line, outside attributes (XML 1.0, 2.11).
    heard = "".join(each for each in announcement if _legal(each)).replace("\r\n", "\n").replace("\r", "\n")
    assert response[0].text == f"a{heard}"


@given(HOSTILE, HOSTILE)
def test_no_text_adds_an_order_to_a_voice_message(opening: str, text: str) -> None:
    """Both are said, and nothing else happens."""
    response = ET.fromstring(twiml.voice_message(text=f"a{text}", opening=f"a{opening}", language="en-US"))
    assert [element.tag for element in response.iter()] == ["Response", "Say", "Say"]


def test_a_whisper_asks_for_a_key_and_hangs_up_without_one() -> None:
    """One key, some seconds to press it, and no call for a voicemail."""
    gather, hang_up = ET.fromstring(
        twiml.whisper("Press 1.", "fr-FR", "https://voice.example/webhooks/anne/whisper-answer")
    )
    assert gather.attrib == {
        "input": "dtmf",
        "numDigits": "1",
        "timeout": "10",
        "action": "https://voice.example/webhooks/anne/whisper-answer",
        "method": "POST",
    }
    assert [(say.tag, say.text, say.attrib) for say in gather] == [("Say", "Press 1.", {"language": "fr-FR"})]
    assert hang_up.tag == "Hangup"


def test_the_answers_to_a_whisper() -> None:
    """Nothing more to do connects the two, and hanging up leaves the caller."""
    assert list(ET.fromstring(twiml.accepted())) == []
    assert [verb.tag for verb in ET.fromstring(twiml.declined())] == ["Hangup"]


@pytest.mark.parametrize(
    ("document", "verbs"),
    [
        (twiml.voice_message(audio_url="https://voice.example/a.wav", opening="a", language="multi"), ["Say", "Play"]),
        (twiml.voice_message(text="a", language="de", voice="Polly.Vicki-Neural"), ["Say"]),
        (twiml.whisper("a", "zh-Hant", "https://voice.example/a"), ["Gather", "Hangup"]),
        (twiml.accepted(), []),
        (twiml.declined(), ["Hangup"]),
        (twiml.apology("a", "no"), ["Say", "Hangup"]),
        (ET.tostring(transfer(confirm=True), encoding="unicode"), ["Say", "Dial"]),
        (ET.tostring(connect(), encoding="unicode"), ["Connect"]),
    ],
)
def test_the_carrier_takes_every_document(document: str, verbs: list[str]) -> None:
    """The simulated carrier, which refuses any attribute and value that is not in the carrier's tables, reads it."""
    assert [verb.name for verb in read(document, secure=True)] == verbs


@pytest.mark.parametrize(
    ("language", "spoken_in"),
    [
        ("en-GB", "en-GB"),
        ("EN_gb", "en-GB"),
        ("de", "de-DE"),
        ("de-CH", "de-DE"),
        ("no-NO", "nb-NO"),
        ("nn", "nb-NO"),
        ("pt-AO", "pt-BR"),
        ("zh-Hant-TW", "zh-TW"),
        ("cmn-Hans-CN", "cmn-CN"),
        ("uk", "uk-UA"),
        ("ar-EG", "arb"),
        ("es-419", "es-ES"),
        ("multi", None),
        ("tlh", None),
        ("", None),
        ("-", None),
        ('x" loop="0', None),
    ],
)
def test_a_language_becomes_one_that_say_knows(language: str, spoken_in: str | None) -> None:
    """The nearest is taken, and for a language that it does not speak at all none is named."""
    ((_text, attributes),) = said(ET.fromstring(twiml.apology("a", language)))
    assert attributes.get("language") == spoken_in


@given(st.from_regex(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,4}){0,2}", fullmatch=True) | HOSTILE)
def test_no_language_is_named_that_say_does_not_know(language: str) -> None:
    """Whatever it is asked for, it names one of the carrier's list, or none."""
    ((_text, attributes),) = said(ET.fromstring(twiml.apology("a", language)))
    assert attributes.get("language") in {None, *twiml.SAY_LANGUAGES}


@pytest.mark.parametrize(
    ("voice", "attributes"),
    [
        ("Polly.Joanna-Neural", {"voice": "Polly.Joanna-Neural"}),
        ("Google.en-US-Chirp3-HD-Aoede", {"voice": "Google.en-US-Chirp3-HD-Aoede"}),
        ("alice", {"voice": "alice", "language": "de-DE"}),
        ("EXAVITQu4vr4xnSDxMaL", {"language": "de-DE"}),
        ("Joanna-Neural", {"language": "de-DE"}),
        ('Polly."><Dial>', {"language": "de-DE"}),
        ("Polly.Joanna\n", {"language": "de-DE"}),
        ("", {"language": "de-DE"}),
    ],
)
def test_a_voice_is_named_only_if_say_may_know_it(voice: str, attributes: dict[str, str]) -> None:
    """A voice of Amazon or Google brings its language along; one that has not the form is left out."""
    document = twiml.voice_message(text="Hallo.", language="de-DE", voice=voice)
    assert said(ET.fromstring(document)) == [("Hallo.", attributes)]
    assert said(transfer("Hallo.", language="de-DE", voice=voice)) == [("Hallo.", attributes)]


def test_the_empty_answer_orders_nothing() -> None:
    """The answer to a call that is over holds no verb."""
    response = ET.fromstring(twiml.empty())
    assert response.tag == "Response"
    assert list(response) == []


def test_a_held_caller_hears_nothing_and_is_asked_about_again() -> None:
    """Silence first, and then a request to the address, query and fragment as they are."""
    address = "https://voice.example/webhooks/anne/voice-ended?attempt=1&lost=0&moving=1#rc=2&rp=ct,rt,5xx"
    pause, redirect = ET.fromstring(twiml.hold(5, address))
    assert (pause.tag, pause.attrib) == ("Pause", {"length": "5"})
    assert (redirect.tag, redirect.attrib, redirect.text) == ("Redirect", {"method": "POST"}, address)
