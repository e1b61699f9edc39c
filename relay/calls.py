"""What is known and wanted of a call outside the call itself: values that the parts of the relay hand to each other.

    tools ──CallWish, VoiceMessageWish, TransferWish──▶ relay.dialling ──OutgoingCall──▶ reception, carrier
    carrier's webhooks ──CallProgress, TransferResult──▶ reception, relay.dialling ──▶ journal

Pure and frozen; none of them imports the part that makes it or the one that takes it.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import attrs
from attrs.validators import ge, in_, matches_re, min_len, optional

from actors.call_values import CallInfo, Direction
from relay.agent import Agent

_CALL_SID = matches_re(r"[A-Za-z0-9_-]{1,64}")

ENDED_STATUSES = frozenset({"completed", "busy", "failed", "no-answer", "canceled"})
"""The carrier's words (its Call resource) for a call that is over, in whichever way."""


class CallKind(StrEnum):
    """What a call is for: a conversation, or audio that is played to whoever answers."""

    CALL = "call"
    VOICE_MESSAGE = "voice_message"


class OnVoicemail(StrEnum):
    """What to do when a machine picks up a call that we made."""

    HANG_UP = "hang_up"
    LEAVE_MESSAGE = "leave_message"
    GO_ON = "go_on"


class TransferOutcome(StrEnum):
    """What became of a transfer.

    `DIALLING` until it is known. `DECLINED` is a callee who did not press the key that accepts; `CALLER_GONE` a caller
    who hung up before anybody answered; `FAILED` a number that could not be reached; `LOST` a call that could not be
    handed over at all, or of whose transfer nothing was heard again.
    """

    DIALLING = "dialling"
    ANSWERED = "answered"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    DECLINED = "declined"
    FAILED = "failed"
    CALLER_GONE = "caller_gone"
    LOST = "lost"


# ── what a client wants ─────────────────────────────────────────────────────────────────────────────────────────────


@attrs.frozen(kw_only=True)
class CallRequest:
    """A call that a client wants to make. None means: as the agent has it, else as the settings have it.

    `zone` is the IANA name of the callee's time zone where it is known, `purpose` what consent was given for.
    `wait_for_human` keeps the greeting back until a person is known to have answered. `for_voicemail` is what is said
    to a machine with `LEAVE_MESSAGE`.
    """

    to: str = attrs.field(repr=False)
    greeting: str | None = attrs.field(default=None, repr=False)
    system_prompt: str | None = attrs.field(default=None, repr=False)
    voice: str | None = None
    language: str | None = None
    wait_for_human: bool = False
    on_voicemail: OnVoicemail = OnVoicemail.HANG_UP
    for_voicemail: str = attrs.field(default="", repr=False)
    ring_seconds: int | None = None
    zone: str | None = None
    purpose: str | None = None
    dry_run: bool = False


@attrs.frozen(kw_only=True)
class VoiceMessageRequest:
    """A spoken message that a client wants to send. None means as in `CallRequest`."""

    to: str = attrs.field(repr=False)
    text: str = attrs.field(repr=False)
    voice: str | None = None
    language: str | None = None
    ring_seconds: int | None = None
    zone: str | None = None
    purpose: str | None = None
    dry_run: bool = False


@attrs.frozen(kw_only=True)
class TransferRequest:
    """A call that a client wants to pass on to a person at the number `to`.

    `announcement` is said to the caller first; `confirm` lets the callee press 1 before the two are connected.
    """

    call_sid: str
    to: str = attrs.field(repr=False)
    announcement: str = attrs.field(default="", repr=False)
    confirm: bool = False
    ring_seconds: int | None = None
    zone: str | None = None
    purpose: str | None = None
    dry_run: bool = False


# ── what we place ───────────────────────────────────────────────────────────────────────────────────────────────────


@attrs.frozen(kw_only=True)
class OutgoingCall:
    """A conversation that is about to be placed. `order` names it until the carrier has given it a call sid.

    Numbers are E.164. `expires_in` is how many seconds, from now, a callee may take until the voice socket is open.
    """

    order: str = attrs.field(validator=matches_re(r"[A-Za-z0-9_-]{16,64}"))
    agent: Agent
    caller: str = attrs.field(repr=False, validator=min_len(1))
    called: str = attrs.field(repr=False, validator=min_len(1))
    greeting: str = attrs.field(default="", repr=False)
    system_prompt: str = attrs.field(default="", repr=False)
    voice: str
    language: str
    screened: bool = False
    on_voicemail: OnVoicemail = OnVoicemail.HANG_UP
    for_voicemail: str = attrs.field(default="", repr=False)
    expires_in: float = attrs.field(default=120.0, validator=ge(1))


# ── what the carrier reports ────────────────────────────────────────────────────────────────────────────────────────


@attrs.frozen(kw_only=True)
class IncomingCall:
    """A call that the carrier asks about, as its signed webhook describes it.

    `caller` and `called` are the numbers as the carrier names them; `attestation` is the letter with which the
    caller's own carrier vouches for the number (A in full, B for the customer, C for the gateway) or empty;
    `is_passed_on` says that it comes with a reservation: the call was diverted, or the verdict is somebody else's.
    `idempotency_token` is the same for all repeats of one request, and empty where the carrier gave none. `attempt` is
    0 for a call's first session; a session lost on the way is resumed as 1, 2 and so on, and so is one that comes back
    from a transfer; then `greeting` is what the carrier shall say first, in place of the agent's own, and `note` says
    what happened in between, for whoever answers. Of a call that `is_unheard` nothing was heard yet: its session begins
    as the one before did.
    """

    agent: Agent
    call_sid: str = attrs.field(validator=min_len(1))
    caller: str = ""
    called: str = ""
    direction: Direction = Direction.INBOUND
    attestation: str = attrs.field(default="", validator=in_(("", "A", "B", "C")))
    is_passed_on: bool = False
    idempotency_token: str = attrs.field(default="", repr=False)
    attempt: int = attrs.field(default=0, validator=ge(0))
    greeting: str | None = None
    note: str = attrs.field(default="", repr=False)
    is_unheard: bool = False

    @property
    def verified(self) -> bool:
        """Whether the caller's carrier vouches in full for the number, and nobody stands between it and us."""
        return self.attestation == "A" and not self.is_passed_on


@attrs.frozen(kw_only=True)
class Admission:
    """The leave to connect a call: `ticket` is for its socket, once.

    The TwiML is made from `call_info` alone: its greeting, voice and language. `repeat` says that the same request was
    admitted before, with this ticket.
    """

    ticket: str = attrs.field(repr=False, validator=min_len(1))
    call_info: CallInfo
    repeat: bool = False


@attrs.frozen(kw_only=True)
class CallProgress:
    """What one webhook of the carrier says of a call: its status, and what else was in the form.

    `status` is the carrier's word (queued, initiated, ringing, in-progress, completed, busy, failed, no-answer,
    canceled). `at` is when it became so, as the carrier dates it, None where it does not. `seconds` is the length of a
    completed call. `error` is the carrier's error code or `sip_486` and the like, empty where there was none. `order`
    is ours, from the query of the callback's address.
    """

    call_sid: str = attrs.field(validator=_CALL_SID)
    status: str
    at: datetime | None = None
    seconds: float | None = attrs.field(default=None, validator=optional(ge(0)))
    error: str = ""
    caller: str = attrs.field(default="", repr=False)
    called: str = attrs.field(default="", repr=False)
    direction: Direction = Direction.INBOUND
    order: str = ""

    @property
    def is_over(self) -> bool:
        """Whether the call is over."""
        return self.status in ENDED_STATUSES


@attrs.frozen(kw_only=True)
class TransferResult:
    """What the carrier says when a `<Dial>` of ours is over.

    `status` is its word (completed, answered, busy, no-answer, failed, canceled); `bridged` whether the two ever spoke;
    `caller_is_there` whether the caller can still be spoken to; `confirm` whether the callee was asked for a key.
    """

    agent: Agent
    call_sid: str = attrs.field(validator=_CALL_SID)
    status: str
    bridged: bool = False
    caller_is_there: bool = True
    confirm: bool = False
    error: str = attrs.field(default="", validator=matches_re(r"[A-Za-z0-9_]{0,32}"))
