"""What calling out needs from the rest of the relay, as protocols; `relay/daemon.py` wires them.

LiveCalls   actors.calls         the calls whose line is up
Records     relay.store                what is kept of a call
Gate        relay.dialling.dial_check  whether a number may be dialled
Carrier     relay.twilio.rest         the carrier's REST API
Observer    relay.metrics              what is counted
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from actors.call_record import CallKind
from actors.call_values import CallInfo, Direction
from actors.errors import StoreFailed
from relay.agent import Agent
from relay.dialling.verdict import DialKind, Verdict
from relay.errors import DatabaseError
from relay.twilio.call_orders import CallState, PlaceCall, PlacedCall

STORE_FAILURES = (StoreFailed, DatabaseError)
"""What `Gate` and `Records` may raise when the database cannot be used: a write the one, a read the other."""


class LiveCall(Protocol):
    """A call whose line is up."""

    @property
    def info(self) -> CallInfo:
        """What is known of it."""
        ...


class LiveCalls(Protocol):
    """The calls whose line is up."""

    def find(self, agent_id: str, call_sid: str) -> LiveCall | None:
        """Return a live call of this agent, None for any other."""
        ...


class CallOnRecord(Protocol):
    """What is read of a call's record."""

    @property
    def agent_id(self) -> str:
        """Whose call it is."""
        ...

    @property
    def direction(self) -> Direction:
        """Who dialled."""
        ...

    @property
    def caller(self) -> str:
        """The number that the call came from."""
        ...

    @property
    def called(self) -> str:
        """The number that was called."""
        ...


class Records(Protocol):
    """The records of calls. What changes them raises `StoreFailed`, what reads them `DatabaseError`."""

    async def get(self, call_sid: str) -> CallOnRecord | None:
        """Find one call's record, of whichever agent."""
        ...

    async def announce_call(
        self, call_sid: str, agent_id: str, direction: Direction, caller: str, called: str, *, kind: CallKind
    ) -> object:
        """Open the record of a call that was placed."""
        ...


class Gate(Protocol):
    """What every number passes before it is dialled."""

    async def check(
        self,
        agent: Agent,
        number: str,
        *,
        kind: DialKind,
        zone: str | None = None,
        purpose: str | None = None,
        caller: str | None = None,
        dry_run: bool = False,
    ) -> Verdict:
        """Decide whether the number may be dialled, and count the dial unless it is a dry run.

        `caller` is the number that the call comes from. Raises one of `STORE_FAILURES`: then do not dial.
        """
        ...

    async def give_back(self, place: int) -> None:
        """Count a dial no longer that came to nothing before the carrier was asked. Raises `StoreFailed`."""
        ...

    async def stop_calling(self, number: str, *, agent_id: str | None, reason: str, added_by: str) -> bool:
        """Put a number on the do-not-call list; False where it was there already.

        Raises `relay.dialling.numbers.NumberError`, and `StoreFailed`.
        """
        ...


class Carrier(Protocol):
    """The carrier's REST API. All raise `relay.twilio.rest_errors.CarrierRefused`."""

    async def create(self, request: PlaceCall) -> PlacedCall:
        """Place a call; raises `CallOutcomeUnknown` where nobody knows whether there is one."""
        ...

    async def redirect(self, call_sid: str, twiml: str) -> None:
        """Have a live call follow `twiml` instead of whatever it is doing."""
        ...

    async def hang_up(self, call_sid: str) -> None:
        """End a call, ringing or live; one that is over already counts as ended."""
        ...

    async def find_recent(self, to: str, from_: str, since: datetime) -> Sequence[CallState]:
        """List the calls that were placed from one number to another since an instant, the newest first."""
        ...


class Observer(Protocol):
    """What is counted. Must not wait, and must not raise."""

    def dialled(self, kind: str, outcome: str) -> None:
        """Count a wish to dial; `kind` is `call` or `voice_message`, `outcome` is `placed` or a refusal's code."""
        ...

    def transfer_over(self, outcome: str) -> None:
        """Count a transfer whose outcome is known."""
        ...
