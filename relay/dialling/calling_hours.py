"""Calling hours: a window of the day in the callee's local time, with correct daylight saving.

The window is given in wall-clock time and the answer in points in time, so daylight saving is handled: an hour that is
skipped cannot be waited for, one that comes twice opens or closes the window twice. Everything is computed in UTC and
looked at through a zone; adding hours to a local time would ignore the change between.

Zones come from the system's IANA database, or from the `tzdata` package on machines without. They are read once and
never change, so they count as constants here, not as input.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

import attrs

_DAY_MINUTES = 24 * 60
_DAY = timedelta(days=1)
_WRITTEN = re.compile(r"(\d\d):([0-5]\d)\s*[-\u2013]\s*(\d\d):([0-5]\d)", re.ASCII)
# Zones whose windows do not overlap within a week have no common window worth waiting for.
_HORIZON = timedelta(days=8)
# What the database's directory holds beside the zones of the world: other forms of it, and this machine's own clock.
_NO_PLACES = re.compile(r"posix/|right/|localtime$|posixrules$|Factory$")
_LONGEST_NAME = 64
# Zones are compared on Saturdays: all that change their clocks in one weekend, on a Friday or on the Sunday, differ.
_FIRST_WEEK = datetime(2010, 1, 2, 12, 0, tzinfo=UTC)
_WEEKS = 30 * 52


@attrs.frozen
class CallingHours:
    """From `opens`, included, to `closes`, not included, in minutes after midnight. 0 to 1440 is the whole day.

    Raises `ValueError` for a window that is empty or crosses midnight: a typing mistake must not allow calls at night.
    """

    opens: int = 8 * 60
    closes: int = 21 * 60

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.opens < self.closes <= _DAY_MINUTES:
            raise ValueError("calling hours must begin before they end, within one day, such as 08:00-21:00")

    @classmethod
    def parse(cls, text: str) -> CallingHours:
        """Parse a window such as `08:00-21:00`; `00:00-24:00` is the whole day. Raises `ValueError`."""
        match = _WRITTEN.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"calling hours are written like 08:00-21:00, not {text!r}")
        numbers = [int(each) for each in match.groups()]
        return cls(numbers[0] * 60 + numbers[1], numbers[2] * 60 + numbers[3])

    def __str__(self) -> str:
        return f"{_clock(self.opens)} to {_clock(self.closes)}"

    @property
    def is_all_day(self) -> bool:
        """Whether calls are allowed at all hours, so that zones do not matter."""
        return self.closes - self.opens == _DAY_MINUTES

    def cover(self, at: datetime, zone: ZoneInfo) -> bool:
        """Return whether a point in time lies in the window of a zone."""
        local = at.astimezone(zone)
        return self.opens <= local.hour * 60 + local.minute < self.closes

    def next_in_all(self, at: datetime, zones: Sequence[ZoneInfo]) -> datetime | None:
        """Find the first point in time, not before `at`, that lies in the windows of all zones.

        None where they do not meet within eight days. The result is in UTC.
        """
        end = at + _HORIZON
        at = at.astimezone(UTC)
        while at <= end:
            # Each zone's next time is a lower bound for all: to go on from the latest of them skips nothing.
            later = max((self._next_in(at, zone) for zone in zones), default=at)
            if later == at:
                return at
            at = later
        return None

    def _next_in(self, at: datetime, zone: ZoneInfo) -> datetime:
        while not self.cover(at, zone):
            opening = at + self._until_opening(at.astimezone(zone))
            change = _change_of_clocks(zone, at, opening)
            if change is None:
                return opening
            # Until the clocks change the window stays closed; the local time after the change may be inside already.
            at = change
        return at

    def _until_opening(self, local: datetime) -> timedelta:
        since_midnight = timedelta(
            hours=local.hour, minutes=local.minute, seconds=local.second, microseconds=local.microsecond
        )
        return (timedelta(minutes=self.opens) - since_midnight) % _DAY


def find_zone(name: str) -> ZoneInfo | None:
    """Find an IANA zone by its name, such as America/New_York; None where there is none of that name."""
    if len(name) > _LONGEST_NAME or _NO_PLACES.match(name):
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        # Unknown; not a path that could be one; a directory such as "America".
        return None


def share_a_clock(name: str, other: str) -> bool:
    """Return whether two zones, both known, show the same time all along, as America/Detroit and New_York do."""
    return _shown_by(name) == _shown_by(other)


@cache
def _shown_by(name: str) -> tuple[timedelta | None, ...]:
    """Return what a zone's clock is ahead of UTC, week by week over thirty years."""
    zone = ZoneInfo(name)
    return tuple((_FIRST_WEEK + each * timedelta(weeks=1)).astimezone(zone).utcoffset() for each in range(_WEEKS))


def similar_zone(name: str) -> str | None:
    """Return the zone whose name is nearest to a name that is no zone."""
    wanted = name[:_LONGEST_NAME].replace(" ", "_").lower()
    known = _zones_by_lower_case()
    # People often write only the city, without the continent.
    by_city = [each for lower, each in sorted(known.items()) if lower == wanted or lower.endswith(f"/{wanted}")]
    near = by_city or [known[each] for each in difflib.get_close_matches(wanted, known, n=1, cutoff=0.75)]
    return near[0] if near else None


@cache
def _zones_by_lower_case() -> dict[str, str]:
    return {each.lower(): each for each in available_timezones() if not _NO_PLACES.match(each)}


def _change_of_clocks(zone: ZoneInfo, after: datetime, until: datetime) -> datetime | None:
    """Find the second at which a zone's offset changes between two points in time less than a day apart.

    One change at most is looked for: no zone changes its clocks and changes them back within one day.
    """
    before = after.astimezone(zone).utcoffset()
    if until.astimezone(zone).utcoffset() == before:
        return None
    low, high = after.replace(microsecond=0), until
    while high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=(high - low) // timedelta(seconds=2))
        if middle.astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
