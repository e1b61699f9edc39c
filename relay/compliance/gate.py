"""Whether a number may be dialled: one pure decision, with every reason against it.

    decide(Dial, Facts, GateRules, now) ──▶ Verdict: allowed, or all refusals in the order of `Rule`

The same rules hold for calls, voice messages and the targets of transfers. Each is asked, even when an earlier one
refuses: whoever mends one thing should not learn of the next only by trying again. The order goes from what only
another number mends, over what the operator can lift, to what passes with time.

A rule that cannot be asked does not refuse: it is among `Verdict.unchecked`. That is only so when another rule has
refused already (there is no number, or no zone), or when an operator explains a number for no agent in particular.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import attrs

from relay.compliance.calling_hours import find_zone, similar_zone
from relay.compliance.numbers import NO_COUNTRY, TelephoneNumber, names_an_emergency, read_number
from relay.compliance.verdict import Dial, DialKind, Facts, GateRules, Refusal, Rule, Verdict, instant

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
# How many zones a sentence names: a toll-free number of North America has forty-two.
_ZONES_NAMED = 3


def decide(dial: Dial, facts: Facts, rules: GateRules, now: datetime) -> Verdict:
    """Decide whether a number may be dialled at `now`, a time with a zone.

    Never raises for what is in the dial, however hostile: that is what refusals are for.
    """
    number = read_number(dial.number)
    case = _Case(dial, facts, rules, now, number, _zones_of(dial, number))
    unchecked = case.unchecked()
    asked = [rule for rule in Rule if rule not in unchecked]
    refusals = tuple(Refusal(rule, *objection) for rule in asked if (objection := _QUESTIONS[rule](case)) is not None)
    only_the_hour = [each.name for each in refusals] == [Rule.QUIET_HOURS]
    return Verdict(
        normalised=None if number is None else number.e164,
        zones=tuple(zone.key for zone in case.zones),
        refusals=refusals,
        unchecked=unchecked,
        next_allowed=rules.calling_hours.next_in_all(now, case.zones) if only_the_hour else None,
    )


# ── the questions ───────────────────────────────────────────────────────────────────────────────────────────────────

# A sentence, and what would lift it.
_Objection = tuple[str, str]


@attrs.frozen
class _Case:
    """All that the rules look at."""

    dial: Dial
    facts: Facts
    rules: GateRules
    now: datetime
    number: TelephoneNumber | None
    zones: tuple[ZoneInfo, ...]

    @property
    def known(self) -> TelephoneNumber:
        """The number, for the rules that are not asked without one."""
        assert self.number is not None
        return self.number

    def unchecked(self) -> frozenset[Rule]:
        missing: set[Rule] = set()
        if self.number is None:
            missing |= _OF_A_NUMBER
        if self.dial.agent_id is None:
            missing |= _OF_AN_AGENT
        if not self.zones and not self.rules.calling_hours.is_all_day:
            missing.add(Rule.QUIET_HOURS)
        return frozenset(missing)


_OF_A_NUMBER = frozenset(
    {
        Rule.NUMBER_UNASSIGNED,
        Rule.PREMIUM_NUMBER,
        Rule.COUNTRY_NOT_ALLOWED,
        Rule.DO_NOT_CALL,
        Rule.CONSENT_MISSING,
        Rule.ZONE_UNKNOWN,
        Rule.QUIET_HOURS,
        Rule.NUMBER_DAILY_LIMIT,
    }
)
_OF_AN_AGENT = frozenset({Rule.OUTBOUND_DISABLED, Rule.CONSENT_MISSING, Rule.AGENT_MINUTE_LIMIT})


def _zones_of(dial: Dial, number: TelephoneNumber | None) -> tuple[ZoneInfo, ...]:
    names = ([] if number is None else number.zones) if dial.zone is None else [dial.zone]
    zones = [find_zone(name) for name in names]
    # One candidate that this machine's database does not know is as bad as none: its callee could be woken.
    return tuple(zone for zone in zones if zone is not None) if all(zones) else ()


def _emergency_number(case: _Case) -> _Objection | None:
    if not names_an_emergency(case.dial.number):
        return None
    return (
        "This is an emergency number, and the relay never dials one.",
        "Nothing. A person who needs help must dial it from a telephone.",
    )


def _number_invalid(case: _Case) -> _Objection | None:
    if case.number is not None:
        return None
    return (
        "This is not a telephone number in E.164 form.",
        "A plus sign, the country code and the number, such as +14155552671; digits only, without an extension.",
    )


def _number_unassigned(case: _Case) -> _Objection | None:
    if case.rules.allow_unassigned or case.known.is_assigned:
        return None
    return (
        "The number is in a range that is not assigned to anybody, as far as is known.",
        "Checking the number with whoever gave it; or the operator, with RELAY_ALLOW_UNASSIGNED_NUMBERS.",
    )


def _premium_number(case: _Case) -> _Objection | None:
    if not case.known.is_premium:
        return None
    return ("Calls to this number are charged at a premium or shared-cost rate.", "Another number of the same callee.")


def _country_not_allowed(case: _Case) -> _Objection | None:
    foreign = [each for each in case.known.regions if each not in case.rules.countries]
    if not case.rules.countries or not foreign:
        return None
    named = " or ".join("no country" if each == NO_COUNTRY else each for each in foreign)
    return (
        f"The number belongs to {named}; allowed are {', '.join(sorted(case.rules.countries))}.",
        f"The operator, by adding {' and '.join(foreign)} to RELAY_ALLOWED_COUNTRIES.",
    )


def _outbound_disabled(case: _Case) -> _Objection | None:
    if not case.facts.outbound_disabled:
        return None
    return (
        "The operator has stopped this agent from dialling.",
        f"The operator, with: relay gate enable {case.dial.agent_id}",
    )


def _do_not_call(case: _Case) -> _Objection | None:
    listing = case.facts.listing
    if listing is None:
        return None
    whose, option = ("every agent", "") if listing.every_agent else ("this agent", f" --agent {case.dial.agent_id}")
    since = listing.since.astimezone(UTC)
    return (
        f"The number has been on the do-not-call list for {whose} since {since:%Y-%m-%d}.",
        f"The operator, if the callee asks to be called again, with: relay dnc remove NUMBER{option}",
    )


def _consent_missing(case: _Case) -> _Objection | None:
    if case.facts.has_consent or not case.rules.require_consent:
        return None
    aim = "" if case.dial.purpose is None else " for this purpose"
    return (
        f"No consent of the callee to calls of this agent{aim} is on record, and consent is required.",
        f"The operator, once the callee has consented, with: relay consents add NUMBER --agent {case.dial.agent_id}",
    )


def _zone_unknown(case: _Case) -> _Objection | None:
    if case.zones or case.rules.calling_hours.is_all_day:
        return None
    if case.dial.zone is None:
        return (
            "The number does not tell in which time zone the callee is.",
            "Giving the IANA time zone of the place where the callee is, such as Europe/Berlin.",
        )
    similar = similar_zone(case.dial.zone)
    return (
        "There is no time zone of the given name.",
        f"An IANA name such as {similar or 'Europe/Berlin'}" + (", if that is meant." if similar else "."),
    )


def _quiet_hours(case: _Case) -> _Objection | None:
    hours = case.rules.calling_hours
    quiet = [zone for zone in case.zones if not hours.cover(case.now, zone)]
    if not quiet:
        return None
    clocks = ", ".join(f"{case.now.astimezone(zone):%H:%M} in {zone.key}" for zone in quiet[:_ZONES_NAMED])
    more = len(quiet) - _ZONES_NAMED
    others = f", and too early or too late in {more} more zones" if more > 0 else ""
    opening = hours.next_in_all(case.now, case.zones)
    waiting = (
        "Not by waiting: the calling hours of all the zones that the number may belong to do not meet."
        if opening is None
        else f"Waiting until {instant(opening)}."
    )
    # A toll-free or mobile number may belong to zones that are half a day apart; whoever knows better may say so.
    known = "" if len(case.zones) == 1 else " Or giving the time zone of the place where the callee is, if it is known."
    return (f"It is {clocks}{others}; people are called from {hours}.", waiting + known)


def _number_daily_limit(case: _Case) -> _Objection | None:
    limit = case.rules.daily_limit(case.dial.kind)
    free_at = _free_at(case.facts.dials_to_number, limit, DAY, case.now)
    if free_at is None:
        return None
    what = "transfers to" if case.dial.kind is DialKind.TRANSFER else "calls to"
    setting = "TRANSFERS" if case.dial.kind is DialKind.TRANSFER else "CALLS"
    return (
        f"There were {limit} {what} this number within the last 24 hours, and no more are allowed.",
        f"Waiting until {instant(free_at)}; or the operator, with RELAY_{setting}_PER_NUMBER_PER_DAY.",
    )


def _agent_minute_limit(case: _Case) -> _Objection | None:
    limit = case.rules.calls_per_agent_per_minute
    free_at = _free_at(case.facts.dials_of_agent, limit, MINUTE, case.now)
    if free_at is None:
        return None
    return (
        f"The agent has dialled {limit} times within the last minute, and no more is allowed.",
        f"Waiting until {instant(free_at)}; or the operator, with RELAY_CALLS_PER_AGENT_PER_MINUTE.",
    )


_QUESTIONS: Mapping[Rule, Callable[[_Case], _Objection | None]] = {
    Rule.EMERGENCY_NUMBER: _emergency_number,
    Rule.NUMBER_INVALID: _number_invalid,
    Rule.NUMBER_UNASSIGNED: _number_unassigned,
    Rule.PREMIUM_NUMBER: _premium_number,
    Rule.COUNTRY_NOT_ALLOWED: _country_not_allowed,
    Rule.OUTBOUND_DISABLED: _outbound_disabled,
    Rule.DO_NOT_CALL: _do_not_call,
    Rule.CONSENT_MISSING: _consent_missing,
    Rule.ZONE_UNKNOWN: _zone_unknown,
    Rule.QUIET_HOURS: _quiet_hours,
    Rule.NUMBER_DAILY_LIMIT: _number_daily_limit,
    Rule.AGENT_MINUTE_LIMIT: _agent_minute_limit,
}


def _free_at(dials: Iterable[datetime], limit: int, window: timedelta, now: datetime) -> datetime | None:
    """Say when a place is free among the last `limit` dials, given newest first; None while there is one."""
    # A dial of the future was made before the clock was set back. Within a window it counts, beyond it would block for
    # as long as the clock was wrong.
    counted = [each for each in dials if abs(now - each) < window]
    return counted[limit - 1] + window if 0 < limit <= len(counted) else None
