"""What this package needs from packages that it does not import: the store's agents, and transfers."""

from __future__ import annotations

from typing import Protocol

from actors.transfer import TransferOutcome
from relay.agent import Agent
from relay.reception import IncomingCall


class AgentDirectory(Protocol):
    """The agents: `relay.store.known_agents.KnownAgents`.

    The packages `twilio` and `store` do not import each other.
    """

    async def get(self, agent_id: str) -> Agent | None:
        """Return the agent of that id, or None."""
        ...


class Transfers(Protocol):
    """What happens to a call between our session and the callee of a transfer: `relay.dialling.transfers.Transfers`.

    `dialling` imports this package, for its TwiML and its orders, so this one cannot import `dialling`.
    """

    async def hand_off(self, call: IncomingCall, handoff_data: str) -> str | None:
        """Return the TwiML that continues a call whose session we ended, or None to let the call end.

        `handoff_data` is what went out with the `end` frame.
        """
        ...

    async def dialled(self, agent_id: str, call_sid: str, outcome: TransferOutcome, error: str = "") -> str | None:
        """Record how a transfer went; `error` is the carrier's code, where it gave one.

        Returns the note for the next responder, or None if the caller does not come back: the two spoke, or the caller
        is gone.
        """
        ...
