"""The files beside a database, and their permissions."""

from __future__ import annotations

import re
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
    """Return the path of a file or directory with this suffix beside a database.

    For one that is no file it is in the working directory: `relay.db` with the suffix, or the database's name at its
    server in place of `relay`, so that two daemons of one directory have each their own.

    Raises `SettingsError` when `database_url` is none.
    """
    try:
        url = make_url(database_url)
    except ArgumentError as error:
        raise SettingsError(
            "DATABASE_URL is not a database URL; give one such as sqlite:///relay.db, or leave it out."
        ) from error
    if url.get_backend_name() == "sqlite":
        is_file = url.database not in {None, "", ":memory:"}
        return Path(f"{url.database if is_file else 'relay.db'}{suffix}")
    # A name at a server may hold anything, also what would lead out of the directory.
    name = re.sub(r"[^\w.-]", "_", url.database or "").lstrip(".") or "relay"
    return Path(f"{name}.db{suffix}")
