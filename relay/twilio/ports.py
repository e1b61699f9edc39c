"""What the carrier's side needs of rooms that it does not know: the store's agents, and transfers."""

from __future__ import annotations

from typing import Protocol

from actors.transfer import TransferOutcome
from relay.agent import Agent
from relay.reception import IncomingCall


class AgentDirectory(Protocol):
    """The agents: `relay.store.known_agents.KnownAgents`. The rooms of the carrier and of the store do not meet."""

    async def get(self, agent_id: str) -> Agent | None:
        """Return the agent of that id, or None."""
        ...


class Transfers(Protocol):
    """What happens to a call between our session and the callee of a transfer: `relay.dialling.transfers.Transfers`.

    Dialling imports this room, for its TwiML and its orders, so this room cannot import dialling.
    """

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
