"""The frames of the voice socket: a pure codec between the carrier's JSON and the events of a call.

    carrier ──text frame──▶ parse() ──▶ Setup | PhoneEvent      plainly, if it is exactly as documented; else tolerantly
    carrier ◀──text frame── text(), end()

Reading is tolerant where the carrier is known to vary: keys it adds without notice, optional keys it leaves out, null
for an empty string, a number where older pages show a string and the other way round; a field that nothing depends on
and that is not of its form counts as left out; a type that it has added since is `FrameUnknown`. Everything else is
`FrameRejected`, a value and not an exception: the reader must go on after a bad frame. Parsing and typing are one pass
of pydantic's Rust parser, which bounds the nesting and knows lone surrogates and infinities; `json.loads` and checks by
hand lost, because each of those needs remembering there.

Nearly all frames of a call are prompts and infos, and exactly of the documented form. Those are read by msgspec, in a
twentieth of the time, strictly: whatever it does not take is read the tolerant way, so nothing is refused here.

Source: the field tables of the carrier's ConversationRelay WebSocket page; the variations were seen in live logs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

import attrs
import msgspec
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails, from_json

from actors.events import (
    AgentSpeaking,
    CallerBargedIn,
    CallerSpeaking,
    CarrierFailed,
    DigitPressed,
    FrameAccepted,
    FrameRejected,
    FrameUnknown,
    PartialPromptHeard,
    PhoneEvent,
    SpeechPlayed,
    UtteranceHeard,
)
from relay.twilio.call_sids import CALL_SID_PATTERN

# The carrier names no limit. Its longest frames repeat a piece of our own speech or a minute of the caller's: some kB.
MAX_FRAME_CHARACTERS = 65_536

# The fields without which a frame is useless: the call, the text, whether it is final, the key.
_NEEDED = frozenset({"type", "callSid", "voicePrompt", "last", "digit"})
# What may be logged of a type that is not known.
_TYPE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")


@attrs.frozen(kw_only=True)
class Setup:
    """The first frame: which call this socket carries.

    Strings are empty where the carrier left them out, which it may do with all but `call_sid`. `caller` and `called`
    are its `from` and `to`; `direction` and `call_type` stay in its words. Nothing here is trusted until the ticket in
    `custom_parameters` is verified.
    """

    call_sid: str
    account_sid: str = ""
    session_id: str = attrs.field(default="", repr=False)
    caller: str = ""
    called: str = ""
    direction: str = ""
    call_type: str = ""
    forwarded_from: str = ""
    caller_name: str = ""
    parent_call_sid: str = ""
    # The ticket is among them.
    custom_parameters: Mapping[str, str] = attrs.field(factory=dict, repr=False)


def parse(data: str | bytes) -> Setup | PhoneEvent:
    """Read one frame.

    Never raises. Bytes, and text that is too long or not a frame of the form of its type, give `FrameRejected` with a
    word that holds nothing of the frame's content.
    """
    if isinstance(data, bytes):
        return FrameRejected("binary")
    if len(data) > MAX_FRAME_CHARACTERS:
        return FrameRejected("too_long")
    try:
        return _PLAIN_FRAMES.decode(data).event()
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        pass
    try:
        return _FRAMES.validate_json(data).event()
    except ValidationError as error:
        return _parse_odd(data, error)


def _parse_odd(data: str, error: ValidationError) -> Setup | PhoneEvent:
    """Read a frame once more without the fields that are not of their form, if nothing depends on them.

    Only frames with a fault pay for this second pass.
    """
    fault, *_ = faults = error.errors(include_url=False, include_context=False, include_input=False)
    rejected = FrameRejected(_why(fault))
    if fault["type"] == "union_tag_invalid" and isinstance(kind := from_json(data)["type"], str):
        return FrameUnknown(kind if _TYPE_NAME.fullmatch(kind) else "")
    if not fault["loc"]:  # no frame at all
        return rejected
    frame = from_json(data)
    for each in faults:
        place = each["loc"][1:]
        if not place or place[0] in _NEEDED:
            return rejected
        _leave_out(frame, place)
    try:
        return _FRAMES.validate_python(frame).event()
    except ValidationError:
        return rejected


def _leave_out(frame: dict[str, Any], place: tuple[str | int, ...]) -> None:
    """Drop a field, or of the custom parameters the one that is wrong: the ticket may stand beside it."""
    field = frame.get(str(place[0]))
    if place[0] == "customParameters" and len(place) > 1 and isinstance(field, dict):
        field.pop(str(place[1]), None)
    else:
        frame.pop(str(place[0]), None)


def text(
    token: str, *, last: bool, lang: str = "", interruptible: bool | None = None, preemptible: bool | None = None
) -> str:
    """Encode a piece of speech; `last` closes the talk cycle. None and empty leave the carrier's default."""
    return _encode(_TextFrame(token, last, lang or None, interruptible, preemptible))


def end(handoff: str = "") -> str:
    """Encode the request to end the session; `handoff`, a text, comes back at the action URL as `HandoffData`."""
    return _encode(_EndFrame(handoff or None))


class _TextFrame(msgspec.Struct, tag="text", omit_defaults=True):
    token: str
    last: bool
    lang: str | None = None
    interruptible: bool | None = None
    preemptible: bool | None = None


class _EndFrame(msgspec.Struct, tag="end", omit_defaults=True, rename="camel"):
    handoff_data: str | None = None


_ENCODER = msgspec.json.Encoder()


def _encode(frame: _TextFrame | _EndFrame) -> str:
    try:
        return _ENCODER.encode(frame).decode()
    except UnicodeEncodeError:
        # A lone surrogate, which a client's JSON can carry and which no text frame can. It is dropped.
        for name, value in msgspec.structs.asdict(frame).items():
            setattr(frame, name, _sendable(value))
        return _ENCODER.encode(frame).decode()


def _sendable(value: object) -> object:
    return value.encode("utf-8", "ignore").decode("utf-8") if isinstance(value, str) else value


def _why(fault: ErrorDetails) -> str:
    """Name a fault as `frame.field:fault`; deeper places are left out, since the sender chose their names."""
    place = ".".join(str(part) for part in fault["loc"][:2])
    return f"{place}:{fault['type']}" if place else fault["type"]


def _none_as(default: object) -> BeforeValidator:
    return BeforeValidator(lambda value: default if value is None else value)


def _finite(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number without end is not text")
    return value


_Text = Annotated[str, _none_as(""), BeforeValidator(_finite)]
_Milliseconds = Annotated[
    float, BeforeValidator(lambda value: 0 if value in (None, "") else value), Field(ge=0, le=86_400_000)
]


class _Frame(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(
        alias_generator=to_camel, allow_inf_nan=False, coerce_numbers_to_str=True, extra="ignore", frozen=True
    )


class _SetupFrame(_Frame):
    type: Literal["setup"]
    call_sid: _Text = Field(pattern=f"^{CALL_SID_PATTERN}$")
    account_sid: _Text = ""
    session_id: _Text = Field(default="", repr=False)
    caller: _Text = Field(default="", alias="from")
    called: _Text = Field(default="", alias="to")
    direction: _Text = ""
    call_type: _Text = ""
    forwarded_from: _Text = ""
    caller_name: _Text = ""
    parent_call_sid: _Text = ""
    custom_parameters: Annotated[dict[str, _Text], _none_as({})] = Field(default_factory=dict, repr=False)

    def event(self) -> Setup:
        return Setup(**self.model_dump(exclude={"type"}))


def _prompt(frame: _PromptFrame | _PlainPrompt) -> UtteranceHeard | PartialPromptHeard:
    return UtteranceHeard(frame.voice_prompt, frame.lang) if frame.last else PartialPromptHeard(frame.voice_prompt)


class _PromptFrame(_Frame):
    type: Literal["prompt"]
    voice_prompt: _Text
    lang: _Text = ""
    # Older pages of the carrier show prompts without `last`; such a prompt counts as final.
    last: Annotated[bool, _none_as(True)] = True

    event = _prompt


class _InterruptFrame(_Frame):
    type: Literal["interrupt"]
    utterance_until_interrupt: _Text = ""
    duration_until_interrupt_ms: _Milliseconds = 0.0

    def event(self) -> CallerBargedIn:
        return CallerBargedIn(self.utterance_until_interrupt, int(self.duration_until_interrupt_ms))


class _DtmfFrame(_Frame):
    type: Literal["dtmf"]
    digit: str = Field(pattern=r"^[0-9A-D*#]$")

    def event(self) -> DigitPressed:
        return DigitPressed(self.digit)


class _ErrorFrame(_Frame):
    type: Literal["error"]
    description: _Text = ""

    def event(self) -> CarrierFailed:
        return CarrierFailed(self.description)


def _info(frame: _InfoFrame | _PlainInfo) -> PhoneEvent:
    match frame.name, frame.value:
        case "agentSpeaking", "on" | "off":
            return AgentSpeaking(frame.value == "on")
        case "clientSpeaking", "on" | "off":
            return CallerSpeaking(frame.value == "on")
        case "tokensPlayed", str() as played:
            return SpeechPlayed(played)
        case (("agentSpeaking" | "clientSpeaking" | "tokensPlayed"), _):
            return FrameRejected("info.value")
        case _:
            return FrameAccepted()


class _InfoFrame(_Frame):
    type: Literal["info"]
    name: _Text = ""
    # An unknown name may have any fields, and does not count as a bad frame.
    value: Annotated[_Text | Any, Field(union_mode="left_to_right")] = ""

    event = _info


class _PlainPrompt(msgspec.Struct, tag="prompt", forbid_unknown_fields=True, rename="camel"):
    voice_prompt: str
    lang: str
    last: bool

    event = _prompt


class _PlainInfo(msgspec.Struct, tag="info", forbid_unknown_fields=True):
    name: str
    value: str

    event = _info


_PLAIN_FRAMES: msgspec.json.Decoder[_PlainPrompt | _PlainInfo] = msgspec.json.Decoder(_PlainPrompt | _PlainInfo)
_AnyFrame: TypeAlias = _SetupFrame | _PromptFrame | _InterruptFrame | _DtmfFrame | _ErrorFrame | _InfoFrame
_FRAMES: TypeAdapter[_AnyFrame] = TypeAdapter(Annotated[_AnyFrame, Field(discriminator="type")])
