"""Rows for the statements that every call and every turn runs: compiled once, executed for many rows at a time.

    row, row, row ──group──▶ (statement, its rows), (statement, its rows) ──execute──▶ one `executemany` each

SQLAlchemy is left out of the execution alone, and on SQLite of BEGIN and COMMIT around nothing but rows
(`relay.store.engine.RowTransaction`): it makes the SQL, converts the values and names the errors. With it each row of a
turn costs some 35 microseconds, by the driver's own cursor four, and a batch of two rows is what most commits
of a busy daemon are: a tenth of what a turn may cost. Its own `exec_driver_sql` lies in the middle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, TypeAlias

import attrs
from sqlalchemy import Connection, Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.dml import UpdateBase

Values: TypeAlias = Mapping[str, Any]
"""What a row binds, by the statement's names."""


@attrs.frozen(eq=False)
class RowStatement:
    """A statement that returns nothing, as each dialect spells it.

    With `refusal` each of its rows must change something: where one does not, what `refusal` makes of the first of them
    is raised. Which row it was is found by trying each write alone, as after every failure of many.
    """

    spelled: Mapping[str, UpdateBase]
    refusal: Callable[[Connection, Values], Exception] | None = None

    @classmethod
    def standard(cls, statement: UpdateBase) -> RowStatement:
        """Return one that all dialects spell alike."""
        return cls({"sqlite": statement, "postgresql": statement})

    def execute(self, connection: Connection, rows: Sequence[Values]) -> int:
        """Execute it for all the rows, in the connection's transaction, and return how many rows it changed.

        Raises what SQLAlchemy would raise, and what `refusal` returns.
        """
        prepared = _prepare(self.spelled[connection.dialect.name], connection.dialect)
        changed = prepared.execute(connection, [prepared.bind(row) for row in rows])
        if self.refusal is not None and changed < len(rows):
            raise self.refusal(connection, rows[0])
        return changed


@attrs.frozen(eq=False)
class Row:
    """One row for a statement: a write that returns nothing.

    Rows of one `subject` are executed in the order in which they were handed over. Of rows of different subjects
    neither may change what the other does: they may change places.
    """

    statement: RowStatement
    subject: str
    values: Values = attrs.field(repr=False)  # numbers, and what callers said


@attrs.frozen(eq=False)
class Rows:
    """Rows that are written together or not at all: one write."""

    rows: Sequence[Row] = attrs.field(repr=False)


def execute_all(connection: Connection, rows: Iterable[Row]) -> None:
    """Execute rows of several statements, in the connection's transaction."""
    for statement, values in group(rows):
        statement.execute(connection, values)


def group(rows: Iterable[Row]) -> Sequence[tuple[RowStatement, Sequence[Values]]]:
    """Return the rows in few groups of one statement each, those of one subject in their order.

    A row joins the last group of its statement, unless a row of its subject is in a later group.
    """
    groups: list[tuple[RowStatement, list[Values]]] = []
    last_of_statement: dict[RowStatement, int] = {}
    last_of_subject: dict[str, int] = {}
    for row in rows:
        place = last_of_statement.get(row.statement, -1)
        if place < last_of_subject.get(row.subject, 0):
            place = last_of_statement[row.statement] = len(groups)
            groups.append((row.statement, []))
        groups[place][1].append(row.values)
        last_of_subject[row.subject] = place
    return groups


@attrs.frozen(eq=False)
class _Prepared:
    """A statement in the words of one driver, and how each value is converted for it."""

    sql: str
    in_order: Callable[[Values], tuple[Any, ...]] | None
    conversions: Sequence[tuple[str, Callable[[Any], Any]]]

    def bind(self, values: Values) -> Sequence[Any] | Values:
        row = dict(values)
        for name, convert in self.conversions:
            row[name] = convert(row[name])
        return row if self.in_order is None else self.in_order(row)

    def execute(self, connection: Connection, rows: Sequence[Any]) -> int:
        driver = connection.connection
        cursor = driver.cursor()
        error_type = connection.dialect.loaded_dbapi.Error
        try:
            cursor.executemany(self.sql, rows)
        except error_type as error:
            raise DBAPIError.instance(
                self.sql,
                None,  # they are numbers and what callers said
                error,
                error_type,
                hide_parameters=True,
                connection_invalidated=connection.dialect.is_disconnect(error, driver, cursor),
                dialect=connection.dialect,
            ) from error
        else:
            return int(cursor.rowcount)
        finally:
            cursor.close()


# By engine, to which a dialect belongs: the newest is in use, and one is opened anew after trouble.
@lru_cache(maxsize=128)
def _prepare(statement: UpdateBase, dialect: Dialect) -> _Prepared:
    compiled = statement.compile(dialect=dialect)
    names = list(compiled.positiontup or compiled.binds)
    # Each once: a value may stand at several places.
    types = {name: compiled.binds[name].type.dialect_impl(dialect) for name in names}
    converted = ((name, each.bind_processor(dialect)) for name, each in types.items())
    conversions = [(name, convert) for name, convert in converted if convert is not None]
    return _Prepared(compiled.string, _in_order(names) if compiled.positional else None, conversions)


def _in_order(names: Sequence[str]) -> Callable[[Values], tuple[Any, ...]]:
    return itemgetter(*names) if len(names) > 1 else lambda row: tuple(row[name] for name in names)
