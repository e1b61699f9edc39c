"""What the MCP side needs from the rest of the relay, as protocols: tokens, remembered clients, messages, calls.

Each method takes the agent that the token named, never a name out of a request.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from actors.call_values import CallInfo, Line, Owner
from actors.errors import StoreFailed
from actors.phases import Phase
from relay.agent import Agent
from relay.dialling.requests import CallRequest, TransferRequest, VoiceMessageRequest
from relay.errors import DatabaseError

STORE_FAILURES = (StoreFailed, DatabaseError)
"""What any method of these protocols may raise when the database cannot be used: a write the one, a read the other."""


class TokenDirectory(Protocol):
    """Who a token acts for."""

    async def by_token(self, token: str) -> Agent | None:
        """Find the agent of a token, or None."""
        ...


class Hellos(Protocol):
    """What clients said in their handshakes, kept so that it survives a restart."""

    async def remember(self, key: str, agent_id: str, params_json: str) -> None:
        """Keep a client's `initialize` parameters under a key; the same key again replaces them."""
        ...

    async def recall(self, key: str, agent_id: str) -> str | None:
        """Give back what this agent's client said under that key, or None."""
        ...


class WaitingRecord(Protocol):
    """A waiting message, as far as this side needs to know it."""

    @property
    def id(self) -> str:
        """The id by which a client confirms it."""
        ...

    def as_json(self) -> dict[str, Any]:
        """Give the record as the contract words it."""
        ...


class Batch(Protocol):
    """What one fetch hands out."""

    @property
    def messages(self) -> Sequence[WaitingRecord]:
        """The messages, oldest first."""
        ...

    @property
    def remaining(self) -> int:
        """How many more wait for this agent."""
        ...


class Acknowledgement(Protocol):
    """What one confirmation did."""

    @property
    def acknowledged(self) -> Sequence[str]:
        """The ids that are confirmed now, those confirmed before included."""
        ...

    @property
    def unknown(self) -> Sequence[str]:
        """The ids that name no message of this agent."""
        ...


class Messages(Protocol):
    """The waiting messages of an agent."""

    async def fetch(self, agent_id: str, limit: int, acknowledge: Sequence[str] = ()) -> Batch:
        """Confirm `acknowledge`, then hand out up to `limit` messages and hold them for a while."""
        ...

    async def acknowledge(self, agent_id: str, ids: Sequence[str]) -> Acknowledgement:
        """Confirm messages, so that they are not offered again; repeating is harmless."""
        ...

    async def peek(self, agent_id: str, limit: int) -> Sequence[WaitingRecord]:
        """Show the oldest waiting messages without holding them."""
        ...


class Calls(Protocol):
    """The calls of an agent."""

    async def list_calls(self, agent_id: str, state: str | None, limit: int) -> list[dict[str, Any]]:
        """List up to `limit` call records, newest first; `state` is `live`, `ended` or None for both."""
        ...

    async def end_call(self, agent_id: str, call_sid: str, say: str) -> None:
        """End a call of this agent that is not over, after saying `say` where somebody can hear it.

        Raises `UnknownCall` for any other call, and `relay.errors.OutboundRefused` where the carrier would not end it.
        """
        ...


class LiveCall(Protocol):
    """A call that is going on."""

    @property
    def info(self) -> CallInfo:
        """What is known of it."""
        ...

    @property
    def phase(self) -> Phase:
        """Where it is."""
        ...

    @property
    def transcript(self) -> Sequence[Line]:
        """What was said so far, oldest first, as far as it is kept."""
        ...


class LiveCalls(Protocol):
    """The calls that are going on now. Plain functions: nothing here waits."""

    def live(self, agent_id: str | None = None) -> Sequence[LiveCall]:
        """Return the live calls of an agent, oldest first."""
        ...

    def find(self, agent_id: str, call_sid: str) -> LiveCall | None:
        """Return a live call of this agent, None for any other."""
        ...

    def claim(self, agent_id: str, call_sid: str, owner: Owner) -> None:
        """Claim a live call of this agent for a client; the answering machine gives it up when its turn is over.

        Raises `UnknownCall`.
        """
        ...


class Outbound(Protocol):
    """What an agent can do with the telephone besides answering it.

    Each raises `relay.errors.OutboundRefused` with what to do instead, and then nothing was dialled unless it says so;
    and the store's errors, with the same meaning. A `dry_run` returns the gate's verdict and dials nothing.
    """

    async def make_call(self, agent: Agent, wish: CallRequest) -> dict[str, Any]:
        """Place a call; return its `callSid`, `status`, `to` and `from` at once, before anybody has answered."""
        ...

    async def send_voice_message(self, agent: Agent, wish: VoiceMessageRequest) -> dict[str, Any]:
        """Make audio of a text and place a call that plays it; return `callSid`, `status`, `audioUrl` and length."""
        ...

    async def transfer_call(self, agent: Agent, wish: TransferRequest) -> dict[str, Any]:
        """Pass a live call on to a number; return at once. Raises `UnknownCall` for a call that is not the agent's."""
        ...

    async def stop_calling(self, agent: Agent, *, number: str, call_sid: str, reason: str) -> dict[str, Any]:
        """Put a number, or the other party of a call, on the agent's do-not-call list.

        Exactly one of `number` and `call_sid` is not empty. Returns `to` (the number) and `added`.
        """
        ...
