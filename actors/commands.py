"""What a call wants done: frozen values, named by what is wanted.

Pure: the state machine returns them in order and the call actor performs them in order, each to its end before the
next. That order carries the promise that words are durable before anything is said about them.
"""

from __future__ import annotations

from enum import StrEnum

import attrs

from actors.call_values import MessageDraft, TurnRequest, UnansweredUtterance


class By(StrEnum):
    """Who answers a turn."""

    CLIENT = "client"
    ANSWERING_MACHINE = "machine"


@attrs.frozen
class Speak:
    """Say this to the caller; `last` closes the talk cycle, and then the text may be empty.

    What is `preemptible` makes way for whatever is said next, in the middle of a word.
    """

    text: str
    last: bool
    preemptible: bool = False


@attrs.frozen
class StartTurn:
    """Give a turn to the one who shall answer it."""

    by: By
    request: TurnRequest


@attrs.frozen
class CancelTurn:
    """Stop the running turn at once; what it still says is dropped by its number."""

    turn: int


@attrs.frozen
class HoldUtterance:
    """Make the caller's words durable before a client has them in hand."""

    turn: int
    text: str


@attrs.frozen
class ReleaseUtterances:
    """Let go of words that were answered, up to and with this turn."""

    through_turn: int


@attrs.frozen
class StoreMessage:
    """Make what is owed to the client durable as a waiting message.

    With `unless_back` (possibly empty) the line was lost and the caller may be back in a moment: then these utterances
    are asked again instead. They are held until it is known.
    """

    draft: MessageDraft
    unless_back: tuple[UnansweredUtterance, ...] | None = None


@attrs.frozen
class StopCalling:
    """Put the other party on the list of those who are not to be called: they have just asked for it."""


@attrs.frozen
class WakeClient:
    """Tell a client that can only be woken that words wait for it; it has to come and fetch them."""


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
    """Tell whoever measures how a turn went.

    `outcome` is `answered`, `interrupted`, `superseded`, `hung_up`, or the reason of its failure; `first_word` is the
    time in seconds from the caller's last word to the first one of the answer, None when there was none.
    """

    turn: int
    by: By
    outcome: str
    first_word: float | None


Stored = HoldUtterance | ReleaseUtterances | StoreMessage | StopCalling
Command = Stored | Speak | StartTurn | CancelTurn | WakeClient | EndSession | CloseLine | NoteTurn
