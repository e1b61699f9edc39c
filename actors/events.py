"""What can happen to a call: frozen values, named by what happened.

Pure: no clock, no I/O. A value that makes no sense cannot be built. `Event` at the end is the union that
`Conversation.handle` takes and that has a row in every phase; `CallNews` is what listeners get.
"""

from __future__ import annotations

from enum import StrEnum

import attrs
from attrs.validators import in_, instance_of, matches_re, min_len, optional

from actors.call_values import Availability, Callee, CallInfo, Owner, Reason

# ── from the carrier ────────────────────────────────────────────────────────────────────────────────────────────────


@attrs.frozen
class UtteranceHeard:
    """The caller said this: a final prompt."""

    text: str = attrs.field(validator=instance_of(str))
    language: str = ""


@attrs.frozen
class PartialPromptHeard:
    """The caller is saying this: the carrier's guess so far, which the next prompt repeats and replaces."""

    text: str = attrs.field(validator=instance_of(str))


@attrs.frozen
class CallerBargedIn:
    """The caller talked over our speech; `heard` is the part that was played before, in the carrier's wording."""

    heard: str = ""
    after_ms: int = 0


@attrs.frozen
class DigitPressed:
    """One key of the caller's telephone."""

    digit: str = attrs.field(validator=matches_re(r"[0-9A-D*#]"))


@attrs.frozen
class SpeechPlayed:
    """The carrier finished playing this piece of our speech."""

    text: str


@attrs.frozen
class AgentSpeaking:
    """Our speech began (`on`) or stopped coming out of the caller's telephone."""

    on: bool


@attrs.frozen
class CallerSpeaking:
    """The caller began (`on`) or stopped making a sound that may become an utterance."""

    on: bool


@attrs.frozen
class CarrierFailed:
    """The carrier refused something we sent; `description` is its own."""

    description: str


@attrs.frozen
class FrameAccepted:
    """A valid frame that changes nothing; it resets the count of bad frames."""


@attrs.frozen
class FrameRejected:
    """A frame was invalid; `why` is a short reason for logs."""

    why: str


@attrs.frozen
class FrameUnknown:
    """A frame has an unknown type, which the carrier may have added; `kind` is its name, perhaps empty."""

    kind: str = ""


@attrs.frozen
class CallerGone:
    """The line is closed, by whichever side; `code` is the close code where one is known.

    Only 1000 is an orderly end (RFC 6455, 7.4.1). After anything else the caller may still be there, and come back on a
    new line as soon as the carrier asks what to do.
    """

    code: int | None = attrs.field(default=None, validator=optional(instance_of(int)))

    @property
    def may_return(self) -> bool:
        """Whether the call can go on with another line."""
        return self.code != 1000


# ── from the supervisors and the client's tools ─────────────────────────────────────────────────────────────────────


@attrs.frozen
class AvailabilityChanged:
    """A client that can answer came, was lost a moment ago, can only be woken, or is away."""

    availability: Availability


@attrs.frozen
class MessageStored:
    """The newest waiting message of this call is durable, with all that was left before it."""


@attrs.frozen
class HangUpRequested:
    """The client wants this call ended, after saying `say`; or an operator does, who is named then."""

    say: str = ""
    operator: str = ""


@attrs.frozen
class TransferRequested:
    """The client transfers this call, or an operator does, who is named then.

    `handoff` is the handoff data for the action URL.
    """

    handoff: str = attrs.field(validator=instance_of(str))
    operator: str = ""


@attrs.frozen
class CallClaimed:
    """A client claims the call from the answering machine."""


@attrs.frozen
class CallTakenOver:
    """An operator takes the call over: at the next pause, or `now`, which cancels a turn that runs."""

    operator: str = attrs.field(validator=min_len(1))
    now: bool = False


@attrs.frozen
class CallHandedBack:
    """The operator who has the call, or is about to, gives it back."""

    operator: str = attrs.field(validator=min_len(1))


@attrs.frozen
class SayRequested:
    """An operator says this: in the call that they have, or in another's."""

    text: str
    operator: str = attrs.field(validator=min_len(1))


@attrs.frozen
class OperatorTyping:
    """The operator who has the call is writing what to say."""

    operator: str = attrs.field(validator=min_len(1))


@attrs.frozen
class CalleeRecognised:
    """The carrier reports who picked up; ignored on an inbound call."""

    callee: Callee


@attrs.frozen
class DrainRequested:
    """The daemon stops: say farewell and end."""


@attrs.frozen
class MoveRequested:
    """Go on in another session, from when the caller has next finished speaking; `handoff` is for the action URL."""

    handoff: str = attrs.field(validator=instance_of(str))


@attrs.frozen
class MoveDue:
    """Go on in another session now, whatever is being said; `handoff` is for the action URL."""

    handoff: str = attrs.field(validator=instance_of(str))


# ── from the running turn ───────────────────────────────────────────────────────────────────────────────────────────


@attrs.frozen
class PieceSaid:
    """The responder of `turn` has the next piece of its answer; after the `last` one comes `TurnFinished`."""

    turn: int
    text: str
    last: bool = False


@attrs.frozen
class MessageTaken:
    """The answering machine recorded a message: `body` and the caller's preferences."""

    turn: int
    body: str
    preferences: str = ""


@attrs.frozen
class GoodbyeSaid:
    """The answering machine ends the call once its speech was heard."""

    turn: int


@attrs.frozen
class TurnFinished:
    """The responder of `turn` has finished its answer."""

    turn: int


@attrs.frozen
class TurnFailed:
    """The responder of `turn` gave up; `reason` says why, as a waiting message would."""

    turn: int
    reason: Reason = attrs.field(
        validator=in_({Reason.CLIENT_ABSENT, Reason.CLIENT_TIMEOUT, Reason.CLIENT_FAILED, Reason.CLIENT_LEFT})
    )


# ── from the call session itself ────────────────────────────────────────────────────────────────────────────────────


@attrs.frozen
class SessionStarted:
    """The call session begins: the first event of each."""


@attrs.frozen
class SessionFailed:
    """The call session failed by an internal error; unanswered utterances are still stored."""


@attrs.frozen
class DeadlinePassed:
    """The state machine's own deadline has come."""


# Valid frames: they reset the count of bad frames.
AcceptedFrame = (
    UtteranceHeard
    | PartialPromptHeard
    | CallerBargedIn
    | DigitPressed
    | SpeechPlayed
    | AgentSpeaking
    | CallerSpeaking
    | CarrierFailed
    | FrameAccepted
)
PhoneEvent = AcceptedFrame | FrameRejected | FrameUnknown | CallerGone
TurnEvent = PieceSaid | MessageTaken | GoodbyeSaid | TurnFinished | TurnFailed
Event = (
    PhoneEvent
    | TurnEvent
    | AvailabilityChanged
    | HangUpRequested
    | TransferRequested
    | CallClaimed
    | CallTakenOver
    | CallHandedBack
    | SayRequested
    | OperatorTyping
    | CalleeRecognised
    | DrainRequested
    | MoveRequested
    | MoveDue
    | MessageStored
    | SessionStarted
    | SessionFailed
    | DeadlinePassed
)


# ── published to listeners ───────────────────────────────────────────────────────────────────────────────────


@attrs.frozen
class MessageLeft:
    """A message waits for the client of this agent; it is complete, because its call is over."""

    agent_id: str


@attrs.frozen
class ClientWanted:
    """This call has an utterance for a client that can only be woken."""

    call: CallInfo


@attrs.frozen
class CallEnded:
    """The carrier reports the end of a call, perhaps more than once, and also of calls that are no longer known."""

    agent_id: str
    call_sid: str


@attrs.frozen
class CallGone:
    """The call has no session and gets no other for this agent. Published at least once."""

    agent_id: str
    call_sid: str


@attrs.frozen
class TransferMoved:
    """A call with a transfer under way got another session, or lost its session."""

    agent_id: str
    call_sid: str


@attrs.frozen
class OwnerChanged:
    """A client session has claimed the call; `before` is its owner until then."""

    agent_id: str
    call_sid: str
    owner: Owner
    before: Owner


class SeatEnd(StrEnum):
    """Why an operator does not have a call any more.

    `HANDED_BACK` by the operator; `GONE` without a sign of one; `TIMEOUT` with words that were not answered in time;
    `TAKEN` by another operator.
    """

    HANDED_BACK = "handed_back"
    GONE = "gone"
    TIMEOUT = "timeout"
    TAKEN = "taken"


@attrs.frozen
class SeatTaken:
    """An operator has taken the call over, or does at its next pause."""

    agent_id: str
    call_sid: str
    operator: str


@attrs.frozen
class SeatLeft:
    """An operator does not have the call any more. Not published at the end of a call."""

    agent_id: str
    call_sid: str
    operator: str
    why: SeatEnd


CallNews = MessageLeft | ClientWanted | CallEnded | CallGone | OwnerChanged | TransferMoved | SeatTaken | SeatLeft
