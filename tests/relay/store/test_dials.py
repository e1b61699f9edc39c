"""Recent dials, as the limits look at them. That they are counted in one step is for the gate's own tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection

from relay.store import dials
from relay.store.database import Database

ADA, BOB = "+14155552671", "+493012345678"
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
SPAN = (NOW - timedelta(hours=1), NOW + timedelta(hours=1))


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


@pytest.fixture
async def counted(database: Database) -> Database:
    """A handful of dials, not in the order of their times."""

    def work(connection: Connection) -> None:
        for agent_id, number, kind, at in (
            ("my-client", ADA, "call", ago(5)),
            ("my-client", ADA, "transfer", ago(4)),
            ("other", ADA, "voice_message", ago(1)),
            ("my-client", BOB, "call", ago(2)),
            ("my-client", ADA, "call", ago(61)),
            ("my-client", ADA, "call", ago(-61)),
        ):
            dials.count(connection, agent_id=agent_id, number=number, kind=kind, at=at)

    await database.write(work)
    return database


@pytest.mark.parametrize(
    ("kinds", "limit", "expected"),
    [
        ({"call", "voice_message"}, 9, [ago(1), ago(5)]),
        ({"call", "voice_message"}, 1, [ago(1)]),
        ({"transfer"}, 9, [ago(4)]),
        ({"call"}, 0, []),
    ],
)
async def test_dials_to_a_number_are_those_of_all_agents(
    counted: Database, kinds: set[str], limit: int, expected: list[datetime]
) -> None:
    """They come newest first, as many as are asked for, of the kinds that count together, and within the span."""
    found = await counted.read(lambda connection: dials.to_number(connection, ADA, kinds, limit, SPAN))
    assert list(found) == expected


async def test_dials_of_an_agent_are_those_to_all_numbers(counted: Database) -> None:
    """They come newest first, of every kind, and another agent's are not among them."""
    found = await counted.read(lambda connection: dials.of_agent(connection, "my-client", 9, SPAN))
    assert list(found) == [ago(2), ago(4), ago(5)]


async def test_what_is_outside_the_span_is_forgotten(counted: Database) -> None:
    """Old dials go, and so do those of a clock that was wrong."""
    await counted.write(lambda connection: dials.forget_outside(connection, SPAN))
    always = (NOW - timedelta(days=9), NOW + timedelta(days=9))
    found = await counted.read(lambda connection: dials.of_agent(connection, "my-client", 9, always))
    assert list(found) == [ago(2), ago(4), ago(5)]
