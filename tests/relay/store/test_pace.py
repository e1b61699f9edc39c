"""The pace of outgoing calls, which all processes on one server keep together."""

from __future__ import annotations

import sys
from itertools import pairwise
from statistics import median

import pytest
import trio

from relay.store.database import Database, open_database
from relay.store.pace import SharedPace
from relay.twilio.pacing import Pacer
from tests.postgresql_server import connected

pytestmark = pytest.mark.postgresql_only("where one process places all calls, it paces them in memory")

GAP = 0.25


async def test_two_processes_start_no_more_calls_than_one(database: Database, database_url: str) -> None:
    """Each start is a while after the one before it, whoever makes it, and both processes have their share.

    On a busy machine a start is late now and then, and the next one seems early: so what most of them kept is checked,
    and what all of them took, which without a common pace is half of that.
    """
    starts: dict[float, int] = {}

    async def start_calls(process: int) -> None:
        done = await trio.run_process(
            [sys.executable, "-m", "tests.relay.store.start_calls", database_url, "6", str(1 / GAP)],
            capture_stdout=True,
        )
        starts.update(dict.fromkeys(map(float, done.stdout.split()), process))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(start_calls, 1)
        nursery.start_soon(start_calls, 2)
    times = sorted(starts)
    assert len(times) == 12
    assert median(after - before for before, after in pairwise(times)) > 0.8 * GAP
    assert times[-1] - times[0] > 10 * GAP


async def test_the_next_start_is_after_that_of_another_node(database: Database, database_url: str) -> None:
    """The first is at once, the next a gap later, whoever asks."""
    async with open_database(database_url) as other:
        ours, theirs = SharedPace(database), SharedPace(other)
        assert await ours.reserve(60) == 0
        assert 30 < await theirs.reserve(60) <= 60
        assert 90 < await ours.reserve(60) <= 120


async def test_a_clock_that_was_set_back_stops_no_call(database: Database, database_url: str) -> None:
    """A next start that is an hour away was never meant."""
    pace = SharedPace(database)
    await pace.reserve(1.0)
    with connected(database_url) as connection:
        connection.execute("UPDATE pace SET next_at = next_at + interval '1 hour'")
    assert await pace.reserve(1.0) == 0


async def test_a_start_that_was_given_up_is_the_next_ones(database: Database) -> None:
    """Whoever is cancelled while waiting for a start that is reserved leaves it to the next task here."""
    pacer = Pacer(1.0, SharedPace(database).reserve)
    await pacer.wait_turn()
    with trio.move_on_after(0.1):
        await pacer.wait_turn()
    assert await pacer.wait_turn() <= 1.5  # and not the two of the start after it
