"""The tools for using the telephone: call somebody, send a spoken message, pass a call on, stop calling a number.

    arguments ──checked──▶ CallWish, VoiceMessageWish, TransferWish ──▶ Outbound ──▶ what was placed
                                                                                └─▶ dry run: the gate's verdict
                                                                                └─▶ OutboundRefused: an error result

What they take is in `outbound_arguments`. Here is what they give back, and what a model must know to use them well.
"""

from __future__ import annotations

from typing import Any

import mcp_types as types

from actors.errors import UnknownCall
from relay.agent import Agent
from relay.dialling.requests import CallRequest, TransferRequest, VoiceMessageRequest
from relay.mcp.ports import Outbound
from relay.mcp.tools.outbound_arguments import MakeCall, SendVoiceMessage, StopCalling, TransferCall
from relay.mcp.tools.toolbox import Schema, Tool, ToolError, nullable

# ── results ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _text(description: str, *, may_be_null: bool = False) -> Schema:
    schema = {"type": "string", "description": description}
    return nullable(schema) if may_be_null else schema


_REFUSALS: Schema = {
    "type": "array",
    "description": "Every reason why the number must not be dialled now; none when it may be.",
    "items": {
        "type": "object",
        "properties": {
            "name": _text("The rule, in snake_case, such as quiet_hours."),
            "sentence": _text("Why it refuses."),
            "liftedBy": _text("What would lift it, and who could."),
        },
        "required": ["name", "sentence", "liftedBy"],
    },
}
_NEXT_ALLOWED = _text(
    "When the same would be allowed, in UTC (ISO 8601), where waiting is all that it takes.", may_be_null=True
)
# One description for both forms of the result: in a dry run there may be no number.
_DIALLED = _text("The number in E.164 form; null in a dry run about what is no number.", may_be_null=True)

VERDICT: Schema = {
    "properties": {
        "dryRun": {"type": "boolean", "description": "true: nothing was dialled. Only in the result of a dry run."},
        "allowed": {"type": "boolean", "description": "Whether the number may be dialled now. Only in a dry run."},
        "to": _DIALLED,
        "zones": {
            "type": "array",
            "items": {"type": "string"},
            "description": "The time zones whose clocks counted. Only in a dry run.",
        },
        "refusals": _REFUSALS,
        "nextAllowed": _NEXT_ALLOWED,
    },
    "required": ["dryRun", "allowed", "to", "zones", "refusals", "nextAllowed"],
}
DETAILS: Schema = {
    "type": "object",
    "description": "Facts for programs, where there are any.",
    "properties": {
        "refusals": {**_REFUSALS, "description": "Where the number must not be dialled now: every reason why."},
        "nextAllowed": _NEXT_ALLOWED,
        "retryable": {
            "type": "boolean",
            "description": "Where the carrier refused: whether the same may succeed later.",
        },
    },
}
_SID = _text("Names the call to the other tools.")
_STATUS = _text("What the carrier says of the call, such as queued: nobody has answered yet.")
_FROM = _text("Your number, which the callee sees.")

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
    "Tell somebody something by telephone: your text is made into speech, the number is called, and whoever picks up, "
    "a voicemail too, hears it once; then the call ends. Nobody can answer you: to talk, use comms_make_call. Returns "
    "as soon as the call is placed; comms_list_calls tells later whether it was answered. Dials once, and does not try "
    "again. nothing_to_say, text_too_long and speech_failed: word the text differently; speech_timeout and "
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
    "withheld it; unknown_call: you have no call of that callSid, so give the number."
)

# A telephone that rang has rung: hosts should ask their user first where they ask at all.
_DIALS = types.ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=True)
# Nobody who does not want to be called should wait for a host to ask its user.
_ONLY_ADDS = types.ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)


def outbound_tools(outbound: Outbound) -> list[Tool[Any]]:
    """Make the tools over what an agent can do with the telephone besides answering it."""

    async def make_call(agent: Agent, arguments: MakeCall) -> dict[str, Any]:
        wish = CallRequest(
            **arguments.wish(),
            greeting=arguments.greeting,
            system_prompt=arguments.system_prompt,
            voice=arguments.voice,
            language=arguments.language,
            wait_for_human=arguments.wait_for_human,
            on_voicemail=arguments.on_voicemail,
            for_voicemail=arguments.voicemail_message.strip(),
        )
        return await outbound.make_call(agent, wish)

    async def send_voice_message(agent: Agent, arguments: SendVoiceMessage) -> dict[str, Any]:
        wish = VoiceMessageRequest(
            **arguments.wish(), text=arguments.text, voice=arguments.voice, language=arguments.language
        )
        return await outbound.send_voice_message(agent, wish)

    async def transfer_call(agent: Agent, arguments: TransferCall) -> dict[str, Any]:
        wish = TransferRequest(
            **arguments.wish(),
            call_sid=arguments.call_sid,
            announcement=arguments.announcement_text,
            confirm=arguments.confirm,
        )
        return await outbound.transfer_call(agent, wish)

    async def stop_calling(agent: Agent, arguments: StopCalling) -> dict[str, Any]:
        try:
            return await outbound.stop_calling(
                agent, number=arguments.number, call_sid=arguments.call_sid, reason=arguments.reason
            )
        except UnknownCall:  # which elsewhere is about live calls
            raise ToolError(
                "unknown_call", "You have no call of that callSid, live or past; give the number."
            ) from None

    return [
        Tool(
            name="comms_make_call",
            title="Call somebody",
            description=MAKE_CALL,
            arguments=MakeCall,
            result={
                "properties": {"callSid": _SID, "status": _STATUS, "to": _DIALLED, "from": _FROM},
                "required": ["callSid", "status", "to", "from"],
            },
            annotations=_DIALS,
            run=make_call,
            dry_run=VERDICT,
            details=DETAILS,
        ),
        Tool(
            name="comms_send_voice_message",
            title="Send a voice message",
            description=SEND_VOICE_MESSAGE,
            arguments=SendVoiceMessage,
            result={
                "properties": {
                    "callSid": _SID,
                    "status": _STATUS,
                    "to": _DIALLED,
                    "from": _FROM,
                    "audioUrl": _text(
                        "Where the carrier fetches the audio; it expires. null where the carrier speaks by itself.",
                        may_be_null=True,
                    ),
                    "durationSeconds": nullable(
                        {
                            "type": "number",
                            "description": "How long the audio plays. null where the carrier speaks by itself.",
                        }
                    ),
                    "otherVoice": _text(
                        "Only where the voice that was to speak does not exist any more: the id of the account's first "
                        "voice, which spoke in its place. Tell your user, or give this one from now on."
                    ),
                },
                "required": ["callSid", "status", "audioUrl", "durationSeconds"],
            },
            annotations=_DIALS,
            run=send_voice_message,
            dry_run=VERDICT,
            details=DETAILS,
        ),
        Tool(
            name="comms_transfer_call",
            title="Pass a call on",
            description=TRANSFER_CALL,
            arguments=TransferCall,
            result={
                "properties": {
                    "callSid": _SID,
                    "status": _text("transferring: the caller hears the announcement, then it rings."),
                    "to": _DIALLED,
                },
                "required": ["callSid", "status", "to"],
            },
            annotations=_DIALS,
            run=transfer_call,
            dry_run=VERDICT,
            details=DETAILS,
        ),
        Tool(
            name="comms_stop_calling",
            title="Stop calling a number",
            description=STOP_CALLING,
            arguments=StopCalling,
            result={
                "properties": {
                    "to": _text("The number, in E.164 form."),
                    "added": {"type": "boolean", "description": "false: it was on the list before."},
                },
                "required": ["to", "added"],
            },
            annotations=_ONLY_ADDS,
            run=stop_calling,
        ),
    ]
