"""The arguments of the outbound tools: form, bounds and meaning of each.

Whether a number may be dialled is for the gate alone, so a number is taken as it was written: the gate's refusals say
more than a pattern could.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from actors.call_values import LONGEST_RING, SHORTEST_RING, Voicemail
from relay.mcp.tools.arguments import Arguments, CallSid
from relay.speech.engines.port import MAX_CHARACTERS
from relay.speech.languages import LONGEST_TAG, LanguageError, is_beyond_conversation, lacking, read_language
from relay.speech.voices import read_message_voice, read_voice

# The form of a BCP 47 tag (RFC 5646, section 2.1), for clients that check it; which tags exist is checked here.
_LANGUAGE = r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$"


def _checked(read: Callable[[str], str]) -> Callable[[str], str]:
    """Turn what a reader raises into the library's own kind of error, whose text reaches the client."""

    def check(given: str) -> str:
        try:
            return read(given)
        except ValueError as error:
            raise PydanticCustomError("unreadable", "{why}", {"why": str(error)}) from error

    return check


def _language_of_a_call(given: str) -> str:
    tag = read_language(given)
    if is_beyond_conversation(tag):
        raise LanguageError(f"no conversation can be held in it: {lacking(tag)}. Leave it out, or choose another one.")
    return tag


_LANGUAGE_SCHEMA = WithJsonSchema({"type": "string", "pattern": _LANGUAGE, "maxLength": LONGEST_TAG})
_VOICE_SCHEMA = WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 100})
Language = Annotated[str, AfterValidator(_checked(read_language)), _LANGUAGE_SCHEMA]
LanguageOfCall = Annotated[str, AfterValidator(_checked(_language_of_a_call)), _LANGUAGE_SCHEMA]
Voice = Annotated[str, AfterValidator(_checked(read_message_voice)), _VOICE_SCHEMA]
VoiceOfCall = Annotated[str, AfterValidator(_checked(read_voice)), _VOICE_SCHEMA]
# Written out, because an enum of its own would stand behind a $ref, which some clients do not follow.
VoicemailChoice = Annotated[Voicemail, WithJsonSchema({"type": "string", "enum": [each.value for each in Voicemail]})]
Number = Annotated[str, Field(max_length=64)]

_TO = (
    "The number to dial, with its country code, such as +14155552671. Spaces, dashes, dots and brackets do no harm; "
    "words and extensions do."
)
_VOICE = (
    "The voice: the id of an ElevenLabs voice, such as EXAVITQu4vr4xnSDxMaL, or none for the telephone service's own. "
    "Leave it out for your usual one."
)


class Dial(Arguments):
    """The arguments that every tool that dials has."""

    to: Number = Field(min_length=1, description=_TO)
    ring_seconds: int | None = Field(
        default=None,
        ge=SHORTEST_RING,
        le=LONGEST_RING,
        description="How long it rings before nobody answers. Leave it out for the usual.",
    )
    time_zone: str | None = Field(
        default=None,
        min_length=1,
        max_length=64,
        description=(
            "The IANA time zone where the callee is, such as Europe/Berlin. Give it only if you know it. If it is one "
            "of those that the number may be in, its clock alone decides whether it is too early or too late to call; "
            "any other one has to agree with those of the number, so it lifts nothing."
        ),
    )
    purpose: str | None = Field(
        default=None,
        min_length=1,
        max_length=100,
        description="What the call is for, in the word under which consent was recorded, such as reminders.",
    )
    dry_run: bool = Field(
        default=False, description="true: dial nothing, and say whether the number may be dialled now, and why not."
    )

    def common_fields(self) -> dict[str, Any]:
        """Return the arguments that all requests have in common."""
        return {
            "to": self.to,
            "ring_seconds": self.ring_seconds,
            "zone": self.time_zone,
            "purpose": self.purpose,
            "dry_run": self.dry_run,
        }


class MakeCall(Dial):
    """Arguments of `comms_make_call`."""

    greeting: str | None = Field(
        default=None,
        max_length=1000,
        description=(
            "What the callee hears first. Left out: your usual greeting. Empty: nothing, so the callee speaks first."
        ),
    )
    system_prompt: str | None = Field(
        default=None,
        max_length=20_000,
        description=(
            "The systemPrompt of this call's sampling requests: who you are in it and what you want. Left out: yours."
        ),
    )
    voice: VoiceOfCall | None = Field(default=None, description=_VOICE)
    language: LanguageOfCall | None = Field(
        default=None,
        description="The language of both sides, as a BCP 47 tag such as de-DE. Leave it out for your usual one.",
    )
    wait_for_human: bool = Field(
        default=False,
        description=(
            "true: say nothing of yours, the greeting included, until a person is known to have picked up; that takes "
            "some seconds. For what no voicemail and nobody else may hear."
        ),
    )
    on_voicemail: VoicemailChoice = Field(
        default=Voicemail.HANG_UP,
        description=(
            "If a machine picks up: hang_up, leave_message (say voicemailMessage, then hang up), or go_on as with a "
            "person, for instance to get through a menu."
        ),
    )
    voicemail_message: str = Field(
        default="",
        max_length=1000,
        description="What is said to a machine. Needed with onVoicemail leave_message, and only there.",
    )

    @model_validator(mode="after")
    def _message_for_a_machine(self) -> MakeCall:
        if (self.on_voicemail is Voicemail.LEAVE_MESSAGE) != bool(self.voicemail_message.strip()):
            raise PydanticCustomError(
                "voicemail", "voicemailMessage and onVoicemail leave_message need each other; give both or neither"
            )
        return self


class SendVoiceMessage(Dial):
    """Arguments of `comms_send_voice_message`."""

    text: str = Field(
        min_length=1,
        max_length=MAX_CHARACTERS,
        description="What is said, in plain words as they are to be spoken: no markdown, no links, no emoji.",
    )
    voice: Voice | None = Field(default=None, description=_VOICE)
    language: Language | None = Field(
        default=None,
        description="The language of the text, as a BCP 47 tag such as de-DE. Leave it out for your usual one.",
    )


class TransferCall(Dial):
    """Arguments of `comms_transfer_call`."""

    call_sid: CallSid = Field(min_length=1, description="Your live call, as comms_list_calls names it.")
    announcement_text: str = Field(
        default="",
        max_length=1000,
        description="What the caller hears before it rings at the other person's. Left out: nothing.",
    )
    confirm: bool = Field(
        default=False,
        description=(
            "true: the person who answers must press 1 before the two are connected, so that no voicemail takes the "
            "call."
        ),
    )


class StopCalling(Arguments):
    """Arguments of `comms_stop_calling`."""

    number: Number = Field(
        default="", description="The number not to call any more, such as +14155552671. Give this or callSid."
    )
    call_sid: CallSid = Field(
        default="",
        description="A call of yours, live or past: the number of the other party is meant. Give this or number.",
    )
    reason: str = Field(
        default="", max_length=500, description="Why, for the operator: such as the words in which it was asked."
    )

    @model_validator(mode="after")
    def _one_number(self) -> StopCalling:
        if bool(self.number) == bool(self.call_sid):
            raise PydanticCustomError("one_number", "give exactly one of number and callSid")
        return self
