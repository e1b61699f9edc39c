"""Rows that are executed many at a time: their order, and what they bind on either driver."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, select

from actors.errors import StoreFailed
from relay.store.call_journal import CallJournal
from relay.store.database import Database
from relay.store.rows import Row, RowStatement, group
from relay.store.schema import held_words
from tests.contracts.message_store import call

HOLD, RELEASE, OTHER = (RowStatement.standard(delete(held_words)) for _each in range(3))


def numbered(rows: Sequence[tuple[RowStatement, str]]) -> list[Row]:
    return [Row(statement, subject, {"number": number}) for number, (statement, subject) in enumerate(rows)]


@given(st.lists(st.tuples(st.sampled_from([HOLD, RELEASE, OTHER]), st.sampled_from("abcd"))).map(numbered))
def test_rows_of_one_subject_stay_in_order(rows: list[Row]) -> None:
    """Each row is in one group, that of its statement, and those of one subject are executed in their order."""
    by_number = {row.values["number"]: row for row in rows}
    done = [(statement, by_number[values["number"]]) for statement, some in group(rows) for values in some]
    assert all(statement is row.statement for statement, row in done)
    assert sorted(by_number) == sorted(row.values["number"] for _statement, row in done)
    for subject in "abcd":
        assert [row for _statement, row in done if row.subject == subject] == [
            row for row in rows if row.subject == subject
        ]
    # Never more often than runs of one statement as they come.
    assert len(group(rows)) <= sum(1 for _run in groupby(rows, lambda row: row.statement))


def test_a_batch_of_turns_is_two_groups() -> None:
    """Calls that each answer one turn and ask the next are two statements, however many calls there are."""
    rows = numbered([(statement, str(call)) for call in range(20) for statement in (RELEASE, HOLD)])
    assert [(statement, len(some)) for statement, some in group(rows)] == [(RELEASE, 20), (HOLD, 20)]


async def test_rows_keep_their_place_among_other_writes(database: Database) -> None:
    """In one transaction a row is executed after what was handed over before it, and before what comes after."""
    journal = CallJournal(database)
    seen: list[list[str]] = []

    def look(connection: Connection) -> None:
        seen.append(list(connection.execute(select(held_words.c.text).order_by(held_words.c.turn)).scalars()))

    await journal.open_call(call())
    await journal.hold_utterance("CA1", 1, "first")
    await journal.release_utterances("CA1", 1)
    await database.keep_later(look)
    await journal.hold_utterance("CA1", 2, "second \ud800")
    await database.write(look)
    assert seen == [[], ["second \ufffd"]]


async def test_a_row_that_is_refused_shows_nothing_of_it(database: Database) -> None:
    """The text of the failure, and of its cause, holds no words of a caller."""
    with pytest.raises(StoreFailed, match="never opened") as caught:
        await CallJournal(database).hold_utterance("CA404", 1, "my secret")
    assert "secret" not in f"{caught.value} {caught.value.__cause__}"
