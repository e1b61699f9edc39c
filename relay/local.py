"""What `relay serve --local` adds: loopback only, and a secret for the simulated carrier, so no account is needed."""

from __future__ import annotations

import ipaddress
import os
import secrets
from pathlib import Path

from relay.errors import SettingsError
from relay.settings import Settings
from relay.store.files import beside_database

LOCAL_ACCOUNT = "AC" + "0" * 32


def require_loopback(host: str) -> None:
    """Raise `SettingsError` unless `host` is this machine's own loopback."""
    try:
        is_loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise SettingsError(
            f"--local listens on loopback only, not on {host}. Leave RELAY_HOST at 127.0.0.1, or drop --local and set "
            "the carrier's credentials."
        )


def carrier_account(settings: Settings) -> str | None:
    """Return the account for which a local run orders calls of a stand-in for the carrier; None where there is none.

    Any account will do, so `TWILIO_ACCOUNT_SID` need not be set. Without `TWILIO_API_BASE_URL` nothing is ordered: a
    local run must not place calls that somebody pays for.
    """
    if settings.twilio_api_base_url is None:
        return None
    return settings.twilio_account_sid or LOCAL_ACCOUNT


def token_path(settings: Settings) -> Path:
    """Return where the simulated carrier's secret is kept: beside the database, which is this user's own place.

    Raises `SettingsError` when `DATABASE_URL` is none.
    """
    return beside_database(settings.database_url, ".token")


def carrier_token(settings: Settings) -> str:
    """Return the secret that the simulated carrier signs with, making it on first use (mode 0600).

    `TWILIO_AUTH_TOKEN` wins when it is set. Raises `SettingsError` when the file cannot be used.
    """
    if settings.twilio_auth_token:
        return settings.twilio_auth_token
    path = token_path(settings)
    try:
        # Exclusive, so that two daemons that start at once agree on the one that was first.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _read(path)
    except OSError as error:
        raise SettingsError(f"The carrier's secret cannot be kept in {path}: {error.strerror}.") from error
    token = secrets.token_hex(16)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(token)
    return token


def find_carrier_token(settings: Settings) -> str | None:
    """Return the secret that the simulated carrier signs with, or None where none was made yet.

    Raises `SettingsError` when the file cannot be used.
    """
    if settings.twilio_auth_token:
        return settings.twilio_auth_token
    path = token_path(settings)
    return _read(path) if path.exists() else None


def _read(path: Path) -> str:
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"The carrier's secret in {path} cannot be read ({error}); remove the file.") from error
    if not token:
        raise SettingsError(f"The carrier's secret in {path} is empty; remove the file, and a new one is made.")
    return token
