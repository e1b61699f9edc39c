"""TwiML: only what the carrier knows, with whatever text a greeting may hold."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from relay.twilio import twiml

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


@given(st.text(st.characters() | st.sampled_from("\r\n\t<>&\"'\x00\x0b\ufffe\ud800")))
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


def test_the_empty_answer_orders_nothing() -> None:
    """The answer to a call that is over holds no verb."""
    response = ET.fromstring(twiml.empty())
    assert response.tag == "Response"
    assert list(response) == []
