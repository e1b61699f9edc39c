"""Whether a number may be dialled: one pure decision, with every reason against it.

    decide(Dial, Facts, GateRules, now) ──▶ Verdict: allowed, or all refusals in the order of `Rule`

The same rules hold for calls, voice messages and the targets of transfers. All are checked, even when an earlier one
refuses, so that a client learns of all obstacles at once. The order goes from what only another number fixes, over what
the operator can lift, to what passes with time.

A rule that cannot be checked does not refuse: it is listed in `Verdict.unchecked`. That is only so when another rule
has refused already (there is no number, or no zone), or when an operator explains a number for no agent in particular.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import attrs

from relay.dialling.calling_hours import find_zone, share_a_clock, similar_zone
from relay.dialling.numbers import NO_COUNTRY, TelephoneNumber, names_an_emergency, read_number
from relay.dialling.tolls import Toll
from relay.dialling.verdict import (
    ALL_COUNTRIES,
    CallTime,
    Dial,
    DialKind,
    Facts,
    GateRules,
    Refusal,
    Rule,
    Verdict,
    instant,
)

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
# How many zones a sentence names: a toll-free number of North America has forty-two.
_ZONES_NAMED = 3
_ANOTHER_NUMBER = "Another number of the same callee."


def decide(dial: Dial, facts: Facts, rules: GateRules, now: datetime) -> Verdict:
    """Decide whether a number may be dialled at `now`, a time with a zone.

    Never raises for any content of the dial: bad input is refused.
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

    @property
    def is_caller(self) -> bool:
        """Whether the number is one that calls come from."""
        callers = (self.dial.caller, self.facts.agent_number, self.rules.caller_number)
        read = [read_number(each) for each in callers if each]
        return self.known.e164 in [each.e164 for each in read if each is not None]

    @property
    def home(self) -> tuple[str, ...]:
        """The regions of the number that the call comes from; empty where there is none."""
        for given in (self.dial.caller, self.facts.agent_number, self.rules.caller_number):
            if given and (caller := read_number(given)) is not None:
                return caller.regions
        return ()

    def unchecked(self) -> frozenset[Rule]:
        missing: set[Rule] = set()
        if self.dial.agent_id is None and not self.rules.countries and not self.home:
            missing.add(Rule.COUNTRY_NOT_ALLOWED)
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
        Rule.PERSONAL_NUMBER,
        Rule.OWN_NUMBER,
        Rule.SATELLITE_NUMBER,
        Rule.COUNTRY_NOT_ALLOWED,
        Rule.DO_NOT_CALL,
        Rule.CONSENT_MISSING,
        Rule.ZONE_UNKNOWN,
        Rule.QUIET_HOURS,
        Rule.NUMBER_DAILY_LIMIT,
    }
)
_OF_AN_AGENT = frozenset(
    {
        Rule.OUTBOUND_DISABLED,
        Rule.CONSENT_MISSING,
        Rule.AGENT_DAILY_CALLS,
        Rule.AGENT_DAILY_MINUTES,
        Rule.AGENT_MINUTE_LIMIT,
    }
)


def _zones_of(dial: Dial, number: TelephoneNumber | None) -> tuple[ZoneInfo, ...]:
    """Return the zones whose clocks count: those that the number may belong to, as far as the client's word goes.

    If a client gives one of them, only that one counts; a zone that is not among them counts in addition: a client must
    not be able to allow an hour that all of the number's own zones forbid.
    """
    found = [] if number is None else [find_zone(name) for name in number.zones]
    # If this machine's database lacks one candidate zone, the number counts as without zones: its hours are unknown.
    candidates = tuple(zone for zone in found if zone is not None) if all(found) else ()
    if dial.zone is None:
        return candidates
    given = find_zone(dial.zone)
    if given is None or not candidates:
        return (given,) if given is not None and not found else ()
    return (given,) if _is_among(given, candidates) else (*candidates, given)


def _is_among(given: ZoneInfo, candidates: Iterable[ZoneInfo]) -> bool:
    # A city's own zone, or an old name, may not be the one by which the metadata calls that clock.
    return any(given.key == each.key or share_a_clock(given.key, each.key) for each in candidates)


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
        "Checking the number with the person who gave it; or the operator, with RELAY_ALLOW_UNASSIGNED_NUMBERS.",
    )


def _premium_number(case: _Case) -> _Objection | None:
    match case.known.toll:
        case Toll.PREMIUM:
            sentence = "Calls to this number are charged at a premium or shared-cost rate."
        case Toll.DIRECTORY:
            sentence = "This is a number of directory enquiries, and calls to it are charged extra."
        case _:
            return None
    return (sentence, _ANOTHER_NUMBER)


def _personal_number(case: _Case) -> _Objection | None:
    if case.known.toll is not Toll.PERSONAL:
        return None
    return (
        "This is a personal number, which rings wherever its owner is, at a price that nobody knows before.",
        _ANOTHER_NUMBER,
    )


def _own_number(case: _Case) -> _Objection | None:
    if not case.facts.is_own and not case.is_caller:
        return None
    return (
        "This is a number of this relay, so the call would come back to where it is made.",
        "Nothing. Give the number of the person who is to be reached.",
    )


def _satellite_number(case: _Case) -> _Objection | None:
    if case.known.toll is not Toll.SATELLITE or NO_COUNTRY in case.rules.countries:
        return None
    return (
        "This is a number of a satellite telephone or of an international network, which costs many times a call.",
        f"Another number of the same callee; or the operator, by naming {NO_COUNTRY} in RELAY_ALLOWED_COUNTRIES.",
    )


def _country_not_allowed(case: _Case) -> _Objection | None:
    countries = case.rules.countries or frozenset(case.home)
    foreign = [each for each in case.known.regions if each not in countries]
    if ALL_COUNTRIES in countries or not foreign:
        return None
    named = " or ".join("no country" if each == NO_COUNTRY else each for each in foreign)
    if not countries:
        return (
            "It is not known from which country the call would come, and only numbers of that one may be called.",
            "The operator, by giving the agent a number (relay agents set ID --number), or by RELAY_ALLOWED_COUNTRIES.",
        )
    if not case.rules.countries:
        home = ",".join(sorted(countries))
        return (
            f"The number belongs to {named}, and the call would come from {home}; other countries are not allowed.",
            f"The operator, with RELAY_ALLOWED_COUNTRIES={home},{','.join(foreign)} or another list.",
        )
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
    if case.dial.zone is None or find_zone(case.dial.zone) is not None:
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
    shown = ", ".join(f"{case.now.astimezone(zone):%H:%M} in {zone.key}" for zone in quiet[:_ZONES_NAMED])
    more = len(quiet) - _ZONES_NAMED
    others = f", and too early or too late in {more} more zones" if more > 0 else ""
    opening = hours.next_in_all(case.now, case.zones)
    waiting = (
        "Not by waiting: the calling hours of all the zones that the number may belong to do not meet."
        if opening is None
        else f"Waiting until {instant(opening)}."
    )
    # A toll-free or mobile number may belong to zones that are half a day apart; a client that knows may name one.
    known = "" if len(case.zones) == 1 else " Or giving the time zone of the place where the callee is, if it is known."
    doubted = (
        " The number does not belong to the given time zone, so the clocks of both count."
        if case.dial.zone is not None and len(case.zones) > 1
        else ""
    )
    return (f"It is {shown}{others}; people are called from {hours}.{doubted}", waiting + known)


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


def _agent_daily_calls(case: _Case) -> _Objection | None:
    limit = case.rules.calls_per_agent_per_day
    free_at = _free_at(case.facts.dials_of_agent, limit, DAY, case.now)
    if free_at is None:
        return None
    return (
        f"The agent has dialled {limit} times within the last 24 hours, and no more is allowed.",
        f"Waiting until {instant(free_at)}; or the operator, with RELAY_CALLS_PER_AGENT_PER_DAY.",
    )


def _agent_daily_minutes(case: _Case) -> _Objection | None:
    limit = case.rules.minutes_per_agent_per_day
    free_at = _talked_free_at(case.facts.calls_of_agent, timedelta(minutes=limit), case.now)
    if free_at is None:
        return None
    return (
        f"The calls that the agent made have lasted {limit} minutes within the last 24 hours, and no more are allowed.",
        f"Waiting until {instant(free_at)}; or the operator, with RELAY_MINUTES_PER_AGENT_PER_DAY.",
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
    Rule.PERSONAL_NUMBER: _personal_number,
    Rule.OWN_NUMBER: _own_number,
    Rule.SATELLITE_NUMBER: _satellite_number,
    Rule.COUNTRY_NOT_ALLOWED: _country_not_allowed,
    Rule.OUTBOUND_DISABLED: _outbound_disabled,
    Rule.DO_NOT_CALL: _do_not_call,
    Rule.CONSENT_MISSING: _consent_missing,
    Rule.ZONE_UNKNOWN: _zone_unknown,
    Rule.QUIET_HOURS: _quiet_hours,
    Rule.NUMBER_DAILY_LIMIT: _number_daily_limit,
    Rule.AGENT_DAILY_CALLS: _agent_daily_calls,
    Rule.AGENT_DAILY_MINUTES: _agent_daily_minutes,
    Rule.AGENT_MINUTE_LIMIT: _agent_minute_limit,
}


def _free_at(dials: Iterable[datetime], limit: int, window: timedelta, now: datetime) -> datetime | None:
    """Return when a place is free among the last `limit` dials, given newest first; None if one is free now."""
    # A dial in the future was made before the clock was set back. It counts within a window; beyond, it would block for
    # as long as the clock was wrong.
    counted = [each for each in dials if abs(now - each) < window]
    return counted[limit - 1] + window if 0 < limit <= len(counted) else None


def _talked_free_at(calls: Iterable[CallTime], limit: timedelta, now: datetime) -> datetime | None:
    """Return when calls, given newest first, last less than `limit` within a day; None where they do now."""
    lasted = timedelta()
    for each in calls:
        if limit and abs(now - each.begun_at) < DAY:
            lasted += timedelta(seconds=each.seconds)
            if lasted >= limit:
                return each.begun_at + DAY
    return None
