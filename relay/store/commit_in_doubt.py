"""A commit whose connection was lost before the server answered: was it made?

    BEGIN, works, txid_current() ──COMMIT──✂     new connection: txid_status(number) ─▶ committed: the values are known
                                                                                     ├▶ aborted: made again
                                                                                     └▶ in progress: asked again

To make it again without asking would hand out a message twice, or report a progress that was reported. Writing down in
the same transaction what was made lost: it is one more row to change for each commit, where the number is only read.

Of a server that took over without the commit, the number means nothing or another transaction. Then the write is made
again, or it is lost as all are that an asynchronous standby did not get.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import attrs
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from relay.store.trouble import DatabaseInTrouble, trouble_of

_NONE = object()


def made_before(writes: Sequence[object], made: Iterable[tuple[object, Any]]) -> list[Any]:
    """Return what came of the first of `writes`, as far as they are among those that were `made`, in their order."""
    known, found = iter(made), list[Any]()
    for write in writes:
        value = next((value for each, value in known if each is write), _NONE)
        if value is _NONE:
            break
        found.append(value)
    return found


@attrs.frozen
class CommitInDoubt:
    """The transaction's number at the server, the writes in it, and the value of each."""

    number: int
    writes: Sequence[object]
    values: Sequence[Any]

    @classmethod
    def of(cls, connection: Connection, writes: Sequence[object], values: Sequence[Any]) -> CommitInDoubt:
        """Return it for the transaction that a connection to a server is in."""
        return cls(connection.execute(text("SELECT txid_current()")).scalar_one(), writes, values)

    def committed(self, connection: Connection, writes: Sequence[object]) -> list[Any]:
        """Return the values of the first of `writes` if they were committed, none if they were not.

        Those that were refused meanwhile, because their askers had waited too long, are missing in `writes`. Raises
        `DatabaseInTrouble` while the server does not say.
        """
        match self._status(connection):
            case "committed":
                pass
            case "in progress":  # the server ends it by itself when it hears nothing more of it
                raise DatabaseInTrouble("it has not said yet whether it committed", passes=True)
            case _:
                return []
        return made_before(writes, zip(self.writes, self.values, strict=True))

    def _status(self, connection: Connection) -> str | None:
        try:
            with connection.begin():
                status: str | None = connection.execute(
                    text("SELECT txid_status(:number)"), {"number": self.number}
                ).scalar()
        except SQLAlchemyError as error:
            if (trouble := trouble_of(error)) is not None:
                raise trouble from error
            return None  # another server, whose transactions have not come so far
        return status
