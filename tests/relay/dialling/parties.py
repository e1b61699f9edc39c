"""Stand-ins for what calling out needs of the rest, each noting what it was asked in one common `log`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import cast

import attrs
import trio

from actors.call_record import CallKind
from actors.call_values import CallInfo, Direction
from actors.errors import CallRefused, StoreFailed
from relay.agent import Agent
from relay.dialling.dial_check import DiallingGate
from relay.dialling.dialler import Dialler
from relay.dialling.numbers import read_number
from relay.dialling.orphaned_calls import Reconciliation
from relay.dialling.requests import Defaults
from relay.dialling.verdict import DialKind, Refusal, Rule, Verdict
from relay.errors import DatabaseError
from relay.metrics import CallMeter
from relay.store.claimed_calls import ClaimedCalls
from relay.twilio.call_orders import CallState, PlaceCall, PlacedCall
from relay.twilio.rest import CarrierCalls
from relay.twilio.rest_errors import CarrierRefused
from relay.twilio.urls import CarrierUrls
from tests.fakes import STARTED

OURS = "+15551230002"
THEIRS = "+15559876543"
PERSON = "+15551234567"
PUBLIC_URL = "https://voice.example.com"

DEFAULTS = Defaults(greeting="Hello from the settings.", voice="settings-voice", language="en-US")

DO_NOT_CALL = Refusal(Rule.DO_NOT_CALL, "The number is on the list.", "Its removal.")
QUIET_HOURS = Refusal(Rule.QUIET_HOURS, "Its owner may be asleep.", "Waiting.")


def agent(**changes: object) -> Agent:
    """Make an agent with a number and nothing else."""
    given: dict[str, object] = {"agent_id": "my-client", "number": OURS, "created_at": STARTED}
    return Agent(**(given | changes))  # type: ignore[arg-type]


@attrs.define(eq=False)
class FakeGate:
    """A gate that refuses what it is told to; with `failing` set it has no verdict, `keeps_places` gives none back."""

    log: list[str]
    refusals: tuple[Refusal, ...] = ()
    refusals_when_counting: tuple[Refusal, ...] = ()
    next_allowed: datetime | None = None
    failing: bool = False
    keeps_places: bool = False
    counted: list[tuple[str, str, DialKind]] = attrs.field(factory=list)
    asked: list[tuple[str | None, str | None]] = attrs.field(factory=list)

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
        await trio.lowlevel.checkpoint()
        self.log.append("explained" if dry_run else "checked")
        self.asked.append((zone, purpose))
        if self.failing:
            raise DatabaseError("no database") if dry_run else StoreFailed("no database")
        refusals = self.refusals or (() if dry_run else self.refusals_when_counting)
        read = read_number(number)
        if not dry_run and not refusals and read is not None:
            self.counted.append((agent.agent_id, read.e164, kind))
        return Verdict(
            normalised=None if read is None else read.e164,
            zones=(),
            refusals=refusals,
            unchecked=frozenset(),
            next_allowed=self.next_allowed,
            place=len(self.counted) if not dry_run and not refusals else None,
        )

    async def give_back(self, place: int) -> None:
        await trio.lowlevel.checkpoint()
        self.log.append("given back")
        if self.keeps_places:
            raise StoreFailed("no database")
        del self.counted[place - 1]


@attrs.define(eq=False)
class FakeReception:
    """A reception that expects everybody, unless it is told to refuse. `meanwhile` happens when it is asked."""

    log: list[str]
    meanwhile: Callable[[], None] | None = None
    refusal: CallRefused | None = None
    failing: bool = False
    expected: dict[str, CallInfo] = attrs.field(factory=dict)
    names: dict[str, str] = attrs.field(factory=dict)

    def expect(self, _agent: Agent, info: CallInfo, *, seconds: float) -> str:
        self.log.append("expected")
        if self.refusal is not None:
            raise self.refusal
        if self.meanwhile is not None:
            self.meanwhile()
        assert seconds > 60
        self.expected[info.call_sid] = info
        return "the-ticket"

    async def placed(self, order: str, call_sid: str) -> None:
        await trio.lowlevel.checkpoint()
        self.log.append("placed")
        self.names[order] = call_sid
        if self.failing:
            raise StoreFailed("no database")

    async def keep_order(self, info: CallInfo, ticket: str, *, seconds: float) -> None:
        await trio.lowlevel.checkpoint()
        assert (info.call_sid in self.expected, ticket, seconds > 60) == (True, "the-ticket", True)

    async def withdraw(self, order: str) -> None:
        await trio.lowlevel.checkpoint()
        self.log.append("withdrawn")
        self.expected.pop(order, None)


@attrs.define
class FakeRecord:
    """A call's record."""

    agent_id: str = "my-client"
    direction: Direction = Direction.INBOUND
    caller: str = THEIRS
    called: str = OURS
    kind: CallKind = CallKind.CALL


@attrs.define(eq=False)
class FakeRecords:
    """Records over a dictionary, by call sid; with `failing` set they cannot be used."""

    log: list[str]
    failing: bool = False
    rows: dict[str, FakeRecord] = attrs.field(factory=dict)

    async def announce_call(
        self, call_sid: str, agent_id: str, direction: Direction, caller: str, called: str, *, kind: CallKind
    ) -> None:
        await self._write()
        self.log.append("announced")
        self.rows[call_sid] = FakeRecord(agent_id, direction, caller, called, kind)

    async def _write(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.failing:
            raise StoreFailed("no database")


@attrs.define(eq=False)
class FakeCarrier:
    """A carrier that takes on every call, unless it has a `failure` for it; `held` keeps its answers back."""

    log: list[str]
    failure: Exception | None = None
    held: trio.Event | None = None
    requests: list[PlaceCall] = attrs.field(factory=list)
    was_asked: trio.Event = attrs.field(factory=trio.Event)
    redirected: list[tuple[str, str]] = attrs.field(factory=list)
    was_redirected: trio.Event = attrs.field(factory=trio.Event)
    redirect_failure: CarrierRefused | None = None
    hung_up: list[str] = attrs.field(factory=list)
    hang_up_failure: CarrierRefused | None = None
    recent: list[Sequence[CallState] | CarrierRefused] = attrs.field(factory=list)

    async def create(self, request: PlaceCall) -> PlacedCall:
        await trio.lowlevel.checkpoint()
        self.log.append("created")
        self.requests.append(request)
        self.was_asked.set()
        if self.held is not None:
            await self.held.wait()
        if self.failure is not None:
            raise self.failure
        return PlacedCall(f"CA{len(self.requests):032}", "queued")

    async def redirect(self, call_sid: str, twiml: str) -> None:
        await trio.lowlevel.checkpoint()
        self.redirected.append((call_sid, twiml))
        self.was_redirected.set()
        if self.held is not None:
            await self.held.wait()
        if self.redirect_failure is not None:
            raise self.redirect_failure

    async def hang_up(self, call_sid: str) -> None:
        await trio.lowlevel.checkpoint()
        if self.hang_up_failure is not None:
            raise self.hang_up_failure
        self.hung_up.append(call_sid)

    async def find_recent(self, to: str, from_: str, since: datetime) -> Sequence[CallState]:
        await trio.lowlevel.checkpoint()
        found = self.recent.pop(0) if self.recent else []
        if isinstance(found, CarrierRefused):
            raise found
        return found


@attrs.define(eq=False)
class FakeObserver:
    """What was counted."""

    dials: list[tuple[str, str]] = attrs.field(factory=list)
    transfers: list[str] = attrs.field(factory=list)
    refusals: list[tuple[str, str]] = attrs.field(factory=list)
    counted: trio.Event = attrs.field(factory=trio.Event)

    def dialled(self, kind: str, outcome: str) -> None:
        self.dials.append((kind, outcome))

    def transfer_over(self, outcome: str) -> None:
        self.transfers.append(outcome)
        self.counted.set()

    def refused(self, door: str, code: str) -> None:
        self.refusals.append((door, code))


@attrs.define(eq=False)
class FakeClaims:
    """Which calls have an owner."""

    claimed: list[str] = attrs.field(factory=list)

    def reconciliation(self) -> Reconciliation:
        """Make one that goes by these."""
        return Reconciliation(cast("ClaimedCalls", self))

    async def claim(self, call_sid: str) -> None:
        await trio.lowlevel.checkpoint()
        self.claimed.append(call_sid)

    async def take(self, call_sids: Sequence[str]) -> str | None:
        await trio.lowlevel.checkpoint()
        taken = next((each for each in call_sids if each not in self.claimed), None)
        if taken is not None:
            self.claimed.append(taken)
        return taken


@attrs.define(eq=False)
class Parties:
    """All of them, and the parts that are put together from them. A real carrier or gate goes before the fake."""

    log: list[str] = attrs.field(factory=list)
    observer: FakeObserver = attrs.field(factory=FakeObserver)
    claims: FakeClaims = attrs.field(factory=FakeClaims)
    reconciliation: Reconciliation = attrs.field(init=False)
    urls: CarrierUrls = attrs.field(factory=lambda: CarrierUrls(PUBLIC_URL))
    gate: FakeGate = attrs.field(init=False)
    reception: FakeReception = attrs.field(init=False)
    records: FakeRecords = attrs.field(init=False)
    carrier: FakeCarrier = attrs.field(init=False)
    real_carrier: CarrierCalls | None = None
    real_gate: DiallingGate | None = None

    def __attrs_post_init__(self) -> None:
        self.reconciliation = self.claims.reconciliation()
        self.gate = FakeGate(self.log)
        self.reception = FakeReception(self.log)
        self.records = FakeRecords(self.log)
        self.carrier = FakeCarrier(self.log)

    def dialler(self, *, has_carrier: bool = True) -> Dialler:
        """Make a dialler of these."""
        return Dialler(
            gate=self.real_gate or cast("DiallingGate", self.gate),
            carrier=(self.real_carrier or cast("CarrierCalls", self.carrier)) if has_carrier else None,
            observer=cast("CallMeter", self.observer),
            reconciliation=self.reconciliation,
        )
