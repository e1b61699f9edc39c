"""The values of the gate: request, facts, rules and verdict. Pure and frozen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import attrs
from attrs.validators import ge

from relay.dialling.calling_hours import CallingHours
from relay.dialling.numbers import NO_COUNTRY, REGIONS
from relay.errors import OutboundRefused


class DialKind(StrEnum):
    """The purpose of a dial."""

    CALL = "call"
    VOICE_MESSAGE = "voice_message"
    TRANSFER = "transfer"


class Rule(StrEnum):
    """The rules that can refuse a number, in the order in which refusals are listed."""

    EMERGENCY_NUMBER = "emergency_number"
    NUMBER_INVALID = "number_invalid"
    NUMBER_UNASSIGNED = "number_unassigned"
    PREMIUM_NUMBER = "premium_number"
    PERSONAL_NUMBER = "personal_number"
    OWN_NUMBER = "own_number"
    SATELLITE_NUMBER = "satellite_number"
    COUNTRY_NOT_ALLOWED = "country_not_allowed"
    OUTBOUND_DISABLED = "outbound_disabled"
    DO_NOT_CALL = "do_not_call"
    CONSENT_MISSING = "consent_missing"
    ZONE_UNKNOWN = "zone_unknown"
    QUIET_HOURS = "quiet_hours"
    NUMBER_DAILY_LIMIT = "number_daily_limit"
    AGENT_DAILY_CALLS = "agent_daily_calls"
    AGENT_DAILY_MINUTES = "agent_daily_minutes"
    AGENT_MINUTE_LIMIT = "agent_minute_limit"


@attrs.frozen(kw_only=True)
class Dial:
    """A request to dial. `agent_id` is None when an operator asks for no agent in particular.

    `zone` is where the callee is said to be, by its IANA name; None means wherever the number may belong. `purpose`
    is what consent must have been given for; None means any. `caller` is the number that the call comes from, None
    where it is the agent's own, or else that of the rules.
    """

    number: str
    kind: DialKind = DialKind.CALL
    agent_id: str | None = None
    zone: str | None = None
    purpose: str | None = None
    caller: str | None = attrs.field(default=None, repr=False)


@attrs.frozen(kw_only=True)
class CallTime:
    """The duration of a paid call of an agent, so far or in all, in seconds."""

    begun_at: datetime
    seconds: float


@attrs.frozen(kw_only=True)
class Listing:
    """A number's place on the do-not-call list: since when, and whether for every agent or for the one who asks."""

    since: datetime
    every_agent: bool


@attrs.frozen(kw_only=True)
class Facts:
    """What is on record about a number and an agent.

    `dials_to_number` and `dials_of_agent` are times of earlier dials, newest first; the former only those that count
    against the same daily limit. Those beyond the limits, or older than a day, may be left out. `calls_of_agent` are
    the agent's calls of the last day, newest first. `agent_number` is the agent's own, `is_own` whether the number
    belongs to this relay.
    """

    outbound_disabled: bool = False
    listing: Listing | None = None
    has_consent: bool = False
    dials_to_number: Sequence[datetime] = ()
    dials_of_agent: Sequence[datetime] = ()
    calls_of_agent: Sequence[CallTime] = ()
    agent_number: str | None = attrs.field(default=None, repr=False)
    is_own: bool = False


ALL_COUNTRIES = "ALL"
"""Stands for every country in `GateRules.countries`."""


def _regions(codes: Iterable[str]) -> frozenset[str]:
    return frozenset(each.strip().upper() for each in codes)


def _known(_rules: object, _attribute: object, codes: frozenset[str]) -> None:
    unknown = sorted(codes - REGIONS - {ALL_COUNTRIES})
    if unknown:
        raise ValueError(
            f"{', '.join(unknown)}: no such region; give codes of two letters, such as US, or {NO_COUNTRY}, or all"
        )


@attrs.frozen(kw_only=True)
class GateRules:
    """The settings of the gate. A limit of 0 means no limit.

    `countries` are regions of ISO 3166-1, `001` for numbers that belong to no country, or `ALL_COUNTRIES`; empty means
    those of the number that a call comes from. Satellites are only called where `001` is named. Days and
    minutes are the last 24 hours and 60 seconds: a limit by the calendar would allow twice as much around midnight.
    Transfers to a number have a daily limit of their own, because the same switchboard may be asked for all day.
    `caller_number` is where calls of agents without a number of their own come from.
    """

    calling_hours: CallingHours = attrs.field(factory=CallingHours)
    allow_unassigned: bool = False
    countries: frozenset[str] = attrs.field(default=frozenset(), converter=_regions, validator=_known)
    require_consent: bool = False
    calls_per_number_per_day: int = attrs.field(default=5, validator=ge(0))
    transfers_per_number_per_day: int = attrs.field(default=50, validator=ge(0))
    calls_per_agent_per_minute: int = attrs.field(default=10, validator=ge(0))
    calls_per_agent_per_day: int = attrs.field(default=200, validator=ge(0))
    minutes_per_agent_per_day: int = attrs.field(default=600, validator=ge(0))
    caller_number: str | None = attrs.field(default=None, repr=False)

    def daily_limit(self, kind: DialKind) -> int:
        """Return how often a number may be dialled within a day for a dial of this kind."""
        return self.transfers_per_number_per_day if kind is DialKind.TRANSFER else self.calls_per_number_per_day


@attrs.frozen
class Refusal:
    """One reason not to dial: its rule's name, a sentence, and what would lift it. Neither sentence has the number."""

    name: Rule
    sentence: str
    lifted_by: str

    def as_json(self) -> dict[str, Any]:
        """Return the refusal for a client or a program."""
        return {"name": self.name.value, "sentence": self.sentence, "liftedBy": self.lifted_by}


@attrs.frozen(kw_only=True)
class Verdict:
    """What was decided about a number.

    `normalised` is the number to dial, in E.164 form, None for what is no number. `zones` are those whose clocks
    counted. `next_allowed` is when the same request would be allowed, to the minute and in UTC, where only quiet hours
    stand in the way and the windows of all zones meet within eight days. `place` names the dial that was counted, None
    where none was.
    """

    normalised: str | None
    zones: tuple[str, ...]
    refusals: tuple[Refusal, ...]
    unchecked: frozenset[Rule]
    next_allowed: datetime | None
    place: int | None = None

    @property
    def allowed(self) -> bool:
        """Whether the number may be dialled now."""
        return not self.refusals

    def require_allowed(self) -> str:
        """Return the number to dial. Raises `OutboundRefused` with all refusals, and the code of the first."""
        if self.refusals:
            reasons = " ".join(f"{each.sentence} What lifts it: {each.lifted_by}" for each in self.refusals)
            facts = self.as_json()
            details = {"refusals": facts["refusals"], "nextAllowed": facts["nextAllowed"]}
            raise OutboundRefused(self.refusals[0].name.value, f"Nothing was dialled. {reasons}", details)
        assert self.normalised is not None
        return self.normalised

    def as_dry_run(self) -> dict[str, Any]:
        """Return the verdict as the result of a tool that was asked not to dial."""
        return {"dryRun": True, **self.as_json()}

    def as_json(self) -> dict[str, Any]:
        """Return the verdict for a client or a program."""
        return {
            "allowed": self.allowed,
            "to": self.normalised,
            "zones": list(self.zones),
            "refusals": [each.as_json() for each in self.refusals],
            "nextAllowed": None if self.next_allowed is None else instant(self.next_allowed),
        }


def instant(at: datetime) -> str:
    """Format a point in time to the second, rounded up: the dial must be allowed at that time."""
    whole = at.astimezone(UTC)
    if whole.microsecond:
        whole = whole.replace(microsecond=0) + timedelta(seconds=1)
    return f"{whole:%Y-%m-%dT%H:%M:%SZ}"
