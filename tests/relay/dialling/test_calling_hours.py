"""The window of the day, against clocks that are changed."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from relay.dialling.calling_hours import CallingHours, find_zone, similar_zone

NIGHT_AND_DAY = CallingHours(0, 24 * 60)
# Clocks that change by half an hour or by two, at midnight, twice around Ramadan, or by a whole day; and ordinary ones.
ODD_CLOCKS = [
    "Africa/Cairo",
    "Africa/Casablanca",
    "America/Havana",
    "America/New_York",
    "America/Santiago",
    "America/St_Johns",
    "Antarctica/Troll",
    "Asia/Beirut",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Europe/Berlin",
    "Pacific/Apia",
    "Pacific/Kiritimati",
]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def next_in(hours: CallingHours, text: str, *zones: str) -> datetime | None:
    return hours.next_in_all(at(text), [ZoneInfo(zone) for zone in zones])


@pytest.mark.parametrize(
    ("text", "opens", "closes"),
    [("08:00-21:00", 480, 1260), (" 09:30 - 17:05 ", 570, 1025), ("00:00–24:00", 0, 1440)],
)
def test_hours_are_written_as_people_do(text: str, opens: int, closes: int) -> None:
    """A window is two times with a dash between them."""
    assert CallingHours.parse(text) == CallingHours(opens, closes)


@pytest.mark.parametrize("text", ["", "8-21", "08:00", "21:00-08:00", "08:00-08:00", "08:60-21:00", "08:00-24:01"])
def test_other_hours_are_refused(text: str) -> None:
    """A window that is empty, goes over midnight or is not one at all is refused with an example."""
    with pytest.raises(ValueError, match="08:00-21:00"):
        CallingHours.parse(text)


def test_hours_are_reported() -> None:
    """A window is told as in a sentence."""
    assert str(CallingHours()) == "08:00 to 21:00"
    assert (CallingHours().is_all_day, NIGHT_AND_DAY.is_all_day) == (False, True)


@pytest.mark.parametrize(
    ("clock", "inside"), [("07:59:59", False), ("08:00:00", True), ("20:59:59", True), ("21:00:00", False)]
)
def test_the_window_begins_at_its_first_minute(clock: str, inside: bool) -> None:
    """The opening time is inside, the closing time is not."""
    zone = ZoneInfo("Europe/Berlin")
    assert CallingHours().cover(at(f"2026-11-22T{clock}+01:00"), zone) is inside


def test_inside_there_is_nothing_to_wait_for() -> None:
    """A time inside the window is its own answer, to the microsecond."""
    now = "2026-11-22T09:00:30.123456+00:00"
    assert next_in(CallingHours(), now, "Europe/Berlin") == at(now)


def test_the_next_time_is_this_or_the_next_morning() -> None:
    """Before the window it is today, after it tomorrow."""
    early, late = "2026-11-22T04:00:30.5+00:00", "2026-11-22T20:00:30.5+00:00"
    assert next_in(CallingHours(), early, "Europe/Berlin") == at("2026-11-22T07:00:00+00:00")
    assert next_in(CallingHours(), late, "Europe/Berlin") == at("2026-11-23T07:00:00+00:00")


def test_the_night_of_the_change_is_shorter_or_longer() -> None:
    """Eight in the morning comes an hour sooner in the night to summer time, and an hour later in that from it."""
    assert next_in(CallingHours(), "2026-03-28T22:00:00+00:00", "Europe/Berlin") == at("2026-03-29T06:00:00+00:00")
    assert next_in(CallingHours(), "2026-10-24T20:00:00+00:00", "Europe/Berlin") == at("2026-10-25T07:00:00+00:00")


def test_an_opening_time_that_is_skipped() -> None:
    """Where half past two does not come that night, the window opens when the clocks jump over it."""
    hours = CallingHours(2 * 60 + 30, 4 * 60)
    assert next_in(hours, "2026-03-29T00:00:00+00:00", "Europe/Berlin") == at("2026-03-29T01:00:00+00:00")


def test_a_window_that_is_skipped_whole() -> None:
    """A window inside the hour that does not come is not there that day."""
    hours = CallingHours(2 * 60, 2 * 60 + 30)
    assert next_in(hours, "2026-03-29T00:00:00+00:00", "Europe/Berlin") == at("2026-03-30T00:00:00+00:00")


def test_a_window_that_comes_twice() -> None:
    """Where the clocks are set back behind the closing time, the window opens again at that moment."""
    hours = CallingHours(60, 2 * 60 + 30)
    assert next_in(hours, "2026-10-25T00:45:00+00:00", "Europe/Berlin") == at("2026-10-25T01:00:00+00:00")


def test_all_windows_must_be_open() -> None:
    """With several zones it is the time at which the last has begun and the first has not ended."""
    coasts = ("America/New_York", "America/Los_Angeles")
    assert next_in(CallingHours(), "2026-11-22T14:00:00+00:00", *coasts) == at("2026-11-22T16:00:00+00:00")
    assert next_in(CallingHours(), "2026-11-23T03:00:00+00:00", *coasts) == at("2026-11-23T16:00:00+00:00")


def test_windows_that_never_meet() -> None:
    """For zones half a day apart a short window has no common time, and none is made up."""
    assert next_in(CallingHours(9 * 60, 17 * 60), "2026-11-22T14:00:00+00:00", "Asia/Tokyo", "America/Bogota") is None


def within(hours: CallingHours, instant: datetime, zone: ZoneInfo) -> bool:
    """Say for ourselves whether a wall clock shows a time inside the window."""
    wall = instant.astimezone(zone).time()
    opens = time(hours.opens // 60, hours.opens % 60)
    return opens <= wall and (hours.closes == 24 * 60 or wall < time(hours.closes // 60, hours.closes % 60))


windows = st.tuples(st.integers(0, 1439), st.integers(1, 1440)).filter(lambda each: each[0] < each[1])


@settings(deadline=None)
@given(
    window=windows,
    zones=st.lists(st.sampled_from(ODD_CLOCKS), min_size=1, max_size=3, unique=True),
    now=st.datetimes(datetime(2010, 1, 1), datetime(2036, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - given UTC
)
@example(window=(150, 240), zones=["Europe/Berlin"], now=datetime(2026, 3, 29, 0, 30, 7, tzinfo=UTC))
@example(window=(60, 150), zones=["Europe/Berlin"], now=datetime(2026, 10, 25, 0, 45, tzinfo=UTC))
@example(window=(0, 30), zones=["Asia/Beirut"], now=datetime(2026, 3, 28, 21, 45, tzinfo=UTC))
@example(window=(0, 1410), zones=["America/Havana"], now=datetime(2026, 11, 1, 4, 45, tzinfo=UTC))
@example(window=(1380, 1440), zones=["Asia/Beirut"], now=datetime(2026, 10, 24, 20, 59, tzinfo=UTC))
@example(window=(480, 1260), zones=["Pacific/Apia"], now=datetime(2011, 12, 30, 8, 0, tzinfo=UTC))
def test_the_next_time_is_inside_and_the_first(window: tuple[int, int], zones: list[str], now: datetime) -> None:
    """Whatever the clocks do, all windows are open at the time that is found, and no minute before it had them open."""
    hours, clocks = CallingHours(*window), [ZoneInfo(zone) for zone in zones]
    found = hours.next_in_all(now, clocks)
    end = now + timedelta(days=2) if found is None else found
    if found is not None:
        assert all(within(hours, found, zone) for zone in clocks)
    minute = now
    while minute < min(end, now + timedelta(days=2)):
        assert not all(within(hours, minute, zone) for zone in clocks)
        minute = minute.replace(second=0, microsecond=0) + timedelta(minutes=1)


@pytest.mark.parametrize("name", ["Europe/Berlin", "UTC", "America/North_Dakota/Center"])
def test_zones_are_found_by_name(name: str) -> None:
    """A zone is called as in the IANA database."""
    zone = find_zone(name)
    assert zone is not None
    assert zone.key == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "America",
        "Mars/Olympus",
        "../etc/passwd",
        "/etc/passwd",
        "localtime",
        "posix/UTC",
        "a\0b",
        "\ud800",
        "x" * 999,
    ],
)
def test_other_names_are_no_zones(name: str) -> None:
    """Neither a region, a path, this machine's own clock nor anything else is a zone, and nothing is raised."""
    assert find_zone(name) is None


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("europe/berlin", "Europe/Berlin"),
        ("New York", "America/New_York"),
        ("Europe/Berlim", "Europe/Berlin"),
        ("nowhere at all", None),
        ("", None),
    ],
)
def test_a_zone_is_guessed(name: str, meant: str | None) -> None:
    """A name in other letters, without its continent or with a slip leads to the zone that is meant."""
    assert similar_zone(name) == meant
