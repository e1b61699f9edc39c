"""Reads TwiML as the carrier does, and refuses what the carrier would refuse or silently misunderstand.

The vendor's TwiML library emits any attribute that it is given, so a typing mistake shows only in a live call: as a
setting that does nothing, or as error 64101 and a caller who hears nothing. Here every verb and attribute is held
against the list of those that exist, and each value against those it may have.

Source of the lists: Twilio's pages on `<ConversationRelay>` and on each verb, and the parameters of its Python
library 9.13 for attributes that are not documented yet. Elements that this simulator does not perform are refused too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import attrs

from relay.simulator.carrier.fault_plan import TwimlRefused

MAX_CHARACTERS = 64_000
"""Longer documents are refused with error 11750."""


@attrs.frozen
class Verb:
    """One element: its name, its attributes as written, its text, and what is in it."""

    name: str
    attributes: Mapping[str, str] = attrs.field(factory=dict)
    text: str = ""
    children: tuple[Verb, ...] = ()


def read(document: str, *, secure: bool = True) -> tuple[Verb, ...]:
    """Return the verbs of a TwiML document, in order, each checked. Raises `TwimlRefused`.

    With `secure` (the carrier's rule) the relay's URL must be `wss://`; without it `ws://` will do, for a daemon on
    this machine.
    """
    if len(document) > MAX_CHARACTERS:
        raise TwimlRefused(11750, f"the document has {len(document)} characters, {MAX_CHARACTERS} are allowed")
    try:
        # A document type could define entities that grow or fetch; the tree builder refuses it before they are read.
        root = ET.fromstring(document, ET.XMLParser(target=_PlainTree()))  # noqa: S314
    except (ET.ParseError, ValueError) as error:
        raise TwimlRefused(12100, f"not well-formed: {error}") from error
    if root.tag != "Response" or root.attrib:
        raise TwimlRefused(12100, f"the root must be a plain <Response>, not <{root.tag}>")
    _refuse_stray_text(root)
    return tuple(_verb(element, "Response", secure) for element in root)


class _PlainTree(ET.TreeBuilder):
    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:  # noqa: ARG002 - the parser's signature
        raise TwimlRefused(12100, f"a document type ({name}) is not allowed")


# ── what a value may be ─────────────────────────────────────────────────────────────────────────────────────────────

Check = Callable[[str], str | None]
"""Says what is wrong with a value, or nothing."""


def _any(_value: str) -> str | None:
    return None


def _matching(pattern: str, what: str) -> Check:
    return lambda value: None if re.fullmatch(pattern, value) else f"must be {what}"


def _one_of(*allowed: str, ignore_case: bool = False) -> Check:
    names = {each.casefold() for each in allowed} if ignore_case else set(allowed)

    def check(value: str) -> str | None:
        known = (value.casefold() if ignore_case else value) in names
        return None if known else f"must be one of {', '.join(allowed)}"

    return check


def _several_of(*allowed: str) -> Check:
    def check(value: str) -> str | None:
        unknown = set(value.split()) - set(allowed)
        return f"does not know {', '.join(sorted(unknown))}" if unknown else None

    return check


def _number(low: float, high: float) -> Check:
    def check(value: str) -> str | None:
        fits = re.fullmatch(r"\d+(\.\d+)?", value) is not None and low <= float(value) <= high
        return None if fits else f"must be a number from {low:g} to {high:g}"

    return check


_TRUTH = _one_of("true", "false")
_COUNT = _matching(r"\d{1,5}", "a whole number")
_METHOD = _one_of("GET", "POST")
_ADDRESS = _matching(r"(https?://[^\s]+|/[^\s]*)", "an http or https URL")
_LANGUAGE = _matching(r"multi|[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*", "a language tag such as en-US, or multi")
_INTERRUPTION = _one_of("none", "dtmf", "speech", "any", "true", "false")
_PROVIDER = _one_of("Google", "Amazon", "ElevenLabs", ignore_case=True)
_EAR = _one_of("Google", "Deepgram", ignore_case=True)
_NORMALIZATION = _one_of("on", "auto", "off")
_EVENTS = ("speaker-events", "tokens-played", "config-updated")
_DIAL_RECORD = _one_of(
    *("do-not-record", "record-from-answer", "record-from-answer-dual"),
    *("record-from-ringing", "record-from-ringing-dual", "true", "false"),
)


def _speech_timeout(value: str) -> str | None:
    return None if value == "auto" else _number(600, 5000)(value)


_RELAY_ATTRIBUTES: dict[str, Check] = {
    "url": _matching(r"wss?://[^\s/]+/\S*", "a wss URL with a path"),
    "welcomeGreeting": _any,
    "welcomeGreetingInterruptible": _INTERRUPTION,
    "language": _LANGUAGE,
    "ttsLanguage": _LANGUAGE,
    "ttsProvider": _PROVIDER,
    "voice": _matching(r"\S+", "the name of a voice"),
    "transcriptionLanguage": _LANGUAGE,
    "transcriptionProvider": _EAR,
    "speechModel": _matching(r"[a-z0-9_-]+", "the name of a model"),
    "interruptible": _INTERRUPTION,
    "interruptSensitivity": _one_of("low", "medium", "high"),
    "ignoreBackchannel": _TRUTH,
    "dtmfDetection": _TRUTH,
    "reportInputDuringAgentSpeech": _one_of("none", "dtmf", "speech", "any"),
    "preemptible": _TRUTH,
    "partialPrompts": _TRUTH,
    "hints": _any,
    "events": _several_of(*_EVENTS),
    "debug": _several_of("debugging", *_EVENTS),
    "elevenlabsTextNormalization": _NORMALIZATION,
    "deepgramSmartFormat": _TRUTH,
    "speechTimeout": _speech_timeout,
    "eotThreshold": _number(0.5, 0.9),
    "eagerEotThreshold": _number(0.3, 0.9),
    "profanityFilter": _TRUTH,
    "backgroundNoiseReduction": _TRUTH,
    "intelligenceService": _any,
    "conversationConfiguration": _any,
    "conversationId": _any,
    "partialPromptOnHangup": _TRUTH,
    "asrSmartFormat": _TRUTH,
    "ttsTextNormalization": _NORMALIZATION,
    "ttsLanguageTextNormalization": _TRUTH,
    "elevenlabsLanguageTextNormalization": _TRUTH,
    "includeInPrompt": _several_of("turn-state", "prompt-segments", "none"),
    "customerName": _any,
    "applicationReconnect": _TRUTH,
    "echoPromptFiltering": _TRUTH,
    "turnDetection": _TRUTH,
}


@attrs.frozen
class _Kind:
    """What an element may carry, hold and need."""

    attributes: dict[str, Check] = attrs.field(factory=dict)
    inside: frozenset[str] = frozenset()
    required: frozenset[str] = frozenset()
    takes_text: bool = False


_CALLBACK: dict[str, Check] = {
    "statusCallback": _ADDRESS,
    "statusCallbackMethod": _METHOD,
    "statusCallbackEvent": _several_of("initiated", "ringing", "answered", "completed"),
}
_KINDS: dict[str, _Kind] = {
    "Response": _Kind(
        inside=frozenset({"Connect", "Say", "Play", "Pause", "Hangup", "Reject", "Redirect", "Dial", "Gather", "Start"})
    ),
    "Connect": _Kind({"action": _ADDRESS, "method": _METHOD}, frozenset({"ConversationRelay"})),
    "ConversationRelay": _Kind(_RELAY_ATTRIBUTES, frozenset({"Language", "Parameter", "Failover"}), frozenset({"url"})),
    # New since November 2026. Its attributes are not published; these are what a provider is chosen by elsewhere.
    "Failover": _Kind(
        {"ttsProvider": _PROVIDER, "voice": _any, "transcriptionProvider": _EAR, "speechModel": _any},
        frozenset({"Language"}),
    ),
    "Language": _Kind(
        {
            "code": _LANGUAGE,
            "ttsProvider": _PROVIDER,
            "voice": _any,
            "transcriptionProvider": _EAR,
            "speechModel": _any,
            "hints": _any,
            "asrSmartFormat": _TRUTH,
            "ttsTextNormalization": _NORMALIZATION,
            "ttsLanguageTextNormalization": _TRUTH,
        },
        required=frozenset({"code"}),
    ),
    "Parameter": _Kind({"name": _matching(r".+", "a name"), "value": _any}, required=frozenset({"name", "value"})),
    "Say": _Kind({"voice": _any, "language": _LANGUAGE, "loop": _COUNT}, takes_text=True),
    "Play": _Kind({"loop": _COUNT, "digits": _matching(r"[0-9wW#*]+", "digits")}, takes_text=True),
    "Pause": _Kind({"length": _COUNT}),
    "Gather": _Kind(
        {
            "action": _ADDRESS,
            "method": _METHOD,
            "input": _several_of("dtmf"),
            "numDigits": _number(1, 32),
            "finishOnKey": _matching(r"[0-9#*]?", "a key, or nothing"),
            "timeout": _COUNT,
            "actionOnEmptyResult": _TRUTH,
        },
        frozenset({"Say", "Play", "Pause"}),
    ),
    "Hangup": _Kind(),
    "Reject": _Kind({"reason": _one_of("busy", "rejected")}),
    "Redirect": _Kind({"method": _METHOD}, takes_text=True),
    "Start": _Kind({"action": _ADDRESS, "method": _METHOD}, frozenset({"Recording"})),
    "Recording": _Kind(
        {
            "recordingStatusCallback": _ADDRESS,
            "recordingStatusCallbackMethod": _METHOD,
            "recordingStatusCallbackEvent": _several_of("in-progress", "completed", "absent"),
            "channels": _one_of("mono", "dual"),
            "track": _one_of("inbound", "outbound", "both"),
            "trim": _one_of("trim-silence", "do-not-trim"),
        }
    ),
    "Dial": _Kind(
        {
            "action": _ADDRESS,
            "method": _METHOD,
            "answerOnBridge": _TRUTH,
            "callerId": _any,
            "timeout": _number(5, 600),
            "timeLimit": _number(1, 86_400),
            "hangupOnStar": _TRUTH,
            "record": _DIAL_RECORD,
            "recordingStatusCallback": _ADDRESS,
            "recordingStatusCallbackMethod": _METHOD,
            "recordingStatusCallbackEvent": _several_of("in-progress", "completed", "absent"),
            "recordingTrack": _one_of("inbound", "outbound", "both"),
            "ringTone": _any,
            "referUrl": _ADDRESS,
            "referMethod": _METHOD,
            "sequential": _TRUTH,
            "trim": _one_of("trim-silence", "do-not-trim"),
        },
        frozenset({"Number", "Sip"}),
        takes_text=True,
    ),
    "Number": _Kind({"url": _ADDRESS, "method": _METHOD, "sendDigits": _any, **_CALLBACK}, takes_text=True),
    "Sip": _Kind(
        {"url": _ADDRESS, "method": _METHOD, "username": _any, "password": _any, **_CALLBACK}, takes_text=True
    ),
}

_VOICES: dict[str, Check] = {
    "elevenlabs": _matching(
        r"[A-Za-z0-9]{20}(-(flash|turbo)_v\d(_\d)?)?(-\d\.\d+_\d\.\d+_\d\.\d+)?", "an ElevenLabs voice"
    ),
    "google": _matching(r"(?!Google\.)[a-z]{2,3}-\S+", "a Google voice, without the prefix that belongs to <Say>"),
    "amazon": _matching(
        r"(?!Polly\.)[A-Z][A-Za-z]+(-(Neural|Generative|Long-Form))?", "an Amazon voice, without Polly."
    ),
}


# ── the check ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _verb(element: ET.Element, parent: str, secure: bool) -> Verb:
    if element.tag not in _KINDS[parent].inside:
        raise TwimlRefused(12200, f"<{parent}> cannot hold <{element.tag}>, or this simulator does not perform it")
    kind = _KINDS[element.tag]
    # The carrier names the attributes of a session with its own error; elsewhere it is a fault of the document.
    code = 64101 if element.tag in {"ConversationRelay", "Language", "Parameter", "Failover"} else 12200
    for name in sorted(kind.required - element.attrib.keys()):
        raise TwimlRefused(code, f"<{element.tag}> needs {name}")
    for name, value in element.attrib.items():
        if name not in kind.attributes:
            raise TwimlRefused(code, f"<{element.tag}> has no attribute {name}")
        if wrong := kind.attributes[name](value):
            raise TwimlRefused(code, f'<{element.tag} {name}="{value}">: {name} {wrong}')
    if not kind.takes_text:
        _refuse_stray_text(element)
    if element.tag == "ConversationRelay":
        _check_session(element.attrib, secure)
    children = tuple(_verb(child, element.tag, secure) for child in element)
    if element.tag == "Connect" and len(children) != 1:
        raise TwimlRefused(12200, "<Connect> holds exactly one <ConversationRelay>")
    return Verb(element.tag, dict(element.attrib), (element.text or "").strip(), children)


def _refuse_stray_text(element: ET.Element) -> None:
    if "".join(filter(None, [element.text, *(child.tail for child in element)])).strip():
        raise TwimlRefused(12200, f"<{element.tag}> holds stray text")


def _check_session(attributes: Mapping[str, str], secure: bool) -> None:
    url = urlsplit(attributes["url"])
    if secure and url.scheme != "wss":
        raise TwimlRefused(64101, f"url must begin with wss://, not {url.scheme}://")
    if url.query:
        raise TwimlRefused(64101, "url has a query, which the carrier signs now one way, now another; use <Parameter>")
    provider = attributes.get("ttsProvider", "ElevenLabs").casefold()
    if "voice" in attributes and (wrong := _VOICES[provider](attributes["voice"])):
        raise TwimlRefused(64106, f"voice {wrong}")
    spoken = {attributes.get(name) for name in ("language", "ttsLanguage")}
    if "multi" in spoken and provider != "elevenlabs":
        raise TwimlRefused(64106, "only ElevenLabs speaks the language multi")
    if attributes.get("transcriptionProvider", "Deepgram").casefold() == "google":
        if "multi" in {attributes.get("language"), attributes.get("transcriptionLanguage")}:
            raise TwimlRefused(64106, "only Deepgram understands the language multi")
        if attributes.get("speechModel", "telephony").startswith(("nova", "flux")):
            raise TwimlRefused(64106, "speechModel is Deepgram's, transcriptionProvider is Google")
    if {"eotThreshold", "eagerEotThreshold"} & attributes.keys():
        if not attributes.get("speechModel", "").startswith("flux"):
            raise TwimlRefused(64101, "eotThreshold and eagerEotThreshold need the speechModel flux")
        if float(attributes.get("eagerEotThreshold", "0")) >= float(attributes.get("eotThreshold", "0.8")):
            raise TwimlRefused(64101, "eagerEotThreshold must be below eotThreshold")
