"""Commands: what the state machine wants done. Frozen values.

Pure: the state machine returns them in order and the call session performs them in order, each to its end before the
next. That order carries the promise that an utterance is durable before anything is said about it.
"""

from __future__ import annotations

from enum import StrEnum

import attrs

from actors.call_values import MessageDraft, Reason, TranscriptChange, TurnRequest, UnansweredUtterance


class By(StrEnum):
    """Who answers a turn; `HUMAN` is an operator who has taken the call over."""

    CLIENT = "client"
    ANSWERING_MACHINE = "machine"
    HUMAN = "human"


class TurnOutcome(StrEnum):
    """How a turn ended: with an answer, cut short, or for the reason of its failure."""

    ANSWERED = "answered"
    INTERRUPTED = "interrupted"
    SUPERSEDED = "superseded"
    HUNG_UP = "hung_up"
    MOVED = "moved"
    TAKEN_OVER = "taken_over"
    HANDED_BACK = "handed_back"
    CLIENT_ABSENT = Reason.CLIENT_ABSENT.value
    CLIENT_TIMEOUT = Reason.CLIENT_TIMEOUT.value
    CLIENT_FAILED = Reason.CLIENT_FAILED.value
    CLIENT_LEFT = Reason.CLIENT_LEFT.value
    ANSWERING_MACHINE_FAILED = "machine_failed"
    ANSWERING_MACHINE_TIMEOUT = "machine_timeout"
    HUMAN_TIMEOUT = "human_timeout"


@attrs.frozen
class Speak:
    """Speak this to the caller; `last` closes the talk cycle, and then the text may be empty.

    With `preemptible` the next speech interrupts it, in the middle of a word.
    """

    text: str
    last: bool
    preemptible: bool = False


@attrs.frozen
class StartTurn:
    """Start a turn, answered by the client, the answering machine, or an operator."""

    by: By
    request: TurnRequest


@attrs.frozen
class CancelTurn:
    """Stop the running turn at once; pieces that it still sends are dropped by their turn number."""

    turn: int


@attrs.frozen
class HoldUtterance:
    """Store an utterance before a client gets it.

    `said` is what else was said since the last such write. It only rides along: what is done is the same without, and
    mostly there is none, because the utterance itself is said in the line that it adds.
    """

    turn: int
    text: str
    said: TranscriptChange | None = attrs.field(default=None, eq=False, repr=False)


@attrs.frozen
class ReleaseUtterances:
    """Release the utterances that were answered, up to and with this turn, and store what was `said` until then."""

    through_turn: int
    said: TranscriptChange | None = attrs.field(default=None, eq=False, repr=False)


@attrs.frozen
class StoreMessage:
    """Store what no answer covers as a waiting message.

    With `unless_back` (possibly empty) the line was lost and the caller may come back: then these utterances are asked
    again instead. They are held until that is known.
    """

    draft: MessageDraft
    unless_back: tuple[UnansweredUtterance, ...] | None = None


@attrs.frozen
class StopCalling:
    """Put the other party on the do-not-call list: they have just asked for it."""


@attrs.frozen
class WakeClient:
    """Notify a client that can only be woken: an utterance waits, and it has to fetch it with a tool call."""


@attrs.frozen
class EndSeat:
    """Take the call from an operator who has not answered in time."""

    operator: str


@attrs.frozen
class EndSession:
    """Ask the carrier to end the session, with a handoff for the action URL."""

    handoff: str = ""


@attrs.frozen
class CloseLine:
    """Close the socket: the carrier did not do so after `EndSession`."""

    code: int


@attrs.frozen(kw_only=True)
class NoteTurn:
    """Report to the observer how a turn ended.

    `first_word` is the time in seconds from the caller's utterance to the first word of the answer; None if there was
    none.
    """

    turn: int
    by: By
    outcome: TurnOutcome = attrs.field(converter=TurnOutcome)
    first_word: float | None


Stored = HoldUtterance | ReleaseUtterances | StoreMessage | StopCalling
Command = Stored | Speak | StartTurn | CancelTurn | WakeClient | EndSeat | EndSession | CloseLine | NoteTurn
