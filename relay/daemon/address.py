"""The running daemon of a database: it leaves its address beside it, and commands find it there and ask it.

    daemon ──announce──▶ relay.db.daemon (JSON, mode 0600: pid, url, secret …) ──find_daemon──▶ commands
       ◀──────────────── GET /operator/status, with the secret ────────────────────────────────────┘

A file that a killed daemon left behind is recognised by asking: its process is gone, or nothing at its address accepts
its secret. Testing the lock that a daemon holds on a SQLite database lost, because a daemon that starts at that moment
would take the test for another daemon.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs
import structlog
from attrs.validators import instance_of

from relay import __version__
from relay.store.files import beside_database

log = structlog.get_logger(__name__)

STATUS_PATH = "/operator/status"
_ANSWER_SECONDS = 3.0


@attrs.frozen(kw_only=True)
class RunningDaemon:
    """A daemon as it announced itself. `live` is what it says of itself now; None if it is there but did not answer.

    `url` is where this machine reaches it, `public_url` where the carrier does. `is_local` is true with `--local`.
    `started` is ISO 8601. `secret` opens `STATUS_PATH`; it lasts as long as the daemon.
    """

    pid: int = attrs.field(validator=instance_of(int))
    url: str = attrs.field(validator=instance_of(str))
    public_url: str = attrs.field(validator=instance_of(str))
    is_local: bool = attrs.field(validator=instance_of(bool))
    version: str = attrs.field(default=__version__, validator=instance_of(str))
    started: str = attrs.field(factory=lambda: f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", validator=instance_of(str))
    secret: str = attrs.field(factory=lambda: secrets.token_urlsafe(32), repr=False, validator=instance_of(str))
    live: Mapping[str, Any] | None = attrs.field(default=None, eq=False)


def address_path(database_url: str) -> Path:
    """Return the path of the file with the daemon's address. Raises `SettingsError` if `database_url` is none."""
    return beside_database(database_url, ".daemon")


@contextmanager
def announce(database_url: str, daemon: RunningDaemon) -> Iterator[None]:
    """Leave the daemon's address beside its database for the length of the block.

    A place that cannot be written is logged and costs nothing but the commands' knowledge of the address.
    """
    path = address_path(database_url)
    try:
        _write(path, daemon)
    except OSError as error:
        log.warning("address_not_left", why=os.strerror(error.errno or 0))
    try:
        yield
    finally:
        # Another daemon on the same database, where nothing forbids a second one, may have written since.
        if _read(path) == daemon:
            with suppress(OSError):
                path.unlink()


def find_daemon(database_url: str) -> RunningDaemon | None:
    """Return the daemon that serves this database, with what it says of itself, or None.

    Waits for its answer, some seconds at most. Raises `SettingsError` if `database_url` is none.
    """
    daemon = _read(address_path(database_url))
    if daemon is None or not _is_alive(daemon.pid):
        return None
    try:
        return attrs.evolve(daemon, live=_ask(daemon))
    except TimeoutError:
        return daemon
    except (OSError, http.client.HTTPException, ValueError):
        return None


def _write(path: Path, daemon: RunningDaemon) -> None:
    # Beside it first and then in its place, so that nobody reads half a file.
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    content = attrs.asdict(daemon, filter=attrs.filters.exclude("live"))
    with suppress(FileNotFoundError):
        draft.unlink()
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=2)
    draft.replace(path)


def _read(path: Path) -> RunningDaemon | None:
    try:
        return RunningDaemon(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return pid > 0


def _ask(daemon: RunningDaemon) -> dict[str, Any]:
    address = urlsplit(daemon.url)
    # Not httpx2: it takes longer to import than most commands take for all they do.
    connection = http.client.HTTPConnection(address.hostname or "", address.port or 80, timeout=_ANSWER_SECONDS)
    try:
        connection.request("GET", STATUS_PATH, headers={"Authorization": f"Bearer {daemon.secret}"})
        response = connection.getresponse()
        answer = json.loads(response.read())
    finally:
        connection.close()
    if response.status != 200 or not isinstance(answer, dict):
        raise ValueError("somebody else answers")
    return answer
