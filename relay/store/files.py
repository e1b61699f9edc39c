"""The files beside a database, and their permissions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from relay.errors import SettingsError

# Only the owner may read our files.
_FOREIGN = 0o077


def exposed(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield those files and directories that others than their owner may look into; what is not there is not."""
    for each in paths:
        # SQLite's files come and go while they are looked at.
        with suppress(OSError):
            if each.stat().st_mode & _FOREIGN:
                yield each


def beside_database(database_url: str, suffix: str) -> Path:
    """Return the path of a file or directory with this suffix beside a database; in memory or elsewhere, in `.`.

    Raises `SettingsError` when `database_url` is none.
    """
    try:
        url = make_url(database_url)
    except ArgumentError as error:
        raise SettingsError(
            "DATABASE_URL is not a database URL; give one such as sqlite:///relay.db, or leave it out."
        ) from error
    database = url.database
    return Path(f"{database}{suffix}" if database and database != ":memory:" else f"relay.db{suffix}")
