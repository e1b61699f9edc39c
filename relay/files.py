"""Where the files live that belong to a database: beside it, which is this user's own place."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from relay.errors import SettingsError


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
