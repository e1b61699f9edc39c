"""What the carrier's side needs of rooms that it does not know: the store's agents, transfers, phrases, readiness."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from actors.transfer import TransferOutcome
from relay.agent import Agent
from relay.reception import IncomingCall


class AgentDirectory(Protocol):
    """Who has a telephone here."""

    async def get(self, agent_id: str) -> Agent | None:
        """Return the agent of that id, or None."""
        ...


class Transfers(Protocol):
    """What happens to a call between our session and the person it is passed on to."""

    async def hand_off(self, call: IncomingCall, handoff_data: str) -> str | None:
        """Return the TwiML with which a call goes on whose session we ended, or None to let the call end.

        `handoff_data` is what went out with the `end` frame.
        """
        ...

    async def dialled(self, agent_id: str, call_sid: str, outcome: TransferOutcome, error: str = "") -> str | None:
        """Record how a transfer went; `error` is the carrier's code, where it gave one.

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
