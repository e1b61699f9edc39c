"""What the carrier's side needs of rooms that it does not know: the store's agents, transfers, phrases, readiness."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import attrs

from actors.call_values import Direction
from relay.agent import Agent
from relay.calls import TransferResult


class AgentDirectory(Protocol):
    """Who has a telephone here."""

    async def get(self, agent_id: str) -> Agent | None:
        """Return the agent of that id, or None."""
        ...


@attrs.frozen(kw_only=True)
class EndedSession:
    """A session that our side ended while the call is still up: what to do with the caller is asked.

    `handoff` is what went out with the `end` frame, `attempt` that of the session; the numbers and the direction are
    as in `relay.calls.IncomingCall`.
    """

    agent: Agent
    call_sid: str
    handoff: str = attrs.field(default="", repr=False)
    attempt: int = 0
    caller: str = attrs.field(default="", repr=False)
    called: str = attrs.field(default="", repr=False)
    direction: Direction = Direction.INBOUND


class Transfers(Protocol):
    """What happens to a call between our session and the person it is passed on to."""

    async def hand_off(self, session: EndedSession) -> str | None:
        """Give the TwiML with which an ended session goes on, or None to let the call end."""
        ...

    async def dialled(self, result: TransferResult) -> str | None:
        """Take note of how a transfer went.

        Returns a note with which the caller comes back to whoever answers, or None when there is nothing to come back
        for: the two spoke, or the caller is gone.
        """
        ...


class CarrierPhrases(Protocol):
    """What the carrier says in our name when no session is up."""

    @property
    def busy(self) -> str:
        """Say that no call can be taken now."""
        ...

    @property
    def cut_off(self) -> str:
        """Say, first thing in a resumed session, that the line was lost."""
        ...

    @property
    def whisper(self) -> str:
        """Tell whoever is called for a transfer that a caller waits, and to press 1 to take the call."""
        ...


Phrasebook = Callable[[str], CarrierPhrases]
"""Give the phrases for a language (BCP 47)."""
