"""Transcripts as they are written and read again."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from actors.call_values import Line, Speaker
from relay.store.schema import storable
from relay.store.transcripts import lines_as_json, lines_of

times = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - given UTC
# The contract's times have milliseconds.
lines = st.builds(Line, st.sampled_from(Speaker), st.text(), times.map(lambda at: at.replace(microsecond=1000)))


@given(st.lists(lines))
def test_a_transcript_comes_back_as_it_was(said: list[Line]) -> None:
    """Whoever spoke, in whatever script, is read as it was written, by way of JSON."""
    kept = json.loads(json.dumps(lines_as_json(said)))
    assert lines_of(kept) == tuple(Line(each.speaker, storable(each.text), each.at) for each in said)


def test_a_line_is_written_in_utc() -> None:
    """Times are as the contract words them."""
    at = datetime(2026, 11, 22, 10, 0, tzinfo=timezone(timedelta(hours=1)))
    assert lines_as_json([Line(Speaker.ANSWERING_MACHINE, "Hello.", at)]) == [
        {"speaker": "machine", "text": "Hello.", "at": "2026-11-22T09:00:00.000Z"}
    ]
