"""The column types: what goes in comes out, and what cannot be kept is fixed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Table, func, literal, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from relay.store.database import Database
from relay.store.schema import UtcDateTime, metadata, storable, timestamp, upsert


@given(st.text())
def test_ordinary_text_is_storable_as_it_is(text: str) -> None:
    """Nothing is changed that SQLite, PostgreSQL and JSON can carry."""
    assert storable(text) == text.replace("\0", "\ufffd")


@given(st.text(alphabet=st.characters(categories=["Cs", "Lu"]) | st.just("\0")))
def test_any_text_becomes_storable(text: str) -> None:
    """Lone surrogates and NUL are replaced, so that the text can be encoded, and nothing else is lost."""
    kept = storable(text)
    assert "\0" not in kept
    assert json.loads(json.dumps(kept).encode()) == kept.encode().decode()
    assert [each for each in text if each.isupper()] == [each for each in kept if each.isupper()]


@pytest.mark.parametrize("table", metadata.sorted_tables, ids=lambda table: table.name)
def test_the_tables_can_be_made_elsewhere(table: Table) -> None:
    """Nothing in the schema is SQLite's alone, and a row can be replaced there too."""
    there = postgresql.dialect()  # type: ignore[no-untyped-call]
    replaced = [column.name for column in table.columns if not column.primary_key]
    assert "CREATE TABLE" in str(CreateTable(table).compile(dialect=there))
    assert "ON CONFLICT" in str(upsert(table, replaced)["postgresql"].compile(dialect=there))


def test_a_timestamp_is_utc_with_a_z() -> None:
    """Times are written as the contract says, whatever zone they come in."""
    berlin = timezone(timedelta(hours=1))
    assert timestamp(datetime(2026, 11, 22, 9, 0, 30, 123456, tzinfo=berlin)) == "2026-11-22T08:00:30.123Z"


async def test_a_time_comes_back_with_its_zone(database: Database) -> None:
    """A stored time is the same point in time when it is read."""
    at = datetime(2026, 11, 22, 9, 0, 30, 123456, tzinfo=timezone(timedelta(hours=-5)))
    wanted = select(func.coalesce(literal(at, UtcDateTime), None, type_=UtcDateTime))
    read = await database.read(lambda connection: connection.execute(wanted).scalar_one())
    assert (read, read.tzinfo) == (at, UTC)


async def test_a_time_without_a_zone_is_refused(database: Database) -> None:
    """A time that could mean anything is a mistake of ours, and not stored."""
    naive = datetime(2026, 11, 22, 9, 0, tzinfo=UTC).replace(tzinfo=None)
    with pytest.raises(Exception, match="time zone"):
        await database.read(lambda connection: connection.execute(select(literal(naive, UtcDateTime))))
