"""What a turn desk keeps of calls: the turns that they wait for, what is remembered of each, and what goes wrong."""

from __future__ import annotations

import math

import attrs
import trio

from actors.call_values import TurnRequest
from actors.errors import CallError

# How many answered turns of a call are remembered, to know a repeated answer when it comes.
REMEMBERED_TURNS = 16


class TurnOver(CallError):
    """Say that a turn takes no answer any more: it was answered in time by nobody, or the caller has gone on."""


class TurnTaken(CallError):
    """Say that another client of the agent has the turn, or the whole call."""


class CallOver(CallError):
    """Say that the call whose words were waited for is over."""


@attrs.frozen(kw_only=True)
class Utterance:
    """Words of a caller that were given to a client.

    `is_new` says that this client was not the last one to answer in the call, so it has not followed it. `waiting`
    counts the other calls of the agent whose words nobody has taken yet.
    """

    request: TurnRequest
    is_new: bool
    waiting: int


@attrs.define(eq=False)
class PendingTurn:
    """A turn that a call waits for: who has it in hand since when, and what came of it.

    It is begun with the first piece of an answer and answered with the last; abandoned, it will have none.
    """

    request: TurnRequest
    asked_at: float
    pieces: trio.MemorySendChannel[str]
    holder: str = ""
    given_at: float = -math.inf
    is_begun: bool = False
    is_answered: bool = False
    is_abandoned: bool = False

    def end(self) -> None:
        """Take no more: all was said that there will be."""
        self.is_answered = True
        self.pieces.close()

    def abandon(self) -> None:
        """Have the call ask somebody else, unless all was said that there will be."""
        if not self.is_answered:
            self.is_abandoned = True
            self.pieces.close()


@attrs.define(eq=False)
class CallMemory:
    """What is remembered of a call beyond its turns: who leads it, who has followed it, and who answered what.

    `displaced` is who led it before it was claimed.
    """

    owner: str = ""
    is_claimed: bool = False
    displaced: str = ""
    follower: str = ""
    answered: dict[int, str] = attrs.field(factory=dict)

    def note_answer(self, turn: int, client: str) -> None:
        """Remember who has answered a turn."""
        self.follower = client
        self.answered[turn] = client
        while len(self.answered) > REMEMBERED_TURNS:
            del self.answered[next(iter(self.answered))]
