"""The decision, over numbers of all countries, all times of the year, and whatever is on record.

The oracle asks `phonenumbers` and `zoneinfo` itself, and looks at a clock's face: it shares no code with the gate.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

import attrs
import phonenumbers
from hypothesis import given, settings
from hypothesis import strategies as st
from phonenumbers import PhoneNumberType
from phonenumbers.timezone import time_zones_for_number

from relay.dialling.calling_hours import CallingHours
from relay.dialling.gate import decide
from relay.dialling.numbers import read_number
from relay.dialling.verdict import CallTime, Dial, DialKind, Facts, GateRules, Listing, Rule, Verdict

KINDS = (
    PhoneNumberType.FIXED_LINE,
    PhoneNumberType.MOBILE,
    PhoneNumberType.TOLL_FREE,
    PhoneNumberType.PREMIUM_RATE,
    PhoneNumberType.SHARED_COST,
    PhoneNumberType.VOIP,
)
EXAMPLES = sorted(
    {
        phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
        for region in phonenumbers.SUPPORTED_REGIONS
        for kind in KINDS
        if (example := phonenumbers.example_number_for_type(region, kind)) is not None
    }
)

numbers = st.sampled_from(EXAMPLES)
instants = st.datetimes(datetime(2015, 1, 1), datetime(2036, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - given UTC
windows = st.builds(
    CallingHours, st.integers(0, 12 * 60).map(lambda each: each // 15 * 15), st.integers(13 * 60, 24 * 60)
)
zones = st.none() | st.sampled_from(sorted(available_timezones() - {"localtime", "Factory"}))


SATURDAYS = [datetime(2010, 1, 2, 12, 0, tzinfo=UTC) + timedelta(weeks=each) for each in range(1500)]


@cache
def clock(name: str) -> tuple[timedelta | None, ...]:
    return tuple(each.astimezone(ZoneInfo(name)).utcoffset() for each in SATURDAYS)


def zones_of(number: str, given: str | None) -> list[str]:
    read = read_number(number)
    assert read is not None
    everywhere = time_zones_for_number(phonenumbers.parse(number))
    assert set(read.zones) <= set(everywhere), "a number is nowhere but where its country code is"
    candidates = list(read.zones) or list(everywhere)
    if given is None:
        return candidates
    knows_nothing = candidates == ["Etc/Unknown"]
    return [given] if knows_nothing or clock(given) in map(clock, candidates) else [*candidates, given]


def all_awake(at: datetime, clocks: list[ZoneInfo], hours: CallingHours) -> bool:
    walls = (at.astimezone(clock) for clock in clocks)
    return all(hours.opens <= wall.hour * 60 + wall.minute < hours.closes for wall in walls)


def ask(number: str, at: datetime, hours: CallingHours, zone: str | None = None) -> Verdict:
    dial = Dial(number=number, agent_id="my-client", zone=zone)
    return decide(dial, Facts(), GateRules(calling_hours=hours, countries=["all", "001"]), at)


@settings(deadline=None)
@given(numbers, instants, windows, zones)
def test_nobody_is_dialled_outside_the_window(number: str, at: datetime, hours: CallingHours, zone: str | None) -> None:
    """Whatever is allowed is inside the window in every zone of the number, and whatever is not says so."""
    verdict = ask(number, at, hours, zone)
    names = zones_of(number, zone)
    awake = names != ["Etc/Unknown"] and all_awake(at, [ZoneInfo(name) for name in names], hours)
    refused = {each.name for each in verdict.refusals} & {Rule.QUIET_HOURS, Rule.ZONE_UNKNOWN}
    assert awake is not bool(refused) or hours.is_all_day
    assert awake or not verdict.allowed or hours.is_all_day


@settings(deadline=None, max_examples=50)
@given(numbers, instants, windows, zones)
def test_the_next_time_is_allowed_and_no_minute_before(
    number: str, at: datetime, hours: CallingHours, zone: str | None
) -> None:
    """Who comes back at the time that was told is let through, and could not have come sooner."""
    found = ask(number, at, hours, zone).next_allowed
    if found is None:
        return
    assert ask(number, found, hours, zone).allowed
    clocks = [ZoneInfo(name) for name in zones_of(number, zone)]
    minute = at
    # Each minute of a day; the day before the time that was found, where that is further off.
    if found - at > timedelta(days=1):
        minute = found - timedelta(days=1)
    while minute < found:
        assert not all_awake(minute, clocks, hours)
        minute = minute.replace(second=0, microsecond=0) + timedelta(minutes=1)


@settings(deadline=None)
@given(
    number=numbers | st.sampled_from(["911", "+1911", "+15559876543", "+80012345678", "nobody"]),
    at=instants,
    facts=st.builds(
        Facts,
        outbound_disabled=st.booleans(),
        listing=st.none() | st.builds(Listing, since=instants, every_agent=st.booleans()),
        has_consent=st.booleans(),
        dials_to_number=st.lists(instants, max_size=3),
        dials_of_agent=st.lists(instants, max_size=3),
        calls_of_agent=st.lists(st.builds(CallTime, begun_at=instants, seconds=st.floats(0, 90_000)), max_size=3),
        agent_number=st.none() | st.sampled_from(["+493012345678", "+12025550100", "nobody"]),
        is_own=st.booleans(),
    ),
    rules=st.builds(
        GateRules,
        calling_hours=windows,
        allow_unassigned=st.booleans(),
        countries=st.sets(st.sampled_from(["US", "DE", "001", "all"])),
        require_consent=st.booleans(),
        calls_per_number_per_day=st.integers(0, 3),
        transfers_per_number_per_day=st.integers(0, 3),
        calls_per_agent_per_minute=st.integers(0, 3),
        calls_per_agent_per_day=st.integers(0, 3),
        minutes_per_agent_per_day=st.integers(0, 30),
    ),
    dial=st.builds(
        Dial, number=st.just(""), kind=st.sampled_from(DialKind), agent_id=st.none() | st.just("my-client"), zone=zones
    ),
)
def test_refusals_come_in_the_order_of_the_rules(
    number: str, at: datetime, facts: Facts, rules: GateRules, dial: Dial
) -> None:
    """Each rule refuses at most once, in one order, in sentences without the number; the unchecked ones are silent."""
    verdict = decide(attrs.evolve(dial, number=number), facts, rules, at)
    order = list(Rule)
    positions = [order.index(each.name) for each in verdict.refusals]
    assert positions == sorted(set(positions))
    assert verdict.allowed is (not positions)
    assert not verdict.unchecked & {each.name for each in verdict.refusals}
    for each in verdict.refusals:
        assert each.sentence.endswith(".")
        assert each.lifted_by
        assert not any(len(word) > 6 and word.isdecimal() for word in f"{each.sentence} {each.lifted_by}".split())
    if Rule.QUIET_HOURS in verdict.unchecked or Rule.ZONE_UNKNOWN in verdict.unchecked:
        assert not verdict.allowed


@settings(deadline=None)
@given(st.text(max_size=40), st.none() | st.text(max_size=40), instants)
def test_whatever_is_asked_for_there_is_a_verdict(number: str, zone: str | None, at: datetime) -> None:
    """Hostile text in the number or the zone is refused, never an error."""
    verdict = decide(Dial(number=number, agent_id="a", zone=zone), Facts(), GateRules(), at)
    assert verdict.allowed is (not verdict.refusals)


def test_there_are_many_kinds_of_numbers() -> None:
    """The examples cover every country and hundreds of numbers, or the properties would say little."""
    assert len(EXAMPLES) > 600
