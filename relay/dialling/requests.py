"""The requests of a client that dial a number: a conversation, a voice message, a transfer; and their defaults.

The tools check a client's input and explain what is wrong; here invalid values raise when they are built.
"""

from __future__ import annotations

import math

import attrs
from attrs.validators import ge, gt, le, optional

from actors.call_values import LONGEST_RING, SHORTEST_RING, Voicemail
from relay.agent import Agent, CallDefaults
from relay.dialling.numbers import NumberError, normalise
from relay.errors import OutboundRefused

# By the carrier's page on the Call resource.
_LONGEST_CALL = 86_400

# The relay ends a call with a goodbye; the carrier's limit is only the fallback.
_FAREWELL_SECONDS = 60


@attrs.frozen(kw_only=True)
class DialRequest:
    """The number `to`, as the client wrote it, is to be dialled. None means: as the agent or the settings have it.

    `zone` is the IANA name of the callee's time zone where it is known, `purpose` what consent was given for. A
    `dry_run` asks the gate and dials nothing.
    """

    to: str = attrs.field(repr=False)
    ring_seconds: int | None = attrs.field(default=None, validator=optional([ge(SHORTEST_RING), le(LONGEST_RING)]))
    zone: str | None = None
    purpose: str | None = None
    dry_run: bool = False


@attrs.frozen(kw_only=True)
class CallRequest(DialRequest):
    """A call that a client wants to make.

    `wait_for_human` keeps the greeting back until a person is known to have answered. `for_voicemail` is said to a
    voicemail, with `LEAVE_MESSAGE` only.
    """

    greeting: str | None = attrs.field(default=None, repr=False)
    system_prompt: str | None = attrs.field(default=None, repr=False)
    voice: str | None = None
    language: str | None = None
    wait_for_human: bool = False
    on_voicemail: Voicemail = Voicemail.HANG_UP
    for_voicemail: str = attrs.field(default="", repr=False)

    @for_voicemail.validator
    def _goes_with_a_voicemail(self, _attribute: attrs.Attribute[str], value: str) -> None:
        if bool(value.strip()) != (self.on_voicemail is Voicemail.LEAVE_MESSAGE):
            raise ValueError("for_voicemail and LEAVE_MESSAGE need each other")


@attrs.frozen(kw_only=True)
class VoiceMessageRequest(DialRequest):
    """A spoken message that a client wants to send."""

    text: str = attrs.field(repr=False)
    voice: str | None = None
    language: str | None = None


@attrs.frozen(kw_only=True)
class TransferRequest(DialRequest):
    """A live call that a client transfers to a person at the number `to`.

    `announcement` is said to the caller first; `confirm` lets the callee press 1 before the two are connected.
    """

    call_sid: str
    announcement: str = attrs.field(default="", repr=False)
    confirm: bool = False


@attrs.frozen(kw_only=True)
class Defaults(CallDefaults):
    """What the settings say of calls that we make.

    `caller_number` is E.164, or None where only agents have numbers. `max_call_seconds` is how long the relay lets a
    call last.
    """

    caller_number: str | None = attrs.field(default=None, repr=False)
    ring_seconds: int = attrs.field(default=25, validator=[ge(SHORTEST_RING), le(LONGEST_RING)])
    max_call_seconds: float = attrs.field(default=3600.0, validator=gt(0))

    @property
    def time_limit(self) -> int:
        """After how many seconds the carrier ends a call whatever happens: later than the relay would."""
        return min(math.ceil(min(self.max_call_seconds, _LONGEST_CALL)) + _FAREWELL_SECONDS, _LONGEST_CALL)

    def ring_time(self, request: DialRequest) -> int:
        """Return for how many seconds to ring."""
        return self.ring_seconds if request.ring_seconds is None else request.ring_seconds

    def caller_of(self, agent: Agent) -> str:
        """Return the number that a call of the agent's comes from. Raises `OutboundRefused` where there is none."""
        number = agent.number or self.caller_number
        command = f"relay agents set {agent.agent_id} --number +1…"
        if not number:
            raise OutboundRefused(
                "no_number", f"The agent has no telephone number to call from. The operator can give it one: {command}"
            )
        try:
            return normalise(number)
        except NumberError:
            # Its own text repeats the number.
            raise OutboundRefused(
                "number_unusable",
                "The number that the call would come from is not in E.164 form (+14155552671). The operator can fix "
                f"it: {command}",
            ) from None
