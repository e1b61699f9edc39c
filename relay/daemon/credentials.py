"""What the carrier's requests are checked with, and for which account ours are made.

From the settings; or with `--local`, on loopback only, a secret that the simulated carrier shares, so that no account
is needed.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import attrs

from relay.errors import SettingsError
from relay.settings import Settings, is_loopback
from relay.store.files import beside_database

LOCAL_ACCOUNT = "AC" + "0" * 32


@attrs.frozen
class Credentials:
    """What the carrier's requests are checked with, and the account that ours are made for (None: make none)."""

    account_sid: str | None
    auth_token: str = attrs.field(repr=False)
    orders_as: str | None


def carrier_credentials(settings: Settings, *, local: bool) -> Credentials:
    """Return the credentials of a daemon. Raises `SettingsError` when some are missing, or cannot be made."""
    if local:
        require_loopback(settings.relay_host)
        return Credentials(settings.twilio_account_sid, carrier_token(settings), _local_account(settings))
    missing = [
        name
        for name, value in (
            ("TWILIO_ACCOUNT_SID", settings.twilio_account_sid),
            ("TWILIO_AUTH_TOKEN", settings.twilio_auth_token),
            ("PUBLIC_URL", settings.public_url),
        )
        if not value
    ]
    if missing or not settings.twilio_auth_token:
        raise SettingsError(
            f"{', '.join(missing)} must be set for calls from the carrier. To try the relay without an account: "
            "relay serve --local"
        )
    return Credentials(settings.twilio_account_sid, settings.twilio_auth_token, settings.twilio_account_sid)


def require_loopback(host: str) -> None:
    """Raise `SettingsError` unless `host` is this machine's own loopback."""
    if not is_loopback(host):
        raise SettingsError(
            f"--local listens on loopback only, not on {host}. Leave RELAY_HOST at 127.0.0.1, or drop --local and set "
            "the carrier's credentials."
        )


def _local_account(settings: Settings) -> str | None:
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
