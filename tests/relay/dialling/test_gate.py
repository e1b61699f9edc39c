"""The decision: each rule, and what it says to whoever was refused."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from relay.dialling.calling_hours import CallingHours
from relay.dialling.gate import DAY, MINUTE, decide
from relay.dialling.verdict import Dial, DialKind, Facts, GateRules, Listing, Rule, Verdict

# A Sunday: nine in the evening in Berlin is eight here.
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
BERLIN = "+493012345678"
TOLL_FREE = "+18005551234"


def ask(number: str = BERLIN, *, now: datetime = NOW, facts: Facts | None = None, **rules: Any) -> Verdict:
    dial = Dial(number=number, agent_id="my-client")
    return decide(dial, facts or Facts(), GateRules(**({"countries": ["all"]} | rules)), now)


def names(verdict: Verdict) -> list[str]:
    return [each.name.value for each in verdict.refusals]


def the_refusal(verdict: Verdict) -> tuple[str, str]:
    (refusal,) = verdict.refusals
    return refusal.sentence, refusal.lifted_by


def test_an_ordinary_number_by_day_is_allowed() -> None:
    """Nothing stands in the way of an assigned number in the callee's day."""
    verdict = ask(" +49 (0)30 12345678")
    assert verdict.allowed
    assert (verdict.normalised, verdict.zones) == (BERLIN, ("Europe/Berlin",))
    assert (verdict.refusals, verdict.unchecked, verdict.next_allowed) == ((), frozenset(), None)


def test_what_is_no_number_is_refused_with_an_example() -> None:
    """Without a number only the rules about the agent can be asked as well."""
    verdict = ask("0049 30 1234567", facts=Facts(outbound_disabled=True))
    assert names(verdict) == ["number_invalid", "outbound_disabled"]
    assert "+14155552671" in verdict.refusals[0].lifted_by
    assert verdict.normalised is None
    assert {Rule.DO_NOT_CALL, Rule.QUIET_HOURS} < verdict.unchecked


@pytest.mark.parametrize("number", ["911", "112", "+1911", "+49 112", "+4930112"])
def test_emergency_numbers_are_never_dialled(number: str) -> None:
    """However it is written, and whatever is allowed, an emergency number is refused first and nothing lifts that."""
    refusal = ask(number, allow_unassigned=True, calling_hours=CallingHours(0, 1440)).refusals[0]
    assert refusal.name is Rule.EMERGENCY_NUMBER
    assert refusal.lifted_by.startswith("Nothing.")


def test_unassigned_numbers_are_refused_unless_allowed() -> None:
    """Numbers for fiction and tests, such as +1 555, are possible and not valid."""
    around_the_clock = CallingHours(0, 1440)
    refused = ask("+15559876543", calling_hours=around_the_clock)
    assert names(refused) == ["number_unassigned"]
    assert "RELAY_ALLOW_UNASSIGNED_NUMBERS" in refused.refusals[0].lifted_by
    assert ask("+15559876543", calling_hours=around_the_clock, allow_unassigned=True).allowed


@pytest.mark.parametrize("number", ["+499001234567", "+491801234567"])
def test_premium_numbers_are_refused(number: str) -> None:
    """Neither premium-rate nor shared-cost numbers are called."""
    assert names(ask(number)) == ["premium_number"]


def test_only_allowed_countries_are_called() -> None:
    """With a list of countries all others are refused, and the setting that adds them is named."""
    verdict = ask(countries=["us", "CA"])
    assert the_refusal(verdict) == (
        "The number belongs to DE; allowed are CA, US.",
        "The operator, by adding DE to RELAY_ALLOWED_COUNTRIES.",
    )
    assert ask(countries=["DE"]).allowed


def test_a_neighbour_behind_the_same_country_code_is_another_country() -> None:
    """Jamaica is +1 too, and not the United States, even with a number that nobody has."""
    day = NOW + timedelta(hours=6)
    assert names(ask("+18765234567", now=day, countries=["US"])) == ["country_not_allowed"]
    assert names(ask("+18761234567", now=day, countries=["US"], allow_unassigned=True)) == ["country_not_allowed"]


def test_numbers_of_no_country_are_allowed_by_name() -> None:
    """An international freephone number belongs to 001."""
    all_day = CallingHours(0, 1440)
    refused = ask("+80012345678", countries=["US"], calling_hours=all_day)
    assert the_refusal(refused)[0] == "The number belongs to no country; allowed are US."
    assert ask("+80012345678", countries=["001"], calling_hours=all_day).allowed


def test_a_country_that_is_none_is_refused_at_start() -> None:
    """A misspelt country in the settings would silently allow nothing."""
    with pytest.raises(ValueError, match="UK: no such region"):
        GateRules(countries=["UK", "US"])


def test_the_kill_switch_stops_an_agent() -> None:
    """A switched-off agent is told that only the operator can change it."""
    verdict = ask(facts=Facts(outbound_disabled=True))
    assert names(verdict) == ["outbound_disabled"]
    assert the_refusal(verdict)[1].endswith("relay gate enable my-client")


@pytest.mark.parametrize(
    ("every_agent", "whose", "command"),
    [
        (True, "every agent", "relay dnc remove NUMBER"),
        (False, "this agent", "relay dnc remove NUMBER --agent my-client"),
    ],
)
def test_listed_numbers_are_refused(every_agent: bool, whose: str, command: str) -> None:
    """Whoever asked not to be called is not, and the day and the way back are told."""
    listing = Listing(since=datetime(2026, 5, 3, 12, 0, tzinfo=UTC), every_agent=every_agent)
    sentence, lifted_by = the_refusal(ask(facts=Facts(listing=listing)))
    assert sentence == f"The number has been on the do-not-call list for {whose} since 2026-05-03."
    assert lifted_by.endswith(command)


def test_consent_counts_where_it_is_required() -> None:
    """Without the requirement nobody asks for consent; with it, one on record is enough."""
    assert names(ask(require_consent=True)) == ["consent_missing"]
    assert ask(require_consent=True, facts=Facts(has_consent=True)).allowed


def test_the_purpose_of_a_consent_is_reported() -> None:
    """A refusal for lack of consent says when it is about a purpose."""
    dial = Dial(number=BERLIN, agent_id="my-client", purpose="reminders")
    verdict = decide(dial, Facts(), GateRules(countries=["all"], require_consent=True), NOW)
    assert "for this purpose" in the_refusal(verdict)[0]


def test_nobody_is_called_at_night() -> None:
    """A refusal for the hour tells the callee's time, and when it will be right."""
    verdict = ask(now=datetime(2026, 11, 22, 20, 15, tzinfo=UTC))
    assert names(verdict) == ["quiet_hours"]
    assert the_refusal(verdict) == (
        "It is 21:15 in Europe/Berlin; people are called from 08:00 to 21:00.",
        "Waiting until 2026-11-23T07:00:00Z.",
    )
    assert verdict.next_allowed == datetime(2026, 11, 23, 7, 0, tzinfo=UTC)


def test_every_zone_of_a_number_counts() -> None:
    """A toll-free number may ring anywhere from Guam to Newfoundland, so it is called when all of them are awake."""
    verdict = ask(TOLL_FREE, now=datetime(2026, 11, 22, 18, 0, tzinfo=UTC))
    sentence, lifted_by = the_refusal(verdict)
    assert len(verdict.zones) > 40
    assert sentence.startswith("It is 04:00 in Pacific/Guam, 07:00 in Pacific/Pago_Pago, 04:00 in Pacific/Saipan; ")
    assert "Or giving the time zone" in lifted_by
    assert verdict.next_allowed == datetime(2026, 11, 22, 22, 0, tzinfo=UTC)
    assert ask(TOLL_FREE, now=verdict.next_allowed).allowed


def test_many_zones_are_counted_and_three_named() -> None:
    """A sentence stays one that can be read."""
    sentence, _lifted_by = the_refusal(ask(TOLL_FREE, now=datetime(2026, 11, 22, 6, 0, tzinfo=UTC)))
    assert sentence.count(" in America/") == 3
    assert re.search(", and too early or too late in [0-9]+ more zones; ", sentence)


def test_a_given_zone_counts_instead() -> None:
    """Who knows where the callee is need not guess from the number."""
    dial = Dial(number=TOLL_FREE, agent_id="my-client", zone="America/New_York")
    verdict = decide(dial, Facts(), GateRules(countries=["all"]), datetime(2026, 11, 22, 14, 0, tzinfo=UTC))
    assert verdict.allowed
    assert verdict.zones == ("America/New_York",)


def test_a_window_that_all_zones_never_share() -> None:
    """Where waiting does not help, nobody is told to wait."""
    verdict = ask(TOLL_FREE, calling_hours=CallingHours(9 * 60, 12 * 60))
    assert verdict.next_allowed is None
    assert the_refusal(verdict)[1].startswith("Not by waiting")


def test_a_number_without_a_zone_needs_one() -> None:
    """A satellite telephone may be anywhere, so somebody must say where."""
    verdict = ask("+8821634123456", countries=["001"])
    assert names(verdict) == ["zone_unknown"]
    assert "IANA" in the_refusal(verdict)[1]
    assert Rule.QUIET_HOURS in verdict.unchecked
    assert ask("+8821634123456", countries=["001"], calling_hours=CallingHours(0, 1440)).allowed


def test_a_zone_that_is_none_is_refused_with_a_guess() -> None:
    """A name that is no zone is not taken for the number's own zones, but for a mistake."""
    verdict = decide(
        Dial(number=BERLIN, agent_id="my-client", zone="new york"), Facts(), GateRules(countries=["all"]), NOW
    )
    assert names(verdict) == ["zone_unknown"]
    assert "America/New_York" in the_refusal(verdict)[1]
    nonsense = decide(Dial(number=BERLIN, agent_id="my-client", zone="\0"), Facts(), GateRules(countries=["all"]), NOW)
    assert names(nonsense) == ["zone_unknown"]


@pytest.mark.parametrize(
    ("kind", "limit", "setting"),
    [
        (DialKind.CALL, 2, "RELAY_CALLS_PER_NUMBER_PER_DAY"),
        (DialKind.VOICE_MESSAGE, 2, "RELAY_CALLS_PER_NUMBER_PER_DAY"),
        (DialKind.TRANSFER, 3, "RELAY_TRANSFERS_PER_NUMBER_PER_DAY"),
    ],
)
def test_a_number_is_dialled_so_often_a_day(kind: DialKind, limit: int, setting: str) -> None:
    """When the daily limit is reached, a place is free a day after the oldest dial that counts."""
    rules = GateRules(countries=["all"], calls_per_number_per_day=2, transfers_per_number_per_day=3)
    dial = Dial(number=BERLIN, agent_id="my-client", kind=kind)
    dials = [NOW - timedelta(hours=1 + index) for index in range(limit)]
    sentence, lifted_by = the_refusal(decide(dial, Facts(dials_to_number=dials), rules, NOW))
    assert f"There were {limit} " in sentence
    assert f"{dials[-1] + DAY:%Y-%m-%dT%H:%M:%SZ}" in lifted_by
    assert setting in lifted_by
    assert decide(dial, Facts(dials_to_number=dials[1:]), rules, NOW).allowed


def test_an_agent_dials_so_often_a_minute() -> None:
    """The newest dials decide: a place is free a minute after the oldest of them."""
    dials = [NOW - timedelta(seconds=each) for each in (5, 10, 20.5)]
    sentence, lifted_by = the_refusal(ask(facts=Facts(dials_of_agent=dials), calls_per_agent_per_minute=2))
    assert "2 times within the last minute" in sentence
    assert "2026-11-22T09:00:50Z" in lifted_by
    assert names(ask(facts=Facts(dials_of_agent=dials), calls_per_agent_per_minute=3)) == ["agent_minute_limit"]
    assert ask(facts=Facts(dials_of_agent=dials), calls_per_agent_per_minute=4).allowed


def test_a_time_is_reported_rounded_up() -> None:
    """Who comes back at the time that was told finds the place free."""
    dials = [NOW - timedelta(seconds=20.5)]
    verdict = ask(facts=Facts(dials_of_agent=dials), calls_per_agent_per_minute=1)
    assert "2026-11-22T09:00:40Z" in the_refusal(verdict)[1]
    later = datetime(2026, 11, 22, 9, 0, 40, tzinfo=UTC)
    assert ask(now=later, facts=Facts(dials_of_agent=dials), calls_per_agent_per_minute=1).allowed


@pytest.mark.parametrize("age", [MINUTE, MINUTE + timedelta(seconds=1), timedelta(days=-400)])
def test_old_dials_and_those_of_a_wrong_clock_do_not_count(age: timedelta) -> None:
    """A dial counts for its minute, and one from before the clock was set back by a year does not block for a year."""
    assert ask(facts=Facts(dials_of_agent=[NOW - age]), calls_per_agent_per_minute=1).allowed


def test_a_limit_of_zero_is_none() -> None:
    """Whoever wants no limit writes 0."""
    facts = Facts(dials_of_agent=[NOW] * 100, dials_to_number=[NOW] * 100)
    assert ask(facts=facts, calls_per_agent_per_minute=0, calls_per_number_per_day=0, calls_per_agent_per_day=0).allowed


def test_all_that_stands_in_the_way_is_reported_at_once() -> None:
    """Every reason is listed, in the order of the rules, and waiting is only offered where it would be enough."""
    facts = Facts(
        outbound_disabled=True,
        listing=Listing(since=NOW, every_agent=True),
        dials_to_number=[NOW] * 5,
        dials_of_agent=[NOW] * 10,
    )
    night = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
    verdict = ask("+499001234567", now=night, facts=facts, countries=["US"], require_consent=True)
    assert names(verdict) == [
        "premium_number",
        "country_not_allowed",
        "outbound_disabled",
        "do_not_call",
        "consent_missing",
        "quiet_hours",
        "number_daily_limit",
    ]
    assert verdict.next_allowed is None


def test_without_an_agent_its_rules_are_left_out() -> None:
    """An operator may ask about a number alone."""
    verdict = decide(Dial(number=BERLIN), Facts(), GateRules(countries=["all"], require_consent=True), NOW)
    assert verdict.allowed
    assert verdict.unchecked == {
        Rule.OUTBOUND_DISABLED,
        Rule.CONSENT_MISSING,
        Rule.AGENT_DAILY_CALLS,
        Rule.AGENT_DAILY_MINUTES,
        Rule.AGENT_MINUTE_LIMIT,
    }


def test_a_verdict_is_reported_to_a_client() -> None:
    """A verdict is plain JSON, with names for programs and sentences for models."""
    verdict = ask(now=datetime(2026, 11, 22, 20, 15, tzinfo=UTC))
    assert json.loads(json.dumps(verdict.as_json())) == {
        "allowed": False,
        "to": BERLIN,
        "zones": ["Europe/Berlin"],
        "refusals": [
            {
                "name": "quiet_hours",
                "sentence": "It is 21:15 in Europe/Berlin; people are called from 08:00 to 21:00.",
                "liftedBy": "Waiting until 2026-11-23T07:00:00Z.",
            }
        ],
        "nextAllowed": "2026-11-23T07:00:00Z",
    }
    assert attrs.evolve(verdict, refusals=(), next_allowed=None).as_json()["nextAllowed"] is None
