"""The outbound tools: make a call, send a voice message, transfer a call, stop calling a number.

    comms_make_call ──────────▶ CallRequest ─────────▶ Conversations ───┐
    comms_send_voice_message ─▶ VoiceMessageRequest ─▶ VoiceMessages ───┴──▶ dialler: gate, carrier
    comms_transfer_call ──────▶ TransferRequest ─────▶ Transfers ──────────▶ gate, the live call
    comms_stop_calling ─────────────────────────────▶ OptOutRequests ─────▶ gate

Each answers with what was placed; a dry run with the gate's verdict; `OutboundRefused` becomes an error result, and
then nothing was dialled unless it says so.

What they take is in `outbound_arguments`. This module has their results, and what a model must know to use them well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mcp_types as types
from pydantic import Field

from actors.errors import UnknownCall
from relay.agent import Agent
from relay.dialling.opt_out import OptOutRequests
from relay.dialling.outbound_calls import Conversations
from relay.dialling.requests import CallRequest, TransferRequest, VoiceMessageRequest
from relay.dialling.transfers import Transfers
from relay.dialling.voice_messages import VoiceMessages
from relay.mcp.tools.outbound_arguments import MakeCall, SendVoiceMessage, StopCalling, TransferCall
from relay.mcp.tools.results import Failure, Result
from relay.mcp.tools.toolbox import Tool, ToolError

# ── results ─────────────────────────────────────────────────────────────────────────────────────────────────────────

_SID = "Names the call to the other tools."
_STATUS = "What the carrier says of the call, such as queued: nobody has answered yet."
_FROM = "Your number, which the callee sees."
# One description for both forms of the result: in a dry run there may be no number.
_DIALLED = "The number in E.164 form; null in a dry run about what is no number."
_NEXT_ALLOWED = "When the same would be allowed, in UTC (ISO 8601), where waiting is all that it takes."


class Refusal(Result):
    """A rule that refuses a number."""

    name: str = Field(description="The rule, in snake_case, such as quiet_hours.")
    sentence: str = Field(description="Why it refuses.")
    lifted_by: str = Field(description="What would lift it, and who could.")


class DryRun(Result):
    """What every tool that dials returns when it is only asked whether it may."""

    dry_run: bool = Field(description="true: nothing was dialled. Only in the result of a dry run.")
    allowed: bool = Field(description="Whether the number may be dialled now. Only in a dry run.")
    to: str | None = Field(description=_DIALLED)
    zones: list[str] = Field(description="The time zones whose clocks counted. Only in a dry run.")
    refusals: list[Refusal] = Field(
        description="Every reason why the number must not be dialled now; none when it may be."
    )
    next_allowed: str | None = Field(description=_NEXT_ALLOWED)


class RefusalDetails(Result):
    """What is known of a refusal beside its code and message, each where it applies."""

    refusals: list[Refusal] = Field(
        default=[], description="Where the number must not be dialled now: every reason why."
    )
    next_allowed: str | None = Field(default=None, description=_NEXT_ALLOWED)
    retryable: bool = Field(default=False, description="Where the carrier refused: whether the same may succeed later.")


class Refused(Failure):
    """What is wrong, where the gate or the carrier refused."""

    details: RefusalDetails = Field(
        default_factory=RefusalDetails, description="Facts for programs, where there are any."
    )


class PlacedCall(Result):
    """Result of `comms_make_call`."""

    call_sid: str = Field(description=_SID)
    status: str = Field(description=_STATUS)
    to: str | None = Field(description=_DIALLED)
    from_: str = Field(description=_FROM)


class PlacedVoiceMessage(
    PlacedCall, json_schema_extra={"required": ["callSid", "status", "audioUrl", "durationSeconds"]}
):
    """Result of `comms_send_voice_message`."""

    audio_url: str | None = Field(
        description="Where the carrier fetches the audio; it expires. null where the carrier speaks by itself."
    )
    duration_seconds: float | None = Field(
        description="How long the audio plays. null where the carrier speaks by itself."
    )
    other_voice: str = Field(
        default="",
        description="Only where the voice that was to speak does not exist any more: the id of the account's first "
        "voice, which spoke in its place. Tell your user, or give this one from now on.",
    )


class Transferring(Result):
    """Result of `comms_transfer_call`."""

    call_sid: str = Field(description=_SID)
    status: str = Field(description="transferring: the caller hears the announcement, then it rings.")
    to: str | None = Field(description=_DIALLED)


class StoppedNumber(Result):
    """Result of `comms_stop_calling`."""

    to: str = Field(description="The number, in E.164 form.")
    added: bool = Field(description="false: it was on the list before.")


def _placed(kind: type[Result], given: Mapping[str, Any]) -> Result:
    """Return what was placed, or in a dry run the verdict, as the result it is."""
    return (DryRun if "dryRun" in given else kind).model_validate(given)


# ── what a model is told ────────────────────────────────────────────────────────────────────────────────────────────

_WHEN_REFUSED = (
    "On an error nothing was dialled, unless it says otherwise; its message says what to do. A refused number is "
    "refused for a reason: do not try to get around it by another number of the same person or another wording. "
    "quiet_hours and the limits pass with time (details.nextAllowed); number_invalid may be a slip, so check the "
    "number; do_not_call and emergency_number are final for you; what only the operator can lift, tell your user. "
    "carrier_busy, carrier_full and full pass after a while. outcome_unknown: it may be ringing, so do not dial again, "
    "but look with comms_list_calls."
)

MAKE_CALL = (
    "Call somebody and talk with them. Returns as soon as the call is placed, before anybody has answered. What the "
    "callee says then reaches you as sampling requests, each with this callSid in its metadata, just like a call that "
    "came in; end it with comms_end_call. If your client does not take sampling requests, or is gone by then, the "
    "callee hears that you are unavailable, and what they say is kept for you as a waiting message. A sentence that an "
    "AI is calling is said before your greeting unless the operator turned it off: do not repeat it. Dials once, and "
    "does not try again. comms_list_calls tells what became of it. To only tell somebody something, use "
    f"comms_send_voice_message. {_WHEN_REFUSED}"
)
SEND_VOICE_MESSAGE = (
    "Tell somebody something by telephone: your text is made into speech, the number is called, and the person who "
    "picks up, or a voicemail, hears it once; then the call ends. They cannot answer: to talk, use comms_make_call. "
    "Returns as soon as the call is placed; comms_list_calls tells later whether it was answered. Dials once, and does "
    "not try again. nothing_to_say, text_too_long and speech_failed: word the text differently; speech_timeout and "
    f"speech_unavailable: try later. {_WHEN_REFUSED}"
)
TRANSFER_CALL = (
    "Pass a live call of yours on to a person: the caller hears announcementText, then that person is called, and the "
    "two are connected. Returns at once, before it rings; what the caller says does not reach you from then on. If "
    "nobody takes the call (busy, no answer, declined), the caller comes back to you: the next sampling request of the "
    "call says so in round brackets, and you go on, for instance by offering to take a message. `transfer` in "
    "comms_list_calls tells how it went. Cannot be taken back. unknown_call: you have no such live call, it may just "
    f"have ended; already_transferring: wait for the outcome. {_WHEN_REFUSED}"
)
STOP_CALLING = (
    "Put a number on your do-not-call list. Use it at once, without asking back, when somebody says that they do not "
    "want to be called, on a call or in a message. From then on nothing of yours dials it: no call, no voice message, "
    "no transfer. Only the operator can take it off. It does not end a call that is going on: confirm it to the "
    "person, then use comms_end_call. Asking twice is harmless. number_invalid: check the number, or the caller "
    "withheld it; unknown_call: no call has that callSid, so give the number."
)

# A call cannot be undone: hosts that ask their user should do so before these tools.
_DIALS = types.ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=True)
# An opt-out must not wait until a host has asked its user.
_ONLY_ADDS = types.ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)


def outbound_tools(
    conversations: Conversations, voice_messages: VoiceMessages, transfers: Transfers, opt_outs: OptOutRequests
) -> list[Tool[Any]]:
    """Return the tools with which an agent uses the telephone besides answering it."""

    async def make_call(agent: Agent, arguments: MakeCall) -> Result:
        request = CallRequest(
            **arguments.common_fields(),
            greeting=arguments.greeting,
            system_prompt=arguments.system_prompt,
            voice=arguments.voice,
            language=arguments.language,
            wait_for_human=arguments.wait_for_human,
            on_voicemail=arguments.on_voicemail,
            for_voicemail=arguments.voicemail_message.strip(),
        )
        return _placed(PlacedCall, await conversations.make_call(agent, request))

    async def send_voice_message(agent: Agent, arguments: SendVoiceMessage) -> Result:
        request = VoiceMessageRequest(
            **arguments.common_fields(), text=arguments.text, voice=arguments.voice, language=arguments.language
        )
        return _placed(PlacedVoiceMessage, await voice_messages.send(agent, request))

    async def transfer_call(agent: Agent, arguments: TransferCall) -> Result:
        request = TransferRequest(
            **arguments.common_fields(),
            call_sid=arguments.call_sid,
            announcement=arguments.announcement_text,
            confirm=arguments.confirm,
        )
        return _placed(Transferring, await transfers.transfer_call(agent, request))

    async def stop_calling(agent: Agent, arguments: StopCalling) -> StoppedNumber:
        try:
            done = await opt_outs.stop_calling(
                agent, number=arguments.number, call_sid=arguments.call_sid, reason=arguments.reason
            )
        except UnknownCall:  # which elsewhere is about live calls
            raise ToolError(
                "unknown_call", "No call, live or past, has that callSid; give the number instead."
            ) from None
        return StoppedNumber.model_validate(done)

    return [
        Tool(
            name="comms_make_call",
            title="Call somebody",
            description=MAKE_CALL,
            arguments=MakeCall,
            results=(DryRun, PlacedCall),
            annotations=_DIALS,
            run=make_call,
            failure=Refused,
        ),
        Tool(
            name="comms_send_voice_message",
            title="Send a voice message",
            description=SEND_VOICE_MESSAGE,
            arguments=SendVoiceMessage,
            results=(DryRun, PlacedVoiceMessage),
            annotations=_DIALS,
            run=send_voice_message,
            failure=Refused,
        ),
        Tool(
            name="comms_transfer_call",
            title="Pass a call on",
            description=TRANSFER_CALL,
            arguments=TransferCall,
            results=(DryRun, Transferring),
            annotations=_DIALS,
            run=transfer_call,
            failure=Refused,
        ),
        Tool(
            name="comms_stop_calling",
            title="Stop calling a number",
            description=STOP_CALLING,
            arguments=StopCalling,
            results=(StoppedNumber,),
            annotations=_ONLY_ADDS,
            run=stop_calling,
        ),
    ]
