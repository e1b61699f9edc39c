"""The carrier's orders for a call, as TwiML, built by the vendor's library and never by formatting strings.

The library escapes, but it lets any attribute through, even a misspelt one, which the carrier then ignores or answers
with a dropped call: a test holds what is emitted against the carrier's table. Nor does it mind control characters
that XML 1.0 cannot carry; they are dropped here, since a call without them is better than no call.

Source of the attributes and their defaults: the carrier's page on `<ConversationRelay>`. All whose defaults moved over
the years, or differ by the age of the account, are set here.
"""

from __future__ import annotations

import re

from twilio.twiml.voice_response import Connect, VoiceResponse  # type: ignore[import-untyped]

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def conversation_relay(
    *,
    socket_url: str,
    action_url: str,
    ticket: str,
    language: str,
    voice: str = "",
    greeting: str = "",
    greeting_interruptible: bool = True,
) -> str:
    """Order the carrier to connect the call to our voice socket, and to ask `action_url` when that session is over.

    `socket_url` is a `ws` or `wss` address without a query, which the carrier may strip before it signs. `ticket`
    comes back in the `setup` frame. `language` is a BCP 47 tag, for both directions. `greeting` is spoken once the
    socket is up; without one the caller hears nothing until we speak. An empty `voice` is the language's own.
    """
    response = VoiceResponse()
    connect = Connect(action=action_url, method="POST")
    relay = connect.conversation_relay(
        url=socket_url,
        welcome_greeting=_legal(greeting) or None,
        welcome_greeting_interruptible="any" if greeting_interruptible else "none",
        language=_legal(language),
        tts_provider="ElevenLabs",
        voice=_legal(voice) or None,
        # "on" spells out numbers at the price of a later first word; what is spoken here was written to be spoken.
        elevenlabs_text_normalization="off",
        transcription_provider="Deepgram",
        # No speech model: the carrier's choice follows the language, and a model that lacks it drops the call.
        deepgramSmartFormat=True,
        profanity_filter=False,  # a message is taken down as it was said
        speechTimeout="auto",
        # A guess of what the caller is saying is all there is if the caller hangs up in mid-sentence.
        partial_prompts=True,
        interruptible="any",
        # At "high" a noisy room interrupts every answer; "low" makes a caller shout.
        interrupt_sensitivity="medium",
        ignoreBackchannel=True,
        # Without it, words spoken over our speech interrupt it and are then lost.
        report_input_during_agent_speech="any",
        dtmf_detection=True,
        preemptible=False,
        events="speaker-events tokens-played",
    )
    relay.parameter(name="ticket", value=ticket)
    response.append(connect)
    return str(response)


def apology(text: str, language: str) -> str:
    """Order the carrier to say `text` in its own voice for `language` (BCP 47) and to hang up."""
    response = VoiceResponse()
    response.say(_legal(text), language=_legal(language) or None)
    response.hangup()
    return str(response)


def empty() -> str:
    """Order nothing more: a call that is still up ends."""
    return str(VoiceResponse())


def _legal(text: str) -> str:
    return _NOT_XML.sub("", text)
