"""What the web side needs from the rest of the relay, as protocols and frozen values; `relay/daemon.py` wires them.

webhook ──IncomingCall──▶ FrontDesk.register ──Admission (ticket)──▶ TwiML
voice socket ──ticket──▶ FrontDesk.redeem ──CallInfo──▶ FrontDesk.connect, for as long as the call lasts
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import attrs

from actors.call_record import CallProgress
from actors.call_values import Callee, CallInfo, Direction
from actors.ports import PhoneLine
from relay.agent import Agent
from relay.calls import Admission, IncomingCall, TransferResult

Scope = Mapping[str, Any]
AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]
"""An ASGI 3 application: (scope, receive, send). Frameworks disagree about the types of the three, so they are open."""

AGENT_ID = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""The form of an agent's id in a path; anything else there is not found."""


class AgentDirectory(Protocol):
    """Who has a telephone here."""

    async def get(self, agent_id: str) -> Agent | None:
        """Return the agent of that id, or None."""
        ...


class FrontDesk(Protocol):
    """Where calls are admitted, connected and seen off."""

    async def register(self, call: IncomingCall) -> Admission:
        """Admit a call, or raise `actors.errors.CallRefused`.

        The same idempotency token for the same call gives the same admission. Cancelled when the carrier hangs up on
        its own request; the carrier then asks again.
        """
        ...

    def redeem(self, agent_id: str, call_sid: str, ticket: str) -> CallInfo | None:
        """Take a ticket back; None when it is unknown, used, too old, or another call's or agent's."""
        ...

    async def connect(self, info: CallInfo, line: PhoneLine) -> None:
        """Run the whole call on this line; return when it is over. Lets nothing out but a cancellation."""
        ...

    async def progressed(self, agent_id: str, progress: CallProgress) -> None:
        """Take note of what the carrier says of a call, in any order and any number of times.

        Raises `StoreFailed`; the carrier is then told so, and may say it again. Cancelling loses nothing that counts.
        """
        ...

    async def picked_up(self, agent_id: str, call_sid: str, callee: Callee) -> None:
        """Take note of who picked up a call that we made. An unknown call is no error. Raises `StoreFailed`."""
        ...


@attrs.frozen(kw_only=True)
class EndedSession:
    """A session that our side ended while the call is still up: what to do with the caller is asked.

    `handoff` is what went out with the `end` frame, `attempt` that of the session; the numbers and the direction are
    as in `IncomingCall`.
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


class Readiness(Protocol):
    """Whether calls can be taken now."""

    async def checks(self) -> Mapping[str, str | None]:
        """Return each check by name, with None or what is wrong; anybody may read the texts."""
        ...
