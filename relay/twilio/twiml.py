"""TwiML for a call, built by the vendor's library and never by formatting strings.

The library escapes, but it lets any attribute through, even a misspelt one, which the carrier then ignores or answers
with a dropped call: a test holds what is emitted against the carrier's table. Nor does it mind control characters
that XML 1.0 cannot carry; they are dropped here, since a call without them is better than no call.

Source of the attributes and their defaults: the carrier's pages on `<ConversationRelay>`, `<Say>`, `<Dial>`, `<Number>`
and `<Gather>`. All whose defaults moved over the years, or differ by the age of the account, are set here.

What `<Say>` says is said by the carrier's own voices. It knows fewer languages than the voices of a conversation, by
other tags, and fails over one that it does not know: so `language` may be any BCP 47 tag here, and is turned into the
nearest that it has, or left out, which is American English. Nor does it know the conversation's voices: a `voice` that
has not the form of its own is left out too.
"""

from __future__ import annotations

import re
from typing import Any

from twilio.twiml.voice_response import Connect, Dial, Gather, VoiceResponse  # type: ignore[import-untyped]

from actors.transfer import TransferOrder
from relay.speech.voices import SAY_VOICE, SAY_VOICES_OF_ALL
from relay.twilio.urls import CarrierUrls

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# How long the callee of a transfer may take to press a key, from the end of the whisper.
_KEY_SECONDS = 10
# After which the two are disconnected.
_LONGEST_TRANSFER_SECONDS = 14_400

SAY_LANGUAGES = (
    "af-ZA", "am-ET", "ar-AE", "ar-XA", "arb", "bg-BG", "bn-IN", "ca-ES", "cmn-CN", "cmn-TW", "cs-CZ",
    "cy-GB", "da-DK", "de-AT", "de-DE", "el-GR", "en-AU", "en-CA", "en-GB", "en-GB-WLS", "en-IE", "en-IN",
    "en-NZ", "en-US", "en-ZA", "es-ES", "es-MX", "es-US", "fi-FI", "fil-PH", "fr-BE", "fr-CA", "fr-FR", "gu-IN",
    "he-IL", "hi-IN", "hu-HU", "id-ID", "is-IS", "it-IT", "ja-JP", "kn-IN", "ko-KR", "lv-LV", "ml-IN", "mr-IN",
    "ms-MY", "nb-NO", "nl-BE", "nl-NL", "pa-IN", "pl-PL", "pt-BR", "pt-PT", "ro-RO", "ru-RU", "sk-SK", "sr-RS", "sv-SE",
    "ta-IN", "te-IN", "th-TH", "tr-TR", "uk-UA", "vi-VN", "yue-HK", "zh-CN", "zh-HK", "zh-TW",
)  # fmt: skip
"""The languages of `<Say>`, as the types of the vendor's library for Node list them; that for Python has no list."""

_SAY_LANGUAGE_OF = {tag.lower(): tag for tag in SAY_LANGUAGES}
# For the languages that have several there, or another name: what is said where the region is not among them.
_SAY_USUAL = {
    "ar": "arb", "cmn": "cmn-CN", "de": "de-DE", "en": "en-US", "es": "es-ES", "fr": "fr-FR", "iw": "he-IL",
    "nl": "nl-NL", "nn": "nb-NO", "no": "nb-NO", "pt": "pt-BR", "tl": "fil-PH", "zh": "zh-CN",
}  # fmt: skip


def conversation_relay(
    *,
    socket_url: str,
    action_url: str,
    ticket: str,
    language: str,
    voice: str = "",
    greeting: str = "",
    greeting_interruptible: bool = True,
    opening: str = "",
) -> str:
    """Order the carrier to connect the call to our voice socket, and to ask `action_url` when that session is over.

    `socket_url` is a `ws` or `wss` address without a query, which the carrier may strip before it signs. `ticket` comes
    back in the `setup` frame. `language` is a BCP 47 tag, for both directions. `greeting` is spoken once the socket is
    up; without one the caller hears nothing until we speak. An empty `voice` is the language's own. The carrier says
    `opening` before, always to its end: a disclosure cannot be interrupted.
    """
    response = VoiceResponse()
    _say(response, opening, language, voice)
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
        # No profanity filter: no page of the carrier's says what it would do to a message.
        speechTimeout="auto",
        # If the caller hangs up in mid-sentence, the partial prompt is all that we have.
        partial_prompts=True,
        partial_prompt_on_hangup=True,
        # A telephone on loudspeaker picks up our speech; without this it comes back as the caller's utterance.
        echo_prompt_filtering=True,
        interruptible="any",
        # At "high" a noisy room interrupts every answer; "low" makes a caller shout.
        interrupt_sensitivity="medium",
        ignoreBackchannel=True,
        # Without this, an utterance over our speech interrupts it and is then lost.
        report_input_during_agent_speech="any",
        dtmf_detection=True,
        preemptible=False,
        events="speaker-events tokens-played",
    )
    relay.parameter(name="ticket", value=ticket)
    response.append(connect)
    return str(response)


def voice_message(*, audio_url: str = "", text: str = "", opening: str = "", language: str, voice: str = "") -> str:
    """Order the carrier to say `opening`, to play `audio_url` or else say `text`, and to hang up.

    Raises `ValueError` unless exactly one of the two is given.
    """
    if bool(audio_url) == bool(text):
        raise ValueError("a voice message is either audio or text")
    response = VoiceResponse()
    _say(response, opening, language, voice)
    _say(response, text, language, voice)
    if audio_url:
        response.play(_legal(audio_url))
    return str(response)


def transfer(order: TransferOrder, *, caller_id: str, urls: CarrierUrls, agent_id: str, attempt: int) -> str:
    """Order the carrier to say the announcement, if there is one, and to connect the caller, with `caller_id` shown.

    The carrier requests the action URL after every outcome; `attempt` is the session from which the caller comes. With
    `order.confirm` the callee first hears the whisper, and the two are connected when it is over and neither has hung
    up.
    """
    response = VoiceResponse()
    _say(response, order.announcement, order.language, order.voice)
    dial = Dial(
        action=urls.transfer_ended(agent_id, attempt, confirm=order.confirm),
        method="POST",
        timeout=order.ring_seconds,
        caller_id=_legal(caller_id) or None,
        # The caller hears it ring, and is connected only after the whisper.
        answer_on_bridge=True,
        time_limit=_LONGEST_TRANSFER_SECONDS,
    )
    whispering = {"url": urls.whisper(agent_id), "method": "POST"} if order.confirm else {}
    dial.number(order.to, **whispering)
    response.append(dial)
    return str(response)


def whisper(text: str, language: str, action_url: str) -> str:
    """Order the carrier to say `text` to the callee of a transfer, and to post the pressed key to `action_url`.

    Without a key it hangs up on the callee, so that no caller is connected to a voicemail.
    """
    response = VoiceResponse()
    gather = Gather(input="dtmf", num_digits=1, timeout=_KEY_SECONDS, action=action_url, method="POST")
    _say(gather, text, language)
    response.append(gather)
    response.hangup()
    return str(response)


def accepted() -> str:
    """Order the carrier to connect the callee of a transfer to the caller."""
    return empty()


def declined() -> str:
    """Order the carrier to hang up on the callee of a transfer; the caller goes on with the `<Dial>`'s action."""
    response = VoiceResponse()
    response.hangup()
    return str(response)


def hold(seconds: int, action_url: str) -> str:
    """Order the carrier to be silent for so many seconds, and then to ask `action_url` how the call goes on."""
    response = VoiceResponse()
    response.pause(length=seconds)
    response.redirect(action_url, method="POST")
    return str(response)


def apology(text: str, language: str) -> str:
    """Order the carrier to say `text` in its own voice for `language` and to hang up."""
    response = VoiceResponse()
    _say(response, text, language)
    response.hangup()
    return str(response)


def empty() -> str:
    """Order nothing more: a call that is still up ends."""
    return str(VoiceResponse())


def _say(parent: Any, text: str, language: str, voice: str = "") -> None:
    spoken = _legal(text)
    if not spoken.strip():
        return  # the carrier takes a <Say> without a word for a fault of the document (13520)
    if SAY_VOICE.fullmatch(voice):
        parent.say(spoken, voice=voice)
    else:
        parent.say(spoken, language=_say_language(language), voice=voice if voice in SAY_VOICES_OF_ALL else None)


def _say_language(language: str) -> str | None:
    """Return the tag of `<Say>` that is nearest to a BCP 47 tag (RFC 5646, 2.1), None where it has none for it."""
    tag = language.replace("_", "-").lower()
    primary, *others = tag.split("-")
    if tag in _SAY_LANGUAGE_OF:
        return _SAY_LANGUAGE_OF[tag]
    # A script may stand between language and region (zh-Hant-TW).
    for region in (each for each in others if len(each) == 2):
        if f"{primary}-{region}" in _SAY_LANGUAGE_OF:
            return _SAY_LANGUAGE_OF[f"{primary}-{region}"]
    if primary in _SAY_USUAL:
        return _SAY_USUAL[primary]
    return next((name for known, name in _SAY_LANGUAGE_OF.items() if known.startswith(f"{primary}-")), None)


def _legal(text: str) -> str:
    return _NOT_XML.sub("", text)
